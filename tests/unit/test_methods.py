"""Every method on a tiny kitchen: what each must satisfy."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from soups.experiment.catalog import SOUP_METHODS
from soups.jobs import devices
from soups.mixing import recipes
from soups.mixing.kitchen import Kitchen
from soups.mixing.methods import METHODS
from soups.mixing.mix import mix
from soups.models import checkpoints
from soups.models.batch_norm import kept
from soups.models.forward import forward

NAMES = ["m0", "m1", "m2", "m3"]
OPTIONS = {
    "greedy_random": {"seed": 0, "order": 1},
    "learned": {
        "groups": "block", "lr": 0.1, "epochs": 2, "batch_size": 30, "seed": 0, "memory_gb": 0,
    },
    "wise_ft": {"of": ["greedy"], "alphas": [0, 0.5, 1, 1.5]},
    "best_of": {"of": ["uniform", "greedy"]},
    "task_arithmetic": {"scales": [0.5, 1, 2]},
    "ties": {"density": 0.5, "scales": [0.5, 1]},
    "trimmed_mean": {"trim": 0.25},
}  # fmt: skip


@pytest.fixture
def kitchen(pretrained, tmp_path, images, labels) -> Kitchen:
    generator = torch.Generator().manual_seed(0)
    model = pretrained.classifier(4).to(devices.device()).eval()
    start = {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}
    start["head.weight"] = torch.randn(start["head.weight"].shape, generator=generator)
    paths, logits = {}, {}
    for name in ["start", *NAMES]:
        # Far enough apart that soups of them disagree.
        moved = 0 if name == "start" else 0.3
        state = {
            key: tensor + moved * torch.randn(tensor.shape, generator=generator)
            for key, tensor in start.items()
        }
        paths[name] = tmp_path / f"{name}.safetensors"
        checkpoints.save(paths[name], state, {"pretrained": "one"})
        model.load_state_dict(state)
        logits[name] = forward(model, images).numpy()
    # Every other image is held out.
    rows = np.arange(0, len(images), 2)
    heldout = {name: values[rows] for name, values in logits.items()}
    kitchen = Kitchen(
        NAMES,
        NAMES,
        "start",
        paths,
        heldout.__getitem__,
        labels[rows],
        images[rows],
        lambda: model,
        kept,
    )
    kitchen.made = {name: METHODS[name](kitchen) for name in ("uniform", "greedy")}
    return kitchen


def members(recipe: dict) -> list[str]:
    return [name for name in recipes.used(recipe) if name != "start"]


def cooked(kitchen: Kitchen, recipe: dict) -> dict:
    return mix(recipe, kitchen.paths, kitchen.start)


def test_the_catalog_knows_every_method_and_its_options():
    assert set(METHODS) == set(SOUP_METHODS)
    for name, method in METHODS.items():
        parameters = set(inspect.signature(method).parameters) - {"kitchen", "options"}
        known = set(SOUP_METHODS[name]) - {"orders"} | ({"order"} & parameters)
        if name == "learned":  # the rest goes to learned.learn
            parameters |= {"lr", "epochs", "batch_size", "seed"}
        assert parameters == known


@pytest.mark.parametrize("name", METHODS)
def test_every_method_yields_a_recipe_that_can_be_cooked_and_is_repeatable(kitchen, name):
    recipe = METHODS[name](kitchen, **OPTIONS.get(name, {}))
    assert recipe["method"] == name
    assert set(recipe["coefficients"]) <= {*NAMES, "start"}
    assert 1 <= len(members(recipe)) <= len(NAMES) or name == "wise_ft"
    state = cooked(kitchen, recipe)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert METHODS[name](kitchen, **OPTIONS.get(name, {})) == recipe


def test_choices_are_never_worse_on_the_held_out_set(kitchen):
    single = max(kitchen.scores.values())
    greedy = kitchen.score(kitchen.made["greedy"])
    assert greedy >= single
    assert kitchen.score(METHODS["greedy_pruned"](kitchen)) >= greedy
    uniform = kitchen.score(kitchen.made["uniform"])
    assert kitchen.score(METHODS["best_of"](kitchen, ["uniform", "greedy"])) == max(greedy, uniform)
    assert kitchen.score(METHODS["wise_ft"](kitchen, ["greedy"], [0, 0.5, 1])) >= greedy
    assert kitchen.score(METHODS["task_arithmetic"](kitchen, [0.5, 1])) >= uniform


def test_a_trace_says_what_the_soup_scores(kitchen):
    recipe = METHODS["wise_ft"](kitchen, ["greedy"], [0, 0.5, 1])
    step = next(
        s for s in recipe["selection"]["trace"] if s["candidate"] == recipe["selection"]["alpha"]
    )
    assert step["heldout"] == kitchen.score(recipe)
    recipe = METHODS["ties"](kitchen, 0.5, [0.5, 1, 1.5])
    for step in recipe["selection"]["trace"]:
        scaled = recipe | {"merge": recipe["merge"] | {"scale": step["candidate"]}}
        assert step["heldout"] == kitchen.score(scaled)
    last = [s for s in kitchen.made["greedy"]["selection"]["trace"] if s["accepted"]][-1]
    assert last["with"] == kitchen.score(kitchen.made["greedy"])


def test_random_orders_are_greedy_in_their_order(kitchen):
    recipe = METHODS["greedy_random"](kitchen, seed=0, order=2)
    trace = recipe["selection"]["trace"]
    assert sorted(step["candidate"] for step in trace) == NAMES
    assert recipe["selection"]["order"] == 2
    accepted = [step["candidate"] for step in trace if step["accepted"]]
    assert accepted == list(recipe["coefficients"])


def test_interpolating_the_best_individual_model(kitchen):
    recipe = METHODS["wise_ft"](kitchen, ["best_individual"], [0.25])
    assert recipe["coefficients"] == {kitchen.ranking[0]: 0.25, "start": 0.75}
    # Among its pool alone, whatever other soups bring along.
    kitchen.pool = kitchen.ranking[2:]
    recipe = METHODS["wise_ft"](kitchen, ["best_individual"], [0.25])
    assert recipe["coefficients"] == {kitchen.ranking[2]: 0.25, "start": 0.75}


def test_a_scale_of_1_is_the_uniform_soup(kitchen):
    plain = cooked(kitchen, kitchen.made["uniform"])
    for name, tensor in cooked(kitchen, METHODS["task_arithmetic"](kitchen, [1])).items():
        torch.testing.assert_close(tensor, plain[name])


def test_model_stock_is_between_the_start_and_the_average(kitchen):
    """Against the formula on explicit vectors, tensor by tensor."""
    soup = cooked(kitchen, METHODS["model_stock"](kitchen))
    states = {name: checkpoints.Checkpoint(path).state() for name, path in kitchen.paths.items()}
    for tensor, value in soup.items():
        start = states["start"][tensor].double()
        changes = torch.stack([(states[n][tensor].double() - start).flatten() for n in NAMES])
        unit = changes / changes.norm(dim=1, keepdim=True)
        pairs = [(unit[i] @ unit[j]).item() for i in range(4) for j in range(i)]
        cosine = max(0.0, float(np.mean(pairs)))
        share = 4 * cosine / (1 + 3 * cosine)
        expected = start.flatten() + share * changes.mean(0)
        torch.testing.assert_close(value.double().flatten(), expected, rtol=1e-5, atol=1e-6)


def test_model_stock_of_equal_ingredients_is_the_ingredient(kitchen):
    kitchen.paths = kitchen.paths | dict.fromkeys(NAMES, kitchen.paths["m0"])
    soup = cooked(kitchen, METHODS["model_stock"](kitchen))
    for name, tensor in checkpoints.Checkpoint(kitchen.paths["m0"]).items():
        torch.testing.assert_close(soup[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_single_model_is_scored_with_the_statistics_it_would_get(kitchen):
    calls = []
    fresh = replace(kitchen, settle=lambda model: calls.append(1))
    assert fresh.average(("m1",)) == kitchen.scores["m1"]  # this model has no such statistics
    assert calls

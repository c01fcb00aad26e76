"""Every registered method on a tiny kitchen."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from soups.evaluation.metric import METRICS
from soups.experiment.registry import SOUP_METHODS
from soups.mixing import methods
from soups.mixing.kitchen import Kitchen
from soups.mixing.mix import mix
from soups.mixing.recipes import members, uniform
from soups.models import checkpoints
from soups.models.forward import forward
from soups.roles import BEST, INITIALIZATION
from tests.unit.kitchens import NAMES, tiny_kitchen

# `of` has no default, so the tests of all other options use these values.
REQUIRED = {
    "wise_ft": {"of": ["greedy"]},
    "best_of": {"of": ["uniform", "greedy"]},
}
# For every option of every method, a value other than the default. A new method or option fails
# the tests below until it has an entry here.
ALTERNATIVES = {
    "uniform": {},
    "greedy": {"accept": "better"},
    "greedy_random": {"orders": 2, "seed": 1, "accept": "better"},
    "greedy_pruned": {"accept": "better"},
    "learned": {
        "groups": "block", "lr": 0.1, "epochs": 2, "batch_size": 7, "seed": 1, "memory_gb": 0,
    },
    "wise_ft": {"of": [BEST], "alphas": [0.5, 1.5]},
    "best_of": {"of": [BEST, "uniform"]},
    "model_stock": {},
    "task_arithmetic": {"scales": [0.5, 3]},
    "ties": {"density": 0.5, "scales": [0.5, 3]},
    "median": {},
    "trimmed_mean": {"trim": 0.25},
}  # fmt: skip
CASES = [(method, option) for method, options in ALTERNATIVES.items() for option in options]


@pytest.fixture
def kitchen(pretrained, tmp_path, images, labels) -> Kitchen:
    return tiny_kitchen(pretrained, tmp_path, images, labels)


def made(kitchen: Kitchen, name: str, **options) -> list[dict]:
    """Recipes of a method with its default options, some of them replaced, one for each order."""
    options = {**SOUP_METHODS[name].options, **REQUIRED.get(name, {}), **options}
    orders = options.pop("orders", None)
    each = [{}] if orders is None else [{"order": order} for order in range(orders)]
    return [getattr(methods, name)(kitchen, **options, **order) for order in each]


def cooked(kitchen: Kitchen, recipe: dict) -> dict:
    """The weights of a recipe's soup."""
    return mix(recipe, kitchen.paths, kitchen.start)


def check(kitchen: Kitchen, name: str, recipe: dict) -> None:
    """Check properties that every recipe of a method must have."""
    method = SOUP_METHODS[name]
    assert recipe["method"] == name
    assert set(recipe["coefficients"]) <= {*NAMES, INITIALIZATION}
    assert INITIALIZATION not in recipe["coefficients"] or method.needs_start
    assert ("merge" in recipe) == method.elementwise
    # Only an interpolation may leave nothing but the start.
    assert bool(members(recipe)) == (recipe["selection"].get("alpha") != 0)
    state = cooked(kitchen, recipe)
    shapes = checkpoints.Checkpoint(kitchen.paths["m0"]).shapes()
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == {
        key: shape for key, (shape, _) in shapes.items()
    }
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_a_learned_soup_is_fitted_with_the_batch_statistics_that_it_will_have(kitchen):
    settled = []
    kitchen = replace(kitchen, settle=lambda model: settled.append(model.head.weight.clone()))
    made(kitchen, "learned", epochs=2, batch_size=len(kitchen.labels))
    assert len(settled) == 3


@pytest.mark.parametrize(("epochs", "warned"), [(9, True), (10, False)])
def test_a_learned_soup_of_a_few_steps_is_warned_of(kitchen, caplog, epochs, warned):
    made(kitchen, "learned", epochs=epochs, batch_size=len(kitchen.labels) // 2)
    assert ("and with fewer than 20" in caplog.text) == warned


def test_every_soup_method_is_registered_with_its_options():
    functions = {
        name: function
        for name, function in vars(methods).items()
        if inspect.isfunction(function) and "kitchen" in inspect.signature(function).parameters
    }
    assert functions.keys() == SOUP_METHODS.keys()
    for name, function in functions.items():
        parameters = inspect.signature(function).parameters
        named = set(parameters) - {"kitchen", "options"}
        known = set(SOUP_METHODS[name].options)
        # The catalog splits `orders` into one recipe for each `order`.
        known = known - {"orders"} | {"order"} if "orders" in known else known
        # `learned` passes its other options to `learned.learn`.
        assert named <= known if "options" in parameters else named == known, name


def test_every_option_of_every_method_has_a_tested_alternative():
    assert {name: set(options) for name, options in ALTERNATIVES.items()} == {
        name: set(method.options) for name, method in SOUP_METHODS.items()
    }
    for name, options in ALTERNATIVES.items():
        defaults = {**SOUP_METHODS[name].options, **REQUIRED.get(name, {})}
        assert all(value != defaults[option] for option, value in options.items()), name


@pytest.mark.parametrize("name", SOUP_METHODS)
def test_every_method_makes_the_same_recipes_twice_by_default(kitchen, name):
    recipes = made(kitchen, name)
    assert len(recipes) == SOUP_METHODS[name].options.get("orders", 1)
    for recipe in recipes:
        check(kitchen, name, recipe)
    assert made(kitchen, name) == recipes


@pytest.mark.parametrize(("name", "option"), CASES)
def test_every_option_except_the_memory_has_an_effect(kitchen, name, option):
    recipes = made(kitchen, name, **{option: ALTERNATIVES[name][option]})
    for recipe in recipes:
        check(kitchen, name, recipe)
    # The memory only decides how often ingredients are read.
    assert (recipes == made(kitchen, name)) == (option == "memory_gb")


def test_methods_that_choose_are_never_worse_than_their_candidates_on_the_held_out_set(kitchen):
    single = max(kitchen.scores.values())
    greedy = kitchen.score(kitchen.made["greedy"])
    assert greedy >= single
    assert kitchen.score(methods.greedy_pruned(kitchen)) >= greedy
    uniform = kitchen.score(kitchen.made["uniform"])
    assert kitchen.score(methods.best_of(kitchen, ["uniform", "greedy"])) == max(greedy, uniform)
    assert kitchen.score(methods.wise_ft(kitchen, ["greedy"], [0, 0.5, 1])) >= greedy
    assert kitchen.score(methods.task_arithmetic(kitchen, [0.5, 1])) >= uniform


def test_a_trace_has_the_held_out_scores_of_its_soups(kitchen):
    recipe = methods.wise_ft(kitchen, ["greedy"], [0, 0.5, 1])
    step = next(
        s for s in recipe["selection"]["trace"] if s["candidate"] == recipe["selection"]["alpha"]
    )
    assert step["heldout"] == kitchen.score(recipe)
    recipe = methods.ties(kitchen, 0.5, [0.5, 1, 1.5])
    best = kitchen.score(recipe)
    for step in recipe["selection"]["trace"]:
        score = kitchen.score(recipe | {"merge": recipe["merge"] | {"scale": step["candidate"]}})
        if step["heldout"] is None:
            assert score <= step["at_most"] < best
        else:
            assert step["heldout"] == score <= best
    last = [s for s in kitchen.made["greedy"]["selection"]["trace"] if s["accepted"]][-1]
    assert last["with"] == kitchen.score(kitchen.made["greedy"])


def test_a_greedy_soup_in_random_order_tries_every_ingredient_once(kitchen):
    recipe = methods.greedy_random(kitchen, seed=0, order=2)
    trace = recipe["selection"]["trace"]
    assert sorted(step["candidate"] for step in trace) == NAMES
    assert recipe["selection"]["order"] == 2
    accepted = [step["candidate"] for step in trace if step["accepted"]]
    assert accepted == list(recipe["coefficients"])


def test_the_best_individual_model_to_interpolate_is_chosen_from_the_pool(kitchen):
    recipe = methods.wise_ft(kitchen, [BEST], [0.25])
    assert recipe["coefficients"] == {kitchen.ranking[0]: 0.25, INITIALIZATION: 0.75}
    # Ingredients outside the pool belong to other soups and cannot be the best model.
    kitchen.pool = kitchen.ranking[2:]
    recipe = methods.wise_ft(kitchen, [BEST], [0.25])
    assert recipe["coefficients"] == {kitchen.ranking[2]: 0.25, INITIALIZATION: 0.75}


def test_task_arithmetic_with_a_scale_of_1_is_the_uniform_soup(kitchen):
    plain = cooked(kitchen, kitchen.made["uniform"])
    for name, tensor in cooked(kitchen, methods.task_arithmetic(kitchen, [1])).items():
        torch.testing.assert_close(tensor, plain[name])


def test_model_stock_interpolates_between_the_start_and_the_average(kitchen):
    """Compare with the formula on explicit vectors, tensor by tensor."""
    soup = cooked(kitchen, methods.model_stock(kitchen))
    states = {name: checkpoints.Checkpoint(path).state() for name, path in kitchen.paths.items()}
    for tensor, value in soup.items():
        start = states[INITIALIZATION][tensor].double()
        changes = torch.stack([(states[n][tensor].double() - start).flatten() for n in NAMES])
        unit = changes / changes.norm(dim=1, keepdim=True)
        pairs = [(unit[i] @ unit[j]).item() for i in range(4) for j in range(i)]
        cosine = max(0.0, float(np.mean(pairs)))
        share = 4 * cosine / (1 + 3 * cosine)
        expected = start.flatten() + share * changes.mean(0)
        torch.testing.assert_close(value.double().flatten(), expected, rtol=1e-5, atol=1e-6)


def test_model_stock_of_equal_ingredients_is_that_ingredient(kitchen):
    kitchen.paths = kitchen.paths | dict.fromkeys(NAMES, kitchen.paths["m0"])
    soup = cooked(kitchen, methods.model_stock(kitchen))
    for name, tensor in checkpoints.Checkpoint(kitchen.paths["m0"]).items():
        torch.testing.assert_close(soup[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_single_model_gets_new_batch_statistics_before_it_is_scored(kitchen):
    calls = []
    fresh = replace(kitchen, settle=lambda model: calls.append(1))
    # The score is the same, because the model has no batch statistics.
    assert fresh.average(("m1",)).score == kitchen.scores["m1"]
    assert calls


def test_a_kitchen_chooses_by_its_metric(kitchen):
    """The held-out set has a frequent class, so accuracy and macro F1 rank models differently."""
    metric = METRICS["macro_f1"]
    rare = np.flatnonzero(kitchen.labels != 0)[:6]
    rows = np.sort(np.concatenate([np.flatnonzero(kitchen.labels == 0), rare]))
    labels, inputs = kitchen.labels[rows], kitchen.inputs[rows]
    part = replace(
        kitchen, labels=labels, inputs=inputs, logits=lambda n: kitchen.logits(n)[rows], made={}
    )
    by_f1 = replace(part, metric=metric)
    assert by_f1.scores == {name: metric.of(part.logits(name), labels) for name in NAMES}
    assert by_f1.ranking != part.ranking
    made = methods.greedy(by_f1)
    first, second = made["selection"]["trace"][:2]
    assert first["candidate"] == by_f1.ranking[0]
    average = uniform([first["candidate"], second["candidate"]])
    model = kitchen.model
    model.load_state_dict(mix(average, kitchen.paths))
    wanted = metric.of(forward(model, inputs).numpy(), labels)
    assert second["with"] == pytest.approx(wanted)
    assert by_f1.score(average) == pytest.approx(wanted)

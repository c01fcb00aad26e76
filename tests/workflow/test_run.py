"""One real run of the whole DAG, and what must hold of its results."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from soups.checkpoints import Checkpoint
from soups.files import sha256
from soups.recipes import mix

INGREDIENTS = ["m00", "m01", "m02"]
SHIFTS = ["v2", "r", "sketch", "objectnet", "a"]


def table(project, name):
    return pd.read_csv(project.results / "tables" / f"{name}.csv")


def test_methods_table_has_the_promised_rows_and_columns(finished):
    methods = table(finished, "methods")
    assert list(methods["method"]) == [
        "best_individual", "second_best", "uniform", "greedy", "initialization", "zeroshot",
    ]  # fmt: skip
    assert list(methods.columns[:5]) == [
        "method", "ingredients", "inference_cost", "heldout", "test",
    ]  # fmt: skip
    bounds = ["test_lo", "test_hi", "shifts_mean_lo", "shifts_mean_hi"]
    assert list(methods.columns[5:15]) == [*SHIFTS, "shifts_mean", *bounds]
    assert (methods["inference_cost"] == 1).all()
    assert ((methods["test_lo"] <= methods["test"]) & (methods["test"] <= methods["test_hi"])).all()
    np.testing.assert_allclose(methods[SHIFTS].mean(axis=1), methods["shifts_mean"], atol=2e-6)


def test_models_table_has_a_row_per_model(finished):
    models = table(finished, "models").set_index("model")
    assert list(models.index) == ["zeroshot", "initialization", *INGREDIENTS]
    assert models.loc[INGREDIENTS, "lr"].between(1e-4, 1e-3).all()
    assert models.loc[["zeroshot", "initialization"], "lr"].isna().all()


def test_accuracies_are_those_of_the_logits(finished):
    models = table(finished, "models").set_index("model")
    labels = np.load(finished.results / "prepared" / "test.labels.npy")
    for name in INGREDIENTS:
        logits = np.load(finished.results / "logits" / name / "test.npy")
        accuracy = (logits.argmax(1) == labels).mean()
        assert models.loc[name, "test"] == pytest.approx(accuracy, abs=1e-6)


def test_greedy_is_never_worse_on_the_heldout_set(finished):
    methods = table(finished, "methods").set_index("method")
    assert methods.loc["greedy", "heldout"] >= methods.loc["best_individual", "heldout"]
    trace = table(finished, "greedy_trace")
    # The soup scored while choosing is the soup that was cooked.
    last = trace[trace["accepted"]].iloc[-1]
    assert last["with"] == pytest.approx(methods.loc["greedy", "heldout"], abs=1e-6)
    assert trace["with"].iloc[0] == methods.loc["best_individual", "heldout"]


def test_a_soup_is_the_average_it_says_it_is(finished):
    recipe = json.loads((finished.results / "recipes" / "greedy.json").read_text())
    soup = Checkpoint(finished.results / "soups" / "greedy.safetensors")
    paths = {m: finished.results / "models" / f"{m}.safetensors" for m in INGREDIENTS}
    assert soup.note["recipe"] == recipe
    used = [name for name, weight in recipe["coefficients"].items() if weight]
    assert soup.note["ingredients"] == {name: sha256(paths[name]) for name in used}
    states = [Checkpoint(paths[name]).state() for name in used]
    for name, tensor in soup.items():
        naive = torch.stack([state[name].double() for state in states]).mean(0)
        torch.testing.assert_close(tensor.double(), naive, rtol=1e-6, atol=1e-9)
    assert mix(recipe, paths).keys() == soup.state().keys()


def test_ingredients_moved_away_from_their_start(finished):
    start = Checkpoint(finished.results / "models" / "initialization.safetensors").state()
    for name in INGREDIENTS:
        state = Checkpoint(finished.results / "models" / f"{name}.safetensors").state()
        assert all((state[key] != start[key]).any() for key in start if key.endswith("weight"))


def test_the_split_manifest_says_which_images(finished):
    manifest = json.loads((finished.results / "splits" / "manifest.json").read_text())
    labels = np.load(finished.results / "prepared" / "train.labels.npy")
    assert manifest["heldout_images"] == len(manifest["indices"]) == round(0.02 * 1500)
    assert manifest["labels"] == labels[manifest["indices"]].tolist()
    assert len(manifest["paths"]) == 30


def test_a_second_run_does_nothing(finished):
    done = finished.run()
    assert "Nothing to be done" in done.stdout + done.stderr


def test_growing_the_sweep_trains_only_what_is_new(finished):
    plan = finished.planned("--config", "sweep={random: {n: 5}}")
    assert plan["finetune"] == 2
    assert plan["evaluate"] == 4  # two ingredients, two soups
    assert not {"draw_set", "pretrain", "initialize", "split"} & plan.keys()


@pytest.mark.parametrize("figure", ["scatter", "shifts", "greedy_trace", "contact_sheet"])
def test_figures_are_there_as_png_and_pdf(finished, figure):
    folder = finished.results / "figures"
    assert (folder / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / f"{figure}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    "target", ["splits", "pretrained", "models", "soups", "tables", "figures", "report"]
)
def test_every_stage_is_a_target(finished, target):
    assert "Nothing to be done" in finished.run("-n", target).stdout


def test_rulegraph_shows_every_stage(finished):
    graph = finished.run("--rulegraph").stdout
    for rule in ("split", "finetune", "greedy_recipe", "cook", "evaluate", "make_tables", "report"):
        assert f'"{rule}"' in graph

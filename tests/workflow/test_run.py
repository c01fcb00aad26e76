"""One run of the whole DAG, and properties of its results."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from soups.data.sampling import sample
from soups.files import sha256
from soups.mixing.mix import mix
from soups.models.checkpoints import Checkpoint
from soups.roles import title
from tests.workflow.conftest import FIGURES

INGREDIENTS = ["m00", "m01", "m02"]
VARIANTS = ["m00_ema", "m00_distilled", "m00_one", "m00_two"]
# These variants are for figures of the default, see config.yaml.
VARIANTS += ["m00_small", "m01_small", "m00_medium", "m01_medium", "m00_large", "m01_large"]
VARIANTS += ["m00_augmented"]
METHODS = [
    "best_individual", "second_best", "uniform", "with_ema", "greedy", "greedy_random",
    "greedy_pruned", "learned", "learned_by_layer", "greedy_wise_ft", "model_stock",
    "task_arithmetic", "ties", "first_two", "trimmed_mean", "ensemble", "probability_ensemble",
    "greedy_ensemble", "greedy_soup_ensemble", "oracle", "initialization", "zeroshot",
]  # fmt: skip
SOUPS = len(METHODS[2:15]) + 2  # greedy_random has three orders
SHIFTS = ["v2", "r", "sketch", "objectnet", "a"]


def table(project, name):
    """Read a table of the run."""
    return pd.read_csv(project.results / "tables" / f"{name}.csv")


def test_the_methods_table_has_its_rows_and_columns(finished):
    methods = table(finished, "methods")
    assert list(methods["method"]) == METHODS
    assert list(methods.columns[:6]) == [
        "method", "kind", "ingredients", "inference_cost", "heldout", "test",
    ]  # fmt: skip
    bounds = ["test_lo", "test_hi", "shifts_mean_lo", "shifts_mean_hi"]
    assert list(methods.columns[6:16]) == [*SHIFTS, "shifts_mean", *bounds]
    several = methods["kind"] == "ensemble"
    assert (methods["inference_cost"][~several] == 1).all()
    assert (methods["inference_cost"][several] == methods["ingredients"][several]).all()
    assert ((methods["test_lo"] <= methods["test"]) & (methods["test"] <= methods["test_hi"])).all()
    np.testing.assert_allclose(methods[SHIFTS].mean(axis=1), methods["shifts_mean"], atol=2e-6)


def test_the_models_table_has_a_row_for_each_model(finished):
    models = table(finished, "models").set_index("model")
    # The other variants are for figures.
    assert set(models.index[2:]) == {*INGREDIENTS, *VARIANTS[:2]}
    assert list(models.index[:5]) == ["zeroshot", "initialization", *INGREDIENTS]
    assert models.loc[INGREDIENTS, "lr"].between(1e-4, 1e-3).all()
    assert models.loc[["zeroshot", "initialization"], "lr"].isna().all()


def test_accuracies_are_those_of_the_cached_logits(finished):
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
    # The score of the soup while it was chosen is that of the soup that was made.
    last = trace[trace["accepted"]].iloc[-1]
    assert last["with"] == pytest.approx(methods.loc["greedy", "heldout"], abs=1e-6)
    assert trace["with"].iloc[0] == methods.loc["best_individual", "heldout"]


def test_a_soup_is_the_average_of_the_ingredients_in_its_recipe(finished):
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
    mixed = mix(recipe, paths)
    assert mixed.keys() == soup.state().keys()
    for name, tensor in soup.items():
        assert torch.equal(tensor, mixed[name]), name


def test_ingredients_moved_away_from_their_start(finished):
    start = Checkpoint(finished.results / "models" / "initialization.safetensors").state()
    for name in INGREDIENTS:
        state = Checkpoint(finished.results / "models" / f"{name}.safetensors").state()
        assert all((state[key] != start[key]).any() for key in start if key.endswith("weight"))


def test_the_split_manifest_lists_the_held_out_images(finished):
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
    assert plan["finetune"] == 3  # two new rows, and the distilled model with its new teacher
    # The new models are evaluated, and every soup except that of the first two rows.
    assert plan["evaluate"] == 3 + SOUPS - 1
    assert not {"draw_set", "pretrain", "initialize", "split"} & plan.keys()


def test_a_new_variant_extends_the_same_results(finished):
    """Existing models and soups are not made again, only the tables."""
    variant = "sweep={variants: {sam: {first: 1, set: {sam: 0.05, start: zeroshot}}}}"
    plan = finished.planned("--config", variant)
    assert plan["finetune"] == plan["evaluate"] == 1
    again = {"recipe", "cook", "choose_ensemble", "average_logits", "evaluate_curve"}
    again |= {"evaluate_pairs", "evaluate_landscape", *(n for n in plan if n.startswith("plan_"))}
    assert not again & plan.keys()


def test_variants_have_the_same_start_and_their_own_hyperparameters(finished):
    notes = {
        name: Checkpoint(finished.results / "models" / f"{name}.safetensors").note
        for name in ["m00", *VARIANTS[:2]]
    }
    assert len({note["inputs"]["initialization"] for note in notes.values()}) == 1
    changed = {"ema": 0.9}, {"distill": 0.5, "mixup": 0}
    for name, change in zip(VARIANTS[:2], changed, strict=True):
        assert notes[name]["hyperparameters"] == notes["m00"]["hyperparameters"] | change
    teacher = np.load(finished.results / "teacher.npy")
    assert teacher.shape == (1470, 24)
    assert "teacher" in notes["m00_distilled"]["inputs"]


def test_soups_hold_variants_only_if_the_configuration_says_so(finished):
    for path in (finished.results / "recipes").glob("*.json"):
        held = set(json.loads(path.read_text())["coefficients"])
        allowed = {*INGREDIENTS, "initialization"} | (
            {"m00_ema"} if path.stem == "with_ema" else set()
        )
        assert held <= allowed
    assert set(
        json.loads((finished.results / "recipes" / "first_two.json").read_text())["coefficients"]
    ) == {"m00", "m01"}


def test_an_ensemble_is_the_mean_of_its_members_logits(finished):
    members = json.loads((finished.results / "ensembles" / "greedy_ensemble.json").read_text())
    logits = finished.results / "logits"
    for name in ("test", *SHIFTS):
        mean = np.mean([np.load(logits / m / f"{name}.npy") for m in members["members"]], axis=0)
        ours = np.load(logits / "greedy_ensemble" / f"{name}.npy")
        np.testing.assert_allclose(ours, mean, rtol=1e-4, atol=1e-5)


def test_every_method_is_compared_and_calibrated(finished):
    tests = table(finished, "significance")
    against = tests[(tests["as"] == "best_individual") & (tests["measure"] == "test")]
    assert set(against["method"]) == set(METHODS) - {"best_individual", "oracle"}
    assert tests["p"].between(0, 1).all()
    calibration = table(finished, "calibration")
    assert set(calibration["method"]) == set(METHODS) - {"oracle"}
    assert set(calibration["set"]) == {"test", *SHIFTS}
    assert calibration["ece"].between(0, 1).all()


def test_curves_end_at_their_models(finished):
    """On a line, α = 0 is the start and α = 1 is the soup. The last n is the soup of all models."""
    rows = sample(600, 100)
    labels = np.load(finished.results / "prepared" / "test.labels.npy")[rows]

    def accuracy(model: str) -> float:
        logits = np.load(finished.results / "logits" / model / "test.npy")[rows]
        return float((logits.argmax(1) == labels).mean())

    line = table(finished, "wise_ft").set_index(["method", "alpha"])["test"]
    for method in ("uniform", "greedy", "learned_by_layer"):
        assert line[method, 0] == accuracy("initialization")
        assert line[method, 1] == accuracy(method)
    growing = table(finished, "number_of_models").set_index(["order", "method", "n"])["test"][0]
    for method in ("uniform", "greedy", "ensemble", "greedy_ensemble"):
        assert growing[method, 3] == pytest.approx(accuracy(method), abs=1e-6)
        assert growing[method, 1] == growing["best_individual", 1] == accuracy("m00")


def test_pairs_end_at_their_models(finished):
    """At α = 0 and α = 1, the soup and the ensemble are one of the two models."""
    rows = sample(600, 100)
    labels = np.load(finished.results / "prepared" / "test.labels.npy")[rows]
    pairs = table(finished, "pairs")
    assert len(pairs) == 3 * 3
    assert set(zip(pairs["model_1"], pairs["model_2"], strict=True)) <= {
        (one, two) for one in INGREDIENTS for two in INGREDIENTS if one != two
    }
    read = {m: np.load(finished.results / "logits" / m / "test.npy")[rows] for m in INGREDIENTS}
    for _, row in pairs.iterrows():
        ends = read[row["model_1"]], read[row["model_2"]]
        mixed = (1 - row["alpha"]) * ends[0] + row["alpha"] * ends[1]
        assert row["ensemble_test"] == pytest.approx((mixed.argmax(1) == labels).mean(), abs=1e-6)
        if row["alpha"] in (0, 1):
            assert row["test"] == row["ensemble_test"]
    assert pairs["angle"].between(1, 179).all()


def test_the_angle_of_a_pair_is_that_of_its_changes_from_the_start(finished):
    folder = finished.results / "models"
    start = Checkpoint(folder / "initialization.safetensors").state()
    row = table(finished, "paths").iloc[0]

    def change(name: str) -> torch.Tensor:
        state = Checkpoint(folder / f"{name}.safetensors").state()
        return torch.cat([(state[key].double() - start[key]).flatten() for key in start])

    one, two = change(row["model_1"]), change(row["model_2"])
    cosine = torch.nn.functional.cosine_similarity(one, two, dim=0)
    assert row["angle"] == pytest.approx(torch.rad2deg(torch.acos(cosine)).item(), abs=1e-3)
    assert row["distance_1"] == pytest.approx(one.norm().item(), rel=1e-5)


def test_paths_differ_in_one_hyperparameter_and_have_a_loss_gap(finished):
    paths = table(finished, "paths")
    assert set(paths["differ"]) == {"seed", "lr", "augment"}
    inner = paths["alpha"].between(0, 1, "neither")
    assert (
        paths.loc[inner, ["gap", "gap_approximation", "beta", "curvature"]].notna().all(axis=None)
    )
    assert paths.loc[~inner, "gap"].isna().all()
    # Only the middle of four steps has points two steps away on both sides.
    assert (paths["curvature_wide"].notna() == (paths["alpha"] == 0.5)).all()
    middle = paths[inner].iloc[0]
    terms = -middle["curvature"] + middle["beta"] ** 2 * middle["variance"]
    wanted = middle["alpha"] * (1 - middle["alpha"]) / 2 * terms
    assert middle["gap_approximation"] == pytest.approx(wanted, abs=1e-5)


def test_every_panel_of_the_landscape_has_a_grid_and_the_start(finished):
    points = table(finished, "landscape")
    assert (points.groupby("panel").size() == 3 * 3 + 4).all()
    labels = np.load(finished.results / "prepared" / "test.labels.npy")[sample(600, 20)]
    starts = points[points["kind"] == "start"]
    assert starts["heldout_loss"].nunique() == 1
    logits = np.load(finished.results / "logits" / "initialization" / "test.npy")
    accuracy = (logits[sample(600, 20)].argmax(1) == labels).mean()
    assert (starts["test"] == accuracy).all()


def test_an_ingredient_of_a_task_keeps_the_zeroshot_head(finished):
    folder = finished.results / "models"
    start = Checkpoint(folder / "zeroshot.safetensors").state()
    one = Checkpoint(folder / "m00_one.safetensors").state()
    assert any(key.startswith("head.") for key in start)
    assert all(torch.equal(one[key], start[key]) for key in start if key.startswith("head."))
    assert any((one[key] != start[key]).any() for key in start if key.startswith("visual."))
    tasks = table(finished, "tasks")
    assert list(tasks["tasks"]) == [0, 1, 1, 2]
    assert (tasks["n_test"] == 2 * 600 / 24).all()  # two of 24 classes


def test_every_claim_has_a_verdict(finished):
    claims = table(finished, "claims").set_index("claim")
    assert list(claims.index) == list(range(1, 20))
    untested = set(claims.index[claims["verdict"] == "not tested"])
    methods = table(finished, "methods").set_index("method")
    # With 30 held-out images the greedy soup is the best model, which is not compared with itself.
    assert methods.loc["greedy", "members"] == methods.loc["best_individual", "members"]
    # The others are from experiments/ablations.yaml, and text models. Claim 16 needs second
    # derivatives that agree.
    assert untested - {16} == {1, 3, 13, 14, 18, 19}
    effects = table(finished, "effects")
    itself = "a greedy soup other than the best individual model"
    assert (effects.loc[effects["claim"].isin([1, 3]), "missing"] == itself).all()
    tested = effects[effects["verdict"] != "not tested"]
    assert (tested["lo"].isna() | (tested["lo"] <= tested["hi"])).all()
    layered = tested[tested["part"] == "learned by layer − greedy, test"].iloc[0]
    difference = methods.loc["learned_by_layer", "test"] - methods.loc["greedy", "test"]
    assert layered["effect"] == pytest.approx(difference, abs=2e-6)


def test_figures_are_drawn_from_tables_alone(finished):
    """Drawing them again needs no models, logits or images."""
    plan = finished.planned("figures", "--forcerun", "plot")
    assert plan == {"plot": len(FIGURES) - 1, "figures": 1}  # without the contact sheet


def test_the_tiny_run_has_figures_of_every_kind():
    assert {"scatter", "landscape", "tasks", "contact_sheet"} <= set(FIGURES)


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_exists_as_png_and_pdf(finished, figure):
    folder = finished.results / "figures"
    assert (folder / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / f"{figure}.pdf").read_bytes().startswith(b"%PDF")


def test_the_tool_prints_the_methods_of_the_run(finished):
    command = [sys.executable, "tools/print_methods.py", "--configfile", "config.yaml"]
    printed = subprocess.run(
        [*command, "overlay.yaml"], cwd=finished.folder, capture_output=True, text=True, check=True
    ).stdout
    lines = printed.splitlines()
    assert lines[0].split()[0] == "method"
    # The header and a line of dashes are above the rows.
    assert [line.split("  ")[0] for line in lines[2 : 2 + len(METHODS)]] == [
        title(name) for name in METHODS
    ]
    assert "Report: results/tiny/report.html" in printed
    assert "Weights of the soups: results/tiny/soups" in printed
    assert "earlier configuration" not in printed


@pytest.mark.parametrize(
    "target", ["splits", "pretrained", "models", "soups", "tables", "figures", "report"]
)
def test_every_stage_is_a_target(finished, target):
    assert "Nothing to be done" in finished.run("-n", target).stdout


def test_the_rule_graph_shows_every_stage(finished):
    graph = finished.run("--rulegraph").stdout
    for rule in (
        "split",
        "finetune",
        "recipe",
        "cook",
        "evaluate",
        "choose_ensemble",
        "evaluate_pairs",
        "make_tables",
        "claims",
        "report",
    ):
        assert f'"{rule}"' in graph

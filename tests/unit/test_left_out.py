"""Models that diverged or were refused: they are named, and no choice contains them."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from print_methods import main as print_methods

from soups import files
from soups.data.prepared import PreparedSet
from soups.errors import LeftOut, UserError
from soups.evaluation.metrics import correct, predicted
from soups.evaluation.tables import method_list, models_table
from soups.jobs import left_out
from soups.mixing import ensembles, methods, plans, select
from soups.mixing.kitchen import Kitchen, weight_files
from soups.models import checkpoints, forward, usable
from soups.models.checkpoints import Checkpoint
from soups.models.finite import check_finite, leaving_out, not_finite
from soups.report import figures
from soups.roles import BASE, BEST, INITIALIZATION
from soups.training.divergence import Watch
from tests.unit.kitchens import NAMES, tiny_kitchen

WHY = LeftOut("diverged", "the loss of step 2 of 9 is nan")
MISSING = np.full((6, 3), np.nan, np.float32)


@pytest.fixture
def heldout(tmp_path) -> PreparedSet:
    """Six images of three classes, none of them of the first class."""
    files.write_array(tmp_path / "heldout.npy", np.zeros((6, 16, 16, 3), np.uint8))
    files.write_array(tmp_path / "heldout.labels.npy", np.array([1, 2, 1, 2, 1, 2]))
    meta = {"name": "heldout", "mapping": [["a", [0]], ["b", [1]], ["c", [2]]], "derived": None}
    files.write_json(tmp_path / "heldout.json", meta)
    return PreparedSet(tmp_path / "heldout.npy")


@pytest.fixture
def models(tmp_path):
    """Weights and held-out logits of a model that is right once, and of one that diverged."""
    found = {name: tmp_path / "models" / f"{name}.heldout.npy" for name in ("good", "bad")}
    weights = {name: tmp_path / "models" / f"{name}.safetensors" for name in found}
    files.write_array(found["good"], np.eye(3, dtype=np.float32)[[1, 0, 0, 0, 0, 0]])
    files.write_array(found["bad"], MISSING)
    checkpoints.save(weights["good"], {"w": torch.zeros(2)}, {"pretrained": "one"})
    checkpoints.save_left_out(weights["bad"], WHY, {"pretrained": "one"})
    return SimpleNamespace(logits=found, weights=weights)


def job_of(tmp_path, strict: bool = False) -> SimpleNamespace:
    output = {"weights": tmp_path / "m.safetensors", "heldout": tmp_path / "m.heldout.npy"}
    config = {"ingredients": {"strict": strict}}
    return SimpleNamespace(output=SimpleNamespace(**output), config=config)


def test_a_model_is_usable_if_its_heldout_logits_are_all_finite():
    fine = np.zeros((6, 3), np.float32)
    assert usable.is_usable(fine)
    for wrong in (np.nan, np.inf, -np.inf):
        fine[5, 2] = wrong
        assert not usable.is_usable(fine)


def test_both_ways_to_ask_leave_out_the_same_model_and_log_its_reason(models, caplog):
    with caplog.at_level("INFO", "soups"):
        assert usable.by_logits(models.logits) == ["good"]
    assert caplog.messages == [f"bad is left out: {WHY}"]
    assert usable.by_weights(models.weights) == ["good"]
    assert usable.first(list(models.weights.values())[::-1]) == str(models.weights["good"])


def test_an_error_names_the_first_reasons_if_no_model_is_left(models):
    with pytest.raises(UserError, match=f"bad is left out: {WHY}"):
        usable.by_logits({"bad": models.logits["bad"]})
    many = {f"m{i}": models.weights["bad"] for i in range(5)}
    with pytest.raises(UserError, match=r"m0 is .*m2 is .*\(2 more are left out too\)"):
        usable.by_weights(many)
    assert usable.by_weights(many, some=False) == []


def test_logits_without_a_file_of_weights_give_a_general_reason(tmp_path, caplog):
    files.write_array(tmp_path / "old.heldout.npy", MISSING)
    with pytest.raises(UserError, match=left_out.NO_REASON):
        usable.by_logits({"old": tmp_path / "old.heldout.npy"})


def test_headers_are_read_without_torch_and_broken_files_have_no_reason(models, tmp_path):
    assert left_out.reason(models.weights["bad"]) == str(WHY)
    assert left_out.reason(models.weights["good"]) is None
    for content in (None, b"", b"\xff" * 9, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}"):
        if content is not None:
            (tmp_path / "broken").write_bytes(content)
        assert left_out.reason(tmp_path / "broken") is None
    assert left_out.lines(tmp_path, ["good", "bad", "none"]) == [f"bad is left out: {WHY}"]


def test_a_job_writes_a_file_without_tensors_and_missing_logits(heldout, tmp_path):
    job = job_of(tmp_path)
    with leaving_out(job, {"pretrained": "one"}, heldout):
        raise WHY
    made = Checkpoint(job.output.weights)
    assert made.left_out == {"verdict": "diverged", "reason": str(WHY)}
    assert made.note["number_of_classes"] == 3
    assert not made.shapes()
    logits = np.load(job.output.heldout)
    assert (logits.dtype, logits.shape) == (np.float32, (6, 3))
    assert np.isnan(logits).all()


def test_a_strict_job_fails_with_the_sentence(heldout, tmp_path):
    job = job_of(tmp_path, strict=True)
    with pytest.raises(LeftOut, match="step 2 of 9"), leaving_out(job, {}, heldout):
        raise WHY
    assert not job.output.weights.exists()


def test_logits_that_are_not_finite_are_refused_before_they_are_written(heldout, tmp_path):
    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), torch.inf)

    with pytest.raises(LeftOut, match="logits of 6 of 6 held-out images"):
        forward.write_heldout_logits(Constant(), heldout, tmp_path / "m.npy")
    assert not (tmp_path / "m.npy").exists()


def test_an_image_with_a_logit_that_is_not_finite_is_never_right():
    logits = np.array([[2, 1, 0], [np.nan, 1, 0], [2, np.inf, 0], [2, -np.inf, 0]])
    assert predicted(logits).tolist() == [0, -1, -1, -1]
    assert correct(logits, np.array([0, 0, 1, 0]), [[0], [1], [2]]).tolist() == [True] + [False] * 3


def test_the_first_tensor_that_is_not_finite_is_named():
    state = {"a": torch.zeros(2), "n": torch.tensor(3), "b": torch.tensor([0, torch.inf])}
    assert not_finite(state) == "b"
    assert not_finite({"a": state["a"], "n": state["n"]}) is None
    with pytest.raises(UserError, match=r"model\.pt: tensor 'b' has values that are NaN"):
        check_finite(state, "model.pt")


def test_a_kitchen_has_only_usable_ingredients(models, heldout, tmp_path):
    names = ["bad", "good"]
    entry = {"ingredients": names, "pool": names, "start": None}
    inputs = {
        "weights": [models.weights[name] for name in names],
        "logits": [models.logits[name] for name in names],
        "heldout": [tmp_path / "heldout.npy"],
    }
    params = SimpleNamespace(entry=entry, recalibrate=False)
    kitchen = Kitchen.of_job(SimpleNamespace(input=SimpleNamespace(**inputs), params=params))
    # With three hard classes, NaN as class 0 would be as good as the usable model or better.
    assert kitchen.scores == {"good": pytest.approx(1 / 6)}
    assert list(kitchen.pool) == kitchen.ranking == ["good"]
    for method in (methods.uniform, methods.greedy, methods.greedy_pruned):
        assert method(kitchen)["coefficients"] == {"good": 1}
    assert kitchen.recipe(BEST)["coefficients"] == {"good": 1}
    kitchen.pool = []
    with pytest.raises(UserError, match="best individual"):
        kitchen.recipe(BEST)


def test_a_start_that_is_left_out_is_an_error(models):
    entry = {"ingredients": ["good"], "start": "bad"}
    inputs = SimpleNamespace(
        weights=[models.weights["good"]], start=[models.weights["bad"]], logits=[]
    )
    job = SimpleNamespace(input=inputs, params=SimpleNamespace(entry=entry))
    with pytest.raises(UserError, match=r"bad\.safetensors cannot be the start .* step 2 of 9"):
        weight_files(job)


def test_greedy_never_takes_an_average_without_a_score():
    def score(names):
        return float("nan") if "b" in names else 0.0

    chosen, trace = select.greedy(["b", "a", "c"], select.full(score))
    assert chosen == ["a", "c"]
    assert [step["with"] for step in trace] == [None, 0, 0]
    json.dumps(trace, allow_nan=False)
    pair = select.full(lambda names: 0.5 if len(names) == 2 else float("nan"))
    assert select.prune(["a", "c"], pair)[0] == ["a", "c"]
    with pytest.raises(UserError, match="none of the 1 averages"):
        select.greedy(["b"], select.full(score))


def test_the_best_of_several_soups_has_a_score(pretrained, tmp_path, images, labels, monkeypatch):
    kitchen = tiny_kitchen(pretrained, tmp_path, images, labels)
    scores = {"uniform": float("nan"), "greedy": 0.1}
    monkeypatch.setattr(kitchen, "score", lambda recipe: scores[recipe["method"]])
    made = methods.best_of(kitchen, ["uniform", "greedy"])
    assert made["selection"]["of"] == "greedy"
    json.dumps(made, allow_nan=False)
    monkeypatch.setattr(kitchen, "score", lambda recipe: float("nan"))
    with pytest.raises(UserError, match="none of the 2 soups"):
        methods.best_of(kitchen, ["uniform", "greedy"])


def test_members_without_predictions_do_not_help_an_ensemble():
    logits = {"good": np.eye(3)[[1, 2, 1, 2, 1, 2]], "bad": MISSING}
    score = ensembles.scorer(logits.__getitem__, np.array([1, 2, 1, 2, 1, 2]))
    assert score(("good",)) == 1
    assert score(("bad",)) == score(("good", "bad")) == 0


def test_pairs_and_panels_with_a_model_that_is_left_out_are_left_out(
    pretrained, tmp_path, images, labels, caplog
):
    kitchen = tiny_kitchen(pretrained, tmp_path, images, labels)
    checkpoint = {name: Checkpoint(path) for name, path in kitchen.paths.items()}
    starts = {INITIALIZATION: checkpoint.pop(INITIALIZATION)}
    origins = dict.fromkeys(NAMES, INITIALIZATION)
    chosen = [{"model_1": "m0", "model_2": "m1"}, {"model_1": "m1", "model_2": "m2"}]
    whole = plans.pairs(chosen, checkpoint, starts, origins)
    assert len(whole) == 2
    del checkpoint["m0"]
    with caplog.at_level("INFO", "soups"):
        assert plans.pairs(chosen, checkpoint, starts, origins) == whole[1:]
    assert "the pair m0 and m1 is left out" in caplog.text
    assert plans.pairs(chosen, {}, starts, origins) == []
    # Files of earlier versions hold the tensors of a model that diverged.
    state = checkpoint["m1"].state()
    checkpoints.save(tmp_path / "nan.safetensors", {n: t * torch.nan for n, t in state.items()}, {})
    models = starts | {"m1": checkpoint["m1"], "nan": Checkpoint(tmp_path / "nan.safetensors")}
    assert plans.panel("large", 1.0, models, 3) == []


def test_slices_and_large_learning_rates_skip_models_that_are_left_out(
    pretrained, tmp_path, images, labels
):
    kitchen = tiny_kitchen(pretrained, tmp_path, images, labels)
    kitchen.ingredients = kitchen.pool = NAMES[:2]
    plan = plans.slices(kitchen, {"seed": ["m0", "m3"], "lr": ["m2", "m3"]})
    assert {(p["labels"]["slice"], p["labels"]["models"]) for p in plan} == {("seed", 1)}
    plan, trace = plans.large_lr(kitchen, ["m0", "m2"], ["m3", "m1"])
    assert {p["labels"]["large"] for p in plan} == {0, 1}
    assert {step["candidate"] for step in trace} == {"m0", "m1"}


def test_the_table_keeps_the_row_of_a_model_that_is_left_out_without_accuracies():
    sweep = {"m0": {"lr": 0.1, "seed": 0}, "m1": {"lr": 1e30, "seed": 1}}
    origin = {"m0": ("m0", BASE), "m1": ("m1", BASE)}
    rows = {"start": {"heldout": 0.5, "test": 0.4}, "m0": {"heldout": 0.6, "test": 0.5}}
    table = models_table(sweep, origin, rows, ["start"])
    assert table["model"].tolist() == ["start", "m0", "m1"]
    assert table.to_csv(index=False).splitlines()[-1] == "m1,base,1e+30,1,,"
    with pytest.raises(UserError, match="expected at least one"):
        method_list([], {}, {}, [])


@pytest.mark.parametrize("filled", ["both", "pairs", "none"])
def test_a_figure_is_drawn_from_the_tables_that_have_rows(filled):
    some, none = pd.DataFrame({"alpha": [0.5]}), pd.DataFrame(columns=["test"])
    tables = {
        "effects": some,
        "pairs": some if filled in ("both", "pairs") else none,
        "paths": some if filled == "both" else none,
    }
    found = figures.drawable(figures.function("angles"), tables)
    expected = {"both": {"effects", "pairs", "paths"}, "pairs": {"effects", "pairs"}}
    assert (found and found.keys()) == expected.get(filled)


def losses(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(value) for value in values]


def test_training_stops_at_the_first_loss_that_is_not_finite(monkeypatch):
    model = torch.nn.Linear(2, 2)
    watch = Watch(model, lr=3, total=9)
    watch.look(losses(1, 2), 2, last=True)
    nan = losses(1, float("nan"), float("nan"))
    watch.look(nan, 8, last=False)  # It is not yet time to look.
    message = r"step 7 of 9 is nan and all weights are finite \(peak learning rate 3\)"
    with pytest.raises(LeftOut, match=message):
        watch.look(nan, 8, last=True)
    monkeypatch.setattr("soups.training.divergence.EVERY", 3)
    with torch.no_grad():
        model.bias[1] = torch.nan
    with pytest.raises(LeftOut, match="step 7 of 9 is nan and tensor 'bias' is not finite"):
        watch.look(nan, 8, last=False)
    with pytest.raises(LeftOut, match="tensor 'bias' is not finite after all 9 steps"):
        watch.end()


def test_in_float16_a_step_that_is_skipped_is_no_divergence():
    model = torch.nn.Linear(2, 2)
    watch = Watch(model, lr=3, total=9, skips=True)
    watch.look(losses(1, float("inf")), 2, last=True)
    with torch.no_grad():
        model.weight[0, 0] = torch.inf
    with pytest.raises(LeftOut, match="step 2 of 9 is inf and tensor 'weight'"):
        watch.look(losses(1, float("inf")), 2, last=True)


def test_the_printed_table_names_each_model_that_is_left_out(models, tmp_path, capsys):
    value = {"heldout": 0.5, "test": 0.5, "shifts_mean": 0.5, "ingredients": 1, "inference_cost": 1}
    value |= {"n_heldout": 6, "n_test": 6, "n_shifts": 6, "method": "greedy"}
    for name in ("test", "shifts_mean"):
        value |= {f"{name}_lo": 0.4, f"{name}_hi": 0.6, f"{name}_sd": None, f"{name}_top": True}
    (tmp_path / "tables").mkdir()
    pd.DataFrame([value]).to_csv(tmp_path / "tables" / "methods.csv", index=False)
    models = pd.DataFrame({"model": ["good", "bad"]})
    models.to_csv(tmp_path / "tables" / "models.csv", index=False)
    print_methods(str(tmp_path))
    assert f"\nbad is left out: {WHY}\n" in capsys.readouterr().out

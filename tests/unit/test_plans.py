"""Plans of curves on a tiny kitchen."""

import numpy as np
import pytest
import torch

from soups.mixing import plans
from soups.mixing.ensembles import scorer
from soups.mixing.kitchen import Kitchen
from soups.mixing.select import by_score, full, greedy
from soups.models.checkpoints import Checkpoint
from soups.roles import BEST, ENSEMBLE, GREEDY, GREEDY_ENSEMBLE, INITIALIZATION, UNIFORM
from tests.unit.kitchens import NAMES, tiny_kitchen


@pytest.fixture
def kitchen(pretrained, tmp_path, images, labels) -> Kitchen:
    return tiny_kitchen(pretrained, tmp_path, images, labels)


def test_a_line_has_a_point_between_its_start_and_its_end_for_every_alpha(kitchen):
    ends = {BEST: INITIALIZATION, "my_soup": INITIALIZATION}
    plan = plans.wise_ft(kitchen, ends, ["my_soup"], [0, 0.5, 1.5])
    assert [point["labels"]["method"] for point in plan] == [BEST] * 3 + ["my_soup"] * 3
    assert [point["labels"]["alpha"] for point in plan] == [0, 0.5, 1.5] * 2
    best = kitchen.ranking[0]
    for point in plan:
        alpha, method = point["labels"]["alpha"], point["labels"]["method"]
        end = best if method == BEST else "my_soup"
        assert point["recipe"]["coefficients"] == {end: alpha, INITIALIZATION: 1 - alpha}


def test_a_growing_sweep_has_a_point_for_each_order_number_of_models_and_method(kitchen):
    plan = plans.number_of_models(kitchen, orders=2, seed=3)
    rows = [BEST, UNIFORM, GREEDY, ENSEMBLE, GREEDY_ENSEMBLE]
    assert [tuple(point["labels"].values()) for point in plan] == [
        (row, order, n) for order in (0, 1) for n in range(1, 5) for row in rows
    ]
    score = scorer(kitchen.logits, kitchen.labels)
    orders = [NAMES, None]
    for order in (0, 1):
        points = {
            (point["labels"]["method"], point["labels"]["n"]): point
            for point in plan
            if point["labels"]["order"] == order
        }
        names = orders[order] or points[ENSEMBLE, 4]["ensemble"]
        assert sorted(names) == NAMES
        for n in range(1, 5):
            ranking = by_score({name: kitchen.scores[name] for name in names[:n]})
            assert list(points[BEST, n]["recipe"]["coefficients"]) == ranking[:1]
            assert points[UNIFORM, n]["recipe"]["coefficients"] == dict.fromkeys(names[:n], 1 / n)
            soup = list(points[GREEDY, n]["recipe"]["coefficients"])
            assert soup == greedy(ranking, kitchen.average)[0]
            assert points[ENSEMBLE, n]["ensemble"] == names[:n]
            assert points[GREEDY_ENSEMBLE, n]["ensemble"] == greedy(ranking, full(score))[0]


def test_models_with_a_large_learning_rate_are_added_one_by_one(kitchen):
    plan, trace = plans.large_lr(kitchen, NAMES[:2], NAMES[2:])
    assert [tuple(point["labels"].values()) for point in plan] == [
        (row, count) for count in range(3) for row in (BEST, UNIFORM, GREEDY)
    ]
    uniform = [point["recipe"] for point in plan if point["labels"]["method"] == UNIFORM]
    assert [list(made["coefficients"]) for made in uniform] == [NAMES[:n] for n in (2, 3, 4)]
    assert sorted(step["candidate"] for step in trace) == NAMES
    accepted = [step["candidate"] for step in trace if step["accepted"]]
    assert list(plan[-1]["recipe"]["coefficients"]) == accepted


def test_a_slice_is_compared_with_its_best_model(kitchen):
    plan = plans.slices(kitchen, {"a": NAMES[:2], "b": NAMES[1:]})
    assert [point["labels"] for point in plan] == [
        {"slice": name, "method": row, "models": n}
        for name, n in (("a", 2), ("b", 3))
        for row in (BEST, UNIFORM, GREEDY)
    ]
    assert [point["against"] for point in plan] == [0, 0, 0, 3, 3, 3]
    best = by_score({name: kitchen.scores[name] for name in NAMES[1:]})[0]
    assert plan[3]["recipe"]["coefficients"] == {best: 1.0}


def test_every_combination_of_tasks_has_a_point(monkeypatch):
    of_model = {"m0": "cats", "m1": "dogs", "m2": "cats", "m3": "birds"}
    plan = plans.tasks(of_model, "zeroshot")
    assert plan[0]["recipe"]["coefficients"] == {"zeroshot": 1.0}
    assert "against" not in plan[0]
    chosen = {point["labels"]["of"]: point for point in plan[1:]}
    assert list(chosen) == [
        "cats", "dogs", "birds", "cats dogs", "cats birds", "dogs birds", "cats dogs birds",
    ]  # fmt: skip
    assert chosen["cats birds"] == {
        "labels": {"method": "soup", "tasks": 2, "of": "cats birds", "models": 3},
        "recipe": {
            "method": "tasks",
            "coefficients": dict.fromkeys(["m0", "m2", "m3"], 1 / 3),
            "selection": {},
        },
        "against": 0,
    }
    with_start = plans.tasks(of_model, "zeroshot", with_start=True)
    assert with_start[0] == plan[0]
    assert with_start[5]["labels"] == chosen["cats birds"]["labels"]
    coefficients = with_start[5]["recipe"]["coefficients"]
    assert coefficients == dict.fromkeys(["zeroshot", "m0", "m2", "m3"], 1 / 4)
    monkeypatch.setattr(plans, "MAX_CHOICES", 2)
    assert len(plans.tasks(of_model, "zeroshot")) == 1 + 2 + 2 + 1


def changes(kitchen: Kitchen) -> dict[str, torch.Tensor]:
    """The difference of all weights between each model and the start, as one vector."""
    start = Checkpoint(kitchen.paths[INITIALIZATION]).state()
    return {
        name: torch.cat(
            [
                (tensor.double() - start[key].double()).flatten()
                for key, tensor in Checkpoint(kitchen.paths[name]).items()
            ]
        )
        for name in NAMES
    }


def test_pairs_have_angles_and_lengths(kitchen):
    models = {name: Checkpoint(kitchen.paths[name]) for name in NAMES}
    starts = {INITIALIZATION: Checkpoint(kitchen.paths[INITIALIZATION])}
    chosen = [{"model_1": "m0", "model_2": "m3"}, {"model_1": "m2", "model_2": "m1"}]
    plan = plans.pairs(chosen, models, starts, dict.fromkeys(NAMES, INITIALIZATION))
    assert [(pair["model_1"], pair["model_2"]) for pair in plan] == [("m0", "m3"), ("m2", "m1")]
    vectors = changes(kitchen)
    for pair in plan:
        one, two = vectors[pair["model_1"]], vectors[pair["model_2"]]
        angle = np.degrees(np.arccos((one @ two / one.norm() / two.norm()).item()))
        assert pair["angle"] == pytest.approx(angle, abs=1e-3)
        assert pair["distance_1"] == pytest.approx(one.norm().item(), rel=1e-5)
        assert pair["distance_2"] == pytest.approx(two.norm().item(), rel=1e-5)


def test_a_panel_has_a_grid_and_marks_at_their_distances_from_the_start(kitchen):
    names = [INITIALIZATION, "m0", "m2"]
    models = {name: Checkpoint(kitchen.paths[name]) for name in names}
    plan = plans.panel("medium", 0.1, models, points=3)
    kinds = [point["labels"]["kind"] for point in plan]
    assert kinds == ["grid"] * 9 + ["start", "one", "two", "average"]
    marks = {p["labels"]["kind"]: list(p["recipe"]["coefficients"].values()) for p in plan[9:]}
    np.testing.assert_allclose(marks["start"], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(marks["one"], [0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(marks["two"], [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(marks["average"], [0, 0.5, 0.5], atol=1e-9)
    vectors = changes(kitchen)
    for point in plan:
        x, y = point["labels"]["x"], point["labels"]["y"]
        amounts = point["recipe"]["coefficients"]
        assert sum(amounts.values()) == pytest.approx(1)
        change = amounts["m0"] * vectors["m0"] + amounts["m2"] * vectors["m2"]
        assert change.norm().item() == pytest.approx(np.hypot(x, y), rel=1e-4, abs=1e-5)

import numpy as np
import pandas as pd
import pytest

from soups.metrics import bootstrap_mean
from soups.recipes import recipe, uniform
from soups.tables import accuracy_row, methods_table, models_table, trace_table

COUNTS = {"heldout": 50, "test": 200, "blur": 100, "noise": 400}
SHIFTS = ["blur", "noise"]
STARTS = ["zeroshot", "initialization"]
SWEEP = {"m0": {"lr": 0.1, "seed": 0}, "m1": {"lr": 0.2, "seed": 1}, "m2": {"lr": 0.3, "seed": 2}}


def hits(accuracy: float, name: str) -> np.ndarray:
    return np.arange(COUNTS[name]) < round(accuracy * COUNTS[name])


def row(level: float) -> dict:
    accuracy = {"heldout": level, "test": level / 2, "blur": 0.2, "noise": 0.6}
    return accuracy_row({name: hits(value, name) for name, value in accuracy.items()}, SHIFTS)


@pytest.fixture
def rows() -> dict[str, dict]:
    names = [*STARTS, *SWEEP, "uniform", "greedy"]
    return {name: row((i + 1) / 10) for i, name in enumerate(names)}


def rounded(bounds) -> list[float]:
    return [round(bound, 6) for bound in bounds]


def test_accuracy_row():
    assert row(0.5) | {"shifts_mean": pytest.approx(0.4)} == {
        "heldout": 0.5,
        "test": 0.25,
        "blur": 0.2,
        "noise": 0.6,
        "shifts_mean": pytest.approx(0.4),
        **dict(
            zip(["test_lo", "test_hi"], rounded(bootstrap_mean([hits(0.25, "test")])), strict=True)
        ),
        **dict(
            zip(
                ["shifts_mean_lo", "shifts_mean_hi"],
                rounded(bootstrap_mean([hits(0.2, "blur"), hits(0.6, "noise")])),
                strict=True,
            )
        ),
    }
    assert row(0.5)["shifts_mean"] == pytest.approx(0.4)  # of sets, though noise has more images


def test_models_table_has_a_row_per_model(rows):
    table = models_table(SWEEP, rows, STARTS)
    assert table["model"].tolist() == ["zeroshot", "initialization", "m0", "m1", "m2"]
    assert list(table)[:5] == ["model", "lr", "seed", "heldout", "test"]
    assert table["lr"].isna().tolist() == [True, True, False, False, False]
    assert table["lr"].tolist()[2:] == [0.1, 0.2, 0.3]
    assert table["heldout"].tolist() == [rows[name]["heldout"] for name in table["model"]]


@pytest.fixture
def methods(rows) -> pd.DataFrame:
    recipes = {
        "uniform": uniform(SWEEP),
        "greedy": recipe({"m2": 0.5, "m1": 0.5, "m0": 0}, "greedy"),
    }
    return methods_table(["m2", "m1", "m0"], rows, recipes, STARTS, COUNTS)


def test_methods_table_has_a_row_per_method(methods, rows):
    model_of = {
        "best_individual": "m2",
        "second_best": "m1",
        "uniform": "uniform",
        "greedy": "greedy",
        "initialization": "initialization",
        "zeroshot": "zeroshot",
    }
    assert methods["method"].tolist() == list(model_of)
    for column in rows["m0"]:
        expected = [rows[model][column] for model in model_of.values()]
        assert methods[column].tolist() == expected


def test_methods_table_counts_what_went_in(methods):
    assert methods["ingredients"].tolist() == [1, 1, 3, 2, 1, 1]
    assert methods["members"].tolist()[:4] == ["m2", "m1", "m0 m1 m2", "m2 m1"]
    assert set(methods["inference_cost"]) == {1}
    sizes = methods[["n_heldout", "n_test", "n_shifts"]].drop_duplicates()
    assert sizes.to_numpy().tolist() == [[50, 200, 500]]


def test_a_single_ingredient_has_no_second(rows):
    table = methods_table(["m0"], rows, {"uniform": uniform(["m0"])}, STARTS, COUNTS)
    assert table["method"].tolist() == ["best_individual", "uniform", "initialization", "zeroshot"]


def test_trace_table():
    trace = [
        {"candidate": "m2", "without": None, "with": 0.5, "accepted": True},
        {"candidate": "m0", "without": 0.5, "with": 0.4, "accepted": False},
    ]
    table = trace_table(recipe({"m2": 1.0}, "greedy", trace=trace))
    assert list(table) == ["step", "candidate", "without", "with", "accepted"]
    assert table["step"].tolist() == [1, 2]
    assert table["candidate"].tolist() == ["m2", "m0"]
    assert table["accepted"].tolist() == [True, False]

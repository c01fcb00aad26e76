import numpy as np
import pandas as pd
import pytest

from soups.evaluation.metrics import bootstrap_mean
from soups.evaluation.tables import (
    method_list,
    methods_table,
    models_table,
    score_row,
    trace_table,
)
from soups.mixing.recipes import recipe
from soups.roles import BEST, ORACLE, SECOND_BEST

COUNTS = {"heldout": 50, "test": 200, "blur": 100, "noise": 400}
SHIFTS = ["blur", "noise"]
STARTS = ["zeroshot", "initialization"]
SWEEP = {"m0": {"lr": 0.1, "seed": 0}, "m1": {"lr": 0.2, "seed": 1}, "m2": {"lr": 0.3, "seed": 2}}


def hits(accuracy: float, name: str) -> np.ndarray:
    return np.arange(COUNTS[name]) < round(accuracy * COUNTS[name])


def row(level: float) -> dict:
    accuracy = {"heldout": level, "test": level / 2, "blur": 0.2, "noise": 0.6}
    return score_row({name: hits(value, name) for name, value in accuracy.items()}, SHIFTS)


@pytest.fixture
def rows() -> dict[str, dict]:
    names = [*STARTS, *SWEEP, "uniform", "greedy"]
    return {name: row((i + 1) / 10) for i, name in enumerate(names)}


def rounded(bounds) -> list[float]:
    return [round(bound, 6) for bound in bounds]


def test_a_row_has_accuracies_and_bounds():
    assert row(0.5) == {
        "heldout": 0.5,
        "test": 0.25,
        "blur": 0.2,
        "noise": 0.6,
        # Sets have equal weight, though "noise" has more images.
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


def test_models_table_has_a_row_per_model(rows):
    origin = {name: (name, "base") for name in SWEEP}
    table = models_table(SWEEP, origin, rows, STARTS)
    assert table["model"].tolist() == ["zeroshot", "initialization", "m0", "m1", "m2"]
    assert list(table)[:6] == ["model", "variant", "lr", "seed", "heldout", "test"]
    assert table["variant"].tolist()[2:] == ["base"] * 3
    assert table["lr"].isna().tolist() == [True, True, False, False, False]
    assert table["lr"].tolist()[2:] == [0.1, 0.2, 0.3]
    assert table["heldout"].tolist() == [rows[name]["heldout"] for name in table["model"]]


RANKING = ["m2", "m1", "m0"]
MADE = {
    "uniform": {"row": "uniform", "members": ["m0", "m1", "m2"]},
    "random_0": {"row": "random", "members": ["m0"]},
    "random_1": {"row": "random", "members": ["m1", "m2"]},
}
ROWS = [
    BEST, SECOND_BEST, "uniform", "random", "both", ORACLE, "initialization",
    "zeroshot",
]  # fmt: skip


@pytest.fixture
def right() -> dict[str, dict[str, np.ndarray]]:
    """Random images that each model gets right, with a different accuracy for each model."""
    rng = np.random.default_rng(0)
    levels = {name: 0.4 + 0.05 * i for i, name in enumerate([*STARTS, *SWEEP, *MADE, "both"])}
    return {
        name: {data: rng.random(count) < level for data, count in COUNTS.items()}
        for name, level in levels.items()
    }


@pytest.fixture
def tested(right) -> tuple[pd.DataFrame, pd.DataFrame]:
    listed = method_list(RANKING, MADE, {"both": ["m0", "m1"]}, STARTS)
    return methods_table(listed, right, SHIFTS, {}, [BEST, "both"])


def test_methods_table_has_a_row_per_method(tested, right):
    methods = tested[0].set_index("method")
    assert list(methods.index) == ROWS
    alone = {BEST: "m2", SECOND_BEST: "m1", "uniform": "uniform", "both": "both"}
    for method, model in (alone | {start: start for start in STARTS}).items():
        for column, value in score_row(right[model], SHIFTS).items():
            assert methods.loc[method, column] == value
    assert methods.loc["random", "test"] == pytest.approx(
        np.mean([right[f"random_{i}"]["test"].mean() for i in (0, 1)]), abs=1e-6
    )


def test_a_row_of_several_orders_has_their_mean_and_standard_deviation(tested, right):
    methods = tested[0].set_index("method")
    both = [right[f"random_{i}"]["test"].mean() for i in (0, 1)]
    assert methods.loc["random", "test_sd"] == pytest.approx(np.std(both, ddof=1), abs=1e-6)
    assert methods["test_sd"].notna().sum() == 1
    assert methods.loc["random", "ingredients"] == 1.5


def test_the_oracle_is_the_best_ingredient_of_each_set(tested, right):
    oracle = tested[0].set_index("method").loc[ORACLE]
    for data in ("test", *SHIFTS):
        assert oracle[data] == max(right[name][data].mean() for name in SWEEP)
    assert np.isnan(oracle["heldout"])
    assert not oracle[["test_top", "shifts_mean_top"]].any()


def test_methods_table_counts_ingredients_and_images(tested):
    methods = tested[0]
    assert methods["ingredients"].tolist() == [1, 1, 3, 1.5, 2, 1, 1, 1]
    assert methods["inference_cost"].tolist() == [1, 1, 1, 1, 2, 1, 1, 1]
    assert methods["members"].tolist()[:4] == ["m2", "m1", "m0 m1 m2", "m0 | m1 m2"]
    sizes = methods[["n_heldout", "n_test", "n_shifts"]].drop_duplicates()
    assert sizes.to_numpy().tolist() == [[50, 200, 500]]


def test_methods_that_do_not_differ_significantly_from_the_best_are_marked(tested):
    methods, tests = tested
    fair = methods[methods["kind"] != ORACLE].set_index("method")
    for measure in ("test", "shifts_mean"):
        best = fair[measure].idxmax()
        against = tests[(tests["as"] == "best in column") & (tests["measure"] == measure)]
        assert set(against["reference"]) == {best}
        p = against.set_index("method")["p"]
        marked = set(fair.index[fair[f"{measure}_top"]])
        assert marked == {best, *p.index[p >= 0.05]}
        assert len(marked) < len(fair)  # The start has an accuracy of about 40% and is worse.


def test_every_method_is_tested_against_the_best_individual(tested):
    tests = tested[1]
    against = tests[tests["as"] == BEST]
    others = [name for name in ROWS if name not in (BEST, ORACLE)]
    for measure in ("test", "shifts_mean"):
        rows = against[against["measure"] == measure]
        assert rows["method"].tolist() == others
        assert (rows["p_holm"] >= rows["p"]).all()
        assert ((rows["lo"] <= rows["difference"]) & (rows["difference"] <= rows["hi"])).all()
    exact = against[against["test"] == "McNemar, exact"]
    assert set(exact["method"]) == {*others} - {"random"}


def test_a_single_ingredient_gives_no_second_best_row():
    listed = method_list(["m0"], {}, {}, STARTS)
    assert [entry["method"] for entry in listed] == [
        BEST, ORACLE, "initialization", "zeroshot",
    ]  # fmt: skip


def test_a_trace_becomes_a_table_with_a_row_per_step():
    trace = [
        {"candidate": "m2", "without": None, "with": 0.5, "accepted": True},
        {"candidate": "m0", "without": 0.5, "with": 0.4, "accepted": False},
    ]
    table = trace_table(recipe({"m2": 1.0}, "greedy", trace=trace))
    assert list(table) == ["step", "candidate", "without", "with", "accepted"]
    assert table["step"].tolist() == [1, 2]
    assert table["candidate"].tolist() == ["m2", "m0"]
    assert table["accepted"].tolist() == [True, False]


def test_a_model_that_was_not_trained_has_no_hyperparameters():
    sweep = {"m0": {"lr": 0.1, "epochs": 0, "seed": 1}, "m1": {"lr": 0.2, "epochs": 2, "seed": 3}}
    origin = {name: (name, "base") for name in sweep}
    rows = {name: {"test": 0.5} for name in sweep}
    table = models_table(sweep, origin, rows, []).set_index("model")
    assert table.loc["m0", ["lr", "seed"]].isna().all()
    assert table["epochs"].tolist() == [0, 2]
    assert table.loc["m1", "seed"] == 3

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soups.errors import UserError
from soups.experiment.sweep import check_different, draw, ready_made
from soups.experiment.variants import Sweep, pairs, pool, vary
from soups.hyperparameters import NEWER

DEFAULTS = {
    "lr": 0.001, "weight_decay": 0.0, "epochs": 1, "batch_size": 8, "warmup": 0.1, "clip": 1.0,
    "label_smoothing": 0, "mixup": 0, "augment": 0, "start": "probe", "layer_decay": 1, "ema": 0,
    "task": "all", "batch_norm": "frozen", "swa": 0, "swa_lr": 0, "sam": 0, "distill": 0,
    "distill_temperature": 1,
    "seed": 0, "crop": 1, "flip": 0, "rand_augment_ops": 0,
    "rand_augment_magnitude": 0,
}  # fmt: skip
PARAMETERS = {
    "lr": "log_uniform(1e-5, 1e-3)",
    "mixup": "uniform(0.1, 0.2) or 0",
    "batch_size": "integer(4, 6)",
    "augment": "choice(0, 0.5, 2)",
}


def random(n: int, parameters: dict, seed: int = 0, choices: dict | None = None) -> dict[str, dict]:
    spec = {"n": n, "seed": seed, "parameters": parameters, "choices": choices or {}}
    return draw({"kind": "random", "random": spec}, DEFAULTS)


def grid(values: dict) -> dict[str, dict]:
    return draw({"kind": "grid", "grid": values}, DEFAULTS)


def column(rows: dict[str, dict], key: str) -> np.ndarray:
    return np.array([row[key] for row in rows.values()])


# Random sweeps


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 1000))
def test_a_growing_sweep_keeps_its_first_rows(n, more, seed):
    grown = random(n + more, PARAMETERS, seed)
    assert dict(itertools.islice(grown.items(), n)) == random(n, PARAMETERS, seed)


@given(st.sampled_from(sorted(PARAMETERS)), st.integers(0, 1000))
def test_a_new_parameter_changes_no_other_parameter(added, seed):
    fewer = {name: spec for name, spec in PARAMETERS.items() if name != added}
    before, after = random(8, fewer, seed), random(8, PARAMETERS, seed)
    assert any(row[added] != DEFAULTS[added] for row in after.values())
    for row in [*before.values(), *after.values()]:
        del row[added]
    assert before == after


def test_the_order_of_parameters_does_not_matter():
    assert random(5, dict(reversed(PARAMETERS.items()))) == random(5, PARAMETERS)


def test_another_seed_gives_another_sweep():
    assert column(random(5, PARAMETERS, 0), "lr").tolist() != (
        column(random(5, PARAMETERS, 1), "lr").tolist()
    )


def test_rows_have_all_hyperparameters_and_different_seeds():
    rows = random(101, {})
    assert list(rows)[:2] == ["m00", "m01"]
    assert list(rows)[-1] == "m100"
    for i, row in enumerate(rows.values()):
        assert row == DEFAULTS | {"seed": i}


def test_two_searches_share_no_seed_and_the_first_has_the_numbers_of_its_rows():
    seeds = [row["seed"] for seed in range(9) for row in random(1000, {}, seed).values()]
    assert len(set(seeds)) == 9 * 1000
    assert seeds[:1000] == list(range(1000))


def test_values_lie_in_their_distributions():
    rows = random(300, PARAMETERS)
    lr, mixup = column(rows, "lr"), column(rows, "mixup")
    assert ((lr >= 1e-5) & (lr <= 1e-3)).all()
    assert 0.4 < (lr < 1e-4).mean() < 0.6  # half below the geometric mean
    assert 0.4 < (mixup == 0).mean() < 0.6
    assert ((mixup[mixup > 0] >= 0.1) & (mixup <= 0.2)[mixup > 0]).all()
    assert set(column(rows, "batch_size")) == {4, 5, 6}
    assert set(column(rows, "augment")) == {0, 0.5, 2}


def test_a_number_stands_for_itself_and_null_for_the_default():
    (row,) = random(1, {"lr": 0.5, "clip": "1e-3", "mixup": None}).values()
    assert (row["lr"], row["clip"], row["mixup"]) == (0.5, 0.001, 0)


def test_values_have_six_digits():
    for value in column(random(20, PARAMETERS), "lr"):
        assert value == float(f"{value:.6g}")


PIPELINES = {
    "plain": {"weight": 1, "set": {"crop": 1, "rand_augment_ops": 0}},
    "strong": {"weight": 3, "set": {"crop": 0.1, "flip": 0.5, "rand_augment_ops": "integer(1, 2)"}},
}


def test_hyperparameters_of_one_option_are_drawn_together():
    rows = random(400, PARAMETERS, choices={"pipeline": PIPELINES})
    plain, strong = ({"crop": 1, "flip": 0}, {"crop": 0.1, "flip": 0.5})
    for row in rows.values():
        assert {key: row[key] for key in ("crop", "flip")} in (plain, strong)
        assert (row["rand_augment_ops"] > 0) == (row["crop"] < 1)
    assert 0.7 < (column(rows, "crop") < 1).mean() < 0.8  # 3 of 4 by weight
    assert set(column(rows, "rand_augment_ops")) == {0, 1, 2}


def test_options_without_a_weight_are_equally_likely():
    options = {name: {"set": option["set"]} for name, option in PIPELINES.items()}
    rows = random(400, {}, choices={"pipeline": options})
    assert 0.42 < (column(rows, "crop") < 1).mean() < 0.58


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 1000))
def test_a_choice_changes_no_other_parameter_and_grows_like_one(n, more, seed):
    before = random(n, PARAMETERS, seed)
    after = random(n + more, PARAMETERS, seed, {"pipeline": PIPELINES})
    assert dict(itertools.islice(after.items(), n)) == (
        random(n, PARAMETERS, seed, {"pipeline": PIPELINES})
    )
    for name, row in before.items():
        assert {key: after[name][key] for key in PARAMETERS} == {
            key: row[key] for key in PARAMETERS
        }


def test_null_switches_an_option_or_a_choice_off():
    one = random(50, {}, choices={"pipeline": PIPELINES | {"plain": None}})
    assert set(column(one, "crop")) == {0.1}
    assert random(5, {}, choices={"pipeline": None}) == random(5, {})


def test_drawn_rows_of_ready_made_models_have_the_same_columns():
    spec = {"n": 20, "seed": 0, "parameters": {}, "choices": {"pipeline": PIPELINES}}
    rows = ready_made({"kind": "random", "random": spec}).values()
    assert len({tuple(row) for row in rows}) == 1
    assert {row["flip"] for row in rows} == {None, 0.5}


def newer(rows: dict[str, dict], variants: dict | None = None) -> Sweep:
    """The sweep of a table of rows, which may have hyperparameters that are newer."""
    values = [row | {"seed": i} for i, row in enumerate(rows.values())]
    section = {"kind": "grid", "grid": {"seed": [0]}, "variants": variants or {}}
    return Sweep.of(section, DEFAULTS | NEWER | values[0], ["initialization", "zeroshot"])


def test_models_that_are_trained_already_know_no_newer_hyperparameter():
    """Neither tables nor the parameters of training change where a newer one has its old value."""
    sweep = newer({"a": {}})
    assert NEWER.keys().isdisjoint(next(iter(sweep.rows.values())))
    varied = newer({"a": {}}, {"all": {"set": {"decayed": "all"}}})
    base, other = varied.rows
    assert varied.rows[base]["decayed"] == varied.base[base]["decayed"] == "matrices"
    assert varied.trained(base) == sweep.trained(base)
    assert varied.trained(other) == sweep.trained(base) | {"decayed": "all"}


def test_words_have_to_be_known_ones():
    with pytest.raises(UserError, match="decayed = 'most', expected 'matrices', 'all'"):
        newer({"a": {"decayed": "most"}})


# Grids

VALUES = st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True)
GRIDS = st.fixed_dictionaries({"lr": VALUES, "epochs": VALUES, "seed": VALUES})


@given(GRIDS, st.sampled_from(["lr", "epochs", "seed"]), st.integers(51, 99), st.data())
def test_a_new_value_in_a_grid_keeps_the_other_rows_and_their_names(values, key, added, data):
    place = data.draw(st.integers(0, len(values[key])))
    wider = values | {key: [*values[key][:place], added, *values[key][place:]]}
    before, after = grid(values), grid(wider)
    assert {name: row for name, row in after.items() if row[key] != added} == before


@given(GRIDS)
def test_a_grid_has_a_row_for_each_combination(values):
    rows = grid(values)
    combinations = {(row["lr"], row["epochs"], row["seed"]) for row in rows.values()}
    assert combinations == set(
        itertools.product(*(values[key] for key in ("lr", "epochs", "seed")))
    )
    assert len(rows) == math.prod(map(len, values.values()))


def test_numbers_may_be_text():
    (row,) = grid({"lr": ["1e-4"]}).values()  # YAML reads 1e-4 as text
    assert row["lr"] == 1e-4


def test_a_grid_ignores_null():
    assert grid({"lr": [1, 2], "mixup": None}) == grid({"lr": [1, 2]})


# Tables


@pytest.fixture
def table(tmp_path):
    """Return a function that draws the sweep of a CSV with the given text."""

    def drawn(text: str) -> dict[str, dict]:
        (tmp_path / "sweep.csv").write_text(text)
        return draw({"kind": "table", "table": str(tmp_path / "sweep.csv")}, DEFAULTS)

    return drawn


def test_rows_of_a_table_complete_the_defaults(table):
    rows = table("model,lr,batch_size\nslow,0.001,4\nfast,0.1,16\n")
    assert rows == {
        "slow": DEFAULTS | {"lr": 0.001, "batch_size": 4},
        "fast": DEFAULTS | {"lr": 0.1, "batch_size": 16},
    }
    # Plain Python numbers are needed for JSON and for fingerprints.
    assert [type(rows["fast"][key]) for key in ("lr", "batch_size")] == [float, int]


def test_an_empty_cell_takes_the_default(table):
    rows = table("model,lr,mixup\nslow,0.001,\nfast,,0.5\n")
    assert rows["slow"] == DEFAULTS | {"lr": 0.001}
    assert rows["fast"] == DEFAULTS | {"mixup": 0.5}


def test_rows_of_a_table_without_names_are_numbered(table):
    assert list(table("lr\n0.1\n0.2\n")) == ["m00", "m01"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,lr\na,0.1\na,0.2\n", r"sweep\.csv: model 'a' occurs twice"),
        ("model,lrr\na,0.1\n", "a has the hyperparameter 'lrr', expected one of lr, weight_decay"),
        ("lr,seed\n0.1,1.5\n", "m00 has seed = 1.5, expected a whole number"),
        ("model,lr\na,fast\n", "row 2 has 'fast' for 'lr', expected a number"),
        ("model,lr\na,True\n", "row 2 has 'True' for 'lr', expected a number"),
        (
            "model,lr\nzeroshot,0.1\n",
            r"sweep\.csv: row 2 has the model 'zeroshot', expected a name",
        ),
        ("start\nmiddle\n", "m00 has start = 'middle', expected 'probe', 'zeroshot', 'new'"),
        ("model,lr\na/b,0.1\n", r"sweep\.csv: row 2 has the model 'a/b', expected a name"),
        ("lr\ninf\n", "row 2 has 'inf' for 'lr', expected a number"),
        ("lr\n0.1,0.2\n", r"sweep\.csv: row 2 has 2 values, expected 1"),
        ("", "sweep.table has no rows, expected at least one"),
        ("lr\n", "sweep.table has no rows, expected at least one"),
    ],
)
def test_an_invalid_table_is_an_error(table, text, message):
    with pytest.raises(UserError, match=message):
        table(text)


def test_two_equal_rows_are_an_error(table):
    check_different(table("lr,seed\n0.1,0\n0.1,1\n"))
    with pytest.raises(UserError, match="m01 and m03 have the same hyperparameters"):
        check_different(table("lr,seed\n0.1,0\n0.1,1\n0.1,2\n0.10,1\n"))


def test_an_error_names_a_missing_table():
    with pytest.raises(UserError, match=r"sweep.table is 'none.csv', expected an existing CSV"):
        draw({"kind": "table", "table": "none.csv"}, DEFAULTS)


# Values that no fine-tune can use, in any kind of sweep


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("lr", 0, "more than 0"),
        ("epochs", -1, "0 or more"),
        ("batch_size", 0, "more than 0"),
        ("clip", 0, "more than 0"),
        ("label_smoothing", 1, "at least 0, below 1"),
        ("warmup", -0.1, "0 or more"),
        ("crop", 0, "more than 0, at most 1"),
        ("flip", 1.5, "between 0 and 1"),
        ("rand_augment_ops", 1.5, "a whole number"),
        ("ema", 1, "at least 0, below 1"),
        ("distill", 1.5, "between 0 and 1"),
        ("layer_decay", 0, "more than 0"),
        ("weight_decay", -1, "0 or more"),
        ("mixup", -0.5, "0 or more"),
        ("augment", -1, "0 or more"),
        ("seed", -1, "0 or more"),
        ("batch_size", 2.5, "a whole number"),
        ("lr", "fast", "a number"),
    ],
)
def test_a_value_outside_its_limits_is_an_error(key, value, expected):
    with pytest.raises(UserError, match=rf"has {key} = {value!r}, expected {expected}$"):
        grid({key: [value]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ema": [0.9], "swa": [0.5]}, "ema = 0.9 and swa = 0.5, expected one of them to be 0"),
        ({"distill": [1], "mixup": [0.1]}, "distill = 1 and mixup = 0.1, expected one of them"),
        ({"swa_lr": [0.5]}, "swa_lr = 0.5 and swa = 0, expected swa above 0 with swa_lr"),
        ({"batch_norm": ["trained"], "ema": [0.9]}, "'trained' and ema = 0.9, expected ema = 0"),
        ({"batch_norm": ["trained"], "sam": [0.1]}, "'trained' and sam = 0.1, expected sam = 0"),
        ({"task": ["birds"]}, "task = 'birds' and start = 'probe', expected 'zeroshot'"),
    ],
)
def test_values_that_exclude_each_other_are_an_error(values, message):
    with pytest.raises(UserError, match=message):
        grid(values)


def test_the_start_is_a_word():
    assert set(column(random(30, {"start": "choice(probe, new)"}), "start")) == {"probe", "new"}
    assert set(column(random(3, {"start": "zeroshot"}), "start")) == {"zeroshot"}
    assert {row["start"] for row in grid({"start": ["probe", "new"]}).values()} == {"probe", "new"}


# Variants and pools


@pytest.fixture
def varied() -> tuple[dict, dict]:
    rows = random(4, {"lr": "log_uniform(1e-5, 1e-3)", "augment": "choice(0, 1)"})
    return vary(rows, {"ema": {"set": {"ema": 0.9}, "first": 2}, "sam": {"set": {"sam": 0.1}}})


def test_a_variant_repeats_rows_with_changed_hyperparameters(varied):
    rows, origin = varied
    assert list(rows) == [
        "m00", "m01", "m02", "m03",
        "m00_ema", "m01_ema", "m00_sam", "m01_sam", "m02_sam", "m03_sam",
    ]  # fmt: skip
    assert rows["m01_ema"] == rows["m01"] | {"ema": 0.9}
    assert (origin["m01"], origin["m01_ema"]) == (("m01", "base"), ("m01", "ema"))


def test_variants_do_not_change_the_sweep(varied):
    rows, _ = varied
    base = {name: row for name, row in rows.items() if "_" not in name}
    assert vary(base, {}) == (base, {name: (name, "base") for name in base})
    assert vary(base, {"off": None})[0] == base


def test_an_invalid_variant_is_an_error(varied):
    rows = {"m00": varied[0]["m00"]}
    with pytest.raises(UserError, match="m00_x has ema = 2, expected at least 0, below 1"):
        vary(rows, {"x": {"set": {"ema": 2}}})
    with pytest.raises(UserError, match=r"sweep.variants has the name 'base', expected another"):
        vary(rows, {"base": {"set": {"ema": 0.5}}})
    with pytest.raises(
        UserError, match=r"m00 has distill = 0.5, expected 0 outside sweep.variants"
    ):
        vary({"m00": rows["m00"] | {"distill": 0.5}}, {})
    with pytest.raises(
        UserError, match=r"sweep.variants.x makes a model 'm00_x', expected another"
    ):
        vary(rows | {"m00_x": rows["m00"]}, {"x": {"set": {"ema": 0.5}}})


def test_a_pool_holds_the_rows_of_its_variants(varied):
    assert pool(*varied, ["base"], None, "key") == ["m00", "m01", "m02", "m03"]
    assert pool(*varied, ["ema"], None, "key") == ["m00_ema", "m01_ema"]
    mixed = ["m00", "m01", "m00_ema", "m01_ema"]
    assert pool(*varied, ["ema", "base"], "row < 2", "key") == mixed


def test_a_query_is_a_condition_on_hyperparameters(varied):
    rows = varied[0]
    middle = sorted(rows[name]["lr"] for name in ("m00", "m01", "m02", "m03"))[2]
    below = [n for n in ("m00", "m01", "m02", "m03") if rows[n]["lr"] < middle]
    assert pool(*varied, ["base"], f"lr < {middle}", "key") == below
    assert pool(*varied, ["base"], "model == 'm02'", "key") == ["m02"]


@pytest.mark.parametrize(
    ("variants", "query", "message"),
    [
        (["base"], "learning_rate < 1", r"key.query is 'learning_rate < 1', which cannot be read"),
        (["base"], "lr <", "which cannot be read"),
        (["base"], "lr", "key.query is 'lr', which is not true or false, expected a condition on"),
        (["base"], "row % 2", "which is not true or false"),
        (["base"], "True", "which is not true or false"),
        (["base"], "lr > 1", "key.query is 'lr > 1', expected a condition that an ingredient"),
        (["emaa"], None, r"key.variants has 'emaa', expected one of base, ema, sam"),
    ],
)
def test_an_invalid_pool_is_an_error(varied, variants, query, message):
    with pytest.raises(UserError, match=message):
        pool(*varied, variants, query, "key")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("uniform(0.2, 0.1)", "two numbers with low <= high"),
        ("integer(3, 2)", "two numbers with low <= high"),
        ("uniform(1)", "two numbers with low <= high"),
        ("log_uniform(0, 1)", "two numbers with 0 < low <= high"),
        ("log_uniform(0.2, 0.1)", "two numbers with 0 < low <= high"),
        ("uniform(0, x)", "numbers between the brackets"),
        ("uniform(0, inf)", "numbers between the brackets"),
        ("integer(1.5, 3)", "whole numbers between the brackets"),
        ("choice()", "numbers between the brackets"),
    ],
)
def test_an_invalid_distribution_is_an_error(spec, expected):
    with pytest.raises(UserError) as error:
        random(1, {"lr": spec})
    assert str(error.value) == f"sweep.random.parameters.lr is {spec!r}, expected {expected}"


def test_equal_rows_of_a_variant_are_trained_once():
    rows = grid({"lr": [0.1, 0.2], "seed": [0, 1]})
    out, origin = vary(rows, {"same": {"set": {"lr": 0.3}}})
    same = [row for name, row in out.items() if origin[name][1] == "same"]
    assert [row["seed"] for row in same] == [0, 1]


def test_pairs_that_differ_in_one_hyperparameter():
    rows = {
        "a": {"lr": 0.1, "augment": 0, "seed": 0},
        "b": {"lr": 0.1, "augment": 0, "seed": 1},
        "c": {"lr": 0.01, "augment": 0, "seed": 0},
        "d": {"lr": 0.01, "augment": 1, "seed": 1},
        "e": {"lr": 0.1, "augment": 0, "seed": 2},
    }
    starts = dict.fromkeys("abcd", "initialization") | {"e": "zeroshot"}
    single = pairs(rows, starts, single=True)
    assert [(p["model_1"], p["model_2"], p["differ"]) for p in single] == [
        ("a", "b", "seed"), ("c", "a", "lr"),
    ]  # fmt: skip
    assert single[1] | {"lr_1": 0.01, "lr_2": 0.1} == single[1]
    every = pairs(rows, starts)
    assert len(every) == 6  # pairs with another start are left out
    assert {p["differ"] for p in every} == {"seed", "lr", "several"}
    some = pairs(rows, starts, most=4)
    assert some == pairs(rows, starts, most=4)
    assert len(some) == 4
    assert all(pair in every for pair in some)


def test_equal_models_are_no_pair():
    rows = {"a": {"lr": 0.1}, "b": {"lr": 0.1}}
    assert pairs(rows, dict.fromkeys(rows, "initialization"), single=True) == []


def test_a_model_with_0_epochs_is_in_no_pair():
    rows = {name: DEFAULTS | {"seed": i} for i, name in enumerate("abc")}
    rows["a"]["epochs"] = 0
    found = pairs(rows, dict.fromkeys(rows, "initialization"))
    assert [(pair["model_1"], pair["model_2"]) for pair in found] == [("b", "c")]

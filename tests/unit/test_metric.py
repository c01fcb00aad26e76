import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from soups.claims.evidence import Evidence
from soups.claims.verdicts import effects
from soups.errors import UserError
from soups.evaluation import confusion, resampling, significance, stratified, tables
from soups.evaluation.metric import ACCURACY, METRICS, of_job
from soups.evaluation.metrics import bootstrap_mean
from soups.evaluation.samples import load_points, save_points
from soups.experiment import settings
from soups.roles import BEST, GREEDY, ORACLE, UNIFORM, Roles

SCORES = {
    "matthews": confusion.matthews,
    "f1": confusion.f1,
    "macro_f1": confusion.macro_f1,
    "accuracy_and_f1": confusion.accuracy_and_f1,
}
MATTHEWS = METRICS["matthews"]


def coded(labels, guesses) -> np.ndarray:
    return confusion.encode(np.array(guesses), np.array(labels))


def logits_of(guesses, classes: int = 2) -> np.ndarray:
    return np.eye(classes)[guesses].astype(np.float32)


def drawn(n: int, skill: float, seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Random labels, of which the predictions know a share."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return labels, np.where(rng.random(n) < skill, labels, rng.integers(0, classes, n))


def correlation(labels, guesses) -> float:
    """The Matthews correlation of two classes, which is Pearson's correlation of 0 and 1."""
    return float(np.corrcoef(labels, guesses)[0, 1])


def gorodkin(labels, guesses, classes: int) -> float:
    """R_K by its definition as a correlation of one-hot matrices."""
    x, y = (np.eye(classes)[values] for values in (labels, guesses))
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))


def test_codes_hold_labels_and_predictions_also_missing_ones():
    labels, guesses = [0, 3, 40_000], [-1, 3, 65_000]
    found = confusion.decode(coded(labels, guesses))
    assert [values.tolist() for values in found] == [guesses, labels]


def test_matthews_of_two_classes_is_pearsons_correlation():
    labels, guesses = drawn(200, 0.3, 0)
    assert confusion.value(confusion.matthews, coded(labels, guesses)) == pytest.approx(
        correlation(labels, guesses)
    )


@pytest.mark.parametrize("classes", [3, 10])
def test_matthews_of_many_classes_is_gorodkins(classes):
    labels, guesses = drawn(300, 0.4, classes, classes)
    assert confusion.value(confusion.matthews, coded(labels, guesses)) == pytest.approx(
        gorodkin(labels, guesses, classes)
    )


def test_an_example_without_a_prediction_counts_as_a_prediction_of_another_class():
    labels, guesses = np.array([0, 0, 1, 1, 2, 2]), np.array([0, -1, 1, 1, -1, 2])
    value = confusion.value(confusion.matthews, coded(labels, guesses))
    assert value == pytest.approx(gorodkin(labels, np.where(guesses < 0, 3, guesses), 4))
    assert confusion.value(confusion.accuracy, coded(labels, guesses)) == pytest.approx(4 / 6)


def test_f1_by_hand():
    # Of the last class: 3 hits, 1 false alarm, 2 misses. Of the first class: 4, 2, 1.
    codes = coded([1] * 5 + [0] * 5, [1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    last, first = 6 / 9, 8 / 11
    assert confusion.value(confusion.f1, codes) == pytest.approx(last)
    assert confusion.value(confusion.macro_f1, codes) == pytest.approx((last + first) / 2)
    assert confusion.value(confusion.accuracy_and_f1, codes) == pytest.approx((0.7 + last) / 2)


def test_metrics_that_are_undefined_are_0_by_convention():
    one_label, one_guess = coded([0, 0, 0], [0, 1, 0]), coded([0, 1, 1], [1, 1, 1])
    assert confusion.value(confusion.matthews, one_label) == 0
    assert confusion.value(confusion.matthews, one_guess) == 0
    assert confusion.value(confusion.f1, coded([0, 0], [0, 0])) == 0
    # A class that occurs neither as a label nor as a prediction is left out of the mean.
    assert confusion.value(confusion.macro_f1, coded([0, 2], [0, 2])) == 1


@pytest.mark.parametrize("name", SCORES)
def test_the_metric_of_several_rows_is_the_mean_of_their_metrics(name):
    metric = METRICS[name]
    rows = [coded(*drawn(100, skill, i)) for i, skill in enumerate((0.2, 0.5, 0.8))]
    joined = metric.together([metric.together(rows[:2]), rows[2]])
    assert metric.value(joined) == pytest.approx(np.mean([metric.value(row) for row in rows]))


@pytest.mark.parametrize("name", [*SCORES, "accuracy"])
def test_a_resample_has_the_metric_of_the_repeated_examples(name):
    score = SCORES.get(name, confusion.accuracy)
    labels, guesses = drawn(40, 0.5, 0)
    times = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), 5).T
    values = confusion.weighted(score, coded(labels, guesses)[None], times)[0]
    for column, value in zip(times.T, values, strict=True):
        repeated = np.repeat(labels, column), np.repeat(guesses, column)
        assert value == pytest.approx(confusion.value(score, coded(*repeated)))


def test_accuracy_through_confusion_counts_has_the_interval_of_the_mean():
    sets = {name: drawn(n, 0.5, n) for name, n in (("a", 400), ("b", 250))}
    codes = {name: coded(*pair) for name, pair in sets.items()}
    bounds = stratified.bootstrap(confusion.accuracy, stratified.groups(codes, {}))
    wanted = bootstrap_mean([labels == guesses for labels, guesses in sets.values()])
    assert bounds == pytest.approx(wanted, abs=0.003)


def test_versions_of_the_same_examples_are_resampled_together():
    labels, guesses = drawn(300, 0.5, 0)
    one = {"a": coded(labels, guesses)}
    two = one | {"b": one["a"]}
    together = MATTHEWS.interval(two, {"a": "test", "b": "test"})
    assert together == pytest.approx(MATTHEWS.interval(one, {}), abs=1e-12)
    apart = MATTHEWS.interval(two, {})
    assert apart[1] - apart[0] < 0.8 * (together[1] - together[0])


def test_chunks_do_not_change_an_interval(monkeypatch):
    found = stratified.groups({"a": coded(*drawn(100, 0.5, 0, 5))}, {})
    whole = stratified.bootstrap(confusion.matthews, found)
    monkeypatch.setattr(stratified, "CHUNK", 999)
    assert stratified.bootstrap(confusion.matthews, found) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("name", ["matthews", "f1"])
def test_the_interval_covers_the_value_of_the_population(name, monkeypatch):
    """Labels are 1 with probability 0.3, and the predictions know 60% of the labels."""
    monkeypatch.setattr(stratified, "REPLICATES", 1000)
    guess = 0.3
    both = 0.3 * (0.6 + 0.4 * guess)  # the probability that label and prediction are 1
    truth = {"matthews": (both - 0.09) / (0.3 * 0.7), "f1": 2 * both / 0.6}[name]
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        labels = rng.random(400) < 0.3
        guesses = np.where(rng.random(400) < 0.6, labels, rng.random(400) < guess)
        low, high = METRICS[name].interval({"test": coded(labels, guesses)}, {})
        covered += low <= truth <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_the_paired_interval_covers_the_difference_of_populations(monkeypatch):
    """Both methods err on partly the same examples, of which one method knows more labels."""
    monkeypatch.setattr(stratified, "REPLICATES", 1000)
    monkeypatch.setattr(stratified, "DRAWS", 10)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        labels, luck, other = rng.random(400) < 0.5, rng.random(400), rng.random(400) < 0.5
        ours, theirs = (np.where(luck < skill, labels, other) for skill in (0.7, 0.5))
        sets = [{"test": coded(labels, guesses)} for guesses in (ours, theirs)]
        _, low, high, _ = stratified.compare(confusion.matthews, *sets, {})
        covered += low <= 0.2 <= high  # The Matthews correlation is the share of known labels.
    assert 0.91 <= covered / 300 <= 0.98


def exact(labels, ours, theirs, metric) -> float:
    """The p-value of the paired permutation test over all exchanges."""

    def apart(swap):
        one, two = np.where(swap, theirs, ours), np.where(swap, ours, theirs)
        return metric(labels, one) - metric(labels, two)

    n = len(labels)
    drawn = [apart(np.array(swap)) for swap in itertools.product([False, True], repeat=n)]
    return float((np.abs(drawn) >= abs(apart(np.zeros(n, bool))) - 1e-9).mean())


def test_the_paired_permutation_test_equals_the_exact_one():
    labels, ours = drawn(12, 0.9, 3)
    theirs = drawn(12, 0.2, 5)[1]

    def matthews(labels, guesses):
        return confusion.value(confusion.matthews, coded(labels, guesses))

    sets = {"test": coded(labels, ours)}, {"test": coded(labels, theirs)}
    p = stratified.permutation(confusion.matthews, stratified.paired_groups(*sets, {}))
    assert p == pytest.approx(exact(labels, ours, theirs, matthews), abs=0.015)


def test_the_permutation_of_accuracies_through_confusion_counts_is_that_of_means():
    labels, ours = drawn(500, 0.5, 0)
    theirs = [drawn(500, 0.55, seed)[1] for seed in (1, 2)]
    sets = {"a": coded(labels, ours)}, {"a": np.stack([coded(labels, g) for g in theirs])}
    pairs = stratified.paired_groups(*sets, {})
    means = np.mean([guesses == labels for guesses in theirs], axis=0)
    wanted = significance.permutation([(ours == labels) - means])
    assert stratified.permutation(confusion.accuracy, pairs) == pytest.approx(wanted, abs=0.015)


def test_the_rate_of_false_positives_is_near_the_level(monkeypatch):
    monkeypatch.setattr(stratified, "DRAWS", 1000)
    p = []
    for seed in range(200):
        labels, ours = drawn(300, 0.5, seed)
        theirs = drawn(300, 0.0, 1000 + seed)[1]
        theirs = np.where(np.random.default_rng(seed).random(300) < 0.5, labels, theirs)
        pairs = stratified.paired_groups(
            {"test": coded(labels, ours)}, {"test": coded(labels, theirs)}, {}
        )
        p.append(stratified.permutation(confusion.matthews, pairs))
    p = np.array(p)
    assert 0.01 <= (p < 0.05).mean() <= 0.1
    assert 0.4 <= p.mean() <= 0.6


def test_a_large_difference_has_a_tiny_p_value_and_no_difference_has_1():
    labels, good = drawn(1000, 0.9, 0)
    bad = drawn(1000, 0.0, 9)[1]
    sets = {"test": coded(labels, good)}, {"test": coded(labels, bad)}
    difference, low, high, p = stratified.compare(confusion.matthews, *sets, {})
    assert difference == pytest.approx(correlation(labels, good) - correlation(labels, bad))
    assert low < difference < high
    assert p == pytest.approx(1 / (1 + stratified.DRAWS))
    assert stratified.compare(confusion.matthews, sets[0], sets[0], {}) == (0, 0, 0, 1)


def test_f1_refuses_a_set_with_other_than_two_classes():
    with pytest.raises(UserError, match="metric is 'f1', which needs 2 classes, but a set has 3"):
        METRICS["f1"].outcomes(logits_of([0, 1, 2], 3), np.array([0, 1, 2]))
    with pytest.raises(UserError, match="but a set has 1"):
        METRICS["f1"].outcomes(logits_of([0, 1]), np.array([0, 0]), [[0, 1]])


def test_outcomes_use_the_classes_of_the_set():
    logits, labels = logits_of([0, 1, 2, 2], 3), np.array([0, 0, 1, 0])
    codes = MATTHEWS.outcomes(logits, labels, [[0, 1], [2]])
    np.testing.assert_array_equal(codes, coded(labels, [0, 0, 1, 1]))
    np.testing.assert_array_equal(
        ACCURACY.outcomes(logits, labels, [[0, 1], [2]]), [True, True, True, False]
    )


def test_a_rule_has_accuracy_unless_its_parameters_name_another_metric():
    assert of_job(SimpleNamespace(params=SimpleNamespace())) is ACCURACY
    assert of_job(SimpleNamespace(params=SimpleNamespace(metric="matthews"))) is MATTHEWS


def test_the_schema_and_the_check_of_classes_know_the_same_metrics(root):
    text = (root / "rules/schemas/config.schema.yaml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("  metric:"))
    names = line.partition("[")[2].partition("]")[0].split(", ")
    assert set(names) == {"null", *METRICS}
    of_two = {name for name, m in METRICS.items() if getattr(m, "classes", None) == 2}
    assert of_two == set(settings.OF_TWO_CLASSES)


def test_points_of_curves_have_the_resampled_metric():
    labels = drawn(100, 0, 0)[0]
    rows = np.stack([coded(labels, drawn(100, skill, 7)[1]) for skill in (0.3, 0.9, 0.3)])
    gaps = {"gap": np.random.default_rng(0).random((3, 100))}
    found = resampling.means({"test": rows} | gaps, {}, metric=MATTHEWS)
    observed = [confusion.value(confusion.matthews, row) for row in rows]
    np.testing.assert_allclose(found["test"][:, 0], observed)
    assert found["test"].shape == (3, 1 + resampling.REPLICATES)
    np.testing.assert_array_equal(found["test"][0], found["test"][2])
    low, high = MATTHEWS.interval({"test": rows[0]}, {})
    assert resampling.interval(found["test"][0])[1:] == pytest.approx((low, high), abs=0.02)
    np.testing.assert_allclose(found["gap"][:, 0], gaps["gap"].mean(1))


MEMBERS = {"uniform": ["m0", "m1"], "random_0": ["m0"], "random_1": ["m1"]}
SOUPS = {name: {"row": name.partition("_")[0], "members": m} for name, m in MEMBERS.items()}
SIZES = {"heldout": 120, "test": 200, "typos": 200, "other": 150}
SHIFTS, DERIVED = ["typos", "other"], {"typos": "test"}


@pytest.fixture(scope="module")
def predictions() -> dict[str, dict[str, np.ndarray]]:
    """Predictions of every model on every set, and the labels under the name ``labels``."""
    rng = np.random.default_rng(0)
    labels = {name: (rng.random(n) < 0.3).astype(int) for name, n in SIZES.items()}
    labels["typos"] = labels["test"]
    skills = {"m0": 0.7, "m1": 0.5, "uniform": 0.75, "random_0": 0.6, "random_1": 0.65}
    return {"labels": labels} | {
        model: {
            name: np.where(rng.random(n) < skill, labels[name], rng.integers(0, 2, n))
            for name, n in SIZES.items()
        }
        for model, skill in skills.items()
    }


@pytest.fixture(scope="module")
def tested(predictions):
    labels = predictions["labels"]
    outcomes = {
        model: {
            name: MATTHEWS.outcomes(logits_of(guesses), labels[name])
            for name, guesses in sets.items()
        }
        for model, sets in predictions.items()
        if model != "labels"
    }
    listed = tables.method_list(["m0", "m1"], SOUPS, {}, [])
    return tables.methods_table(listed, outcomes, SHIFTS, DERIVED, [BEST], MATTHEWS)


def by_hand(predictions, model: str, name: str) -> float:
    return correlation(predictions["labels"][name], predictions[model][name])


def test_a_table_of_methods_has_the_metric_by_hand(tested, predictions):
    methods = tested[0].set_index("method")
    for row, model in ((BEST, "m0"), ("uniform", "uniform")):
        values = [by_hand(predictions, model, name) for name in ("heldout", "test", *SHIFTS)]
        found = methods.loc[row, ["heldout", "test", *SHIFTS]].to_list()
        assert found == pytest.approx(values, abs=1e-6)
        assert methods.loc[row, "shifts_mean"] == pytest.approx(np.mean(values[2:]), abs=1e-6)
        assert methods.loc[row, "test_lo"] < values[1] < methods.loc[row, "test_hi"]
    assert methods.loc[BEST, ["n_heldout", "n_test", "n_shifts"]].to_list() == [120, 200, 350]


def test_several_orders_are_averaged_after_the_metric(tested, predictions):
    row = tested[0].set_index("method").loc["random"]
    each = [by_hand(predictions, f"random_{i}", "test") for i in (0, 1)]
    assert row["test"] == pytest.approx(np.mean(each), abs=1e-6)
    assert row["test_sd"] == pytest.approx(np.std(each, ddof=1), abs=1e-6)


def test_the_oracle_is_the_best_model_of_each_set_by_the_metric(tested, predictions):
    row = tested[0].set_index("method").loc[ORACLE]
    for name in ("test", *SHIFTS):
        best = max(by_hand(predictions, model, name) for model in ("m0", "m1"))
        assert row[name] == pytest.approx(best, abs=1e-6)


def test_the_paired_test_names_the_metric(tested, predictions):
    tests = tested[1]
    assert set(tests["test"]) == {"paired permutation, matthews"}
    rows = tests[tests["as"] == BEST].set_index(["method", "measure"])
    row = rows.loc[("uniform", "test")]
    wanted = by_hand(predictions, "uniform", "test") - by_hand(predictions, "m0", "test")
    assert row["difference"] == pytest.approx(wanted, abs=1e-6)
    assert row["lo"] <= row["difference"] <= row["hi"]
    labels = predictions["labels"]["test"]
    ours, theirs = (predictions[model]["test"] == labels for model in ("uniform", "m0"))
    assert (row["better"], row["worse"]) == ((ours & ~theirs).sum(), (~ours & theirs).sum())
    assert row["n"] == 200


def test_claims_have_the_metric_of_the_points_as_their_unit(tmp_path):
    labels = drawn(400, 0, 0)[0]
    guesses = [drawn(400, skill, 0)[1] for skill in (0.5, 0.7, 0.9)]
    points, table = tmp_path / "points.safetensors", tmp_path / "slices.csv"
    save_points(points, {"test": np.stack([coded(labels, g) for g in guesses])}, {})
    rows = [
        {"method": role, "slice": "lr", "models": 4, "n_test": 400}
        for role in (BEST, UNIFORM, GREEDY)
    ]
    pd.DataFrame(rows).to_csv(table, index=False)
    evidence = Evidence({"slices": table}, {"slices": points}, 1.0, Roles.named(), metric=MATTHEWS)
    found = effects(evidence).set_index(["claim", "part"])
    row = found.loc[11].iloc[0]
    wanted = correlation(labels, guesses[2]) - correlation(labels, guesses[0])
    assert row["effect"] == pytest.approx(wanted, abs=1e-6)
    assert row["lo"] < wanted < row["hi"]
    assert set(found["unit"]) == {"matthews", "ECE", "rank correlation", "slope"}
    assert (10, "greedy soup's matthews with n, test") in found.index


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "f1"}, "metric is 'f1', which needs two classes, but the training set has 3"),
        ({"metric": "accuracy_and_f1", "tasks": {"one": ["a"]}}, "tasks.one is a part of them"),
    ],
)
def test_a_metric_of_two_classes_needs_them(changes, message):
    config = {"tasks": {}, "published": None, "data": {"source": "world"}} | changes
    with pytest.raises(UserError, match=message):
        settings._check_metric(config, ["a", "b"] if "tasks" in changes else ["a", "b", "c"])


def test_an_outcome_in_a_file_of_points_is_a_code(tmp_path):
    codes = np.stack([coded(*drawn(20, 0.5, seed)) for seed in (0, 1)])
    save_points(tmp_path / "p.safetensors", {"test": codes}, {})
    arrays, _ = load_points(tmp_path / "p.safetensors")
    assert arrays["test"].dtype == confusion.CODE
    np.testing.assert_array_equal(arrays["test"], codes)

"""Trials that end early choose the same soups as trials of all examples."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soups.evaluation.metric import ACCURACY, METRICS
from soups.mixing import select, trial
from soups.mixing.trial import Known, Trials, evaluate, margins, race


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "BLOCK", 3)
        patch.setattr(trial, "GPU_BLOCK", 3)
        yield


class Sweep:
    """Made-up logits of some models and of their averages.

    The average of some models is near the average of their logits, with few levels, so that scores
    tie. Some averages have a logit that is NaN or infinite.
    """

    def __init__(self, seed: int, count: int, n: int, classes: int) -> None:
        rng = np.random.default_rng(seed)
        self.seed, self.names = seed, [f"m{i}" for i in range(count)]
        self.labels = rng.integers(0, classes, n)
        shape = n, classes
        common = rng.normal(size=shape) + 1.5 * np.eye(classes)[self.labels]
        self.broken = float(rng.choice([0, 0, 0.2]))
        self.single = {
            name: np.round(common + rng.normal(scale=rng.choice([0.1, 1]), size=shape), 1)
            for name in self.names
        }

    def logits(self, names) -> np.ndarray:
        if len(names) == 1:
            return self.single[names[0]]
        rng = np.random.default_rng([self.seed, *sorted(int(name[1:]) for name in names)])
        mean = np.mean([self.single[name] for name in names], axis=0)
        logits = np.round(mean + rng.normal(scale=0.3, size=mean.shape), 1)
        if rng.random() < self.broken:
            logits.flat[rng.integers(logits.size)] = rng.choice([np.nan, np.inf, -np.inf])
        return logits

    def score(self, names, metric) -> float:
        logits = self.logits(names)
        return metric.of(logits, self.labels) if np.isfinite(logits).all() else float("nan")

    def known(self, name, metric) -> Known:
        logits = self.single[name]
        score = metric.of(logits, self.labels)
        return Known(score, evaluated=0, margins=margins(logits, self.labels))

    def trials(self, metric, reused: bool = True) -> Trials:
        def average(names):
            logits = self.logits(names)
            return lambda rows: logits if rows is None else logits[rows]

        own = {name: self.known(name, metric) for name in self.names}
        return Trials(average, own, self.labels, metric, self.rises(metric), reused)

    def rises(self, metric) -> bool:
        return metric.rises(self.single[self.names[0]].shape[1])


SWEEPS = st.builds(
    Sweep, st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 40), st.integers(2, 4)
)
METRIC = st.sampled_from(list(METRICS))


def fits(sweep: Sweep, name: str):
    """The metric of a name, or accuracy if the sweep has too many classes for it."""
    metric = METRICS[name]
    two = getattr(metric, "classes", None) == 2
    return ACCURACY if two and sweep.single["m0"].shape[1] != 2 else metric


def check(trace, exact, key: str, sweep: Sweep) -> None:
    """Check that a trace has the exact scores, or bounds of them that are below the rival's."""
    assert len(trace) == len(exact)
    other = {"with": "without", "without": "with"}[key]
    for mine, full in zip(trace, exact, strict=True):
        rest = {"candidate", other, "accepted", "removed"} & full.keys()
        assert {name: mine[name] for name in rest} == {name: full[name] for name in rest}
        assert 0 <= mine["evaluated"] <= len(sweep.labels)
        if mine["at_most"] is None:
            assert mine[key] == full[key]
        else:
            assert mine[key] is None
            assert mine["at_most"] < mine[other]
            # A trial that ends early does not look for NaN in the rest.
            assert full[key] is None or full[key] <= mine["at_most"] + trial.SLACK


def same(early, full) -> tuple | None:
    """The results of two functions, or None if both raise the error for no finite average."""
    try:
        expected = full()
    except select.UserError as error:
        with pytest.raises(select.UserError, match=str(error)):
            early()
        return None
    return early(), expected


ACCEPT = st.sampled_from([select.AT_LEAST, select.BETTER])


@given(SWEEPS, METRIC, st.integers(0, 3), st.booleans(), ACCEPT)
def test_greedy_in_any_order_is_that_of_exact_scores(sweep, name, order, reused, accept):
    metric = fits(sweep, name)
    exact = select.full(lambda names: sweep.score(names, metric))
    names = select.shuffled(sweep.names, 0, order) if order else sweep.names
    trials = sweep.trials(metric, reused)
    both = same(
        lambda: select.greedy(names, trials, accept), lambda: select.greedy(names, exact, accept)
    )
    if both:
        (chosen, trace), (wanted, full) = both
        assert chosen == wanted
        check(trace, full, "with", sweep)


@given(SWEEPS, METRIC)
def test_pruning_is_that_of_exact_scores(sweep, name):
    metric = fits(sweep, name)
    trials = sweep.trials(metric)
    exact = select.full(lambda names: sweep.score(names, metric))
    chosen, _ = select.greedy(sweep.names, trials)
    (left, trace), (wanted, full) = select.prune(chosen, trials), select.prune(chosen, exact)
    assert left == wanted
    check(trace, full, "without", sweep)
    # The models of a soup that no rule chose may have a score that is NaN.
    assert select.prune(sweep.names, trials)[0] == select.prune(sweep.names, exact)[0]


@given(SWEEPS, METRIC, st.integers(0, 2))
def test_soups_of_growing_sweeps_are_those_of_exact_scores(sweep, name, order):
    metric = fits(sweep, name)
    trials = sweep.trials(metric)
    names = select.shuffled(sweep.names, 0, order)
    scores = {name: sweep.score([name], metric) for name in names}
    exact = select.full(lambda names: sweep.score(names, metric))
    soups = list(select.greedy_first(names, scores, trials))
    assert soups == list(select.greedy_first(names, scores, exact))
    # Every trial is remembered, so the next greedy soup of the same models tries nothing.
    done = trials.averages, trials.evaluated
    assert list(select.greedy_first(names, scores, trials)) == soups
    assert (trials.averages, trials.evaluated) == done
    assert trials.evaluated <= trials.averages * len(sweep.labels)


def test_a_bound_is_computed_anew_against_a_weaker_rival():
    """The bound of a lost trial says nothing about a rival that scores less than the bound."""
    labels = np.zeros(12, int)
    right, wrong = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    scores = {"a": 12, "b": 3, "c": 4}
    single = {name: np.array([right] * s + [wrong] * (12 - s)) for name, s in scores.items()}
    pair, calls = np.array([right] * 5 + [wrong] * 7), []
    own = {
        name: Known(s / 12, evaluated=0, margins=margins(single[name], labels))
        for name, s in scores.items()
    }

    def average(names):
        calls.append(names)
        return lambda rows: pair if rows is None else pair[rows]

    trials = Trials(average, own, labels, ACCURACY, rises=True, reused=True)
    first = trials(("b", "c"), ("a",))
    assert (first.exact, first.evaluated, first.margins) == (False, 3, None)
    assert first.score == 10 / 12
    assert trials(("b", "c"), ("a",)) is first
    second = trials(("b", "c"), ("b",))
    assert (second.exact, second.score, second.evaluated) == (True, 5 / 12, 12)
    assert trials(("c", "b"), ("c",)) is second
    assert trials(("b", "c")) is second
    assert calls == [("b", "c")] * 2
    assert (trials.averages, trials.evaluated) == (2, 15)


@given(SWEEPS, METRIC)
def test_a_model_without_a_rival_is_evaluated_at_once_and_in_order(sweep, name):
    metric, asked = fits(sweep, name), []
    done = evaluate(lambda rows: asked.append(rows) or sweep.single["m0"], sweep.labels, metric)
    assert asked == [None]
    assert done.score == metric.of(sweep.single["m0"], sweep.labels)
    assert (done.exact, done.evaluated) == (True, len(sweep.labels))
    np.testing.assert_array_equal(done.margins, margins(sweep.single["m0"], sweep.labels))


@given(SWEEPS)
def test_no_trial_looks_before_the_average_can_have_more_errors_than_its_rival(sweep):
    rival, sizes = sweep.known("m0", ACCURACY), []
    logits = sweep.single[sweep.names[-1]]
    order = np.random.default_rng(0).permutation(len(logits))

    def run(rows):
        sizes.append(len(rows))
        return logits[rows]

    done = evaluate(run, sweep.labels, ACCURACY, rival, order)
    assert sum(sizes) == done.evaluated
    seen = 0
    for size, after in pairwise([*sizes, 0]):
        errors = int((logits.argmax(1) != sweep.labels)[order[:seen]].sum())
        allowed = int((rival.margins < 0).sum())
        assert size in (max(3, allowed + 1 - errors), len(logits) - seen)
        seen += size
        assert after or seen == done.evaluated


@given(SWEEPS, METRIC)
def test_the_best_of_a_race_is_the_first_of_the_highest_scores(sweep, name):
    metric, asked = fits(sweep, name), []
    runners = [(a, b) for a in sweep.names for b in sweep.names if a != b]

    def run(names):
        asked.append(names)
        logits = sweep.logits(names)
        return lambda rows: logits if rows is None else logits[rows]

    tried = race(map(run, runners), sweep.labels, metric, sweep.rises(metric))
    assert asked == runners
    scores = [sweep.score(names, metric) for names in runners]
    best = -np.inf
    for mine, exact in zip(tried, scores, strict=True):
        if mine.exact:
            np.testing.assert_equal(mine.score, exact)
            best = max(best, -np.inf if np.isnan(exact) else exact)
        else:
            assert mine.score < best
            assert np.isnan(exact) or exact <= mine.score + trial.SLACK
    finite = [score for score in scores if not np.isnan(score)]
    exact = [t.score for t in tried if t.exact and not np.isnan(t.score)]
    if finite:
        assert max(exact) == max(finite)
        assert tried[scores.index(max(finite))].exact


def test_errors_that_are_expected_come_first():
    """The margins of an average are predicted as those of the average of the logits."""
    sweep = Sweep(1, 3, 30, 2)
    trials = sweep.trials(ACCURACY)
    soup = trials(("m0", "m1"))
    of = {name: sweep.known(name, ACCURACY).margins for name in sweep.names}
    grown = trials._predicted(frozenset(sweep.names), frozenset(["m0", "m1"]), soup)
    np.testing.assert_allclose(grown, 2 * soup.margins + of["m2"])
    whole = trials(("m0", "m1", "m2"))
    pruned = trials._predicted(frozenset(["m0", "m2"]), frozenset(sweep.names), whole)
    np.testing.assert_allclose(pruned, 3 * whole.margins - of["m1"], rtol=1e-5, atol=1e-5)


@given(st.integers(0, 10_000), METRIC, st.integers(2, 4), st.integers(1, 12))
def test_correcting_an_error_never_lowers_a_metric_that_rises(seed, name, classes, n):
    metric, rng = METRICS[name], np.random.default_rng(seed)
    if metric is not ACCURACY and metric.classes not in (None, classes):
        return
    labels, guesses = rng.integers(0, classes, (2, n))
    values = [metric.value(metric.judged(guesses, labels))]
    for row in rng.permutation(n):
        guesses[row] = labels[row]
        values.append(metric.value(metric.judged(guesses, labels)))
    if metric.rises(classes):
        assert all(later >= earlier - trial.SLACK for earlier, later in pairwise(values))
        # Rounding is no risk: values are equal or differ by more than the slack.
        assert all(b == a or b - a > trial.SLACK for a, b in pairwise(values))


def test_the_correlation_of_three_classes_can_fall_with_an_error_less():
    metric = METRICS["matthews"]
    assert metric.rises(2)
    assert not metric.rises(3)
    labels = np.array([1, 1, 1, 1, 2])
    worse, better = np.array([0, 0, 0, 0, 2]), np.array([1, 0, 0, 0, 2])
    before, after = (metric.value(metric.judged(guesses, labels)) for guesses in (worse, better))
    assert after < before


def test_margins_are_label_minus_best_other():
    logits = np.array([[3, 1, 2], [0, 5, 1], [2, 2, 1]], np.float32)
    np.testing.assert_array_equal(margins(logits, np.array([0, 2, 0])), [1, -4, 0])
    assert np.isinf(margins(logits[:, :1], np.array([0, 0, 0]))).all()

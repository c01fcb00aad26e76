import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from soups.mixing.select import (
    AT_LEAST,
    BETTER,
    RunningSum,
    Tried,
    by_score,
    full,
    greedy,
    greedy_first,
    prune,
    remembered,
    shuffled,
)  # fmt: skip


def random_score(seed: int):
    """Return a random score of sets of ingredients with five levels, so that ties are common."""

    def score(names) -> float:
        ids = sorted(int(name[1:]) for name in names)
        return float(np.random.default_rng([seed, *ids]).integers(0, 5)) / 4

    return score


def naive(order, score) -> list[str]:
    """Follow Recipe 1 as the paper prints it, which computes both scores in every step."""
    ingredients: list[str] = []
    for candidate in order:
        before = score(ingredients) if ingredients else -np.inf
        if score([*ingredients, candidate]) >= before:
            ingredients = [*ingredients, candidate]
    return ingredients


SOUPS = {"count": st.integers(1, 12), "seed": st.integers(0, 10_000)}


@given(**SOUPS)
def test_greedy_chooses_as_the_recipe_of_the_paper(count, seed):
    score = random_score(seed)
    order = by_score({f"m{i}": score([f"m{i}"]) for i in range(count)})
    chosen, _ = greedy(order, full(score))
    assert chosen == naive(order, score)


@given(**SOUPS)
def test_greedy_is_never_worse_than_the_first_ingredient(count, seed):
    score = random_score(seed)
    order = [f"m{i}" for i in range(count)]
    chosen, _ = greedy(order, full(score))
    assert chosen[0] == order[0]
    assert score(chosen) >= score(order[:1])


@given(**SOUPS)
def test_the_trace_records_every_step(count, seed):
    score = random_score(seed)
    order = [f"m{i}" for i in range(count)]
    chosen, trace = greedy(order, full(score))
    assert [step["candidate"] for step in trace] == order
    assert [step["candidate"] for step in trace if step["accepted"]] == chosen
    soup: list[str] = []
    for step in trace:
        assert step["without"] == (score(soup) if soup else None)
        assert step["with"] == score([*soup, step["candidate"]])
        soup += [step["candidate"]] if step["accepted"] else []


@given(**SOUPS)
def test_each_candidate_is_scored_once_and_comes_last(count, seed):
    score, calls = random_score(seed), []
    order = [f"m{i}" for i in range(count)]
    greedy(order, full(lambda names: calls.append(names) or score(names)))
    assert [names[-1] for names in calls] == order


@given(**SOUPS)
def test_the_rule_of_the_authors_code_takes_only_what_makes_the_soup_better(count, seed):
    score = random_score(seed)
    order = by_score({f"m{i}": score([f"m{i}"]) for i in range(count)})
    soup = order[:1]
    for candidate in order[1:]:
        if score([*soup, candidate]) > score(soup):
            soup = [*soup, candidate]
    chosen, trace = greedy(order, full(score), BETTER)
    assert chosen == soup
    assert [step["candidate"] for step in trace if step["accepted"]] == soup


@given(**SOUPS)
def test_soups_of_the_first_models_follow_the_rule_too(count, seed):
    score = random_score(seed)
    names = [f"m{i}" for i in range(count)]
    scores = {name: score([name]) for name in names}
    for accept in (AT_LEAST, BETTER):
        for n, soup in enumerate(greedy_first(names, scores, full(score), accept), start=1):
            order = by_score({name: scores[name] for name in names[:n]})
            assert soup == greedy(order, full(score), accept)[0]


def test_the_rules_differ_where_a_candidate_changes_nothing():
    assert greedy(["a", "b"], full(lambda names: 0.5), BETTER)[0] == ["a"]
    assert greedy(["a", "b"], full(lambda names: 0.5), AT_LEAST)[0] == ["a", "b"]


def test_greedy_accepts_a_candidate_that_changes_nothing():
    assert greedy(["a", "b", "c"], full(lambda names: 0.5))[0] == ["a", "b", "c"]


def test_greedy_refuses_a_candidate_that_lowers_the_score_slightly():
    scores = {("a",): 0.5, ("a", "b"): 0.5 - 1e-12, ("a", "c"): 0.5}
    assert greedy(["a", "b", "c"], full(scores.get))[0] == ["a", "c"]


def test_a_single_model_is_its_own_soup_even_with_score_0():
    chosen, trace = greedy(["a"], full(lambda names: 0.0))
    assert chosen == ["a"]
    assert trace == [{"candidate": "a", "without": None, "with": 0.0, "accepted": True}]


def test_a_step_says_whether_its_score_is_a_bound():
    assert Tried(0.5).step("with") == {"with": 0.5}
    assert Tried(float("nan")).step("with") == {"with": None}
    exact = {"with": 0.5, "at_most": None, "evaluated": 9}
    assert Tried(0.5, evaluated=9).step("with") == exact
    assert Tried(float("nan"), evaluated=3).step("without") == {
        "without": None, "at_most": None, "evaluated": 3,
    }  # fmt: skip
    bound = {"with": None, "at_most": 0.5, "evaluated": 4}
    assert Tried(0.5, exact=False, evaluated=4).step("with") == bound


def test_a_trial_that_ends_early_is_refused():
    tried = {("a",): Tried(0.5), ("a", "b"): Tried(0.4, exact=False, evaluated=3)}
    asked = []
    chosen, trace = greedy(["a", "b"], lambda names, rival: asked.append(rival) or tried[names])
    assert chosen == ["a"]
    assert asked == [(), ("a",)]
    assert trace[1] == {
        "candidate": "b", "without": 0.5, "with": None, "at_most": 0.4, "evaluated": 3,
        "accepted": False,
    }  # fmt: skip


def test_candidates_are_sorted_by_falling_score_then_by_id():
    assert by_score({"m2": 0.5, "m0": 0.1, "m1": 0.5, "m3": 0.9}) == ["m3", "m1", "m2", "m0"]


# Pruning, orders, growing sweeps


@given(**SOUPS)
def test_a_pruned_soup_is_a_subset_of_the_soup_and_not_worse(count, seed):
    score = random_score(seed)
    chosen = [f"m{i}" for i in range(count)]
    left, trace = prune(chosen, full(score))
    assert [name for name in chosen if name in left] == left
    assert left[0] == chosen[0]
    assert score(left) >= score(chosen)
    assert [step["candidate"] for step in trace] == chosen[:0:-1]
    assert {step["candidate"] for step in trace if step["removed"]} == set(chosen) - set(left)


def test_pruning_removes_ingredients_that_do_not_help():
    scores = {"abc": 0.5, "ab": 0.5, "ac": 0.6, "a": 0.4}
    assert prune(["a", "b", "c"], full(lambda names: scores["".join(names)]))[0] == ["a", "b"]
    scores = {"abc": 0.5, "ab": 0.4, "ac": 0.6, "a": 0.4}
    assert prune(["a", "b", "c"], full(lambda names: scores["".join(names)]))[0] == ["a", "c"]


def test_random_orders_are_seeded_permutations():
    names = [f"m{i}" for i in range(8)]
    orders = [shuffled(names, 0, i) for i in range(4)]
    assert all(sorted(order) == names for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert shuffled(names[::-1], 0, 2) == orders[2]
    assert shuffled(names, 1, 2) != orders[2]


@given(**SOUPS)
def test_greedy_soups_of_the_first_n_models_score_no_set_twice(count, seed):
    score, calls = random_score(seed), []
    names = [f"m{i}" for i in range(count)]
    scores = {name: score([name]) for name in names}
    known = remembered(lambda members: calls.append(frozenset(members)) or score(members))
    soups = list(greedy_first(names, scores, full(known)))
    assert len(soups) == count
    for n, soup in enumerate(soups, start=1):
        order = by_score({name: scores[name] for name in names[:n]})
        assert soup == greedy(order, full(score))[0]
    assert len(calls) == len(set(calls))


@given(st.lists(st.lists(st.integers(0, 3).map(str), max_size=5), min_size=1, max_size=6))
def test_a_running_sum_equals_the_sum_and_reuses_the_last_one(asked):
    additions = []
    running = RunningSum(list, lambda total, name: additions.append(name) or [*total, name])
    for names in asked:
        assert running.of(tuple(names)) == names
    # Extending the names of the last call by one costs one addition.
    before = len(additions)
    running.of((*asked[-1], "x"))
    assert additions[before:] == ["x"]

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from soups.select import by_score, greedy


def random_score(seed: int):
    """A score of sets of ingredients with few levels, so that ties are common."""

    def score(names) -> float:
        ids = sorted(int(name[1:]) for name in names)
        return float(np.random.default_rng([seed, *ids]).integers(0, 5)) / 4

    return score


def naive(order, score) -> list[str]:
    """Recipe 1 of the paper as it is printed: both scores are computed every time."""
    ingredients: list[str] = []
    for candidate in order:
        before = score(ingredients) if ingredients else -np.inf
        if score([*ingredients, candidate]) >= before:
            ingredients = [*ingredients, candidate]
    return ingredients


SOUPS = {"count": st.integers(1, 12), "seed": st.integers(0, 10_000)}


@given(**SOUPS)
def test_greedy_is_the_papers(count, seed):
    score = random_score(seed)
    order = by_score({f"m{i}": score([f"m{i}"]) for i in range(count)})
    chosen, _ = greedy(order, score)
    assert chosen == naive(order, score)


@given(**SOUPS)
def test_greedy_is_never_worse_than_the_first(count, seed):
    score = random_score(seed)
    order = [f"m{i}" for i in range(count)]
    chosen, _ = greedy(order, score)
    assert chosen[0] == order[0]
    assert score(chosen) >= score(order[:1])


@given(**SOUPS)
def test_the_trace_tells_what_happened(count, seed):
    score = random_score(seed)
    order = [f"m{i}" for i in range(count)]
    chosen, trace = greedy(order, score)
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
    greedy(order, lambda names: calls.append(names) or score(names))
    assert [names[-1] for names in calls] == order


def test_ties_are_accepted():
    assert greedy(["a", "b", "c"], lambda names: 0.5)[0] == ["a", "b", "c"]


def test_the_least_loss_is_refused():
    scores = {("a",): 0.5, ("a", "b"): 0.5 - 1e-12, ("a", "c"): 0.5}
    assert greedy(["a", "b", "c"], scores.get)[0] == ["a", "c"]


def test_a_single_model_is_its_own_soup_even_at_zero():
    chosen, trace = greedy(["a"], lambda names: 0.0)
    assert chosen == ["a"]
    assert trace == [{"candidate": "a", "without": None, "with": 0.0, "accepted": True}]


def test_order_is_by_falling_score_then_by_id():
    assert by_score({"m2": 0.5, "m0": 0.1, "m1": 0.5, "m3": 0.9}) == ["m3", "m1", "m2", "m0"]

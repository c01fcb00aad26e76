"""The released results of the paper, which are a file of this project."""

import pytest

from soups import claims, published
from soups.evidence import Evidence


@pytest.fixture
def table(root):
    return published.load(root / "experiments" / "published" / "clip-vitb32-72.csv")


def test_every_accuracy_is_a_whole_number_of_images(table):
    assert len(table) == 72 + 2 + 1
    for name, n in published.IMAGES.items():
        images = table[name].astype(float) * n
        assert (images - images.round()).abs().max() < 1e-6


def test_the_paper_s_numbers(table):
    assert table.index[table["ImageNet2p"] == table["ImageNet2p"][:72].max()][0] == "model_43"
    assert table.loc["best_individual", "ImageNet"] == pytest.approx(0.80386)
    assert table.loc["greedy_soup", "shifts_mean"] == pytest.approx(0.5086, abs=1e-4)


def test_the_interval_of_one_set_is_that_of_two_binomials(table):
    value, low, high = published.difference(table, "greedy_soup", "best_individual", ["ImageNet"])
    assert value == pytest.approx(0.0064, abs=1e-5)
    one, two = 0.81026, 0.80386
    half = 1.959964 * ((one * (1 - one) + two * (1 - two)) / 50_000) ** 0.5
    assert (high - value, value - low) == (pytest.approx(half), pytest.approx(half))


def test_the_column_follows_the_numbers(table):
    parts = claims.effects(Evidence({}, {}, 1.0))
    columns = published.columns(parts, table)
    told = columns[columns["published_verdict"] != claims.NOT_TESTED]
    assert set(parts.loc[told.index, "claim"]) == {1, 2, 3}
    assert (told["published_verdict"].iloc[:2] == claims.SUPPORTED).all()

    worse = table.copy()
    worse.loc["greedy_soup", list(published.IMAGES)] -= 0.1
    flipped = published.columns(parts, worse.assign(
        shifts_mean=worse[published.SHIFTS].mean(axis=1)
    ))  # fmt: skip
    assert (flipped["published_verdict"].iloc[:2] == claims.NOT_SUPPORTED).all()

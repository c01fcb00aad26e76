"""Evidence from many runs: which tests decide, and what their runs say together."""

import numpy as np
import pandas as pd
import pytest

from soups.claims import series
from soups.claims.registry import CLAIMS
from soups.outcomes import CONTRADICTED, INCONCLUSIVE, NO_DIFFERENCE, NOT_TESTED, SUPPORTED

GAIN = series.GAIN
BARRIER = "mean of ends − midpoint, both at learning rate {}, test"


def run(*rows, **more) -> pd.DataFrame:
    """The table of effects of a run: rows of claim, part and effect, with narrow intervals."""
    made = [
        {"claim": claim, "part": part, "unit": "accuracy", "rule": "greater", "margin": 0.0032,
         "decides": True, "effect": effect, "lo": effect - 0.001, "hi": effect + 0.001,
         "images": 100, "models": 3, "pairs": 0, "verdict": SUPPORTED, "missing": np.nan}
        for claim, part, effect in rows
    ]  # fmt: skip
    return pd.DataFrame(made).assign(**more)


def test_several_runs_are_judged_by_their_mean_and_a_single_run_by_itself():
    runs = [run((1, GAIN, effect)) for effect in (0.010, 0.011, 0.012)]
    row = series.design("sweeps", runs, [1]).iloc[0]
    half = 4.302653 * 0.001 / 3**0.5
    assert (row["effect"], row["lo"]) == (
        pytest.approx(0.011),
        pytest.approx(0.011 - half, abs=1e-6),
    )
    assert row["verdict"] == SUPPORTED
    assert (row["runs"], row["models"], row["images"]) == (3, 9, 100)
    assert row["decides"]
    alone = series.design("long", runs[:1], []).iloc[0]
    assert (alone["lo"], alone["runs"], alone["decides"]) == (pytest.approx(0.009), 1, False)


def test_two_runs_are_too_few_for_a_verdict():
    row = series.design("sweeps", [run((1, GAIN, e)) for e in (0.01, 0.011)], [1]).iloc[0]
    assert row["verdict"] == INCONCLUSIVE
    assert np.isnan(row["lo"])


def test_a_greedy_soup_of_the_best_model_alone_counts_as_no_gain():
    same = run((1, GAIN, np.nan), missing=series.NO_GAIN)
    runs = [run((1, GAIN, 0.003)), same, run((1, GAIN, 0.003))]
    row = series.design("sweeps", runs, [1]).iloc[0]
    assert row["runs"] == 3
    assert row["effect"] == pytest.approx(0.002)
    assert series.design("sweeps", [same], [1]).empty  # a run alone is no test of soups
    weaker = run((18, GAIN, np.nan), missing=series.NO_GAIN)
    assert series.design("sweeps", [weaker, weaker, weaker], [1]).empty
    other = run((1, GAIN, np.nan), missing="curve pairs")
    runs = [run((1, GAIN, 0.003)), other, run((1, GAIN, 0.004))]
    assert series.design("sweeps", runs, [1]).iloc[0]["runs"] == 2


def test_the_largest_rate_that_three_runs_have_decides_about_barriers():
    low, high = (BARRIER.format(rate) for rate in ("0.002", "0.006"))
    both = [run((7, low, drop), (7, high, drop)) for drop in (0.03, 0.04, 0.05)]
    rows = series.design("paths", both, [7]).set_index("part")
    assert rows["decides"].to_dict() == {low: False, high: True}
    some = [both[0], *(run((7, low, drop)) for drop in (0.04, 0.05))]
    rows = series.design("paths", some, [7]).set_index("part")
    assert rows["decides"].to_dict() == {low: True, high: False}


def test_a_rate_decides_only_if_most_runs_have_it():
    low, high = (BARRIER.format(rate) for rate in ("0.002", "0.006"))
    few = [run((7, low, drop)) for drop in (0.03, 0.04, 0.05)]
    all_six = [*few, *(run((7, low, drop), (7, high, drop)) for drop in (0.03, 0.04, 0.05))]
    rows = series.design("paths", all_six, [7]).set_index("part")
    assert rows["decides"].to_dict() == {low: True, high: False}
    rows = series.design("paths", [*all_six, all_six[-1]], [7]).set_index("part")
    assert rows["decides"].to_dict() == {low: False, high: True}


def test_a_test_that_no_run_could_make_leaves_its_claim_open():
    midpoint, barrier = "midpoint − better end", BARRIER.replace("learning rate {}", "{}")
    missing = barrier.format("the largest learning rate")
    runs = [run((7, midpoint, e), (7, missing, np.nan)) for e in (0.010, 0.011, 0.012)]
    for table in runs:
        table["verdict"] = [SUPPORTED, NOT_TESTED]
    parts = series.design("paths", runs, [7])
    assert list(parts["verdict"]) == [SUPPORTED, NOT_TESTED]
    claim = series.judged(parts).set_index("claim").loc[7]
    assert (claim["verdict"], claim["part"], claim["runs"]) == (INCONCLUSIVE, missing, 0)
    assert len(series.design("paths", runs, [16])) == 1  # another claim's test may be missing
    # At one learning rate the test was made, so nothing is missing.
    made = [run((7, midpoint, 0.01 + e), (7, BARRIER.format("0.006"), e)) for e in (0.03, 0.04)]
    assert missing not in list(series.design("paths", [*runs[:1], *made], [7])["part"])


def test_gains_from_two_starts_are_compared_sweep_by_sweep():
    usual = [run((1, GAIN, effect)) for effect in (0.010, 0.012, 0.014)]
    weak = [run((1, GAIN, effect)) for effect in (0.004, 0.006, 0.008)]
    rows = series.design("weak", series.weaker(usual, weak), [18])
    assert list(rows["effect"]) == pytest.approx([0.006, 0.006])
    assert list(rows["models"]) == [9, 18]
    # The differences are equal in all sweeps, so they count as one.
    assert list(rows["runs"]) == [3, 1]
    names = [part.title() for claim in CLAIMS if claim.number == 18 for part in claim.parts]
    assert list(rows["part"]) == names


def test_each_claim_is_decided_by_its_design_alone():
    sweeps = series.design("sweeps", [run((1, GAIN, e)) for e in (0.01, 0.011, 0.012)], [1])
    long = series.design("long", [run((1, GAIN, -0.01), verdict=CONTRADICTED)], [2])
    parts = series.combined([sweeps, long])
    assert list(parts["design"]) == ["sweeps", "long"]
    claims = series.judged(parts).set_index("claim")
    assert claims.loc[1, "verdict"] == SUPPORTED
    assert (claims.loc[1, "design"], claims.loc[1, "runs"]) == ("sweeps", 3)
    assert claims.loc[2, "verdict"] == NOT_TESTED
    assert len(claims) == len(CLAIMS)


def test_the_verdict_of_recorded_evidence_stands_beside_that_of_a_run(tmp_path):
    claims = pd.DataFrame({"claim": [1, 2], "verdict": [INCONCLUSIVE, NO_DIFFERENCE]})
    parts = series.design("sweeps", [run((1, GAIN, e)) for e in (0.01, 0.011, 0.012)], [1])
    series.judged(parts).to_csv(tmp_path / "claims.csv", index=False)
    shown = series.beside(claims, [tmp_path / "claims.csv"])
    assert list(shown["verdict"]) == [INCONCLUSIVE, NO_DIFFERENCE]
    assert list(shown["evidence_verdict"]) == [SUPPORTED, NOT_TESTED]
    assert shown["evidence_effect"].iloc[0] == pytest.approx(0.011)
    pd.testing.assert_frame_equal(series.beside(claims, []), claims)

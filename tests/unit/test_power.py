"""The simulation of right and false verdicts."""

from pathlib import Path

import numpy as np
import pandas as pd
import power
import pytest
from docs_tables import rewritten

from soups.claims.registry import CLAIMS, USUAL, Part


@pytest.fixture(scope="module")
def recorded() -> pd.DataFrame:
    return pd.read_csv(power.WRITTEN)


def test_the_table_of_the_page_is_that_of_the_record(recorded):
    text = Path(power.PAGE).read_text(encoding="utf-8")
    assert rewritten(text, {"power": power.page(recorded)}) == text


def test_every_test_about_images_that_decides_is_simulated(recorded):
    wanted = {
        (claim.number, part.title(), round(part.margin.value, 5))
        for claim in CLAIMS
        if claim.number != 19
        for part in claim.parts
        if part.decides and part.rule != "exact"
    }
    assert set(recorded[["claim", "part", "margin"]].itertuples(index=False, name=None)) == wanted


def test_without_spread_every_verdict_is_right():
    tiny = power.Spread(1e-6, 1000, 0.0, True)
    part = Part("a", lambda evidence: None, margin=USUAL)
    rng = np.random.default_rng(0)
    for true, right, _ in power.truths(part).values():
        found = power.decide("greater", USUAL.value, *power.one_run(true, tiny, 1000, rng))
        assert set(found) == right
        assert set(power.decided(part, power.sweeps_of(true, tiny, 1000, rng, 8), 8)) == right


def test_further_runs_count_only_where_the_first_are_inconclusive():
    part = Part("a", lambda evidence: None, margin=USUAL)
    clear, wide = [0.01, 0.011, 0.012], [0.0, 0.01, 0.02]
    further = [-0.05, -0.05, -0.05], [0.01, 0.01, 0.01], [0.0, -0.01, -0.02]
    values = np.array([clear + further[0], wide + further[1], wide + further[2]])
    assert list(power.decided(part, values, 3)) == ["supported", "supported", "inconclusive"]
    assert list(power.decided(part, values[:, :3], 3)) == ["supported", *2 * ["inconclusive"]]


def test_a_wide_interval_is_rarely_false():
    wide = power.Spread(0.01, 1000, 0.0, True)
    rng = np.random.default_rng(0)
    found = power.decide("greater", USUAL.value, *power.one_run(0.0, wide, 1000, rng))
    assert (found == power.INCONCLUSIVE).mean() == pytest.approx(0.95, abs=0.01)

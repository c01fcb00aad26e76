"""Every claim's test on made-up results with a known answer, for the claim and against it."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from soups.claims import verdicts
from soups.claims.evidence import Effect, Evidence, MissingEvidence
from soups.claims.verdicts import (
    CLAIMS,
    INCONCLUSIVE,
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    verdict,
)
from soups.evaluation.samples import save_points
from soups.roles import BEST

IMAGES = 4000
LARGE_LR = 0.01


def right(accuracies, seed=0) -> np.ndarray:
    """Right and wrong of several points on the same images: exact accuracies, all paired."""
    ranks = np.random.default_rng(seed).permutation(IMAGES) + 0.5
    return ranks[None] < IMAGES * np.asarray(accuracies, float)[:, None]


class Story:
    """Tables and points of a run in which every claim holds (sign 1) or is wrong (sign -1)."""

    def __init__(self, folder, sign: int) -> None:
        self.folder, self.sign = folder, sign
        self.tables, self.curves = {}, {}
        self.methods()
        self.large_lr()
        self.pairs()
        self.growth()
        self.small_curves()

    def table(self, name: str, rows) -> None:
        self.tables[name] = self.folder / f"{name}.csv"
        pd.DataFrame(rows).assign(n_test=IMAGES, n_shifts=IMAGES).to_csv(
            self.tables[name], index=False
        )

    def points(self, name: str, arrays) -> None:
        self.curves[name] = self.folder / f"{name}.safetensors"
        save_points(self.curves[name], arrays, {})

    def evidence(self, weaker=None) -> Evidence:
        return Evidence(self.tables, self.curves, LARGE_LR, weaker)

    def methods(self, gain: float = 0.02) -> None:
        s = self.sign
        wins = [  # what the claims say is better, and than what
            ("greedy", BEST, "test"), ("greedy", BEST, "shifts_mean"),
            ("greedy", "greedy_random", "test"), ("learned", "greedy", "test"),
            ("learned_by_layer", "greedy", "test"), ("ensemble", "uniform", "test"),
            ("uniform", "ensemble", "shifts_mean"), ("greedy_ensemble", "greedy", "test"),
            ("greedy", "greedy_ensemble", "shifts_mean"), ("soup_of_EMA", "first_six", "test"),
            ("soup_of_SWA", "first_six", "test"),
            ("soup_with_and_without_SAM", "first_six", "test"),
            ("soup_with_and_without_SAM", "soup_of_SAM", "test"),
            ("greedy", "distilled_model", "test"), ("greedy", "distilled_model", "shifts_mean"),
        ]  # fmt: skip
        rows = []
        for i, (better, worse, measure) in enumerate(wins):
            row = {"method": better, "reference": worse, "measure": measure, "n": IMAGES}
            row |= {"difference": s * gain, "lo": s * gain - 0.002, "hi": s * gain + 0.002}
            if i % 2:  # a table may have either of the two as its reference
                row |= {"method": worse, "reference": better, "difference": -s * gain}
                row |= {"lo": -s * gain - 0.002, "hi": -s * gain + 0.002}
            rows.append(row)
        self.table("significance", rows)
        names = list(dict.fromkeys(name for one, two, _ in wins for name in (one, two)))
        heldout = {"greedy": 0.7 + s * 0.01}
        self.table("methods", [
            {"method": name, "heldout": heldout.get(name, 0.7), "ingredients": 3,
             "n_heldout": 1000, "members": "m0 m1 | m0 m2"} for name in names
        ])  # fmt: skip
        gains = {BEST: 0.0, "ensemble": s * 0.02, "greedy": 0.0 if s > 0 else 0.02}
        self.table("calibration", [
            {"method": name, "set": "test", "n": IMAGES, "ece_gain": value,
             "ece_gain_lo": value - 0.004, "ece_gain_hi": value + 0.004}
            for name, value in gains.items()
        ])  # fmt: skip

    def large_lr(self) -> None:
        s = self.sign
        rows = [{"method": m, "large": j} for j in (0, 1, 2) for m in ("uniform", "greedy")]
        accuracy = [0.7, 0.7, 0.7 - 0.02 * s, 0.7, 0.7 - 0.05 * s, 0.7 if s > 0 else 0.6]
        self.table("large_lr", rows)
        self.points("large_lr", {"test": right(accuracy)})
        self.table("rejection", [{"model": i} for i in range(5)])

    def pairs(self) -> None:
        """Pairs with usual learning rates, and paths both with usual and with large ones."""
        steps = (0.02, 0.02) if self.sign > 0 else (-0.03, -0.02)
        usual = {"lr": 1e-3, "gain": lambda t: steps[0] + steps[1] * t}
        large = {"lr": 0.1, "gain": lambda t: -0.1 * self.sign}
        self._pairs("pairs", {"m": usual})
        self._pairs("paths", {"s": usual, "l": large})

    def _pairs(self, name: str, families: dict[str, dict]) -> None:
        """All pairs of six models of each family; the angle goes from 40 to 70 degrees."""
        rows, soup, ensemble, true, guess = [], [], [], [], []
        noise = np.random.default_rng(0).normal(0, 0.2, IMAGES)
        for family, spec in families.items():
            pairs = list(combinations([f"{family}{i}" for i in range(6)], 2))
            for i, (one, two) in enumerate(pairs):
                share = i / len(pairs)
                for alpha in (0, 0.5, 1):
                    inner = alpha == 0.5
                    level = 0.6 + (spec["gain"](share) if inner else 0)
                    soup.append(level)
                    ensemble.append(self._ensemble(level, spec["lr"]) if inner else level)
                    value = share if inner else np.nan
                    true.append(value + noise)
                    guess.append(self.sign * value + noise)
                    row = {"model_1": one, "model_2": two, "alpha": alpha, "angle": 40 + 30 * share}
                    row |= {"lr_1": spec["lr"], "lr_2": spec["lr"], "gap_approximation": value}
                    rows.append(row)
        self.table(name, rows)
        arrays = {"soup/test": right(soup), "ensemble/test": right(ensemble)}
        if name == "paths":
            arrays |= {"gap/test": np.array(true, np.float32)}
            arrays |= {"approximation/test": np.array(guess, np.float32)}
        self.points(name, arrays)

    def _ensemble(self, soup: float, lr: float) -> float:
        """As good as the soup, or better with a large learning rate; or the opposite of it."""
        if self.sign > 0:
            return soup + (0.05 if lr >= LARGE_LR else 0)
        return 1.2 - soup

    def growth(self) -> None:
        s = self.sign
        rows = [{"method": m, "order": o, "n": n} for m in ("uniform", "greedy")
                for o in (0, 1) for n in range(1, 9)]  # fmt: skip
        self.table("number_of_models", rows)
        accuracy = [0.6 + s * 0.01 * row["n"] for row in rows]
        self.points("number_of_models", {"test": right(accuracy)})

    def small_curves(self) -> None:
        s = self.sign
        rows = [
            {"slice": name, "method": method, "models": 4}
            for name in ("lr", "augment", "seed")
            for method in (BEST, "uniform", "greedy")
        ]
        self.table("slices", rows)
        accuracy = [0.7 + (0.03 * s if row["method"] == "greedy" else 0) for row in rows]
        self.points("slices", {"test": right(accuracy)})

        alphas = (0, 0.5, 1)
        rows = [{"method": m, "alpha": a} for m in (BEST, "uniform", "greedy") for a in alphas]
        self.table("wise_ft", rows)
        # The curve of the best model trades test against shifts; the others lie above or below.
        test = [0.6, 0.65, 0.7] + [0.6, 0.65 + 0.05 * s, 0.7 + 0.05 * s] * 2
        shift = [0.7, 0.65, 0.6] + [0.7, 0.65 + 0.05 * s, 0.6 + 0.05 * s] * 2
        self.points("wise_ft", {"test": right(test), "r": right(shift, seed=1)})

        rows = [{"tasks": n, "models": 2 * n} for n in (0, 1, 2)]
        self.table("tasks", rows)
        self.points("tasks", {"test": right([0.5, 0.5, 0.5 + 0.05 * s])})


@pytest.fixture(scope="module", params=[1, -1], ids=["for", "against"])
def judged(request, tmp_path_factory):
    """The sign of the story, and the table of all effects."""
    sign = request.param
    story = Story(tmp_path_factory.mktemp("story"), sign)
    weaker = Story(tmp_path_factory.mktemp("weaker"), sign)
    # The gain from the weaker start: there, but smaller; or a loss, but a smaller one.
    weaker.methods(gain=0.011 if sign > 0 else 0.001)
    if sign < 0:
        weaker.sign = 1
        weaker.methods(gain=-0.015)
        story.sign = -1
        story.methods(gain=0.05)
    return sign, verdicts.effects(story.evidence(weaker.evidence()))


@pytest.mark.parametrize("claim", [claim.number for claim in CLAIMS if claim.parts])
def test_a_claim_is_judged_by_the_data(judged, claim):
    sign, effects = judged
    mine = effects[effects["claim"] == claim]
    wanted = SUPPORTED if sign > 0 else NOT_SUPPORTED
    assert verdicts.joint(list(mine["verdict"])) == wanted, mine.to_string()
    assert (mine["verdict"] == wanted).all(), mine.to_string()
    assert (mine["images"] > 0).all()


def test_the_text_claim_is_not_tested(judged):
    table = verdicts.claims_table(judged[1]).set_index("claim")
    assert list(table.index) == list(range(1, 20))
    assert table.loc[19, "verdict"] == NOT_TESTED
    assert table.loc[1, "effect"] == judged[0] * abs(table.loc[1, "effect"])


def test_without_evidence_nothing_is_judged(tmp_path):
    effects = verdicts.effects(Evidence({}, {}, LARGE_LR))
    assert set(effects["verdict"]) == {NOT_TESTED}
    assert (effects["missing"] != "").all()
    assert set(verdicts.claims_table(effects)["verdict"]) == {NOT_TESTED}


@pytest.mark.parametrize(
    ("rule", "value", "lo", "hi", "wanted"),
    [
        ("greater", 0.02, 0.01, 0.03, SUPPORTED),
        ("greater", 0.02, -0.01, 0.03, INCONCLUSIVE),
        ("greater", 0.0, 0.0, 0.0, INCONCLUSIVE),
        ("greater", -0.02, -0.03, -0.01, NOT_SUPPORTED),
        ("greater", 0.02, np.nan, np.nan, INCONCLUSIVE),
        ("no_worse", 0.0, -0.004, 0.004, SUPPORTED),
        ("no_worse", 0.0, -0.006, 0.006, INCONCLUSIVE),
        ("no_worse", -0.01, -0.02, -0.006, NOT_SUPPORTED),
        ("exact", 0.0, 0.0, 0.0, SUPPORTED),
        ("exact", -0.001, 0.0, 0.0, NOT_SUPPORTED),
    ],
)
def test_the_rules(rule, value, lo, hi, wanted):
    assert verdict(rule, value, lo, hi) == wanted


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, INCONCLUSIVE], INCONCLUSIVE),
        ([SUPPORTED, INCONCLUSIVE, NOT_SUPPORTED], NOT_SUPPORTED),
        ([SUPPORTED, NOT_TESTED], INCONCLUSIVE),
        ([NOT_TESTED, NOT_TESTED], NOT_TESTED),
        ([], NOT_TESTED),
    ],
)
def test_parts_together(verdicts, wanted):
    assert verdicts.joint(verdicts) == wanted


def test_the_part_that_decides_is_the_weakest():
    claim = CLAIMS[0]
    parts = pd.DataFrame(
        [
            {"claim": 1, "part": "a", "unit": "accuracy", "rule": "greater", "effect": 0.1,
             "lo": 0.05, "hi": 0.2, "images": 9, "models": 2, "pairs": 0, "verdict": SUPPORTED},
            {"claim": 1, "part": "b", "unit": "accuracy", "rule": "greater", "effect": 0.0,
             "lo": -0.1, "hi": 0.1, "images": 9, "models": 2, "pairs": 0,
             "verdict": INCONCLUSIVE},
        ]
    )  # fmt: skip
    row = verdicts.claims_table(parts, [claim]).iloc[0]
    assert (row["part"], row["verdict"]) == ("b", INCONCLUSIVE)


def test_over_sweeps_is_students_interval():
    def of(value):
        effects = verdicts.effects(Evidence({}, {}, LARGE_LR), CLAIMS[:1])
        return effects.assign(effect=[value, np.nan])

    table = verdicts.over_sweeps([of(0.01), of(0.02), of(0.03)])
    row = table.iloc[0]
    half = 4.302652730 * 0.01 / np.sqrt(3)
    assert row["sweeps"] == 3
    assert row["sweeps_effect"] == pytest.approx(0.02)
    assert row["sweeps_hi"] - row["sweeps_effect"] == pytest.approx(half, abs=1e-6)
    assert row["sweeps_verdict"] == INCONCLUSIVE
    assert table.iloc[1]["sweeps_verdict"] == NOT_TESTED


def test_the_same_effect_in_every_sweep_is_no_replication():
    """As of models that all sweeps share; two sweeps alone are too few for an interval."""
    effects = verdicts.effects(Evidence({}, {}, LARGE_LR), CLAIMS[:1])
    for values in ([0.02] * 4, [0.02, 0.03]):
        tables = [effects.assign(effect=[value, np.nan]) for value in values]
        row = verdicts.over_sweeps(tables).iloc[0]
        assert np.isnan(row["sweeps_lo"])
        assert row["sweeps_verdict"] == NOT_TESTED
    nothing = [verdicts.effects(Evidence({}, {}, LARGE_LR), CLAIMS[1:2]).assign(effect=0.0)] * 3
    assert list(verdicts.over_sweeps(nothing)["sweeps_verdict"]) == [INCONCLUSIVE, SUPPORTED]


def test_a_missing_method_is_said():
    def effect(_) -> Effect:
        raise MissingEvidence("method of dreams")

    made_up = verdicts.Claim(1, "text", [verdicts.Part("part", effect)], "figure")
    row = verdicts.effects(Evidence({}, {}, LARGE_LR), [made_up]).iloc[0]
    assert row["missing"] == "method of dreams"
    assert row["verdict"] == NOT_TESTED

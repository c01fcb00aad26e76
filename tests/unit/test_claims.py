"""Verdicts on every claim, from synthetic results that support the claim or contradict it."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from soups.claims import verdicts
from soups.claims.evidence import Effect, Evidence, MissingEvidence
from soups.claims.pair_effects import GOOD_LARGE_PAIRS
from soups.claims.registry import CLAIMS, Claim, Part
from soups.claims.rules import decide, expected_by_chance, joint, verdict
from soups.evaluation.samples import save_points
from soups.outcomes import (
    CHECKED,
    CONTRADICTED,
    INCONCLUSIVE,
    NO_DIFFERENCE,
    NOT_TESTED,
    SUPPORTED,
)
from soups.report import presentation
from soups.roles import (
    BEST,
    DISTILLED,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    GREEDY_RANDOM,
    LEARNED,
    LEARNED_BY_LAYER,
    PLAIN,
    SOUP_OF_SAM,
    SOUP_WITH_SAM,
    TITLES,
    UNIFORM,
    Roles,
)

IMAGES = 4000
LARGE_LR = 0.01


def no_evidence() -> Evidence:
    """The evidence of a run without any table."""
    return Evidence({}, {}, LARGE_LR, Roles.named())


def right(accuracies, seed=0) -> np.ndarray:
    """Whether each point is right on each image, with exact accuracies, shape (points, images)."""
    ranks = np.random.default_rng(seed).permutation(IMAGES) + 0.5
    return ranks[None] < IMAGES * np.asarray(accuracies, float)[:, None]


class SyntheticRun:
    """Tables and points of a run in which every claim holds (sign 1) or is wrong (sign -1).

    The run is one on texts, so that it tests every claim.

    Args:
        folder: where the tables and points are written.
        sign: 1 or -1.
        renamed: role to row, for roles whose row has another name.
    """

    def __init__(self, folder, sign: int, renamed: dict[str, str] | None = None) -> None:
        self.folder, self.sign, self.renamed = folder, sign, renamed or {}
        self.tables, self.curves = {}, {}
        self.methods()
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

    def evidence(self, weaker=None, problem: str = "text") -> Evidence:
        roles = Roles({name: name for name in TITLES} | self.renamed)
        return Evidence(self.tables, self.curves, LARGE_LR, roles, weaker, problem=problem)

    def row(self, role: str) -> str:
        return self.renamed.get(role, role)

    def methods(self, gain: float = 0.02) -> None:
        s = self.sign
        wins = [  # better and worse role of each claim, and the measure
            (GREEDY, BEST, "test"), (GREEDY, BEST, "shifts_mean"), (GREEDY, UNIFORM, "test"),
            (GREEDY, GREEDY_RANDOM, "test"), (LEARNED, GREEDY, "test"),
            (LEARNED_BY_LAYER, GREEDY, "test"), (ENSEMBLE, UNIFORM, "test"),
            (UNIFORM, ENSEMBLE, "shifts_mean"), (GREEDY_ENSEMBLE, GREEDY, "test"),
            (GREEDY, GREEDY_ENSEMBLE, "shifts_mean"), (SOUP_WITH_SAM, PLAIN, "test"),
            (SOUP_WITH_SAM, SOUP_OF_SAM, "test"),
            (GREEDY, DISTILLED, "test"), (GREEDY, DISTILLED, "shifts_mean"),
        ]  # fmt: skip
        rows = []
        for i, (better, worse, measure) in enumerate(wins):
            better, worse = self.row(better), self.row(worse)
            row = {"method": better, "reference": worse, "measure": measure, "n": IMAGES}
            row |= {"difference": s * gain, "lo": s * gain - 0.002, "hi": s * gain + 0.002}
            if i % 2:  # Either of the two methods may be the reference.
                row |= {"method": worse, "reference": better, "difference": -s * gain}
                row |= {"lo": -s * gain - 0.002, "hi": -s * gain + 0.002}
            rows.append(row)
        self.table("significance", rows)
        names = list(dict.fromkeys(name for one, two, _ in wins for name in (one, two)))
        heldout = {GREEDY: 0.7 + s * 0.01}
        self.table("methods", [
            {"method": self.row(role), "heldout": heldout.get(role, 0.7), "ingredients": 3,
             "n_heldout": 1000, "members": "m0 m1 | m0 m2"} for role in names
        ])  # fmt: skip
        gains = {BEST: 0.0, ENSEMBLE: s * 0.02, GREEDY: 0.0 if s > 0 else 0.02}
        kinds = ("", "_mass10", "_mass15", "_mass20")
        self.table("calibration", [
            {"method": self.row(role), "set": "test", "n": IMAGES}
            | {f"ece_gain{kind}": value for kind in kinds}
            | {f"ece_gain{kind}_lo": value - 0.004 for kind in kinds}
            | {f"ece_gain{kind}_hi": value + 0.004 for kind in kinds}
            for role, value in gains.items()
        ])  # fmt: skip

    def pairs(self) -> None:
        """Write pairs with usual learning rates, and paths with usual and with large ones."""
        steps = (0.02, 0.02) if self.sign > 0 else (-0.03, -0.02)
        # The ensemble's lead grows with the share, and so does the rate if the claim holds.
        usual = {
            "lr": lambda t: 1e-3 * (1 + t if self.sign > 0 else 2 - t),
            "gain": lambda t: steps[0] + steps[1] * t,
            "level": 0.6,
        }
        large = {"lr": lambda t: 0.1, "gain": lambda t: -0.1 * self.sign, "level": 0.65}
        self._pairs("pairs", {"m": usual})
        self._pairs("paths", {"s": usual, "l": large})

    def _pairs(self, name: str, families: dict[str, dict]) -> None:
        """Write all pairs of six models of each family. The angle grows from 40 to 70 degrees."""
        rows, soup, ensemble, true, guess = [], [], [], [], []
        noise = np.random.default_rng(0).normal(0, 0.2, IMAGES)
        for family, spec in families.items():
            pairs = list(combinations([f"{family}{i}" for i in range(6)], 2))
            for i, (one, two) in enumerate(pairs):
                share = i / len(pairs)
                for alpha in (0, 0.5, 1):
                    inner = alpha == 0.5
                    level = spec["level"] + (spec["gain"](share) if inner else 0)
                    soup.append(level)
                    ensemble.append(self._ensemble(level, share) if inner else level)
                    value = share if inner else np.nan
                    true.append(value + noise)
                    guess.append(self.sign * value + noise)
                    row = {"model_1": one, "model_2": two, "alpha": alpha, "angle": 40 + 30 * share}
                    rate = spec["lr"](share)
                    row |= {"lr_1": rate, "lr_2": rate, "gap_approximation": value}
                    row |= {"curvature": value, "curvature_wide": value}
                    rows.append(row)
        self.table(name, rows)
        arrays = {"soup/test": right(soup), "ensemble/test": right(ensemble)}
        if name == "paths":
            arrays |= {"gap/test": np.array(true, np.float32)}
            arrays |= {"approximation/test": np.array(guess, np.float32)}
        self.points(name, arrays)

    def _ensemble(self, soup: float, share: float) -> float:
        """The accuracy of an ensemble whose soup has the given one, for or against the claims."""
        return soup + 0.05 * share if self.sign > 0 else 1.2 - soup

    def growth(self) -> None:
        s = self.sign
        rows = [{"method": m, "order": o, "n": n} for m in (UNIFORM, GREEDY)
                for o in (0, 1) for n in range(1, 9)]  # fmt: skip
        self.table("number_of_models", rows)
        accuracy = [0.6 + s * 0.01 * row["n"] for row in rows]
        self.points("number_of_models", {"test": right(accuracy)})

    def small_curves(self) -> None:
        s = self.sign
        rows = [
            {"slice": name, "method": method, "models": 4}
            for name in ("lr", "augment", "seed", "EMA", "SWA")
            for method in (BEST, UNIFORM, GREEDY)
        ]
        self.table("slices", rows)
        accuracy = [0.7 + (0.03 * s if row["method"] == GREEDY else 0) for row in rows]
        self.points("slices", {"test": right(accuracy)})

        alphas = (0, 0.5, 1)
        ends = (BEST, UNIFORM, GREEDY)
        rows = [{"method": self.row(role), "alpha": a} for role in ends for a in alphas]
        self.table("wise_ft", rows)
        # The curve of the best model trades test accuracy for shifts. The two soups lie above it
        # (sign 1) or below it (sign -1).
        test = [0.6, 0.65, 0.7] + [0.6, 0.65 + 0.05 * s, 0.7 + 0.05 * s] * 2
        shift = [0.7, 0.65, 0.6] + [0.7, 0.65 + 0.05 * s, 0.6 + 0.05 * s] * 2
        self.points("wise_ft", {"test": right(test), "r": right(shift, seed=1)})

        rows = [{"tasks": n, "models": 2 * n} for n in (0, 1, 2)]
        self.table("tasks", rows)
        self.points("tasks", {"test": right([0.5, 0.5, 0.5 + 0.05 * s])})


def effects_of(tmp_path_factory, sign: int, renamed: dict[str, str] | None = None) -> pd.DataFrame:
    """The effects of a synthetic run that is compared with a run from a weaker start."""
    run = SyntheticRun(tmp_path_factory.mktemp("run"), sign, renamed)
    weaker = SyntheticRun(tmp_path_factory.mktemp("weaker"), sign, renamed)
    # From the weaker start, the gain or the loss is smaller.
    weaker.methods(gain=0.011 if sign > 0 else 0.001)
    if sign < 0:
        weaker.sign = 1
        weaker.methods(gain=-0.015)
        run.sign = -1
        run.methods(gain=0.05)
    return verdicts.effects(run.evidence(weaker.evidence()))


@pytest.fixture(scope="module", params=[1, -1], ids=["for", "against"])
def judged(request, tmp_path_factory):
    """The sign of the synthetic run, and its table of all effects."""
    return request.param, effects_of(tmp_path_factory, request.param)


@pytest.mark.parametrize("claim", [claim.number for claim in CLAIMS])
def test_a_claim_gets_the_verdict_that_the_data_supports(judged, claim):
    sign, effects = judged
    mine = effects[effects["claim"] == claim]
    wanted = (CHECKED if claim == 3 else SUPPORTED) if sign > 0 else CONTRADICTED
    assert joint(list(mine["verdict"])) == wanted, mine.to_string()
    assert (mine["verdict"] == wanted).all(), mine.to_string()
    assert (mine["images"] > 0).all()


def test_the_table_of_claims_has_all_19(judged):
    sign, effects = judged
    table = verdicts.claims_table(effects).set_index("claim")
    assert list(table.index) == list(range(1, 20))
    assert np.sign(table.loc[1, "effect"]) == sign


def test_a_run_on_images_does_not_test_the_claim_about_texts(tmp_path):
    run = SyntheticRun(tmp_path, 1)
    effects = verdicts.effects(run.evidence(problem="images"))
    mine = effects[effects["claim"] == 19]
    assert list(mine["missing"]) == ["a run on texts"] * 3
    assert verdicts.claims_table(effects).set_index("claim").loc[19, "verdict"] == NOT_TESTED
    # The rows of all other claims are those of the same tables of a run on texts.
    texts = verdicts.effects(run.evidence())
    pd.testing.assert_frame_equal(effects[:-3], texts[:-3])


def test_a_greedy_soup_of_the_best_model_alone_gains_nothing_on_texts(tmp_path):
    """The paper's table of texts shows such a soup as equal to the best individual model."""
    effects = verdicts.effects(one_model(tmp_path))
    mine = effects[effects["claim"] == 19]
    assert list(mine["effect"]) == [0, 0, 0]
    assert list(mine["verdict"]) == [NO_DIFFERENCE, SUPPORTED, SUPPORTED]


def test_without_evidence_every_claim_is_not_tested():
    effects = verdicts.effects(no_evidence())
    assert set(effects["verdict"]) == {NOT_TESTED}
    assert (effects["missing"] != "").all()
    assert set(verdicts.claims_table(effects)["verdict"]) == {NOT_TESTED}


@pytest.mark.parametrize(
    ("rule", "value", "lo", "hi", "wanted"),
    [
        ("greater", 0.02, 0.01, 0.03, SUPPORTED),
        ("greater", 0.02, -0.01, 0.03, INCONCLUSIVE),
        ("greater", 0.0, 0.0, 0.0, NO_DIFFERENCE),
        ("greater", 0.001, -0.005, 0.005, NO_DIFFERENCE),
        ("greater", 0.002, 0.001, 0.004, NO_DIFFERENCE),  # above 0, but certainly small
        ("greater", 0.001, -0.0051, 0.005, INCONCLUSIVE),
        ("greater", 0.004, 0.001, 0.006, SUPPORTED),
        ("greater", -0.02, -0.03, -0.01, CONTRADICTED),
        ("greater", 0.02, np.nan, np.nan, INCONCLUSIVE),
        ("no_worse", 0.0, -0.004, 0.004, SUPPORTED),
        ("no_worse", 0.0, -0.006, 0.006, INCONCLUSIVE),
        ("no_worse", -0.01, -0.02, -0.006, CONTRADICTED),
        ("exact", 0.0, 0.0, 0.0, CHECKED),
        ("exact", -0.001, 0.0, 0.0, CONTRADICTED),
    ],
)
def test_a_verdict_follows_from_the_rule_the_margin_and_the_interval(rule, value, lo, hi, wanted):
    assert verdict(rule, 0.005, value, lo, hi) == wanted


@pytest.mark.parametrize(
    ("lo", "hi", "wanted"),
    [
        (0.6, 1.8, SUPPORTED), (0.4, 1.8, INCONCLUSIVE), (0.6, 2.1, INCONCLUSIVE),
        (-0.1, 0.4, CONTRADICTED), (2.1, 3.0, CONTRADICTED), (np.nan, np.nan, INCONCLUSIVE),
    ],
)  # fmt: skip
def test_a_ratio_is_supported_within_its_factor(lo, hi, wanted):
    assert verdict("within", 2, 1.0, lo, hi) == wanted


def test_many_effects_are_judged_at_once():
    lo, hi = np.array([0.01, -0.03]), np.array([0.03, -0.01])
    assert decide("greater", 0.005, lo, lo, hi).tolist() == [SUPPORTED, CONTRADICTED]


def test_every_margin_is_half_of_the_paper_s_effect_or_has_a_stated_source():
    for claim in CLAIMS:
        for part in claim.parts:
            margin = part.margin
            assert margin.source
            assert margin.paper is None or margin.value == margin.paper / 2
            assert (margin.value > 0) == (part.rule != "exact")


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, INCONCLUSIVE], INCONCLUSIVE),
        ([SUPPORTED, INCONCLUSIVE, CONTRADICTED], CONTRADICTED),
        ([SUPPORTED, NO_DIFFERENCE], NO_DIFFERENCE),
        ([NO_DIFFERENCE, INCONCLUSIVE], INCONCLUSIVE),
        ([NO_DIFFERENCE, NOT_TESTED], INCONCLUSIVE),
        ([NO_DIFFERENCE, CONTRADICTED], CONTRADICTED),
        ([SUPPORTED, NOT_TESTED], INCONCLUSIVE),
        ([CHECKED], CHECKED),
        ([NOT_TESTED, NOT_TESTED], NOT_TESTED),
        ([], NOT_TESTED),
    ],
)
def test_the_verdict_on_a_claim_joins_those_on_its_parts(parts, wanted):
    assert joint(parts) == wanted


def test_chance_supports_a_claim_at_most_once_and_contradicts_it_by_any_part():
    found = [(1, SUPPORTED), (1, INCONCLUSIVE), (2, NO_DIFFERENCE), (3, CHECKED), (4, NOT_TESTED)]
    parts = pd.DataFrame(found, columns=["claim", "verdict"]).assign(decides=True)
    assert expected_by_chance(parts) == pytest.approx((2 * 0.025, 3 * 0.025))


def test_a_claim_shows_its_part_with_the_weakest_verdict():
    claim = CLAIMS[0]
    parts = pd.DataFrame(
        [
            {"claim": 1, "part": "a", "unit": "accuracy", "rule": "greater", "effect": 0.1,
             "lo": 0.05, "hi": 0.2, "images": 9, "models": 2, "pairs": 0, "verdict": SUPPORTED},
            {"claim": 1, "part": "b", "unit": "accuracy", "rule": "greater", "effect": 0.0,
             "lo": -0.1, "hi": 0.1, "images": 9, "models": 2, "pairs": 0,
             "verdict": INCONCLUSIVE},
        ]
    ).assign(margin=0.003, decides=True)  # fmt: skip
    row = verdicts.claims_table(parts, [claim]).iloc[0]
    assert (row["part"], row["verdict"]) == ("b", INCONCLUSIVE)
    assert row["verdicts"] == "1 supported, 1 inconclusive"
    parts.loc[1, "decides"] = False
    row = verdicts.claims_table(parts, [claim]).iloc[0]
    assert (row["part"], row["verdict"], row["parts"]) == ("a", SUPPORTED, 1)


def test_the_interval_over_sweeps_is_student_s():
    def of(value):
        effects = verdicts.effects(no_evidence(), CLAIMS[:1])
        return effects.assign(effect=[value, np.nan])

    table = verdicts.over_sweeps([of(0.01), of(0.02), of(0.03)])
    row = table.iloc[0]
    half = 4.302652730 * 0.01 / np.sqrt(3)
    assert row["sweeps"] == 3
    assert row["sweeps_effect"] == pytest.approx(0.02)
    assert row["sweeps_hi"] - row["sweeps_effect"] == pytest.approx(half, abs=1e-6)
    assert row["sweeps_verdict"] == INCONCLUSIVE
    assert table.iloc[1]["sweeps_verdict"] == NOT_TESTED


def test_equal_effects_in_all_sweeps_and_two_sweeps_give_no_interval():
    """An effect is the same in all sweeps if they share its models. Two sweeps are too few."""
    effects = verdicts.effects(no_evidence(), CLAIMS[:1])
    for values in ([0.02] * 4, [0.02, 0.03]):
        tables = [effects.assign(effect=[value, np.nan]) for value in values]
        row = verdicts.over_sweeps(tables).iloc[0]
        assert np.isnan(row["sweeps_lo"])
        assert row["sweeps_verdict"] == NOT_TESTED
    lossless = [verdicts.effects(no_evidence(), CLAIMS[4:5]).assign(effect=0.0)] * 3
    assert list(verdicts.over_sweeps(lossless)["sweeps_verdict"]) == [SUPPORTED, NO_DIFFERENCE]


def test_the_table_of_effects_names_the_missing_evidence():
    def effect(_) -> Effect:
        raise MissingEvidence("table unknown")

    made_up = Claim(1, "text", [Part("part", effect)], "figure")
    row = verdicts.effects(no_evidence(), [made_up]).iloc[0]
    assert row["missing"] == "table unknown"
    assert row["verdict"] == NOT_TESTED


RENAMED = {GREEDY: "mine", UNIFORM: "mean", ENSEMBLE: "all", PLAIN: "six", SOUP_OF_SAM: "sam"}


def test_runs_with_renamed_rows_have_the_same_effects(judged, tmp_path_factory):
    sign, effects = judged
    pd.testing.assert_frame_equal(effects_of(tmp_path_factory, sign, RENAMED), effects)


def test_the_missing_evidence_of_a_role_without_a_row_is_the_name_of_the_role(tmp_path):
    run = SyntheticRun(tmp_path, 1)
    rows = {name: name for name in TITLES if name not in (SOUP_OF_SAM, GREEDY)}
    evidence = Evidence(run.tables, run.curves, LARGE_LR, Roles(rows))
    effects = verdicts.effects(evidence).set_index("part")["missing"]
    assert effects["soup with and without SAM − soup of SAM, test"] == "method soup_of_SAM"
    assert effects["greedy − best individual, test"] == "method greedy"
    assert effects["soup with and without SAM − first six, test"] == ""


def one_model(folder, renamed: dict[str, str] | None = None) -> Evidence:
    """The evidence of a run whose greedy soup holds the best individual model alone."""
    run = SyntheticRun(folder, 1, renamed)
    greedy = run.row(GREEDY)
    tables = {name: pd.read_csv(path) for name, path in run.tables.items()}
    methods = tables["methods"].set_index("method")
    methods.loc[[greedy, BEST], "members"] = "m0"
    methods.loc[[greedy, BEST], ["ingredients", "heldout"]] = [1, 0.7]
    same = tables["significance"]
    both = same["method"].isin([greedy, BEST]) & same["reference"].isin([greedy, BEST])
    same.loc[both, ["difference", "lo", "hi"]] = 0.0
    calibration = tables["calibration"].set_index("method")
    calibration.loc[greedy, calibration.columns.str.startswith("ece_gain")] = 0.0
    for name, table in (("methods", methods), ("calibration", calibration)):
        table.reset_index().to_csv(run.tables[name], index=False)
    same.to_csv(run.tables["significance"], index=False)
    run.points("slices", {"test": right([0.7] * 15), "r": right([0.5] * 15)})
    test, shift = [0.6, 0.65, 0.7], [0.7, 0.65, 0.6]
    run.points("wise_ft", {"test": right(test * 3), "r": right(shift * 3, seed=1)})
    return run.evidence(run.evidence())


@pytest.mark.parametrize("renamed", [{}, RENAMED], ids=["usual names", "own names"])
def test_a_model_is_not_compared_with_itself(tmp_path, renamed):
    effects = verdicts.effects(one_model(tmp_path, renamed))
    reason = "a greedy soup other than the best individual model"
    untested = effects[effects["missing"] == reason]
    assert set(untested["claim"]) == {1, 3, 11, 12, 13, 15, 18}
    assert set(untested["verdict"]) == {NOT_TESTED}
    assert untested[["effect", "lo", "hi"]].isna().to_numpy().all()
    assert list(untested.loc[untested["claim"] == 15, "part"]) == [
        "greedy soup beyond the curve of the best individual",
        "the greedy soup's line beyond the curve of the best individual",
    ]
    # All other parts are tested, including those with one of these two roles.
    others = effects[~effects["part"].isin(untested["part"])]
    assert (others["missing"] == "").all()
    table = verdicts.claims_table(effects).set_index("claim")["verdict"]
    assert table[1] == table[3] == table[18] == NOT_TESTED


def test_equal_accuracies_of_different_members_are_still_tested(tmp_path):
    evidence = one_model(tmp_path)
    rows = pd.read_csv(tmp_path / "methods.csv").set_index("method")
    rows.loc[GREEDY, "members"] = "m0 m1"
    rows.reset_index().to_csv(tmp_path / "methods.csv", index=False)
    effects = verdicts.effects(evidence).set_index("part")
    assert effects.loc["greedy − best individual, test", "verdict"] == NO_DIFFERENCE
    assert effects.loc["greedy − best individual, held-out", "verdict"] == CHECKED


def test_the_printed_table_says_what_an_untested_part_needs(tmp_path):
    effects = pd.concat([verdicts.effects(no_evidence()), verdicts.effects(one_model(tmp_path))])
    effects["missing"] = effects["missing"].replace("", None)  # as read from the CSV
    effects["published_effect"] = None
    cells = {row[6] for row in presentation.effects(effects)[1]}
    assert "not tested, needs an experiment with weaker pre-training" in cells
    assert "not tested, needs a greedy soup other than the best individual model" in cells
    assert "not tested, needs table slices" in cells


def test_soups_of_different_numbers_of_models_do_not_test_the_claim_about_sam(tmp_path):
    run = SyntheticRun(tmp_path, 1)
    methods = pd.read_csv(run.tables["methods"]).set_index("method")
    methods.loc[SOUP_OF_SAM, "ingredients"] = 6
    methods.reset_index().to_csv(run.tables["methods"], index=False)
    effects = verdicts.effects(run.evidence()).set_index("part")
    row = effects.loc["soup with and without SAM − soup of SAM, test"]
    assert row["missing"] == "soups with and without SAM of equal numbers of models"
    assert effects.loc["soup with and without SAM − first six, test", "verdict"] == SUPPORTED


def test_a_barrier_is_judged_at_every_large_rate_and_decided_at_the_largest(tmp_path):
    run = SyntheticRun(tmp_path, 1)
    paths = pd.read_csv(run.tables["paths"])
    middle = paths["model_1"].str.startswith("l") & (paths["model_2"] != "l5")
    paths.loc[middle, ["lr_1", "lr_2"]] = 0.02
    paths.to_csv(run.tables["paths"], index=False)
    effects = verdicts.effects(run.evidence())
    rows = effects[effects["part"].str.startswith("mean of ends")].set_index("part")
    names = [f"mean of ends − midpoint, both at learning rate {r}, test" for r in (0.02, 0.1)]
    assert rows["decides"].to_dict() == dict(zip(names, (False, True), strict=True))
    assert list(rows["pairs"]) == [10, 5]


def test_wrecked_models_say_nothing_about_barriers(tmp_path):
    """A barrier is between two models of one large learning rate that are better than θ₀."""
    run = SyntheticRun(tmp_path, 1)
    run.points("wise_ft", {"test": right([0.66] * 9), "r": right([0.66] * 9)})
    effects = verdicts.effects(run.evidence()).set_index("part")
    row = effects.loc["mean of ends − midpoint, both at the largest learning rate, test"]
    assert row["missing"] == GOOD_LARGE_PAIRS


def test_points_with_uncertain_second_derivatives_do_not_test_the_approximation(tmp_path):
    run = SyntheticRun(tmp_path, 1)
    paths = pd.read_csv(run.tables["paths"])
    paths["curvature_wide"] = paths["curvature"] * 1.6
    paths.to_csv(run.tables["paths"], index=False)
    effects = verdicts.effects(run.evidence())
    assert set(effects.loc[effects["claim"] == 16, "verdict"]) == {NOT_TESTED}


def test_calibration_is_inconclusive_if_the_number_of_bins_changes_the_verdict(tmp_path):
    run = SyntheticRun(tmp_path, 1)
    table = pd.read_csv(run.tables["calibration"])
    table.loc[table["method"] == ENSEMBLE, "ece_gain_mass20_lo"] = -0.01
    table.to_csv(run.tables["calibration"], index=False)
    row = verdicts.effects(run.evidence()).set_index("part")
    row = row.loc["ECE: best individual − ensemble, test"]
    assert row["verdict"] == INCONCLUSIVE
    assert row["missing"] == "the same verdict with 10 bins and 20 bins"
    assert row["lo"] > 0

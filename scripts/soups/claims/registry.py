"""The paper's claims, the tests of each claim, and the margin of each test.

All of this is fixed and the same for every run. A claim has parts, and each part has an effect and
a rule, see `rules`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from soups.claims import effects as seen
from soups.claims import pair_effects as paired
from soups.claims.effects import method_difference
from soups.claims.evidence import Effect, Evidence
from soups.evaluation.metric import ACCURACY
from soups.outcomes import BARRIER
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
    UNIFORM,
)

SCORE = ACCURACY.name  # unit of an effect that is a difference of the metric
CORRELATION = "rank correlation"
ECE = "ECE"
SLOPE = "slope"

Find = Callable[[Evidence], Effect | Mapping[str, Effect]]


@dataclass(frozen=True)
class Margin:
    """The size below which an effect counts as no difference.

    Attributes:
        value: in the unit of the test.
        source: where the number comes from.
        paper: the paper's own effect, twice the margin, or None if the paper gives no number.
    """

    value: float
    source: str
    paper: float | None = None


def half_of(points: float, source: str) -> Margin:
    """Half of the paper's own effect in percentage points."""
    return Margin(points / 200, source, points / 100)


RELEASED, TABLE = "released accuracies", "the paper's table"
# The difference between the greedy soup and the best individual model is the paper's main result.
USUAL = Margin(0.0032, "no number, so that of claim 1 on the test set")
CORRELATED = Margin(0.25, "no number, so half of a strong correlation (0.5)")
PREDICTED = Margin(2.0, "no number, so a factor of two")
CALIBRATED = Margin(0.005, "no number, so half a point of ECE")
DROP = Margin(BARRIER / 2, "no number, so half of the smallest drop that counts as a barrier")
BY_LAYER = half_of(0.34, f"{TABLE}, by layer − greedy")
# Gains of BERT and T5 on MRPC (0, 0.6), RTE (0.7, 0.8), CoLA (0, 1.4) and SST-2 (0.5, 0.1).
ON_TEXTS = half_of(0.51, f"{TABLE} of texts, mean over tasks and models")
CONSTRUCTED = Margin(0.0, "true by construction")


@dataclass(frozen=True)
class Part:
    """One test of a claim.

    Attributes:
        name: the effect in words, with braces in it if it is several effects.
        effect: the function that computes the effect, or several effects with what stands for the
            braces. Only the last of several decides.
        rule: ``greater``, ``no_worse``, ``within`` or ``exact``.
        unit: `SCORE` or `ECE` (both are fractions), `CORRELATION` or `SLOPE`. The table of
            effects has the name of the metric in place of `SCORE`.
        margin: of the rule.
        ways: other ways to compute the effect, by name. The part is inconclusive unless all ways
            give the same verdict.
        decides: whether the verdict on the claim depends on this part. Other parts are shown
            beside those that decide.
    """

    name: str
    effect: Find
    rule: str = "greater"
    unit: str = SCORE
    margin: Margin = USUAL
    decides: bool = True
    ways: Mapping[str, Find] = field(default_factory=dict)

    def title(self, which: str = "the largest learning rate") -> str:
        """The name, with a text in place of braces."""
        return self.name.replace("{}", which)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its number, its text, its tests, and the figure that shows it."""

    number: int
    text: str
    parts: Sequence[Part]
    figure: str


def _over(
    better: str,
    worse: str,
    measure: str = "test",
    margin: Margin = USUAL,
    rule: str = "greater",
    find: Callable[[str, str, str], Find] = method_difference,
) -> Part:
    """One role minus another, with a name made of the names of the roles."""
    names = {BEST: "best individual", "test": "test", "shifts_mean": "mean of shifts"}
    label = [names.get(name, name.replace("_", " ")) for name in (better, worse, measure)]
    name = "{} − {}, {}".format(*label)
    return Part(name, find(better, worse, measure), rule, margin=margin)


def _negative(effect: Effect) -> Effect:
    both = {"images": effect.images, "models": effect.models, "pairs": effect.pairs}
    return Effect(0.0 - effect.value, 0.0 - effect.hi, 0.0 - effect.lo, **both)


def _ensemble_gain(bins: str) -> Find:
    return seen.calibration_gain(ENSEMBLE, bins)


def _greedy_loss(bins: str) -> Find:
    return lambda evidence: _negative(seen.calibration_gain(GREEDY, bins)(evidence))


def _calibration(name: str, gain: Callable[[str], Find], rule: str) -> list[Part]:
    """Two tests of ECE: with bins of equal mass, as in the paper, and beside it of equal width."""
    ways = {f"{bins} bins": gain(f"_mass{bins}") for bins in (10, 20)}
    common = {"rule": rule, "unit": ECE, "margin": CALIBRATED}
    return [
        Part(f"ECE: {name}, test", gain("_mass15"), ways=ways, **common),
        Part(f"ECE, bins of equal width: {name}, test", gain(""), decides=False, **common),
    ]


CLAIMS = [
    Claim(1, "The greedy soup beats the best individual model, in distribution and under shift.",
          [_over(GREEDY, BEST, margin=half_of(0.64, RELEASED)),
           _over(GREEDY, BEST, "shifts_mean", half_of(2.90, RELEASED))], "scatter"),
    Claim(2, "Bad ingredients hurt the uniform soup, not the greedy one.",
          [_over(GREEDY, UNIFORM, margin=half_of(1.05, RELEASED))], "methods"),
    Claim(3, "The greedy soup is never worse than the best individual on the held-out set.",
          [Part("greedy − best individual, held-out", seen.heldout_check, "exact",
                margin=CONSTRUCTED)], "greedy_trace"),
    Claim(4, "Greedy in random order is worse in distribution than in sorted order.",
          [_over(GREEDY, GREEDY_RANDOM, margin=half_of(0.24, TABLE))], "methods"),
    Claim(5, "Learned soups are about as good as greedy; by layer better in distribution.",
          [_over(LEARNED, GREEDY, margin=BY_LAYER, rule="no_worse"),
           _over(LEARNED_BY_LAYER, GREEDY, margin=BY_LAYER)], "methods"),
    Claim(6, "Ensembles beat soups in distribution, soups beat ensembles under shift.",
          [_over(ENSEMBLE, UNIFORM, margin=half_of(1.22, RELEASED)),
           _over(UNIFORM, ENSEMBLE, "shifts_mean", half_of(0.70, RELEASED)),
           _over(GREEDY_ENSEMBLE, GREEDY, margin=half_of(0.87, TABLE)),
           _over(GREEDY, GREEDY_ENSEMBLE, "shifts_mean", half_of(1.31, TABLE))], "methods"),
    Claim(7, "The midpoint of two models is as good as both; large learning rates have a barrier.",
          [Part("midpoint − better end, small and medium learning rates, test",
                paired.midpoint_over_ends, "no_worse"),
           Part("mean of ends − midpoint, both at {}, test", paired.barriers, margin=DROP)],
          "paths"),
    Claim(8, "The midpoint's gain grows with the angle between the two models.",
          [Part("gain with angle, test", paired.gain_and_angle, unit=CORRELATION,
                margin=CORRELATED)], "angles"),
    Claim(9, "Over pairs, soup and ensemble go together; who wins depends on the learning rate.",
          [Part("soup with ensemble, test", paired.soup_and_ensemble, unit=CORRELATION,
                margin=CORRELATED),
           Part("lead of the ensemble with the learning rate, small and medium, test",
                paired.lead_and_rate, unit=CORRELATION, margin=CORRELATED)],
          "soup_vs_ensemble"),
    Claim(10, "More ingredients do not hurt; accuracy grows with their number.",
          [Part(f"{role} soup's accuracy with n, test", seen.growth(role), unit=CORRELATION,
                margin=CORRELATED)
           for role in (UNIFORM, GREEDY)]
          + [Part(f"{role} soup of all − of half, test", seen.last_half(role), "no_worse")
             for role in (UNIFORM, GREEDY)], "number_of_models"),
    Claim(11, "Varying a single hyperparameter also gives a gain.",
          [Part(f"greedy − best, only {name} varies, test", seen.within_slice(name))
           for name in ("lr", "augment", "seed")], "slices"),
    Claim(12, "Ensembles improve calibration, soups do not.",
          [*_calibration("best individual − ensemble", _ensemble_gain, "greater"),
           *_calibration("greedy − best individual", _greedy_loss, "no_worse")], "reliability"),
    Claim(13, "EMA and SWA compose with soups; with and without SAM mix to better than either.",
          [Part(f"greedy − best, models with {name}, test", seen.within_slice(name))
           for name in ("EMA", "SWA")]
          + [_over(SOUP_WITH_SAM, other, find=seen.of_equal_numbers)
             for other in (PLAIN, SOUP_OF_SAM)], "averaging"),
    Claim(14, "A soup is comparable to, or better than, distilling the ensemble.",
          [_over(GREEDY, DISTILLED, rule="no_worse"),
           _over(GREEDY, DISTILLED, "shifts_mean", rule="no_worse")], "averaging"),
    Claim(15, "Soups, and soups interpolated with θ₀, lie beyond the WiSE-FT curve of one model.",
          [Part(f"{title} beyond the curve of the best individual", seen.beyond_curve(*line))
           for title, line in (("uniform soup", (UNIFORM,)), ("greedy soup", (GREEDY,)),
                               ("the greedy soup's line", (GREEDY, True)))], "wise_ft"),
    Claim(16, "The loss gap of soup and ensemble is predicted by curvature and variance.",
          [part for rates, large in (("small and medium", False), ("large", True)) for part in (
              Part(f"slope of true on predicted gap, {rates} learning rates, test",
                   paired.approximated_gap(large, slope=True), "within", SLOPE, PREDICTED),
              Part(f"predicted with true gap, {rates} learning rates, test",
                   paired.approximated_gap(large, slope=False), unit=CORRELATION,
                   margin=CORRELATED, decides=False))], "loss_gap"),
    Claim(17, "Soups of models of different tasks improve zero-shot accuracy on an unseen one.",
          [Part("soup of all tasks − zero-shot, unseen task, test", seen.unseen_task,
                margin=half_of(6.4, "the paper's text, CIFAR-100"))], "tasks"),
    Claim(18, "With weaker pre-training the gain is smaller, and greedy still helps.",
          [Part("weaker start: greedy − best individual, test", seen.weaker_start("test")),
           Part("gain of the usual start − of the weaker one, test", seen.stronger_gain("test"))],
          "pretraining"),
    Claim(19, "The recipe carries over to text classification.",
          [Part("greedy − best individual on texts, test",
                seen.on_texts(GREEDY, BEST, "test"), margin=ON_TEXTS),
           Part("greedy no worse than best individual on texts, test",
                seen.on_texts(GREEDY, BEST, "test"), "no_worse", margin=ON_TEXTS),
           Part("greedy no worse than best individual on texts, mean of shifts",
                seen.on_texts(GREEDY, BEST, "shifts_mean"), "no_worse", margin=ON_TEXTS)],
          "scatter"),
]  # fmt: skip

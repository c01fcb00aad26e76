"""From evidence to one verdict, one plain sentence and one advice per model."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from soups.doctor import thresholds
from soups.doctor.evidence import Evidence
from soups.doctor.lines import Barrier
from soups.evaluation.tables import DECIMALS
from soups.outcomes import BARRIER, FINE

# Verdicts on models that cannot be ingredients come from `errors.LeftOut`.
DIVERGED = "diverged"
OTHER_ARCHITECTURE = "other architecture"
OTHER_CLASSES = "other classes"
UNREADABLE = "unreadable"
# Verdicts on models that can be averaged.
OTHER_INITIALISATION = "other initialisation"
OTHER_ORDER = "other class order"
BARELY_TRAINED = "barely trained"
AT_CHANCE = "at chance"
OTHER_HEAD = "other head"
BATCH_NORM = "batch norm"
LEFT_BASIN = "left the basin"
OTHER_CLUSTER = "other cluster"
DUPLICATE = "duplicate"

ADVICE = {
    FINE: "",
    DIVERGED: "Leave it out, or train it again with a smaller learning rate.",
    OTHER_ARCHITECTURE: "Leave it out. Only models of one architecture can be averaged.",
    OTHER_CLASSES: "Leave it out, or give it a head for the classes of the {examples}.",
    UNREADABLE: "Save its tensors again as safetensors, or leave it out.",
    OTHER_INITIALISATION: "Leave it out, or fine-tune it again from the start of the others.",
    OTHER_ORDER: "Name its classes in its own order (docs/checkpoints.md), or leave it out.",
    BARELY_TRAINED: "Train it longer or with a larger learning rate, or leave it out.",
    AT_CHANCE: "Leave it out. Its training failed, or it was trained for other classes.",
    OTHER_HEAD: "Leave it out, or fine-tune all models from one common head.",
    BATCH_NORM: "Set model.recalibrate_batch_norm: {measured}.",
    LEFT_BASIN: "Leave it out, or train it again with a smaller learning rate.",
    OTHER_CLUSTER: "Leave it out of soups with {best}.",
    DUPLICATE: "Leave it out. A model that is there twice counts double in a uniform soup.",
}

LISTED = 8  # most models that a sentence names
NO_BARRIER_YET = "Keep it, because there is no barrier yet. Fine-tune further models from one head."


@dataclass(frozen=True)
class Verdict:
    """What the doctor says about a model.

    Attributes:
        model: its id.
        verdict: a key of `ADVICE`.
        reason: one or two sentences with numbers.
        advice: what to do, or "".
        evidence: None for a model that is left out.
    """

    model: str
    verdict: str
    reason: str
    advice: str
    evidence: Evidence | None = None

    def row(self) -> dict:
        """The row of doctor.csv."""
        said = {"model": self.model, "verdict": self.verdict, "reason": self.reason}
        measured = self.evidence.row() if self.evidence else {"is_best": False}
        return said | {"advice": self.advice} | {k: _rounded(v) for k, v in measured.items()}


def _rounded(value):
    return round(value, DECIMALS) if isinstance(value, float) else value


def left_out(model: str, verdict: str, reason: str, examples: str) -> Verdict:
    """The verdict on a model that no soup may contain."""
    advice = ADVICE.get(verdict, "Leave it out.").format(examples=examples)
    return Verdict(model, verdict, reason, advice)


def judge(e: Evidence, best: str, origin: str, measured: int, examples: str) -> Verdict:
    """The verdict on a model that can be averaged.

    Causes come before effects: a model with another initialisation also has a barrier.

    Args:
        e: the evidence.
        best: id of the model that the others are compared with.
        origin: name of the start, or of the best model if there is no start.
        measured: held-out examples for a new measurement of batch statistics.
        examples: the word for held-out examples.
    """
    verdict, reason = _found(e, best, origin, examples)
    elsewhere = e.midpoint is not None
    if elsewhere and verdict == LEFT_BASIN:
        verdict = OTHER_CLUSTER
    advice = ADVICE[verdict].format(measured=measured, best=best)
    if verdict == OTHER_HEAD and not (e.barrier and e.barrier.counts):
        advice = NO_BARRIER_YET
    if elsewhere:
        reason += _cluster(e, examples)
        advice += f" Add {_row(e)} to soups for a soup of its cluster alone."
    return Verdict(e.model, verdict, reason, advice, e)


def _found(e: Evidence, best: str, origin: str, examples: str) -> tuple[str, str]:
    barrier = e.barrier
    grown = e.length > thresholds.GROWN
    if not e.relative and not grown:
        return OTHER_INITIALISATION, _other_initialisation(e, origin)
    if e.other_order:
        return OTHER_ORDER, (
            f"It is right on {percent(e.heldout)} of the held-out {examples}, and on "
            f"{percent(e.renamed)} after its classes are renamed."
        )
    if _is_barely_trained(e):
        return BARELY_TRAINED, (
            f"It predicts another class than the start on {percent(e.changed)} of the held-out "
            f"{examples}, and it moved {percent(e.relative_change)} as far as the median model."
        )
    if e.at_chance:
        return AT_CHANCE, (
            f"Its held-out accuracy of {percent(e.heldout)} is that of a guess "
            f"({percent(e.guess)})." + _grown(e, origin)
        )
    if not e.same_head:
        return OTHER_HEAD, (
            f"Its backbone has the same start (cosine {signed(e.backbone)} with {origin}), but its "
            f"head is not correlated with that of the others ({signed(e.head)} with {origin})."
            + _line(e, best, examples)
        )
    if barrier and barrier.counts and barrier.recovers:
        return BATCH_NORM, (
            f"{_line(e, best, examples).strip()} With batch statistics measured again, it "
            f"has {percent(barrier.recalibrated)}."
        )
    if (barrier and barrier.counts) or not e.relative:
        return LEFT_BASIN, _line(e, best, examples).strip() + _grown(e, origin)
    if e.twin:
        return DUPLICATE, (
            f"Its weights are those of {e.twin}: their distance is {e.twin_distance:.1g} of their "
            "length."
        )
    return FINE, _fine(e, best)


def _is_barely_trained(e: Evidence) -> bool:
    return (
        e.changed is not None
        and e.changed <= thresholds.UNCHANGED
        and not e.relative_change > thresholds.STILL
    )


def _other_initialisation(e: Evidence, origin: str) -> str:
    first = "" if isnan(e.first_layer) else f"{signed(e.first_layer)} of the first layer, "
    return (
        f"Its weights are almost orthogonal to those of {origin} (cosine {first}"
        f"{signed(e.backbone)} of all weight matrices), as those of another initialisation are."
    )


def _line(e: Evidence, best: str, examples: str) -> str:
    """The sentence about the line to the best model, with a space before it, or ""."""
    return _average(e.barrier, best, e.n_barrier, examples) if e.barrier else ""


def _average(b: Barrier, other: str, n: int, examples: str) -> str:
    return (
        f" Its average with {other} at α = {b.alpha:g} has {percent(b.accuracy)}, "
        f"{apart(b.drop)} the straight line between their accuracies of {percent(b.ends[1])} and "
        f"{percent(b.ends[0])} (95% interval {points(-b.high)} to {points(-b.low)}, "
        f"{n:,} {examples})."
    )


def _cluster(e: Evidence, examples: str) -> str:
    """The sentences about another cluster than that of the best model."""
    return (
        f" It belongs to another cluster of {len(e.members)} models, cluster {e.cluster} "
        f"({', '.join(e.members)})." + _average(e.midpoint, e.partner, e.n_barrier, examples)
    )


def _row(e: Evidence) -> str:
    """The line of the configuration that makes a soup of a model's cluster."""
    return f'cluster_{e.cluster}: {{method: uniform, query: "model in {list(e.members)}"}}'


def _grown(e: Evidence, origin: str) -> str:
    if not e.length > thresholds.GROWN:
        return ""
    return f" Its weight matrices are {e.length:.1f} times as long as those of {origin}."


def _fine(e: Evidence, best: str) -> str:
    if e.is_best:
        return f"The others are compared with this model, which has {percent(e.heldout)}."
    text = f"Its held-out accuracy is {percent(e.heldout)}."
    if e.barrier is None:
        return text
    lower = e.barrier.ends[0] - e.barrier.ends[1]
    shown = "no barrier"
    if e.barrier.drop > BARRIER:
        shown = f"a barrier of {100 * e.barrier.drop:.1f} points, which may be chance"
    return f"{text} That is {apart(lower)} {best}, and the line between them has {shown}."


def percent(share: float) -> str:
    """A share in percent, such as "71.4%"."""
    return f"{100 * share:.1f}%"


def points(difference: float) -> str:
    """A difference of accuracies in points with its sign, such as "−3.1"."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")


def apart(drop: float) -> str:
    """A difference of accuracies in words, such as "3.1 points below"."""
    return f"{abs(100 * drop):.1f} points {'below' if drop > 0 else 'above'}"


def listed(names: Sequence[str]) -> str:
    """The names of some models, shortened if there are many."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def signed(cosine: float) -> str:
    """A cosine with two digits and a true minus sign."""
    return f"{round(cosine, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")

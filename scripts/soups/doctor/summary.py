"""Why the greedy soup keeps one model or the uniform soup collapses, and what to do."""

import re
from collections import Counter

import numpy as np

from soups.doctor import cluster_sentences, thresholds, verdicts
from soups.doctor.examination import Examination
from soups.doctor.lines import Lines
from soups.doctor.predictions import difference
from soups.doctor.verdicts import Verdict, apart, listed, percent, points
from soups.outcomes import ALONE, CLUSTERS, COLLAPSED, FINE, MODELS, START, TODO, UNIFORM_SOUP

_PLURALS = {
    "it was": "they were", "its": "their", "Its": "Their",
    "it": "them",
}  # fmt: skip
HARMLESS = {FINE, verdicts.BARELY_TRAINED, verdicts.DUPLICATE}


def summarise(found: Examination) -> list[dict[str, str]]:
    """Return the findings as sentences.

    The greedy soup is not known here, because no soup can be made if all models are left out. If it
    keeps one model, this is the best one, and the row `ALONE` says what that means.

    Args:
        found: the examination.

    Returns:
        a row per finding, with ``about`` and ``text``. The rows `TODO` say what to do.
    """
    rows = [{"about": MODELS, "text": counts(found.verdicts)}]
    if found.fits_start is False:
        text = (
            "The given start is not related to these models (cosine below "
            f"{thresholds.SAME_START}), so it was not used. Name the model that they were "
            "fine-tuned from, or none (ingredients.checkpoints.initialization)."
        )
        rows.append({"about": START, "text": text})
    usable = [v for v in found.verdicts if v.evidence]
    if len(usable) < 2:
        return rows
    rows.append({"about": CLUSTERS, "text": cluster_sentences.sentence(found)})
    collapsed, text, advice = _uniform(found, usable)
    rows.append({"about": COLLAPSED if collapsed else UNIFORM_SOUP, "text": text})
    rows.append({"about": ALONE, "text": _alone(usable, found.examples)})
    rows += [{"about": TODO, "text": text} for text in [*advice, *_advice(usable)]]
    return rows


def counts(found: list[Verdict]) -> str:
    """How many models have which verdict, with the names of those that are not fine."""
    number = Counter(v.verdict for v in found)
    parts = [f"{number.pop(FINE, 0)} fine"]
    for verdict, count in number.most_common():
        parts.append(f"{count} {verdict} ({named([v for v in found if v.verdict == verdict])})")
    models = "1 model" if len(found) == 1 else f"{len(found)} models"
    return f"The doctor examined {models}: {', '.join(parts)}."


def named(found: list[Verdict]) -> str:
    """The names of some models, shortened if there are many."""
    return listed([v.model for v in found])


def _uniform(found: Examination, usable: list[Verdict]) -> tuple[bool, str, list[str]]:
    """Whether the uniform soup collapses, a sentence about it, and advice from tried remedies."""
    lines, best = found.lines, found.lines.single(found.best)
    right = _soup(lines, usable)
    low, high = difference(right, best)
    collapsed = high < -thresholds.BARRIER
    text = (
        f"The uniform soup of {len(usable)} models has an accuracy of {percent(right.mean())} on "
        f"{len(best):,} held-out {found.examples}, {apart(best.mean() - right.mean())} the "
        f"best model {found.best} (95% interval {points(low)} to {points(high)})."
    )
    if not collapsed:
        return False, text, []
    advice = []
    harmful = [v for v in usable if v.verdict not in HARMLESS]
    rest = [v for v in usable if v.verdict in HARMLESS]
    if harmful and len(rest) > 1:
        without = _soup(lines, rest)
        text += (
            f" Without {named(harmful)}, the uniform soup of the other {len(rest)} has "
            f"{percent(without.mean())}."
        )
    if lines.statistics:
        again = _soup(lines, usable, again=True)
        text += (
            f" With statistics of batch normalisation measured again on {lines.measured:,} "
            f"held-out {found.examples}, it has {percent(again.mean())}."
        )
        told = any(v.verdict == verdicts.BATCH_NORM for v in usable)
        if difference(again, right)[0] > 0 and not told:
            advice.append(f"Set model.recalibrate_batch_norm: {lines.measured}.")
    if not harmful:
        text += (
            " No line from the best model to another one has a barrier, but the average of all "
            "lies too far from each of them."
        )
        advice.append("Use the greedy soup, or fine-tune with smaller learning rates.")
    return True, text, advice


def _soup(lines: Lines, members: list[Verdict], again: bool = False) -> np.ndarray:
    return lines.soup({v.model: 1 / len(members) for v in members}, again)


def _alone(usable: list[Verdict], examples: str) -> str:
    """What it means if the greedy soup keeps one model."""
    member = max(usable, key=lambda v: v.evidence.heldout)
    others = [v for v in usable if v is not member]
    harmful = [v for v in others if v.verdict not in HARMLESS]
    fine = [v for v in others if v.verdict in HARMLESS]
    parts = []
    if harmful:
        drops = [v.evidence.barrier.drop for v in harmful if v.evidence.barrier]
        worst = f", with barriers of up to {100 * max(drops):.1f} points" if drops else ""
        reasons = Counter(v.verdict for v in harmful)
        kinds = ", ".join(f"{count} {verdict}" for verdict, count in reasons.most_common())
        parts.append(
            f"{len(harmful)} of the {len(others)} others do not fit to it ({kinds}{worst})"
        )
    if fine:
        parts.append(
            f"{len(fine)} of the {len(others)} others fit to it, but no average with one of them "
            "has a higher held-out accuracy"
        )
    count = member.evidence.n_heldout
    return (
        f"If the greedy soup holds {member.model} alone, {', and '.join(parts)}. One of {count:,} "
        f"held-out {examples} is worth {100 / count:.1f} points."
    )


def _advice(usable: list[Verdict]) -> list[str]:
    """What to do about each kind of harmful model."""
    advice: dict[str, list[Verdict]] = {}
    for verdict in usable:
        if verdict.verdict not in HARMLESS:
            advice.setdefault(verdict.advice, []).append(verdict)
    return [f"{named(models)}: {_plural(text, models)}" for text, models in advice.items()]


def _plural(text: str, models: list[Verdict]) -> str:
    """An advice for one model, as an advice for several, and without its capital letter."""
    if text.startswith("Set "):
        return text
    if len(models) > 1:
        for one, several in _PLURALS.items():
            text = re.sub(rf"\b{one}\b", several, text)
    return text[0].lower() + text[1:]

"""The examination of all models of a sweep: from files and held-out logits to verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from soups.doctor import clusters, geometry, kinship, predictions, thresholds, verdicts
from soups.doctor.admission import Patients, mixable
from soups.doctor.clusters import Clusters
from soups.doctor.copies import is_copy
from soups.doctor.evidence import Evidence
from soups.doctor.geometry import BACKBONE, EVERYTHING, HEAD, MATRICES, STEM, Geometry
from soups.doctor.lines import Barrier, Lines
from soups.doctor.verdicts import Verdict
from soups.mixing.select import by_score
from soups.models.checkpoints import Checkpoint
from soups.outcomes import FROM_MEAN, FROM_START

START = "θ₀"


@dataclass
class Examination:
    """What the doctor found.

    Attributes:
        verdicts: of every model, in the order of the sweep.
        best: id of the model with the highest held-out accuracy, or None without a usable model.
        lines: soups on held-out examples, or None.
        fits_start: whether the start is related to the models, or None if it is unknown.
        examples: the word for held-out examples.
        clusters: groups of models without barriers inside, or None without a usable model.
    """

    verdicts: list[Verdict]
    best: str | None = None
    lines: Lines | None = None
    fits_start: bool | None = None
    examples: str = "images"
    clusters: Clusters | None = None


def examine(patients: Patients) -> Examination:
    """Examine every model. At most one sum of weights and one checkpoint are in memory."""
    found: dict[str, Verdict] = {}
    usable = mixable(patients, found)
    if usable:
        measured, start = _measure(patients, usable, found)
        usable = [name for name in usable if name not in found]
    if not usable:
        verdicts_on = [found[name] for name in patients.paths]
        return Examination(verdicts_on, examples=patients.examples)
    tables = {name: _predicted(name, patients) for name in usable}
    right = {name: patients.logits(name).argmax(1) == patients.labels for name in usable}
    ranking = by_score({name: e.heldout for name, e in tables.items()})
    at = measured.names.index
    order = [at(name) for name in ranking]
    linked = kinship.same_start(measured)
    related = kinship.relatives(linked, order, start)
    fits = None if start is None else bool(linked[start, related].any())
    origin = start if fits else None
    heads = kinship.relatives(kinship.same_head(measured), related, origin)
    best = measured.names[heads[0]]
    _judge_predictions(tables, right, patients, best)
    _relate(tables, measured, best, related, heads, origin)
    if origin is not None and patients.start_logits is not None:
        before = patients.start_logits.argmax(1)
        for name, e in tables.items():
            e.changed = float((patients.logits(name).argmax(1) != before).mean())
    _find_twins(tables, measured, patients)
    if tables[best].twin:  # The others are compared with the original and not with its copy.
        best = tables[best].twin
        _relate(tables, measured, best, related, heads, origin)

    one = Checkpoint(patients.paths[best])
    lines = Lines(
        patients.make_model(one.path), patients.paths, patients.settle, patients.inputs,
        patients.labels, right, geometry.has_statistics(one),
    )  # fmt: skip
    barriers = _barriers(lines, best, tables)
    apart = [name for name in ranking if name in barriers and _parts(barriers[name], tables[name])]
    if 2 * len(apart) > len(tables):
        # The best model may be the one that left. Then the others share a basin without it.
        others = _barriers(lines, apart[0], tables)
        if sum(_parts(others[name], tables[name]) for name in others) < len(apart):
            best, barriers = apart[0], others
            _relate(tables, measured, best, related, heads, origin)
    for name, barrier in barriers.items():
        tables[name].barrier, tables[name].n_barrier = barrier, len(lines.rows)
    distances = measured.distances(*EVERYTHING).tolist()
    apart_by = {n: dict(zip(measured.names, distances[at(n)], strict=True)) for n in tables}
    groups = clusters.find(lines, tables, ranking, best, apart_by)
    clusters.record(groups, tables)
    against = best if origin is None else START
    for name, e in tables.items():
        found[name] = verdicts.judge(e, best, against, lines.measured, patients.examples)
    return Examination(
        [found[name] for name in patients.paths], ranking[0], lines, fits, patients.examples, groups
    )


def _barriers(lines: Lines, best: str, tables: Mapping[str, Evidence]) -> dict[str, Barrier]:
    return {name: lines.barrier(best, name) for name in tables if name != best}


def _parts(barrier: Barrier, e: Evidence) -> bool:
    """Whether a barrier is the only thing that sets a model apart."""
    return barrier.counts and e.relative and e.same_head and not e.other_order and not e.at_chance


def _measure(
    patients: Patients, usable: Sequence[str], found: dict[str, Verdict]
) -> tuple[Geometry, int | None]:
    """The geometry of the usable models, and the index of the start among them, if there is one.

    Models with weights that are not finite get their verdict.
    """
    models = {name: Checkpoint(patients.paths[name]) for name in usable}
    start = Checkpoint(patients.start) if patients.start else None
    shapes = {name: shape for name, (shape, _) in models[usable[0]].shapes().items()}
    if start and {name: shape for name, (shape, _) in start.shapes().items()} == shapes:
        models = {START: start, **models}
    measured = geometry.measure(models)
    for name, tensor in measured.broken.items():
        models.pop(name)
        if name != START:
            reason = f"The tensor {tensor!r} has values that are NaN or infinite."
            found[name] = verdicts.left_out(name, verdicts.DIVERGED, reason, patients.examples)
    if measured.broken and models:
        measured = geometry.measure(models)
    return measured, (0 if START in models else None)


def _predicted(name: str, patients: Patients) -> Evidence:
    labels, guesses = patients.labels, patients.logits(name).argmax(1)
    return Evidence(
        model=name,
        heldout=float((guesses == labels).mean()),
        n_heldout=len(labels),
        guess=predictions.chance(guesses, labels),
    )


def _judge_predictions(
    tables: Mapping[str, Evidence], right: Mapping[str, np.ndarray], patients: Patients, best: str
) -> None:
    most = predictions.gained(tables[best].heldout, tables[best].guess)
    for name, e in tables.items():
        logits = patients.logits(name)
        after = predictions.renamed(logits.argmax(1), patients.labels, logits.shape[1])
        e.renamed = float(after.mean())
        e.other_order = predictions.has_other_order(right[name], after, tables[best].heldout)
        e.at_chance = predictions.is_at_chance(right[name], e.guess, most)


def _relate(
    tables: Mapping[str, Evidence],
    measured: Geometry,
    best: str,
    related: Sequence[int],
    heads: Sequence[int],
    start: int | None,
) -> None:
    """Fill in distances, angles and cosines.

    Args:
        tables: evidence by model, which is changed in place.
        measured: the geometry of these models and of the start.
        best: id of the best model.
        related: indices of the models with the same start.
        heads: indices of those among them with the same head.
        start: index of the start, or None.
    """
    names = measured.names
    at = names.index(best)
    to = at if start is None else start
    stems, matrices = measured.cosines(STEM)[to], measured.cosines(MATRICES)[to]
    lengths = measured.lengths(MATRICES)
    correlations = measured.head_correlations()
    # A start may have a head of zeros, which is correlated with no other.
    head_to = to if correlations[to].isfinite().any() else at
    centre = torch.zeros(len(names), dtype=torch.float64)
    centre[[to] if start is not None else list(related)] = 1
    changes = measured.relative((centre / centre.sum()).tolist(), *EVERYTHING)
    distances = changes.diagonal().clamp(min=0).sqrt()
    median = float(distances[list(related)].median())
    angles = torch.rad2deg(torch.acos((changes[at] / distances / distances[at]).clamp(-1, 1)))
    to_best, head_distances = measured.distances(*EVERYTHING)[at], measured.distances(HEAD)[head_to]
    for name, e in tables.items():
        i = names.index(name)
        e.origin = FROM_MEAN if start is None else FROM_START
        e.is_best, e.relative = name == best, i in related
        e.first_layer, e.backbone = float(stems[i]), float(matrices[i])
        e.head, e.head_distance = float(correlations[head_to, i]), float(head_distances[i])
        e.same_head = i in heads or i not in related
        e.length = float(lengths[i] / lengths[to])
        e.distance, e.angle, e.to_best = (float(v[i]) for v in (distances, angles, to_best))
        e.relative_change = e.distance / median if median else float("nan")


def _find_twins(tables: Mapping[str, Evidence], measured: Geometry, patients: Patients) -> None:
    """Find models that have the weights of an earlier one."""
    apart, lengths = measured.distances(*EVERYTHING), measured.lengths(*EVERYTHING)
    backbone = measured.distances(*BACKBONE)
    names = list(tables)
    for k, name in enumerate(names):
        i = measured.names.index(name)
        for earlier in names[:k]:
            j = measured.names.index(earlier)
            if tables[earlier].twin:
                continue
            one, two = (patients.paths[n] for n in (earlier, name))
            change = min(tables[name].distance, tables[earlier].distance)
            near = apart[i, j] <= thresholds.NEARLY_EQUAL * change
            rounded = backbone[i, j] <= thresholds.ROUNDING * lengths[i] and (
                is_copy(Checkpoint(one), Checkpoint(two))
            )
            if near or rounded:
                tables[name].twin = earlier
                tables[name].twin_distance = float(apart[i, j] / lengths[i])
                break

"""Clusters of models: groups without barriers inside, and with a barrier to the best model.

Fine-tuned text classifiers fall into several clusters (Juneja et al., ICLR 2023). A barrier to one
model tells that a model is elsewhere, but not whether others are there with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from soups.doctor import kinship, thresholds
from soups.doctor.evidence import Evidence
from soups.doctor.lines import Barrier, Lines

MAIN = 1  # number of the cluster of the model that the others are compared with


@dataclass
class Clusters:
    """Groups of models that can be averaged with each other.

    Attributes:
        groups: number of a cluster to its members, the best first. `MAIN` is the first.
        left: models with a barrier to the best model that could form further clusters, the best
            first.
        examined: those among them whose pairs were looked at.
        midpoints: first and second model to the point halfway, for both orders of each pair.
        bridges: model to the model of the main cluster with which it has no barrier, although it
            has one with the best model.
    """

    groups: dict[int, list[str]]
    left: list[str] = field(default_factory=list)
    examined: list[str] = field(default_factory=list)
    midpoints: dict[tuple[str, str], Barrier] = field(default_factory=dict)
    bridges: dict[str, str] = field(default_factory=dict)

    def nearest(self, name: str, group: Sequence[str]) -> tuple[str, Barrier]:
        """The other member of a model's cluster with the smallest drop at the midpoint."""
        found = [(other, self.midpoints[other, name]) for other in group if other != name]
        return min(found, key=lambda pair: pair[1].drop)


def find(
    lines: Lines,
    tables: Mapping[str, Evidence],
    ranking: Sequence[str],
    best: str,
    distances: Mapping[str, Mapping[str, float]],
) -> Clusters:
    """Group the models, with at most 55 further evaluations.

    Args:
        lines: evaluates midpoints.
        tables: evidence by model, with the barriers to the best model.
        ranking: models, the best first.
        best: the model that the others are compared with.
        distances: between each two models.
    """
    order = tables[best].other_order
    main = [n for n in ranking if n == best or _stays(tables[n], order)]
    main.sort(key=lambda name: name != best)
    left = [name for name in ranking if name != best and _leaves(tables[name])]
    found = Clusters({MAIN: main}, left, left[: thresholds.PAIRED])
    linked = _link(lines, found)
    pending = list(range(len(found.examined)))
    while pending:
        members = kinship.relatives(linked, pending)
        pending = [i for i in pending if i not in members]
        names = [found.examined[i] for i in members]
        if len(names) > 1 and not _bridge(lines, names, main[1:], distances, found):
            found.groups[len(found.groups) + 1] = names
    return found


def record(found: Clusters, tables: Mapping[str, Evidence]) -> None:
    """Write the clusters into the evidence of their members."""
    for number, names in found.groups.items():
        for name in names:
            e = tables[name]
            e.cluster, e.members = number, tuple(names)
            if number != MAIN:
                e.partner, e.midpoint = found.nearest(name, names)


def _stays(e: Evidence, order: bool) -> bool:
    whole = e.relative and e.other_order == order and not e.at_chance
    return whole and e.barrier is not None and not e.barrier.counts


def _leaves(e: Evidence) -> bool:
    """Whether a model has a barrier that neither its predictions nor batch statistics explain.

    A copy of an earlier model has none of its own, because the two would form a cluster.
    """
    barrier = e.barrier
    odd = e.other_order or e.at_chance or e.twin
    return barrier is not None and barrier.counts and not barrier.recovers and not odd


def _link(lines: Lines, found: Clusters) -> Tensor:
    """Whether each pair of models has no barrier, bool, shape (k, k)."""
    names = found.examined
    linked = torch.eye(len(names)).bool()
    for i, one in enumerate(names):
        for j, two in enumerate(names[:i]):
            midpoint = lines.midpoint(two, one)
            found.midpoints[two, one] = midpoint
            found.midpoints[one, two] = replace(midpoint, ends=midpoint.ends[::-1])
            linked[i, j] = linked[j, i] = midpoint.drop <= thresholds.BARRIER
    return linked


def _bridge(
    lines: Lines,
    names: Sequence[str],
    main: Sequence[str],
    distances: Mapping[str, Mapping[str, float]],
    found: Clusters,
) -> bool:
    """Whether a group is connected with the main cluster through another model than the best.

    One midpoint is looked at for each model of the group, to the nearest of these models.
    """
    for name in names if main else ():
        near = min(main, key=distances[name].__getitem__)
        if lines.midpoint(near, name).drop <= thresholds.BARRIER:
            found.bridges[name] = near
    return bool(found.bridges.keys() & set(names))

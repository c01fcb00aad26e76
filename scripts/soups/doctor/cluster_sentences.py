"""What the summary says about clusters of models."""

from collections.abc import Iterator, Sequence

from soups.doctor.clusters import MAIN, Clusters
from soups.doctor.examination import Examination
from soups.doctor.predictions import difference
from soups.doctor.verdicts import apart, listed, percent, points


def sentence(found: Examination) -> str:
    """How many clusters there are, which models are in them, and how many pairs were looked at."""
    clusters, usable = found.clusters, [v.model for v in found.verdicts if v.evidence]
    groups, best = clusters.groups, clusters.groups[MAIN][0]
    lines = "1 line" if len(usable) == 2 else f"{len(usable) - 1} lines"
    if len(groups[MAIN]) == len(usable):
        models = "Both" if len(usable) == 2 else f"All {len(usable)}"
        return f"{models} usable models are in one cluster, by {lines} to {best}."
    parts = [f"cluster {number} has {_members(names)}" for number, names in groups.items()]
    text = f"The usable models form {len(groups)} clusters: {', '.join(parts)}."
    if len(groups) == 1:
        text = f"Of {len(usable)} usable models, one cluster has {_members(groups[MAIN])}."
    lone = [name for name in usable if not any(name in names for names in groups.values())]
    if lone:
        text += f" {_members(lone)} {'is' if len(lone) == 1 else 'are'} in none."
    text += f" The doctor looked at {lines} to {best}{_pairs(clusters)}."
    for name, other in clusters.bridges.items():
        text += f" {name} has a barrier to {best}, but none to {other}."
    return text + "".join(_scores(found))


def _members(names: Sequence[str]) -> str:
    return f"{len(names)} model{'' if len(names) == 1 else 's'} ({listed(names)})"


def _pairs(clusters: Clusters) -> str:
    """How many midpoints were looked at, or "" if fewer than two models left."""
    left, examined = len(clusters.left), len(clusters.examined)
    if examined < 2:
        return ""
    midpoints = len(clusters.midpoints) // 2
    which = f"the {left}" if left == examined else f"the best {examined} of {left}"
    return (
        f", and at {midpoints} midpoint{'' if midpoints == 1 else 's'} between {which} models "
        "with a barrier to it"
    )


def _scores(found: Examination) -> Iterator[str]:
    """The uniform soup of each further cluster, compared with that of the main one."""
    groups = found.clusters.groups
    if len(groups) == 1:
        return
    soups = {n: found.lines.soup(dict.fromkeys(g, 1 / len(g))) for n, g in groups.items()}
    theirs = soups.pop(MAIN)
    for number, ours in soups.items():
        low, high = difference(ours, theirs)
        yield (
            f" The uniform soup of cluster {number} has {percent(ours.mean())} on {len(ours):,} "
            f"held-out {found.examples}, {apart(theirs.mean() - ours.mean())} that of cluster "
            f"{MAIN} (95% interval {points(low)} to {points(high)})."
        )

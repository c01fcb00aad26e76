"""Groups of models whose weights are correlated, because these may share a start."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from soups.outcomes import SAME_START
from soups.setup.models import Seen

# Two random matrices of n values have a correlation near 0, with a standard deviation of 1/√n. The
# smallest matrices that are compared have 1,000 values, so 0.1 is three standard deviations. Only
# models below it look as if they had another start.
UNRELATED = 0.1


@dataclass
class Groups:
    """The groups of some models.

    Attributes:
        letters: model to its group. "A?" is a model that is neither near group A nor unrelated to
            it, and "?" a model of which nothing is known.
        between: highest correlation between models of different groups, or None if there is only
            one group.
        nearest: model between groups to its highest correlation with the group it is listed under.
    """

    letters: dict[str, str]
    between: float | None
    nearest: dict[str, float]


def correlations(seen: Sequence[Seen]) -> Tensor:
    """Correlation of some weights of each pair of models, the mean over these tensors.

    Returns:
        shape (k, k), NaN for models without finite tensors of the same names and shapes.
    """
    total, count = torch.zeros(len(seen), len(seen)), torch.zeros(len(seen), len(seen))
    keys = {(name, len(values)) for each in seen for name, values in each.sample.items()}
    for name, length in sorted(keys):
        have = [i for i, e in enumerate(seen) if len(e.sample.get(name, ())) == length]
        values = torch.stack([seen[i].sample[name] for i in have])
        values = values - values.mean(1, keepdim=True)
        norms = values.norm(dim=1)
        good = torch.isfinite(norms) & (norms > 0)
        values = values[good] / norms[good, None]
        index = torch.tensor(have)[good]
        total[index[:, None], index] += values @ values.T
        count[index[:, None], index] += 1
    return total / count


def groups(seen: Sequence[Seen]) -> Groups:
    """Find groups of models with correlated weights.

    Models are in one group if a chain of pairs with a correlation above `SAME_START` joins them. A
    smaller group becomes a group of its own only if it is unrelated to all others.
    """
    table = correlations(seen).nan_to_num(-1)
    known = [i for i in range(len(seen)) if table[i, i] > 0]
    joined = _joined(table, known)
    own: list[list[int]] = []
    letters = {each.name: "?" for each in seen}
    nearest = {}
    for members in sorted(joined, key=len, reverse=True):
        highest = [float(table[members][:, other].max()) for other in own]
        if highest and max(highest) >= UNRELATED:
            letter = _letter(highest.index(max(highest))) + "?"
            nearest |= {seen[i].name: max(highest) for i in members}
        else:
            letter = _letter(len(own))
            own.append(members)
        letters |= {seen[i].name: letter for i in members}
    pairs = [float(table[a][:, b].max()) for n, a in enumerate(own) for b in own[:n]]
    # Models of another architecture have no tensor in common, and nothing to measure.
    measured = [value for value in pairs if value > -1]
    between = max(measured) if measured else None
    return Groups(letters, between, nearest)


def _joined(table: Tensor, among: Sequence[int]) -> list[list[int]]:
    """Sets of indices that are joined by correlations above `SAME_START`."""
    left, out = list(among), []
    while left:
        found = [left.pop(0)]
        for one in found:  # it grows
            more = [i for i in left if table[one, i] > SAME_START]
            left = [i for i in left if i not in more]
            found += more
        out.append(sorted(found))
    return out


def _letter(index: int) -> str:
    return chr(ord("A") + min(index, 25))


def sentences(found: Groups) -> list[str]:
    """What was measured, and what it may mean."""
    out = []
    own = {letter for letter in found.letters.values() if len(letter) == 1} - {"?"}
    if len(own) > 1 and found.between is not None:
        out.append(
            f"The weights fall into {len(own)} groups (column start). Between groups they "
            f"correlate by at most {found.between:.2f}, and unrelated models by about 0. Models of "
            "different groups may have different starts. The doctor measures this in the run."
        )
    if found.nearest:
        names = ", ".join(found.nearest)
        one = len(found.nearest) == 1
        value = max(found.nearest.values())
        out.append(
            f"The weights of {names} correlate with those of the nearest group by at most "
            f"{value:.2f} (a letter with ? in the column start). A large learning rate or another "
            f"start may have moved {'this model' if one else 'these models'} away. The doctor "
            "measures this in the run."
        )
    return out

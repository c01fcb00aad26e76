"""The tower in a checkpoint: which tensors are its own, and whether they fit.

The tower is the classifier without its head: an image tower or a text encoder.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from soups.errors import LeftOut
from soups.models import file_names
from soups.models.foreign.reading import Contents
from soups.models.pretrained import Pretrained

# Buffers that need not be in a file. Old files lack the counters of batch normalisation.
COMPUTED = (*file_names.COMPUTED, "num_batches_tracked")


def find(
    state: Mapping[str, Tensor], tower: Sequence[str], native: Mapping[str, str | None]
) -> tuple[dict[str, str], str]:
    """Names of the tower's tensors in a checkpoint, and what stands before all of them.

    Several namings are tried. The one that finds most tensors counts. All names of ``tower`` begin
    with the same part, such as ``visual.``, which the checkpoint may lack.
    """
    namings = [
        {name: name for name in tower},
        {name: native.get(name) or name for name in tower},
        {name: name.partition(".")[2] for name in tower},
    ]
    best, most = ({}, ""), -1
    for naming in namings:
        known = set(naming.values())
        votes: Counter[str] = Counter()
        for name in state:
            parts = name.split(".")
            for i in range(len(parts)):
                if ".".join(parts[i:]) in known:
                    votes["".join(f"{part}." for part in parts[:i])] += 1
        prefix, count = max(
            votes.items(), key=lambda vote: (vote[1], -len(vote[0])), default=("", 0)
        )
        if count > most:
            best, most = ({name: prefix + there for name, there in naming.items()}, prefix), count
    return best


def count(state: Mapping[str, Tensor], names: Mapping[str, str]) -> int:
    """How many of the names a checkpoint has."""
    return sum(there in state for there in names.values())


def tied(state: Mapping[str, Tensor], names: Mapping[str, str]) -> set[str]:
    """Further names of the tower's tensors, which a file of `torch.save` may have.

    Language models often use one matrix of word embeddings in several places.
    """
    own = set(names.values())
    places = {_place(state[there]) for there in own if there in state}
    return {name for name, tensor in state.items() if name not in own and _place(tensor) in places}


def _place(tensor: Tensor) -> tuple:
    """Where the values of a tensor are, and in which shape they are read."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def check(
    contents: Contents,
    state: Mapping[str, Tensor],
    names: Mapping[str, str],
    want: Mapping[str, Tensor],
    others: Iterable[str],
    model: Pretrained,
) -> None:
    """Check that the tower is complete and that all shapes are right.

    Raises:
        LeftOut: naming the first tensor that is missing or has another shape, and their number.
    """
    made = f" (the checkpoint names the architecture {contents.arch!r})" if contents.arch else ""
    of = f"model.architecture {json.dumps(model.architecture)}{made}"
    needed = {ours: there for ours, there in names.items() if is_needed(ours, want[ours])}
    missing = [there for there in needed.values() if there not in state]
    if missing:
        raise LeftOut(
            "other architecture",
            f"{contents.path} lacks {len(missing)} of the {len(needed)} tensors of the "
            f"{model.problem.tower}, such as {missing[0]!r}{such_as(others)}, expected those of "
            f"{of}",
        )
    wrong = [
        (ours, there)
        for ours, there in names.items()
        if there in state and state[there].shape != want[ours].shape
    ]
    if wrong:
        ours, there = wrong[0]
        raise LeftOut(
            "other architecture",
            f"{contents.path} has {counted(wrong)} of another shape, such as {there!r} with "
            f"{tuple(state[there].shape)}, expected {tuple(want[ours].shape)} for {of}",
        )


def is_needed(name: str, tensor: Tensor) -> bool:
    """Whether a checkpoint must have a tensor, which the architecture does not give."""
    return tensor.is_floating_point() or name.split(".")[-1] not in COMPUTED


def counted(names: Sequence) -> str:
    """The number of some tensors in words."""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''}"


def such_as(others: Iterable[str]) -> str:
    names = sorted(others)
    if not names:
        return ""
    return f", and has {len(names)} other{'s' if len(names) > 1 else ''}, such as {names[0]!r}"

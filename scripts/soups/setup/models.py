"""What files of ready-made models hold: a row per file, and what all of them have in common."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from soups.errors import LeftOut, UserError, near
from soups.models.fitting import identify
from soups.models.foreign import reading

COMPARED = 4  # tensors by which two models are compared
VALUES = (
    1000  # values of the smallest matrices that are compared, because chance correlates short ones
)
FOREIGN = ("transformers/", "hf-hub:")  # architectures that an address gives
COLUMNS = ("model", "architecture", "classes", "dtype", "weights", "wrappers", "start", "file")


@dataclass
class Seen:
    """One file or folder.

    Attributes:
        name, path: of the model.
        found: its architectures, see `identify.Found`; None if it cannot be read.
        names: class names in the file, or None.
        dtypes: dtypes of its floating-point tensors.
        kinds: sets of weights in the file, "plain" and "ema".
        kind: the one that was read.
        wrappers: what was removed around the weights.
        sample: some of its tensors, for comparisons.
        normed: whether it has statistics of batch normalisation.
        reason: why it cannot be read, or "".
        shapes: shape of every tensor.
    """

    name: str
    path: str
    found: identify.Found | None = None
    names: list[str] | None = None
    dtypes: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    kind: str = ""
    wrappers: list[str] = field(default_factory=list)
    sample: dict[str, Tensor] = field(default_factory=dict)
    normed: bool = False
    reason: str = ""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def look(files: Mapping[str, str], weights: str = "plain") -> list[Seen]:
    """Read files of models, one after the other.

    Args:
        files: name to file or folder, see `experiment.found.find`.
        weights: which weights of a training file are read, "plain" or "ema".
    """
    known: dict[tuple, identify.Found] = {}
    return [_look(name, path, weights, known) for name, path in files.items()]


def _look(name: str, path: str, weights: str, known: dict[tuple, identify.Found]) -> Seen:
    try:
        contents = reading.read(path, weights)
    except LeftOut as error:
        return Seen(name, path, reason=str(error))
    shapes = identify.shapes_of(contents)
    key = (contents.arch, str(contents.config), *sorted(shapes.items()))
    if key not in known:
        known[key] = identify.architectures(contents)
    floats = {n: t for n, t in contents.state.items() if t.is_floating_point()}
    return Seen(
        name, path, known[key], contents.classes,
        sorted({str(t.dtype).removeprefix("torch.") for t in floats.values()}),
        contents.kinds, contents.kind, contents.wrappers, _sample(floats, known[key].classes),
        any(n.endswith("running_mean") for n in shapes), shapes=shapes,
    )  # fmt: skip


def _sample(state: Mapping[str, Tensor], classes: int | None) -> dict[str, Tensor]:
    """Some matrices of the tower. Those of the head differ by themselves."""
    matrices = [n for n, t in state.items() if t.ndim > 1 and t.numel() >= VALUES]
    matrices = [n for n in matrices if state[n].shape[0] != classes]
    step = max(1, len(matrices) // COMPARED)
    return {
        n: state[n].detach().flatten()[:20_000].float().clone() for n in matrices[::step][:COMPARED]
    }


def architecture(seen: Sequence[Seen], asked: str | None) -> str:
    """The architecture of the models.

    Args:
        seen: see `look`.
        asked: an architecture that the user names, which must fit at least one model.

    Raises:
        UserError: if no file can be read, if no architecture is found, or if several fit. The
            sentence names the option that decides.
    """
    read = [each for each in seen if each.found]
    if not read:
        raise UserError(f"no file can be read: {seen[0].reason}")
    names = [str(name) for each in read for name in each.found.names if isinstance(name, str)]
    if asked:
        foreign = asked.startswith(FOREIGN)
        if not foreign and asked not in names and not _fits_any(read, asked):
            raise UserError(
                f"--architecture is {asked!r}, but the tensors of {read[0].path} are not its own, "
                f"expected {_or(names) if names else 'the architecture of the models'}"
                f"{near(asked, names)}"
            )
        return asked
    custom = next((e.found.names[0] for e in read if e.found.names and not names), None)
    if custom is not None:
        return custom
    if not names:
        raise UserError(
            f"no model of timm, torchvision or open_clip has the tensors of {read[0].path}, "
            "expected --architecture with the architecture of the models"
        )
    most = max(Counter(names).values())
    often = [name for name, count in Counter(names).items() if count == most]
    if len(often) > 1:
        raise UserError(
            f"{len(often)} architectures have the tensors of {read[0].path}, expected "
            f"--architecture with one of {', '.join(often)}{_same(often)}"
        )
    return often[0]


def _same(names: Sequence[str]) -> str:
    """Names of one model in two libraries, in brackets, or ""."""
    for name in names:
        if (other := name.replace("torchvision/", "timm/")) != name and other in names:
            return f" ({other} and {name} compute the same)"
    return ""


def _fits_any(read: Sequence[Seen], name: str) -> bool:
    return any(identify.fits(each.shapes, name) for each in read)


def _or(names: Sequence[str]) -> str:
    return " or ".join(dict.fromkeys(names))


def weights(seen: Sequence[Seen], asked: str | None) -> str:
    """Which weights of the files are used.

    Raises:
        UserError: if files have several sets of weights and the user names none.
    """
    both = next((each for each in seen if len(each.kinds) > 1), None)
    if both and not asked:
        raise UserError(
            f"{both.path} has plain and averaged weights, expected --weights plain or --weights ema"
        )
    return asked or "plain"


def classes(seen: Sequence[Seen]) -> int | None:
    """Number of classes of most models, or None if no file has a head."""
    counts = Counter(each.found.classes for each in seen if each.found and each.found.classes)
    return counts.most_common(1)[0][0] if counts else None


def of_architecture(seen: Sequence[Seen], name: str | dict) -> list[Seen]:
    """The models that have an architecture, or may have it."""
    read = [each for each in seen if each.found]
    if isinstance(name, str) and name.startswith(FOREIGN):
        return read  # only the library that makes the model knows its tensors
    return [
        each for each in read
        if name in each.found.names or (isinstance(name, str) and identify.fits(each.shapes, name))
    ]  # fmt: skip


def table(seen: Sequence[Seen], groups: Mapping[str, str]) -> list[tuple[str, ...]]:
    """A row of text per file, in the order of `COLUMNS`; an unreadable one has its reason.

    Args:
        seen: see `look`.
        groups: model to the group of models with a common start, see `starts.groups`.
    """
    rows = []
    for each in seen:
        if each.found is None:
            rows.append((each.name, "cannot be read", "", "", "", "", "", each.reason))
            continue
        names = [name if isinstance(name, str) else "own" for name in each.found.names]
        rows.append((
            each.name, " or ".join(names) or "unknown", _classes(each), "+".join(each.dtypes),
            each.kind + (f" of {'+'.join(each.kinds)}" if len(each.kinds) > 1 else ""),
            " ".join(each.wrappers) or "none", groups[each.name], each.path,
        ))  # fmt: skip
    return rows


def _classes(each: Seen) -> str:
    if each.found.classes is None:
        return "no head"
    return f"{each.found.classes}{' named' if each.names else ''}"

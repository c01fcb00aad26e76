"""Reading any checkpoint as a state dict: one file of any ending, or a folder of Hugging Face.

Formats and wrappers are recognised by content. No code of a pickle is ever run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from soups.errors import LeftOut, UserError, brief
from soups.models.file_names import ENDINGS, NO_WEIGHTS
from soups.models.foreign import naming, wrappers
from soups.models.foreign.formats import SAFETENSORS, format_of, unreadable
from soups.models.foreign.inert import unpickled
from soups.models.foreign.wrappers import PLAIN

# Names of files of weights in a folder, the best first. An index lists the shards of one model.
FILES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
INDEX = ".index.json"
CONFIGS = ("config.json", "open_clip_config.json")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
SHOWN = 5  # names of files that one message lists at most


@dataclass
class Contents:
    """What a checkpoint holds.

    Attributes:
        path: the file or folder.
        state: tensors by their names, without wrappers. They may be mapped from the file.
        kind: "plain" or "ema", the weights in ``state``.
        kinds: the kinds of weights that the file has.
        wrappers: what was removed around the state dict and before its names, outside first.
        config: the config.json of a folder, or None.
        classes: class names in the order of the head's rows, or None.
        arch: name of the architecture that a training file or a config gives, or None.
        start: fingerprint of the pre-trained model in this workflow's header, or None.
        note: the whole note in this workflow's header; empty in other files.
    """

    path: Path
    state: dict[str, Tensor]
    kind: str = PLAIN
    kinds: list[str] = field(default_factory=lambda: [PLAIN])
    wrappers: list[str] = field(default_factory=list)
    config: dict | None = None
    classes: list[str] | None = None
    arch: str | None = None
    start: str | None = None
    note: dict = field(default_factory=dict)


def read(path: str | Path, weights: str = PLAIN) -> Contents:
    """Read a checkpoint.

    Args:
        path: a file of any ending, or a folder with one model.
        weights: "plain" or "ema". A file that has averaged weights alone is also read as plain.

    Raises:
        UserError: if there is no such file or folder.
        LeftOut: with the verdict "unreadable", if no state dict can be read.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist, expected a checkpoint")
    file = _file_in(path) if path.is_dir() else path
    _check_adapter(path, file)
    config = _config(file.parent) if path.is_dir() or file.name in FILES else None
    if file.name.endswith(INDEX):
        content, note = _shards(path, file), {}
    elif (form := format_of(file)) == SAFETENSORS:
        content, note = _tensors(file)
    else:
        content, note = unpickled(file, form), {}
    if left_out := naming.values(note.get("left_out")):
        raise LeftOut(str(left_out.get("verdict")), str(left_out.get("reason")))
    state, kind, kinds, removed = wrappers.find(file, content, weights)
    wrappers.check(file, state)
    start = note.get("pretrained")
    beside = content if isinstance(content, Mapping) else {}
    return Contents(
        path, state, kind, kinds, removed, config,
        naming.classes(file, beside, config, note), naming.architecture(beside, config, note),
        start if isinstance(start, str) else None, note,
    )  # fmt: skip


def files_of(path: str | Path) -> list[Path]:
    """The files that hold the weights of a checkpoint: one, or an index and its shards.

    Raises:
        UserError: if there is no such file or folder.
        LeftOut: if a folder has no weights, or if shards are missing.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist, expected a checkpoint")
    file = _file_in(path) if path.is_dir() else path
    if not file.name.endswith(INDEX):
        return [file]
    return [file, *(file.parent / name for name in sorted(set(_index(path, file).values())))]


def _tensors(file: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a safetensors file, and this workflow's note in its header."""
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        reason = brief(error)
        raise unreadable(file, f"is not a readable safetensors file ({reason})") from error
    note = _json(metadata.get("soups", "{}"))
    return tensors, note if isinstance(note, dict) else {}


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _config(folder: Path) -> dict | None:
    """The config.json of a folder, None if it has none."""
    for name in CONFIGS:
        if (folder / name).is_file():
            found = _json((folder / name).read_text(encoding="utf-8", errors="replace"))
            return found if isinstance(found, dict) else None
    return None


def _check_adapter(path: Path, file: Path) -> None:
    """Refuse an adapter, which holds the change of some weights only."""
    named = [path / name for name in ADAPTERS] if path.is_dir() else [file]
    adapter = next((each for each in named if each.name in ADAPTERS and each.exists()), None)
    if adapter and file.name not in FILES:
        raise unreadable(
            adapter,
            "is of an adapter (LoRA), expected the weights of a whole model (merge the adapter "
            "with `model.merge_and_unload()`, and save that model)",
        )


def _file_in(folder: Path) -> Path:
    """The file of weights in a folder, or the index of its shards.

    Raises:
        LeftOut: if the folder has no weights, or several files of them.
    """
    for name in (*FILES, *ADAPTERS):
        if (folder / name).is_file():
            return folder / name
    names = sorted(
        each.name + "/" * each.is_dir() for each in folder.iterdir() if each.name[0] != "."
    )
    found = [
        name for name in names
        if name.endswith(ENDINGS) and not name.startswith(NO_WEIGHTS)
    ]  # fmt: skip
    if len(found) == 1:
        return folder / found[0]
    if found:
        raise unreadable(
            folder,
            f"is a folder with {len(found)} files of weights ({_some(found)}), expected the path "
            "of one of them",
        )
    if any(name.endswith(".distcp") for name in names):
        raise unreadable(
            folder,
            "is a distributed checkpoint, expected one file (`python -m "
            "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pt` makes it)",
        )
    other = next((n for n in names if n in ("saved_model.pb", "flax_model.msgpack", "tf_model.h5")),
                 None)  # fmt: skip
    if other:
        raise unreadable(folder, f"has {other} but no weights of PyTorch, expected those")
    raise unreadable(
        folder, f"is a folder with no weights, it holds {_some(names) or 'nothing'}, expected a "
        "file such as model.safetensors",
    )  # fmt: skip


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _index(path: Path, index: Path) -> dict[str, str]:
    """Name of each tensor's shard, all of which exist in the index's folder.

    Raises:
        LeftOut: if the index has another format, or if a shard is missing.
    """
    listed = _json(index.read_text(encoding="utf-8", errors="replace"))
    where = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(where, dict) or not all(isinstance(v, str) for v in where.values()):
        raise unreadable(index, "has no 'weight_map', expected the file of each tensor")
    where = {tensor: Path(name).name for tensor, name in where.items()}
    names = sorted(set(where.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise unreadable(
            path,
            f"lacks {len(missing)} of the {len(names)} shards that {index.name} lists "
            f"({_some(missing)}), expected all of them",
        )
    return where


def _shards(path: Path, index: Path) -> dict[str, Tensor]:
    """The tensors of all shards that an index lists.

    Raises:
        LeftOut: if a shard or a tensor is missing.
    """
    where, tensors = _index(path, index), {}
    for name in sorted(set(where.values())):
        file = index.parent / name
        form = format_of(file)
        content = _tensors(file)[0] if form == SAFETENSORS else unpickled(file, form)
        if isinstance(content, Mapping):
            tensors |= {k: v for k, v in dict.items(content) if isinstance(v, Tensor)}
    if lost := sorted(set(where) - set(tensors)):
        raise unreadable(
            path, f"lacks the tensor {lost[0]!r}, which {index.name} lists, expected all of them"
        )
    return tensors

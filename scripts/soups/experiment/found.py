"""Ready-made models as files: found by patterns, and named by their paths.

The name of a model comes from its own path and from the pattern that found it. Names therefore stay
the same when further files appear, unless one of these has the same name.
"""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from soups.errors import UserError, near
from soups.experiment import given
from soups.experiment.given import NAME, RESERVED
from soups.files import fingerprint
from soups.models import file_names

KEY = "ingredients.checkpoints.files"
# Endings of files of weights, which are no part of a name. The longest come first.
ENDINGS = (".safetensors.index.json", ".bin.index.json", *file_names.ENDINGS)
# Endings of files beside weights. A pattern such as runs/lr1/* finds them too.
OTHERS = (
    ".json", ".jsonl", ".txt", ".csv", ".tsv", ".yaml", ".yml", ".toml", ".log", ".md", ".py",
    ".sh", ".png", ".jpg", ".jpeg", ".pdf", ".html", ".npy", ".npz", ".sha256", ".md5", ".out",
    ".err", ".lock", ".part",
)  # fmt: skip
# Files that show that a folder is a model of Hugging Face.
OF_A_FOLDER = (
    "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
    "pytorch_model.bin.index.json", "adapter_config.json", "open_clip_config.json",
    "open_clip_model.safetensors", "open_clip_pytorch_model.bin",
)  # fmt: skip


def find(patterns: str | Sequence[str]) -> dict[str, str]:
    """Find models and name them.

    Args:
        patterns: a file, a folder or a pattern, or a list of these. ``*`` stands for any part of a
            name, and ``**`` for any folders.

    Returns:
        name to file or folder, in the natural order of names (lr2 comes before lr10).

    Raises:
        UserError: if a pattern finds no model, or if there is no pattern.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    names: dict[str, str] = {}  # path to name
    alone = []
    for pattern in patterns:
        # Two spellings of one path, such as ./a.pt and a.pt, are one model.
        pattern = os.path.normpath(Path(pattern).expanduser())
        if Path(pattern).exists():
            if _is_model(Path(pattern)):
                alone.append(pattern)
            else:
                inside = [path for path in sorted(Path(pattern).iterdir()) if _is_inside(path)]
                if not inside:
                    raise UserError(_nothing_in(pattern))
                names |= {str(path): stem(path) for path in inside}
            continue
        found = [path for path in sorted(glob.glob(pattern, recursive=True)) if _counts(path)]
        if not found:
            raise UserError(
                f"{KEY} has {pattern!r}, which finds no file of weights and no folder of a model, "
                "expected a file, a folder or a pattern such as runs/*/model_best.pth.tar"
            )
        # ** finds a folder of a model and the files in it.
        folders = {Path(path) for path in found if Path(path).is_dir()}
        found = [
            path for path in found if Path(path) in folders or Path(path).parent not in folders
        ]
        names |= {path: _by_pattern(Path(path), Path(pattern)) for path in found}
    names |= dict(zip(alone, _of_list([Path(path) for path in alone]), strict=True))
    named = {name: path for path, name in _unique(names).items()}
    return {name: named[name] for name in sorted(named, key=natural)}


def natural(name: str) -> list:
    """Key for sorting by which numbers in names are compared as numbers."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def stem(path: Path) -> str:
    """The name of a file without its ending, or the name of a folder."""
    name = path.name
    if path.is_dir():
        return name
    return next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end)), name)


def _is_model(path: Path) -> bool:
    return path.is_file() or any((path / name).is_file() for name in OF_A_FOLDER)


def _counts(path: str) -> bool:
    """Whether a path that a pattern finds is a model."""
    if Path(path).is_dir():
        return _is_model(Path(path))
    if Path(path).name.startswith(file_names.NO_WEIGHTS):
        return False
    return not path.lower().endswith(OTHERS) or path.lower().endswith(ENDINGS)


def _is_inside(path: Path) -> bool:
    """Whether a path in a folder of models is a model."""
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return _is_model(path)
    return path.name.lower().endswith(ENDINGS) and not path.name.startswith(file_names.NO_WEIGHTS)


def _nothing_in(folder: str) -> str:
    end = "expected files of weights"
    below = next((p for p in sorted(Path(folder).glob("*/*")) if _is_inside(p)), None)
    if below is not None:
        end += f", or a pattern such as {Path(folder, '*', below.name)}"
    return f"{KEY} has {folder!r}, a folder without a file of weights, {end}"


def _by_pattern(path: Path, pattern: Path) -> str:
    """The parts of a path that the wildcards of a pattern stand for."""
    parts, asked = list(path.parts), list(pattern.parts)
    parts[-1] = stem(path)
    if "**" in asked:
        first = next(i for i, part in enumerate(asked) if glob.has_magic(part))
        after = asked[first:]
        literal = next((i for i, p in enumerate(reversed(after)) if glob.has_magic(p)), 0)
        kept = parts[first : len(parts) - literal]
    else:
        kept = [part for part, wanted in zip(parts, asked, strict=True) if glob.has_magic(wanted)]
    return "_".join(kept) or parts[-1]


def _of_list(paths: Sequence[Path]) -> list[str]:
    """Names of single files: the last part of the path in which all of them differ."""
    parts = [(*path.absolute().parent.parts, stem(path)) for path in paths]
    shortest = min(map(len, parts), default=0)
    for i in range(1, shortest + 1):
        at = [each[-i] for each in parts]
        if len(set(at)) == len(at):
            return at
    for i in range(1, shortest + 1):
        at = ["_".join(each[-i:]) for each in parts]
        if len(set(at)) == len(at):
            return at
    return ["_".join(each) for each in parts]


def _unique(names: dict[str, str]) -> dict[str, str]:
    """Path to a valid name, where equal names get a part of the path's hash at their end."""
    valid = {path: clean(name, path) for path, name in names.items()}
    spelled = [name.casefold() for name in valid.values()]
    return {
        path: f"{name}_{fingerprint(path)[:6]}" if spelled.count(name.casefold()) > 1 else name
        for path, name in valid.items()
    }


def clean(name: str, path: str = "") -> str:
    """Make a valid name of a model: letters, digits, _ and -.

    A name that a CSV reader takes for a number, a truth value or a missing value gets ``m_``
    before it.

    Args:
        name: the name.
        path: the file, whose hash replaces a name without a letter or digit that remains.
    """
    made = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")
    made = made or f"m_{fingerprint(path or name)[:6]}"
    words = {word.casefold() for word in (*RESERVED, "true", "false", "inf", "infinity")}
    if _is_number(made) or made.casefold() in words or not NAME.fullmatch(made):
        made = f"m_{made}"
    return made


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def rows(table: str, models: Mapping[str, str]) -> dict[str, dict]:
    """The rows of a table of found models.

    Args:
        table: a CSV file. Its column ``model`` has names of models, paths, or names of files. It
            need not have a row for every model.
        models: name to file, from `find`.

    Returns:
        model to its columns, see `given.values`.

    Raises:
        UserError: if a row belongs to no model or to several, or if a model has two rows.
    """
    out: dict[str, dict] = {}
    for number, row in given.with_model(table):
        cell = row.pop("model")
        meant = _meant(cell, models)
        if len(meant) != 1:
            what = f"which may be {' or '.join(meant[:2])}" if meant else "which is no model"
            end = f"one of {', '.join(list(models)[:8])}" + ("" if len(models) < 9 else ", ...")
            raise UserError(
                f"{table}: row {number} has the model {cell!r}, {what} of {KEY}, expected {end}"
                + ("" if meant else near(cell, models))
            )
        if meant[0] in out:
            raise UserError(f"{table}: model {meant[0]!r} occurs twice, expected one row per model")
        out[meant[0]] = row
    return given.values(out)


def _meant(cell: str, models: Mapping[str, str]) -> list[str]:
    """The models that a cell of the column ``model`` may mean."""
    if cell in models:
        return [cell]
    same = [name for name, path in models.items() if Path(path) == Path(cell)]
    return same or [
        name
        for name, path in models.items()
        if cell in (Path(path).name, stem(Path(path))) or clean(cell) == name
    ]

"""Reading and writing files so that a killed job never leaves half a result."""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from soups.errors import UserError


def _usual_mode() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return 0o666 & ~mask


_MODE = _usual_mode()
_HOST = socket.gethostname().split(".")[0]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a name to write beside ``path``; rename it to ``path`` once written without error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_up(path)
    # The ending stays, because matplotlib and numpy choose the format by it.
    aside = path.with_name(f".{path.stem}.{_HOST}-{os.getpid()}.part{path.suffix}")
    try:
        yield aside
        aside.chmod(_MODE)  # safetensors makes its files private
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _sweep_up(path: Path) -> None:
    """Remove what a killed job was writing in place of ``path``."""
    for stale in path.parent.glob(f".{path.stem}.{_HOST}-*.part{path.suffix}"):
        owner = stale.name.removesuffix(f".part{path.suffix}").rpartition("-")[2]
        if not alive(int(owner)):
            stale.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Is there a process of that number on this machine, whoever's it is?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, all or nothing."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def copy(source: str | Path, target: str | Path) -> None:
    """Copy a file, all or nothing."""
    with replacing(target) as aside:
        shutil.copyfile(source, aside)


def write_json(path: str | Path, value) -> None:
    """Write JSON, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str | Path):
    """Read JSON; a broken file raises `UserError` naming it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array as .npy, all or nothing."""
    with replacing(path) as aside:
        np.save(aside, array)


def write_blocks(path: str | Path, blocks: Iterable[np.ndarray], n: int) -> None:
    """Write blocks of rows one below the other as one .npy of ``n`` rows, all or nothing."""
    with replacing(path) as aside:
        out, done = None, 0
        for block in blocks:
            if out is None:
                shape = (n, *block.shape[1:])
                out = np.lib.format.open_memmap(aside, "w+", block.dtype, shape)
            out[done : done + len(block)] = block
            done += len(block)
        if done != n:
            raise ValueError(f"{path}: {done} rows, expected {n}")
        out.flush()


def read_array(path: str | Path) -> np.ndarray:
    """Open a .npy as a read-only memory map: jobs on one machine share its pages."""
    return np.load(path, mmap_mode="r")


def sha256(path: str | Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def stamp(path: str | Path) -> list[int]:
    """Size and time of change: tells a file that was made anew, without reading it."""
    found = Path(path).stat()
    return [found.st_size, found.st_mtime_ns]


def fingerprint(value) -> str:
    """Hex digest of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

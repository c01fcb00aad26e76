"""Read and write files so that a killed job never leaves a partial result."""

import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from soups.errors import UserError


def _usual_mode() -> int:
    mask = os.umask(0)  # the only way to read the mask is to set it
    os.umask(mask)
    return 0o666 & ~mask


_MODE = _usual_mode()
_HOST = socket.gethostname().split(".")[0]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``, and rename it to ``path`` if no error is raised.

    Raises:
        UserError: if the disk is full.
    """
    path = Path(path)
    # The temporary name keeps the ending: matplotlib and numpy choose the format by it.
    aside = path.with_name(f".{path.stem}.{_HOST}-{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        yield aside
        aside.chmod(_MODE)  # safetensors creates files that only their owner can read
        os.replace(aside, path)
    except UserError:
        raise
    except Exception as error:
        if sentence := no_space(error, path):
            raise UserError(sentence) from error
        raise
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


_FULL = (errno.ENOSPC, errno.EDQUOT)
# Errors of safetensors, numpy and torch have no number. Some do not even name the reason, and are
# only taken for a full disk if the disk has little space.
_NAMED = ("No space left", "os error 28", "quota exceeded")
_UNNAMED = ("file write failed", "unexpected pos", " requested and ", "iostream error")
_LITTLE = 2**20  # bytes


def no_space(error: BaseException, path: str | Path | None = None) -> str | None:
    """Return the sentence of an error that a full disk caused, or None for any other error.

    Args:
        error: what a write raised.
        path: the file. By default, the error knows it.
    """
    path = path or getattr(error, "filename", None)
    free = _free(path) if path else None
    if isinstance(error, OSError) and error.errno is not None:
        full = error.errno in _FULL
    else:
        text = str(error)
        full = any(part in text for part in _NAMED) or (
            free is not None and free < _LITTLE and any(part in text for part in _UNNAMED)
        )
    if not full:
        return None
    if path is None:
        return "no space is left on the disk, expected more free space"
    left = "" if free is None else f" ({free / 1e6:,.1f} MB free)"
    return f"{path} cannot be written: its disk has no space left for it{left}"


def _free(path: str | Path) -> int | None:
    """Return the free bytes on the disk of a file that need not exist."""
    for folder in Path(path).absolute().parents:
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def _remove_stale(path: Path) -> None:
    """Remove temporary files that killed jobs on this machine left beside ``path``."""
    for stale in path.parent.glob(f".{path.stem}.{_HOST}-*.part{path.suffix}"):
        owner = stale.name.removesuffix(f".part{path.suffix}").rpartition("-")[2]
        if not alive(int(owner)):
            stale.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Return whether a process with this number runs on this machine, under any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # the process is alive and belongs to another user
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file as UTF-8. A failed write leaves the old file unchanged."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def copy(source: str | Path, target: str | Path) -> None:
    """Copy a file. A failed copy leaves the old target unchanged."""
    with replacing(target) as aside:
        shutil.copyfile(source, aside)


def write_json(path: str | Path, value) -> None:
    """Write indented JSON with keys in the given order."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str | Path):
    """Read a JSON file.

    Raises:
        UserError: if the file is not valid JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array as .npy. A failed write leaves the old file unchanged."""
    with replacing(path) as aside:
        np.save(aside, array)


def write_blocks(path: str | Path, blocks: Iterable[np.ndarray], n: int) -> None:
    """Write blocks of rows, one below the other, as one .npy file.

    Args:
        path: the .npy file. A failed write leaves the old file unchanged.
        blocks: arrays of the same dtype and of the same shape after the first axis.
        n: rows of all blocks together.

    Raises:
        ValueError: if the blocks do not have ``n`` rows together, or if one has another dtype.
    """
    done, kind = 0, None
    # A memory map would be killed by SIGBUS on a full disk, without an error to report.
    with replacing(path) as aside, open(aside, "wb") as out:
        for block in blocks:
            block = np.ascontiguousarray(block)
            if kind is None:
                kind = block.dtype, block.shape[1:]
                header = {"descr": np.lib.format.dtype_to_descr(block.dtype)}
                header |= {"fortran_order": False, "shape": (n, *block.shape[1:])}
                np.lib.format.write_array_header_1_0(out, header)
            if (block.dtype, block.shape[1:]) != kind:
                raise ValueError(f"{path}: a block of {block.dtype} and shape {block.shape}")
            out.write(block.data)
            done += len(block)
        if done != n or kind is None:
            raise ValueError(f"{path}: {done} rows, expected {n}")


def read_array(path: str | Path) -> np.ndarray:
    """Open a .npy as a read-only memory map, whose pages all jobs on one machine share."""
    return np.load(path, mmap_mode="r")


def sha256(path: str | Path) -> str:
    """Return the SHA-256 hex digest of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def stamp(path: str | Path) -> list[int]:
    """Return size and modification time in ns, which change when a file is written again."""
    found = Path(path).stat()
    return [found.st_size, found.st_mtime_ns]


def fingerprint(value) -> str:
    """Return the SHA-256 hex digest of a JSON-serializable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

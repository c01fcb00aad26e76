"""Files of checksums in the format of ``sha256sum``, which several jobs may extend."""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from soups import files
from soups.errors import UserError

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


def read_sums(path: str | Path) -> dict[str, str]:
    """Read checksums by name from a file in the format of ``sha256sum``.

    Returns:
        sha256 by name of the file; empty if ``path`` does not exist.

    Raises:
        UserError: if a line has another format, or if a name has two checksums.
    """
    path = Path(path)
    out: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise UserError(
                f"{path}, line {number} is {line!r}, expected 64 hexadecimal digits, two spaces "
                "and the name of a file"
            )
        digest = found[1].lower()
        if out.setdefault(found[2], digest) != digest:
            raise UserError(
                f"{path}, line {number} has a second checksum of {found[2]!r}, expected one"
            )
    return out


def check(name: str, digest: str, sums: str | Path | None, record: bool = False) -> None:
    """Compare a file's sha256 with the known one.

    Args:
        name: name of the file in ``sums``.
        digest: sha256 of the file, in hexadecimal digits.
        sums: a checksum file in the format of ``sha256sum``, or None for no check.
        record: whether to add a file that ``sums`` does not have (trust on first use). Several
            jobs may do so at the same time.

    Raises:
        UserError: if the two differ.
    """
    if not sums:
        return
    known = read_sums(sums)
    if name not in known and record:
        with locked(Path(sums), wait=True):
            known = read_sums(sums)  # another job may have been faster
            if name not in known:
                text = Path(sums).read_text(encoding="utf-8")
                text += "\n" if text and not text.endswith("\n") else ""
                files.write_text(sums, f"{text}{digest}  {name}\n")
                return
    if known.get(name, digest) != digest:
        raise UserError(
            f"{name} has sha256 {digest}, expected {known[name]} from {sums}, so the file has "
            "changed or is broken"
        )


def digest(paths: Sequence[str | Path]) -> str:
    """Return the sha256 of a file, or one for several files and their names, in hexadecimal."""
    if len(paths) == 1:
        return files.sha256(paths[0])
    lines = sorted(f"{files.sha256(path)}  {Path(path).name}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[BinaryIO]:
    """Open a file for appending and lock it against other processes.

    The file and its folder are created if necessary.

    Args:
        path: the file.
        wait: whether to wait for a process that holds the lock.

    Raises:
        UserError: if another process holds the lock and ``wait`` is false.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise UserError(
                    f"{path} is being written by another process, expected one download at a time"
                ) from None
            # The process that held the lock may have replaced the file.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return

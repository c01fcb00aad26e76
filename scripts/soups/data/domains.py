"""Sets with one folder per domain, such as PACS: some domains train, and the others are shifts.

    root/<domain>/<class>/*.jpg

The key ``domains`` of ``data.folders`` takes the place of ``train`` and ``test``. The test set is a
share of every class of every training domain, so it is in distribution. Every other folder of the
root with classes in it becomes a shift of its name.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from soups.data.walking import is_folder, is_odd, scan
from soups.errors import UserError, near

LAYOUT = "domains"
TEST = 0.2  # share of the images of the training domains that become the test set
KEY = "data.folders.domains.train"


def expanded(data: Mapping) -> dict:
    """Return the section ``data.folders`` with ``train``, ``test`` and ``shifts``.

    A section without ``domains`` is returned as it is.

    Raises:
        UserError: if a domain is unknown, or if a key that ``domains`` replaces is given as well.
    """
    chosen = data.get("domains")
    if not chosen:
        return dict(data)
    for key in ("train", "test"):
        if key in data:
            raise UserError(
                f"data.folders.{key} is {data[key]!r}, expected no such key beside "
                "data.folders.domains, which decides the training set and the test set"
            )
    train, here = chosen["train"], folders_of(data["root"])
    for name in train:
        if name not in here:
            raise UserError(
                f"{KEY} has {name!r}, expected folders of {data['root']}"
                f"{near(name, here) or ' (' + ', '.join(here) + ')'}"
            )
    others = {name: {"folder": name} for name in here if name not in train}
    given = data.get("shifts") or {}
    if not others and not given:
        raise UserError(
            f"{KEY} has all domains of {data['root']}, expected at least one domain left out, "
            "which becomes the shift, or an entry in data.folders.shifts"
        )
    share, seed = chosen.get("test", TEST), data.get("seed", 0)
    sets = {
        side: {
            "folder": ".",
            "layout": LAYOUT,
            "domains": list(train),
            "part": {"test": share, "seed": seed, "side": side},
        }
        for side in ("train", "test")
    }
    return dict(data) | sets | {"shifts": others | dict(given)}


def folders_of(root: str | Path) -> list[str]:
    """Return the names of the folders of a root that have folders: its domains, with classes.

    Raises:
        UserError: if there is no such root.
    """
    if not Path(root).is_dir():
        raise UserError(f"{root}: no such folder, expected one subfolder per domain")
    return sorted(entry.name for entry in _folders(Path(root)) if _folders(Path(entry.path)))


def _folders(path: Path) -> list:
    return [entry for entry in scan(path) if not is_odd(entry.name) and is_folder(entry)]


def part(paths: Sequence[str], domain: str, label: int, settings: Mapping) -> list[str]:
    """Return the images of one class of one domain that belong to a side.

    The choice depends on the domain and the class alone, and not on the other training domains.

    Args:
        paths: images of the class in the domain, sorted.
        domain: name of the domain.
        label: index of the class.
        settings: ``test`` (share of the test set), ``seed``, and ``side`` (train or test).

    Raises:
        UserError: if one side would have no image.
    """
    count = round(settings["test"] * len(paths))
    if paths and not 0 < count < len(paths):
        raise UserError(
            f"data.folders.domains.test is {settings['test']} and takes {count} of the "
            f"{len(paths)} images of a class of the domain {domain!r}, expected at least 1 taken "
            "and 1 left"
        )
    seed = [settings["seed"], zlib.crc32(domain.encode()), label]
    taken = set(np.random.default_rng(seed).permutation(len(paths))[:count].tolist())
    wanted = settings["side"] == "test"
    return [path for row, path in enumerate(paths) if (row in taken) == wanted]

"""The steps from an image folder to a prepared set: listing, reading and checking its images.

`folders` fills in the settings (`folders.settings_of`) and lists the images of a set.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from soups.data import folders
from soups.data.decode import ImageFiles
from soups.data.label_files import composed
from soups.data.layouts import Listing
from soups.data.prepared import ClassMapping
from soups.data.prompts import display_names
from soups.data.walking import PHONE, Aside
from soups.errors import UserError

COUNTED = ("missing", "corrupt", "passed_over")  # lists of a report whose lengths are in the table


def location(settings: dict, name: str) -> dict:
    """Return the ``decode`` entry of a set's metadata, with which its images are read."""
    spec = folders.sources(settings)[name]
    return {
        "folder": str(Path(settings["root"]) / spec["folder"]),
        "size": settings["image_size"],
        "border": spec["border"],
        "upright": settings["upright"],
    }


def image_files(settings: dict, name: str, paths: Sequence[str]) -> ImageFiles:
    """Return images of a set that are decoded when they are indexed.

    Args:
        settings: see `folders.settings_of`.
        name: name of the set.
        paths: paths of the images below the set's folder.
    """
    where = location(settings, name)
    return ImageFiles(where.pop("folder"), paths, **where)


def own_images(settings: dict, name: str, found: Listing) -> tuple[list[str], np.ndarray]:
    """Return paths and labels of a prepared set.

    They are those of the listing. The training set lacks the images that pre-training takes.
    """
    if name != "train":
        return found.paths, found.labels
    share, seed = settings["pretrain_fraction"], settings["seed"]
    keep, _ = folders.training_share(found.labels, share, seed, found.names)
    return [found.paths[i] for i in keep], found.labels[keep]


def mapping(settings: dict, name: str, found: Listing) -> ClassMapping:
    """Return the mapping of a prepared set, with the names of the classes in prompts.

    A class that is not a training class gets the name of its folder.
    """
    train = folders.training_classes(settings)
    names = display_names(train, settings["names"])
    known = dict(zip(map(composed, train), names, strict=True))
    if folders.sources(settings)[name]["layout"] == "imagenet_index":
        titles = [names[members[0]] for _, members in found.mapping]
    else:
        own = display_names(found.names, None)
        here = map(composed, found.names)
        titles = [known.get(folder, title) for folder, title in zip(here, own, strict=True)]
    return [(title, members) for title, (_, members) in zip(titles, found.mapping, strict=True)]


def report(settings: dict, name: str, found: Listing, broken: Sequence[tuple[int, str]]) -> dict:
    """Return the report of the check of a set, as it is written to JSON.

    Args:
        settings: see `folders.settings_of`.
        name: name of the set.
        found: all images of the set.
        broken: see `decode.broken`.

    Raises:
        UserError: if an image is broken and ``corrupt`` is ``fail``, or if a class has no image
            that can be read.
    """
    if broken and settings["corrupt"] == "fail":
        raise UserError(
            f"{name}: {len(broken)} of {len(found.paths)} images cannot be read, expected none, or "
            f"data.folders.corrupt: list; the first is {broken[0][1]}"
        )
    corrupt = [found.paths[row] for row, _ in broken]
    made = {
        "set": name,
        "folder": location(settings, name)["folder"],
        "classes": len(found.names),
        "images": len(found.paths) - len(broken),
        "missing": found.missing,
        "corrupt": corrupt,
        "positions": [row for row, _ in broken],
        "reasons": [reason for _, reason in broken],
        "passed_over": found.passed_over,
        "left_behind": dict(sorted(found.aside.left_behind.items())),
        "other_files": dict(sorted(found.aside.endings.items())),
    }
    folders.listing(settings, name, corrupt)  # raises if a class has no image left
    return made


def table_row(made: dict, expected: Mapping[str, int]) -> dict:
    """Return the row of a set in the table of checks.

    Args:
        made: its `report`.
        expected: set to the number of images that it should have.
    """
    cells = {name: made[name] for name in ("set", "classes", "images")}
    cells["expected"] = expected.get(made["set"])
    counts = {name: len(made[name]) for name in COUNTED}
    return cells | counts | {"folder": made["folder"]}


def remarks(reports: dict[str, dict], expected: Mapping[str, int]) -> list[str]:
    """Return a sentence for each finding that people should know about.

    Args:
        reports: file of a report to the `report`.
        expected: set to the number of images that it should have.
    """
    out = []
    for path, made in reports.items():
        wanted = expected.get(made["set"], made["images"])
        if wanted != made["images"]:
            out.append(f"{made['set']} has {made['images']:,} images, expected {wanted:,}.")
        out += _passed_over(made)
        broken, missing = len(made["corrupt"]), len(made["missing"])
        if lost := broken + missing:
            out.append(
                f"{made['set']} lacks {lost:,} of {made['images'] + lost:,} images: {broken:,} "
                f"cannot be read, and {missing:,} are missing. {path} lists them."
            )
    if any(made["corrupt"] for made in reports.values()):
        out.append("After you repair images, run the same command with --forcerun check_set.")
    return out


def _passed_over(made: dict) -> list[str]:
    """Return sentences about files that are no images of a set."""
    aside = Aside(Counter(made["left_behind"]), Counter(made["other_files"]))
    out = []
    if aside.left_behind:
        names = ", ".join(f"{count:,} {name}" for name, count in aside.left_behind.items())
        out.append(
            f"{made['set']}: {aside.left_behind.total():,} hidden files and folders, or those of "
            f"file managers and archives, were passed over ({names})."
        )
    if aside.endings:
        phone = aside.endings.keys() & set(PHONE)
        hint = " Convert HEIC photographs to JPEG, for instance with pillow-heif." if phone else ""
        out.append(
            f"{made['set']}: {aside.endings.total():,} files were passed over because their "
            f"endings are not those of images that can be read ({aside.as_text()}).{hint}"
        )
    return out

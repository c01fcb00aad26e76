"""Which folders of images an experiment uses: training, held-out and test images."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soups.data import domains, set_names
from soups.data.label_files import composed
from soups.data.layouts import class_folders
from soups.data.walking import is_odd, walk
from soups.errors import UserError

# Usual names of the folders of a data set, the best first.
TRAIN = ("train", "training")
HELDOUT = ("val", "valid", "validation", "heldout")
TEST = ("test", "testing", "eval")
DOMAINS = (
    "Its folders have the same classes. If they are domains, such as those of PACS, copy "
    "experiments/pacs.yaml and set data.folders.root"
)


@dataclass(frozen=True)
class Images:
    """The folders of an experiment.

    Attributes:
        root: the folder that the others are in.
        train: folder of the training images. For ready-made models it has the held-out images.
        test: folder of the test images.
        fraction: share of ``train`` that is held out.
        classes: class names in order.
        trained: number of training images that are not held out.
        heldout: number of held-out images.
        shifts: name to a folder with some or all of the classes, which becomes a shift.
        passed_over: folder that is not used to the reason.
    """

    root: str
    train: str
    test: str
    fraction: float
    classes: list[str]
    trained: int
    heldout: int
    shifts: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)


def look(root: str, options: Mapping[str, str | None], ready_made: bool) -> Images:
    """Choose folders of images.

    Args:
        root: the folder of the data set.
        options: the folders ``train``, ``heldout`` and ``test`` that the user names, within
            ``root``; None for those that are chosen by their usual names.
        ready_made: whether the models are trained already, so that their training images cannot be
            held out.

    Raises:
        UserError: if a folder is missing. The sentence names the option that decides.
    """
    if not Path(root).is_dir():
        raise UserError(f"--images is {root!r}, expected an existing folder")
    train = _folder(root, options, "train", TRAIN)
    heldout = _folder(root, options, "heldout", HELDOUT)
    test = _folder(root, options, "test", TEST)
    if ready_made:
        if heldout is None:
            raise UserError(
                f"{root} has no folder {_or(HELDOUT)}, expected --heldout with a folder in it of "
                "images that no model was trained on" + (
                    f" (--heldout {train}, if none was trained on those)" if train else ""
                )
            )  # fmt: skip
        if test is None:
            raise UserError(
                f"{root} has no folder {_or(TEST)}, expected --test with a folder in it of images "
                "that neither the models nor any choice has seen"
            )
        reserved = {train: "training images, which no choice may use"} if train else {}
        return _images(root, heldout, test, 1, reserved)
    if train is None:
        raise UserError(
            f"{root} has no folder {_or(TRAIN)}, expected --train with a folder in it"
            + (f". {DOMAINS}" if _of_domains(root) else "")
        )
    reserved = {heldout: f"the test images are in {test!r}"} if test and heldout else {}
    test = test or heldout
    if test is None:
        raise UserError(
            f"{root} has no folder {_or((*TEST, *HELDOUT))}, expected --test with a folder in it"
        )
    return _images(root, train, test, None, reserved)


def _folder(
    root: str, options: Mapping[str, str | None], option: str, usual: tuple[str, ...]
) -> str | None:
    if given := options.get(option):
        inside = Path(root, given)
        if not inside.is_dir():
            raise UserError(f"--{option} is {given!r}, expected a folder in {root}")
        return given
    spelled = {path.name.casefold(): path.name for path in Path(root).iterdir() if path.is_dir()}
    return next((spelled[name] for name in usual if name in spelled), None)


def _images(
    root: str, train: str, test: str, fraction: float | None, reserved: Mapping[str, str]
) -> Images:
    if Path(root, train).resolve() == Path(root, test).resolve():
        raise UserError(f"--test is {test!r}, expected another folder than that of {train!r}")
    classes = class_folders(Path(root, train))
    counts = [sum(1 for _ in walk(Path(root, train), name)) for name in classes]
    total = sum(counts)
    if fraction is None:
        # At least 1,000 images make steps of 0.1 points, but most images are for training.
        fraction = min(0.2, max(0.02, round(1000 / max(1, total), 2), 2 / max(2, min(counts))))
        fraction = round(fraction, 4)
    reserved = {name: why for name, why in reserved.items() if name not in (train, test)}
    shifts, passed_over = _others(root, (train, test), reserved, classes)
    heldout = round(fraction * total)
    return Images(
        root, train, test, fraction, classes, total - heldout, heldout, shifts, passed_over
    )


def _others(
    root: str, used: tuple[str, str], reserved: Mapping[str, str], classes: list[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The other folders beside those of an experiment: shifts, and folders with the reason why not.

    A shift has images of some or all of the classes, and of no others.
    """
    known = {composed(name) for name in classes}
    taken = {Path(root, name).resolve() for name in used}
    # The folder of --test may be inside another one, such as more/test.
    above = {Path(name).parts[0] for name in used if Path(name).parts}
    shifts: dict[str, str] = {}
    passed_over = dict(reserved)
    for path in sorted(p for p in Path(root).iterdir() if p.is_dir() and not is_odd(p.name)):
        folder = path.name
        if folder in above or folder in reserved or path.resolve() in taken:
            continue
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", folder).strip("_-")
        why = _no_shift(path, known)
        if not why and folder.casefold() in (*TRAIN, *HELDOUT, *TEST):
            why = "its name is that of training, held-out or test images"
        if not why and (not name or name in shifts or set_names.is_reserved(name)):
            why = "its name cannot be that of a shift"
        if why:
            passed_over[folder] = why
        else:
            shifts[name] = folder
    return shifts, passed_over


def _no_shift(folder: Path, known: set[str]) -> str:
    """Why a folder is no shift, or ""."""
    try:
        names = class_folders(folder)
    except UserError:
        return "it has no class folders"
    foreign = [name for name in names if composed(name) not in known]
    if foreign:
        return f"its folder {foreign[0]!r} is none of the classes"
    empty = next((name for name in names if next(walk(folder, name), None) is None), None)
    return f"its folder {empty!r} has no image" if empty else ""


def _of_domains(root: str) -> bool:
    """Whether a folder has several folders with the same classes."""
    classes = [class_folders(Path(root, name)) for name in domains.folders_of(root)]
    return len(classes) > 1 and all(each == classes[0] for each in classes)


def _or(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"

"""Which folders of images an experiment uses: training, held-out and test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from soups.data.layouts import class_folders
from soups.data.walking import walk
from soups.errors import UserError

# Usual names of the folders of a data set, the best first.
TRAIN = ("train", "training")
HELDOUT = ("val", "valid", "validation", "heldout")
TEST = ("test", "testing", "eval")


@dataclass(frozen=True)
class Images:
    """The folders of an experiment.

    Attributes:
        root: the folder that the others are in.
        train: folder of the training images. For ready-made models it has the held-out images.
        test: folder of the test images.
        fraction: share of ``train`` that is held out.
        classes: class names in order.
        heldout: number of held-out images.
        unused: a folder with a usual name that is not used, or None.
    """

    root: str
    train: str
    test: str
    fraction: float
    classes: list[str]
    heldout: int
    unused: str | None = None


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
        return _images(root, heldout, test, 1, None)
    if train is None:
        raise UserError(f"{root} has no folder {_or(TRAIN)}, expected --train with a folder in it")
    unused = heldout if test else None
    test = test or heldout
    if test is None:
        raise UserError(
            f"{root} has no folder {_or((*TEST, *HELDOUT))}, expected --test with a folder in it"
        )
    return _images(root, train, test, None, unused)


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


def _images(root: str, train: str, test: str, fraction: float | None, unused: str | None) -> Images:
    if Path(root, train).resolve() == Path(root, test).resolve():
        raise UserError(f"--test is {test!r}, expected another folder than that of {train!r}")
    classes = class_folders(Path(root, train))
    counts = [sum(1 for _ in walk(Path(root, train), name)) for name in classes]
    total = sum(counts)
    if fraction is None:
        # At least 1,000 images make steps of 0.1 points, but most images are for training.
        fraction = min(0.2, max(0.02, round(1000 / max(1, total), 2), 2 / max(2, min(counts))))
        fraction = round(fraction, 4)
    return Images(root, train, test, fraction, classes, round(fraction * total), unused)


def _or(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"

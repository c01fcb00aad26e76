"""Look at models and images, and write the overlay of an experiment with them."""

import re
import shlex
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from soups import files
from soups.errors import UserError
from soups.experiment import found
from soups.models.pretrained import bring_in
from soups.setup import images, models, overlay

FEW = 1000  # held-out images, below which choices between good models are coarse


def write(options: Namespace, project: str | Path, say: Callable[[str], None] = print) -> Path:
    """Write the overlay of a new experiment.

    Args:
        options: the options of tools/new_experiment.py.
        project: folder of the Snakefile.
        say: where lines of text go.

    Returns:
        the file.

    Raises:
        UserError: if something cannot be decided, with the option that decides it, or if the file
            exists.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(options.out or options.images).stem).strip("_")
    name = name if re.match(r"[A-Za-z0-9]", name) else f"my_{name}"
    out = Path(options.out or f"experiments/{name}.yaml")
    if out.exists() and not options.force:
        raise UserError(f"{out} exists, expected another --out, or --force to replace it")
    folders = {key: getattr(options, key) for key in ("train", "heldout", "test")}
    if options.checkpoints:
        text = _of_checkpoints(options, name, folders, say)
    else:
        data = images.look(options.images, folders, ready_made=False)
        _say_images(data, say)
        text = overlay.of_images(name, data)
    text = text.replace("{path}", str(out))
    for note in overlay.check(text, project):
        say(note)
    files.write_text(out, text)
    say(f"Wrote {out}. Run it with: make run CONFIG={shlex.quote(str(out))}")
    return out


def _of_checkpoints(options: Namespace, name: str, folders: dict, say) -> str:
    patterns = options.checkpoints
    patterns = patterns[0] if len(patterns) == 1 else patterns
    began = time.monotonic()
    seen = models.look(found.find(patterns), options.weights or "plain")
    _say_table(models.table(seen), say)
    say(f"Looked at {len(seen)} models in {time.monotonic() - began:.0f} s.")
    weights = models.weights(seen, options.weights)
    architecture = models.architecture(seen, options.architecture)
    for path, option in ((options.start, "start"), (options.classes, "classes")):
        if path and not Path(path).exists():
            raise UserError(f"--{option} is {path!r}, expected an existing file")
    data = images.look(options.images, folders, ready_made=True)
    named = bool(options.classes) or any(each.names for each in seen)
    _check_classes(models.classes(seen), named, data, seen[0].path)
    _say_images(data, say)
    _say_start(seen, say)
    size = options.image_size or bring_in(architecture, None).image_size
    say(f"Architecture: {architecture}, images of {size} pixels per side.")
    return overlay.of_checkpoints(
        name, data, patterns, architecture, size, weights, options.start, options.classes,
        any(each.normed for each in seen),
    )  # fmt: skip


def _check_classes(classes: int | None, named: bool, data: images.Images, path: str) -> None:
    """Check the number of classes. A head with named classes may have more than the images."""
    have = len(data.classes)
    if classes is None or classes == have or (named and classes > have):
        return
    raise UserError(
        f"{path} has a head for {classes} classes, but {data.root}/{data.train} has {have} class "
        "folders, expected the classes of the models"
        + (" or --classes with their names" if classes > have else "")
    )


def _say_table(rows: Sequence[Sequence[str]], say) -> None:
    lines = [models.COLUMNS, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(models.COLUMNS) - 1)]
    for line in lines:
        say("  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[-1]]))


def _say_images(data: images.Images, say) -> None:
    say(
        f"Images: {len(data.classes)} classes, {data.heldout:,} held-out images from "
        f"{data.root}/{data.train}, test images from {data.root}/{data.test}."
    )
    if data.unused:
        say(f"The folder {data.root}/{data.unused} is not used.")
    if data.heldout < FEW:
        say(
            f"The held-out set has only {data.heldout:,} images: accuracies on it go in steps of "
            f"{100 / max(1, data.heldout):.2g} points, so choices of good models are uncertain."
        )


def _say_start(seen: Sequence[models.Seen], say) -> None:
    groups = models.related(seen)
    letters = sorted(set(groups.values()) - {"?"})
    if len(letters) > 1:
        say(
            f"The weights fall into {len(letters)} groups of different starts (column start). "
            "Models with different starts cannot be averaged, and the run examines them."
        )

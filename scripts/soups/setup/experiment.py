"""Look at models and images, and write the overlay of an experiment with them."""

import re
import shlex
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from torch.nn.modules.batchnorm import _BatchNorm

from soups import files
from soups.errors import UserError
from soups.experiment import found
from soups.models.architectures import has_text
from soups.models.pretrained import bring_in
from soups.setup import agreement, images, models, overlay, starts, texts

FEW = 1000  # held-out images, below which choices between good models are coarse
CLIP = {"architecture": "ViT-B-32-quickgelu", "pretrained": "openai", "image_size": 224}
READY_MADE = ("weights", "start", "classes")  # options that describe ready-made models


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
    if re.search(r"\s", str(out)):
        raise UserError(
            f"--out is {str(out)!r}, expected a path without spaces, because make splits it"
        )
    if out.exists() and not options.force:
        raise UserError(f"{out} exists, expected another --out, or --force to replace it")
    _check(options)
    ready = found.find(options.checkpoints).values() if options.checkpoints else ()
    texts.refuse(options.images, ready)
    folders = {key: getattr(options, key) for key in ("train", "heldout", "test")}
    make = _of_checkpoints if options.checkpoints else _of_images
    text = make(options, name, folders, say)
    text = text.replace("{path}", str(out))
    for note in overlay.check(text, project):
        say(note)
    files.write_text(out, text)
    say(f"Wrote {out}. Run it with: make run CONFIG={shlex.quote(str(out))}")
    return out


def _check(options: Namespace) -> None:
    """Refuse options that have no meaning beside each other."""
    if options.checkpoints and options.pretrained:
        raise UserError(
            f"--pretrained is {options.pretrained!r}, expected --start with the file of the model "
            "that those of --checkpoints were fine-tuned from"
        )
    if options.checkpoints:
        return
    if alone := next((key for key in READY_MADE if getattr(options, key)), None):
        raise UserError(
            f"--{alone} is {getattr(options, alone)!r}, expected --checkpoints beside it, because "
            "it describes models that are fine-tuned already"
        )
    if bool(options.architecture) != bool(options.pretrained):
        raise UserError(
            f"--architecture is {options.architecture!r} and --pretrained is "
            f"{options.pretrained!r}, expected both or none: the architecture of the model, and a "
            "tag or a file of its weights"
        )


def _check_size(options: Namespace, size: int) -> None:
    """Refuse another size of images than that of a CLIP."""
    if options.image_size not in (None, size):
        raise UserError(
            f"--image-size is {options.image_size}, expected {size}, the size of this CLIP, or "
            "--architecture and --pretrained of a model that takes other sizes"
        )


def _of_images(options: Namespace, name: str, folders: dict, say) -> str:
    data = images.look(options.images, folders, ready_made=False)
    _say_images(data, say)
    model, normed = CLIP, False
    if options.architecture:
        made = bring_in(options.architecture, None)
        model = {"architecture": options.architecture, "pretrained": options.pretrained,
                 "image_size": made.image_size}  # fmt: skip
        # The rates of the paper's CLIP suit every CLIP, ResNets too.
        normed = not has_text(model) and any(
            isinstance(part, _BatchNorm) for part in made.visual.modules()
        )
    if has_text(model):
        _check_size(options, model["image_size"])
    model = model | ({"image_size": options.image_size} if options.image_size else {})
    training = overlay.steps(data.trained)
    low, high = training.fewest, training.most
    say(
        f"Fine-tunes take {low * training.per_epoch:,} to {high * training.per_epoch:,} steps: "
        f"{low} to {high} epochs of {training.an_epoch} with {training.batch} images each."
    )
    return overlay.of_images(name, data, normed=normed, **model)


def _of_checkpoints(options: Namespace, name: str, folders: dict, say) -> str:
    patterns = options.checkpoints
    patterns = patterns[0] if len(patterns) == 1 else patterns
    began = time.monotonic()
    seen = models.look(found.find(patterns), options.weights or "plain")
    related = starts.groups(seen)
    _say_table(models.COLUMNS, models.table(seen, related.letters), say)
    say(f"Looked at {len(seen)} models in {time.monotonic() - began:.0f} s.")
    weights = models.weights(seen, options.weights)
    architecture = models.architecture(seen, options.architecture)
    usable = models.of_architecture(seen, architecture)
    agreement.check_several(seen, usable, architecture)
    for path, option in ((options.start, "start"), (options.classes, "classes")):
        if path and not Path(path).exists():
            raise UserError(f"--{option} is {path!r}, expected an existing file")
    data = images.look(options.images, folders, ready_made=True)
    remarks = agreement.check_classes(usable, options.classes, data)
    model = bring_in(architecture, None)
    if options.start:
        agreement.check_start(options.start, model, weights, options.classes, data)
    _say_images(data, say)
    for sentence in (*starts.sentences(related), *remarks):
        say(sentence)
    size = options.image_size or model.image_size
    say(f"Architecture: {architecture}, images of {size} pixels per side.")
    return overlay.of_checkpoints(
        name, data, patterns, architecture, size, weights, options.start, options.classes,
        any(each.normed for each in usable),
    )  # fmt: skip


def _say_table(head: Sequence[str], rows: Sequence[Sequence[str]], say) -> None:
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
    for line in lines:
        say("  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[-1]]))


def _say_images(data: images.Images, say) -> None:
    say(f"Images in {data.root}, {len(data.classes)} classes:")
    use = f"{data.heldout:,} held-out images"
    if data.fraction < 1:
        use = f"{data.trained:,} training images and {use}"
    rows = [
        (data.train, use),
        (data.test, "test images"),
        *((folder, f"shift {name}") for name, folder in data.shifts.items()),
        *((folder, f"passed over: {why}") for folder, why in data.passed_over.items()),
    ]
    _say_table(("folder", "used as"), rows, say)
    if not data.shifts:
        say("No other folder has images of the classes, so the shifts are corrupted test images.")
    if data.heldout < FEW:
        say(
            f"The held-out set has only {data.heldout:,} images: accuracies on it go in steps of "
            f"{100 / max(1, data.heldout):.2g} points, so choices of good models are uncertain."
        )

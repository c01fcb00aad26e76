"""Checkpoints made elsewhere: which pre-trained model they fit, and what they started from."""

import logging
from pathlib import Path

from open_clip import get_model_config
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from soups.data import prompts
from soups.errors import UserError
from soups.files import fingerprint
from soups.models import card
from soups.models.checkpoints import Checkpoint
from soups.models.fitting import class_order, layouts
from soups.models.fitting.layouts import RELEASED
from soups.models.foreign import reading
from soups.models.foreign.reading import Contents
from soups.models.pretrained import Pretrained

log = logging.getLogger("soups")


def check_pretrained(path: str | Path, layout: str) -> None:
    """Check that the pre-trained model computes the same function as the paper's checkpoints.

    Shapes do not show this. OpenAI's CLIP has quick-GELU activations (x times the sigmoid of
    1.702 x) and its own pixel statistics. With other ones, the same weights give wrong logits
    without an error.

    Args:
        path: file of the pre-trained model, written by `models.pretrained.Pretrained`.
        layout: see `layouts.Fit`; only that of the paper's released files is checked.

    Raises:
        UserError: if the activations or the pixel statistics are not those of OpenAI's CLIP.
    """
    if layout != RELEASED:
        return
    note = Checkpoint(path).note
    architecture = note.get("architecture")
    named = isinstance(architecture, str)
    settings = (get_model_config(architecture) or {}) if named else architecture or {}
    if not settings.get("quick_gelu"):
        raise UserError(
            f"model.architecture is {architecture!r}, which has no quick-GELU activations, "
            "expected one like 'ViT-B-32-quickgelu' for checkpoints in the layout of the paper's"
        )
    for key, want in {"mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD}.items():
        have = tuple(note.get(key, ()))
        if have != want:
            raise UserError(
                f"{path}: the pixels have {key} {have}, expected CLIP's {want} for checkpoints in "
                "the layout of the paper's"
            )


def start(contents: Contents, pretrained: str | Path) -> str:
    """Fingerprint of the model that a checkpoint was fine-tuned from.

    Only checkpoints with the same fingerprint can be averaged. A file of this workflow has it in
    its header. Other files have none, so the name of the architecture stands for it. The doctor
    looks for other starts in the weights.

    Args:
        contents: the checkpoint.
        pretrained: file of the pre-trained model.
    """
    own = contents.start
    return own or fingerprint(["released", Checkpoint(pretrained).note.get("architecture")])


def ingredient(job, model: Pretrained) -> tuple[dict[str, Tensor], dict]:
    """Read the checkpoint of a job, and log what was found in it.

    Args:
        job: a job of the rule ``import_checkpoint``.
        model: the pre-trained model, which may get the weights of the checkpoint.

    Returns:
        the state dict of a `Classifier`, and the note for its header.

    Raises:
        LeftOut: if no soup may contain the model.
        UserError: if the configuration does not fit the checkpoints.
    """
    weights = job.params.weights
    contents = reading.read(job.input.checkpoint, weights)
    model.problem.check_beside(contents.path, model)
    if job.params.dtype == "as is":
        layouts.check_same_dtypes(contents, job.input.first, weights)
    made = card.of_job(job, model)
    titles = made[card.KEY]["classes"]
    order = job.input.classes
    fit = layouts.fit(
        contents, model, made[card.KEY].get("folders", titles), job.params.dtype, titles=titles,
        templates=prompts.templates(job.params.templates),
        order=class_order.from_file(order) if order else None,
    )  # fmt: skip
    check_pretrained(job.input.pretrained, fit.layout)
    for line in fit.notes:
        log.info("%s", line)
    return fit.state, made | {"pretrained": start(contents, job.input.pretrained)}

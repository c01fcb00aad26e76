"""The card in a file's header, which describes a model so that it can be used on its own.

The card stands under the key ``model`` of the note of every ingredient, start and soup. It has
these entries:

- ``architecture``: see `models.pretrained.Pretrained`.
- ``image_size``: pixels per side. ``resize`` and ``crop`` say in words how an image gets this size.
- ``upright``: whether an image is turned as its EXIF data says.
- ``mean``, ``std``: of the pixels (0–1), one value per channel.
- ``normalize_features``: whether features are scaled to unit length before the head.
- ``classes``: class names, in the order of the logits.
- entries of the pre-trained model's header without which its architecture cannot be built.
- ``folders``: class folders in the same order, only if their names differ from the class names.

The card of a text classifier has no entries about pixels or features, see `text.card`.
"""

from pathlib import Path

import soups
from soups import problems
from soups.data.prepared import PreparedSet
from soups.errors import UserError
from soups.jobs import handlers
from soups.models.checkpoints import Checkpoint

KEY = "model"
# Entries of a pre-trained model's note that tell how it was made, or belong to its text tower.
MADE_BY = ("corpus", "settings", "source", "tokenizer", "words")
# Sections of the configuration that decide the weights of a soup.
SECTIONS = ("data", "model", "pretrain", "probe", "finetune", "sweep", "ingredients")


def of_job(job, model) -> dict:
    """Return the note's entry with the card of a classifier.

    Args:
        job: a job with the inputs ``pretrained`` and ``heldout``, and with the configuration.
        model: the `Classifier`, or the `Pretrained` that it is made from.
    """
    note, heldout = Checkpoint(job.input.pretrained).note, PreparedSet(job.input.heldout[0])
    card = {key: value for key, value in note.items() if key not in MADE_BY}
    more = problems.of_note(note).card(job.config, note, heldout, model)
    return {KEY: card | more | {"classes": heldout.classes}}


def provenance(config: dict, entry: dict) -> dict:
    """Return the note's entries with the code and the configuration that made a soup.

    The git commit is None outside of a git checkout.

    Args:
        config: the whole configuration.
        entry: of the soup, see `experiment.catalog`.
    """
    commit = handlers.commit(Path(soups.__file__).parents[2])
    sections = {name: config[name] for name in SECTIONS if name in config}
    return {
        "code": {"version": soups.__version__, "commit": commit},
        "configuration": sections | {"soup": entry},
    }


def read(path: str | Path) -> dict:
    """Return the card in a file's header.

    Raises:
        UserError: if the file is no safetensors file, if it has no weights because its model was
            left out, or if its header has no card.
    """
    checkpoint = Checkpoint(path)
    if checkpoint.left_out:
        raise UserError(
            f"{path} has no weights, because the model was left out: "
            f"{checkpoint.left_out['reason']}"
        )
    if KEY in checkpoint.note:
        return checkpoint.note[KEY]
    if "recipe" in checkpoint.note:
        raise UserError(
            f"{path} has no description of its model in its header, because an older version of "
            "this workflow made it; delete the file and run snakemake again, which mixes the same "
            "soup within seconds"
        )
    raise UserError(
        f"{path} has no description of its model in its header, expected a soup, a start or a "
        "fine-tuned model that this version of the workflow made"
    )

"""The text of an overlay for a new experiment, and the check that it runs as it is."""

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from snakemake.utils import update_config

from soups.experiment import ready_made, settings
from soups.experiment.registry import SOUP_METHODS
from soups.experiment.schema import read_yaml
from soups.setup.images import Images
from soups.training import schedule

SHIFTS = (
    "    shifts:                      # folders of other images, or corruptions of the test set\n"
)
CORRUPTIONS = """\
      noise: {corruption: noise, severity: 3}
      blur: {corruption: blur, severity: 3}
      contrast: {corruption: contrast, severity: 3}
"""
# Learning rates: the bounds of the sweep, a small and a medium one in it, the rate from which
# figures call one large, and one that is too large.
RATES = ("0.000001", "0.00003", "0.000003", "0.00001", "0.0001", "0.0003")
STEPS = 100  # a model needs about this many to learn
# A learned soup needs about this many. On PACS the held-out loss of `learned` does not fall after
# them (results/recorded/pacs_steps).
LEARNED_STEPS, SMALLEST_BATCH = 200, 16
NORMED_RATES = ("0.0001", "0.001", "0.0001", "0.0003", "0.002", "0.003")


def of_checkpoints(
    name: str,
    images: Images,
    files: str | Sequence[str],
    architecture: str | dict,
    image_size: int,
    weights: str,
    start: str | None,
    classes: str | None,
    normed: bool,
) -> str:
    """The overlay of an experiment with ready-made models.

    Args:
        name: of the experiment.
        images: the folders of images.
        files: patterns of the files of the models.
        architecture, weights: as in the ``model`` section.
        image_size: side of an image in pixels.
        start: file of the model that the others were fine-tuned from, or None.
        classes: file of class names in the order of the heads' rows, or None.
        normed: whether the models have batch normalisation.
    """
    batch_norm = (
        f"  # recalibrate_batch_norm: {min(images.heldout, 1000)}   # for models with batch "
        "normalisation: the doctor says whether it helps\n"
    )
    start_line = (
        f"initialization: {_text(start)}   # the model that the others were fine-tuned from"
        if start
        else "# initialization: FILE       # the model that all were fine-tuned from, if known"
    )
    classes_line = (
        f"classes: {_text(classes)}   # class names in the order of the head's rows"
        if classes
        else "# classes: FILE              # class names in the order of the head's rows, if the\n"
        "                                 # files name none and the order is not that of folders"
    )
    return f"""\
# Ready-made models and their soups. Written by tools/new_experiment.py. Run it with
#   make run CONFIG={{path}}

name: {_text(name)}

{_data(images, image_size, "   # the held-out images, which no model was trained on")}\
  heldout: {{fraction: 1}}         # all images of `train`: every choice is made on these

model:
  architecture: {json.dumps(architecture)}
  weights: {weights}                 # plain, or ema: the moving average in files of training runs
{batch_norm if normed else ""}\

sweep:
  kind: files
  # table: FILE.csv              # what is known about the models: a column model, and any others

ingredients:
  source: checkpoints
  checkpoints:
    files: {_text(files)}
    {start_line}
    {classes_line}
"""


class Steps(NamedTuple):
    """How long models are trained: batch size, epochs of one model, and steps of an epoch."""

    batch: int
    epochs: int
    per_epoch: int

    @property
    def fewest(self) -> int:
        """Epochs from which the sweep draws, and epochs of the models for figures alone."""
        return self.epochs // 2

    @property
    def most(self) -> int:
        """Epochs to which the sweep draws."""
        return 2 * self.epochs

    @property
    def an_epoch(self) -> str:
        """The length of an epoch in words, such as "1 step"."""
        return f"{self.per_epoch:,} step" + ("" if self.per_epoch == 1 else "s")


def steps(images: int) -> Steps:
    """The training that suits a number of images.

    Of few images, batches are smaller and epochs more, so that a model has about `STEPS` steps.
    """
    batch = 64 if images >= 2000 else 32 if images >= 200 else 16
    per_epoch = max(1, images // batch)
    return Steps(min(batch, images), max(8, math.ceil(STEPS / per_epoch)), per_epoch)


def learned_soups(heldout: int) -> str:
    """The options of learned soups of images, or "" if the default has enough steps.

    Args:
        heldout: number of held-out images.
    """
    default = SOUP_METHODS["learned"].options
    if not heldout or (total := schedule.steps(heldout, default)[1]) >= LEARNED_STEPS:
        return ""
    wanted = max(SMALLEST_BATCH, heldout * default["epochs"] // LEARNED_STEPS)
    batch, per_epoch = schedule.steps(heldout, {"batch_size": wanted, "epochs": 1})
    epochs = max(default["epochs"], math.ceil(LEARNED_STEPS / per_epoch))
    options = f"{{batch_size: {batch}, epochs: {epochs}}}"
    return f"""
# A learned soup on {heldout:,} held-out images would have {total} steps by default. It has
# {epochs * per_epoch:,} with these options. docs/methods.md explains them.
soups:
  learned: {options}
  learned_by_layer: {options}
"""


def of_images(
    name: str, images: Images, architecture: str, pretrained: str, image_size: int, normed: bool
) -> str:
    """The overlay of an experiment that fine-tunes a model on own images.

    Args:
        name: of the experiment.
        images: the folders of images.
        architecture, pretrained: as in the ``model`` section.
        image_size: side of an image in pixels.
        normed: whether the model has batch normalisation. Such a model gets the learning rates of
            experiments/clothing.yaml, and any other one those of the paper's CLIP.
    """
    low, high, small, medium, large, too_large = NORMED_RATES if normed else RATES
    training = steps(images.trained)
    few = training.fewest
    return f"""\
# A sweep on own images. Written by tools/new_experiment.py. experiments/images.yaml explains all
# keys. Run it with
#   make run CONFIG={{path}}

name: {_text(name)}

{_data(images, image_size)}\
  heldout: {{fraction: {images.fraction:g}}}   # {images.heldout:,} images of `train`

model:
  architecture: {json.dumps(architecture)}
  pretrained: {json.dumps(pretrained)}   # a tag, which is fetched, or a file of weights
  # Prompts of a CLIP, with the name of a class in the place of {{}}.
  templates: ["a photo of a {{}}.", "a picture of a {{}}.", "a good photo of the {{}}."]

probe: {{lr: 0.01, epochs: 20, batch_size: {training.batch}}}

# An epoch of {images.trained:,} images has {training.an_epoch}. A model needs some {STEPS} steps.
finetune:
  lr: {medium}
  batch_size: {training.batch}
  epochs: {training.epochs}

sweep:
  random:
    n: 12                            # number of models
    parameters:
      lr: log_uniform({low}, {high})
      epochs: integer({few}, {training.most})
  # More models, for figures alone. experiments/minimal.yaml leaves them out.
  variants:
    small: {{set: {{lr: {small}, epochs: {few}}}}}
    medium: {{set: {{lr: {medium}, epochs: {few}}}}}
    large: {{set: {{lr: {too_large}, epochs: {few}}}}}
    augmented: {{set: {{lr: {medium}, epochs: {few}}}}}
{learned_soups(images.heldout)}
curves:
  large_lr: {large}
"""


def _data(images: Images, image_size: int, about_train: str = "") -> str:
    """The folders of images. The shifts are those that are there, or corruptions of the test set.

    Args:
        images: the folders.
        image_size: side of an image in pixels.
        about_train: comment behind the training folder.
    """
    rows = [f"      {_text(n)}: {{folder: {_text(f)}}}\n" for n, f in images.shifts.items()]
    return f"""\
data:
  source: folders
  folders:
    root: {_text(images.root)}
    train: {_text(images.train)}{about_train}
    test: {_text(images.test)}
    image_size: {image_size}
{SHIFTS}{"".join(rows) or CORRUPTIONS}"""


def _text(value) -> str:
    """Text or a list of texts as YAML, in quotes where a plain word could mean something else."""
    words = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    plain = isinstance(value, str) and value.isascii() and value.lower() not in words
    if plain and value.replace("/", "").replace("_", "").isalpha():
        return value
    return json.dumps(value, ensure_ascii=False)


def check(text: str, project: str | Path) -> list[str]:
    """Check that the default configuration with an overlay is valid.

    Args:
        text: the overlay.
        project: folder of the Snakefile.

    Returns:
        sentences about parts of the default configuration that are left out.

    Raises:
        UserError: see `settings.validate`.
    """
    default = Path(project, "config.yaml")
    before = read_yaml(default)
    update_config(before, yaml.safe_load(text))
    config = copy.deepcopy(before)
    settings.validate(config, Path(project, "rules/schemas/config.schema.yaml"), [default])
    if config["ingredients"]["source"] != "checkpoints":
        return []
    out = ["Nothing is trained, so the run leaves out figures of models with other settings."]
    off = [
        name
        for section in ("soups", "ensembles")
        for name, spec in before[section].items()
        if spec is not None and config[section][name] is None
    ]
    if off:
        out.append(
            "The start of fine-tuning is unknown, so the run leaves out the methods "
            f"{ready_made.listed(off)}, and figures that begin at the start. The option --start "
            "names the file of the start."
        )
    return out

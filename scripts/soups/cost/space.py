"""Whether the disk has space for the results that a run will write.

The check counts weights, logits and decoded images whose number is known without listing a folder.
It leaves out everything smaller, and states of training. A run that it refuses cannot end.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from soups.cost import counts, estimate
from soups.errors import UserError
from soups.experiment import settings

# Bytes of one file of weights that no model here exceeds. If even so large files fit on the disk,
# the model need not be built.
LARGEST = 8e9
WEIGHTS = ("models", "soups", "pretrained")  # folders of files of weights


def check(workflow, plan) -> None:
    """Refuse a run whose results clearly do not fit on the disk.

    Args:
        workflow: the object of Snakemake that describes the run.
        plan: see `experiment.plan.Plan`.

    Raises:
        UserError: with the bytes that are needed and those that are free.
    """
    made = [Path(file) for job in workflow.dag.needrun_jobs() for file in job.output]
    enough(made, plan.config, plan.results, images(plan.config, plan.shifts))


def enough(
    made: Iterable[Path], config: Mapping, folder: str | Path, images: Mapping[str, int]
) -> None:
    """Check the space for some files.

    Args:
        made: files that the run will write.
        config: the configuration.
        folder: of the results.
        images: set to its number of images, if known.

    Raises:
        UserError: see `check`.
    """
    new = [path for path in made if not path.exists()]
    weights = [p for p in new if p.suffix == ".safetensors" and p.parent.name in WEIGHTS]
    names = counts.class_names(config["data"])
    others = sum(_array(path, images, len(names), config) for path in new)
    free = _free(Path(folder))
    if len(weights) * _largest(config["model"]["architecture"]) + others <= free:
        return
    each = _size(config["model"]["architecture"], names) if weights else 0
    if config["ingredients"]["source"] == "checkpoints":
        each /= 2  # their dtype may be a half precision
    needed = len(weights) * each + others
    if needed > free:
        raise UserError(
            f"{folder} needs about {estimate.size(needed)} more, of which {len(weights)} files of "
            f"weights take {estimate.size(len(weights) * each) or '0 B'}, but its disk has "
            f"{estimate.size(free) or '0 B'} free, expected more free space or a smaller experiment"
        )


def images(config: Mapping, shifts: Iterable[str]) -> dict[str, int]:
    """Number of images of the sets whose number the configuration has.

    Args:
        config: the configuration.
        shifts: names of the shifts.
    """
    if config["data"]["source"] == "folders":
        return dict(config["data"]["folders"].get("expected") or {})
    world = config["data"]["world"]
    known = {"train": world["train"], "test": world["test"]} | dict.fromkeys(shifts, world["shift"])
    if settings.uses_corpus(config):
        known["corpus"] = config["pretrain"]["images"]
    return known


def _array(path: Path, images: Mapping[str, int], classes: int, config: Mapping) -> float:
    """Bytes of logits or decoded images, or 0 for another file and for an unknown number."""
    n = images.get(path.stem, 0)
    if path.suffix != ".npy" or not n:
        return 0
    if path.parent.name == "prepared":
        side = _side(config)
        return 3 * side**2 * n if side and settings.store(config) == "array" else 0
    return estimate.LOGIT * classes * n if path.parent.parent.name == "logits" else 0


def _side(config: Mapping) -> int:
    """Pixels per side of a decoded image, or 0 if unknown."""
    if config["data"]["source"] == "folders":
        return config["data"]["folders"]["image_size"]
    architecture = config["model"]["architecture"]
    return architecture["vision_cfg"]["image_size"] if isinstance(architecture, dict) else 0


def _largest(architecture: str | Mapping) -> float:
    """An upper bound of the bytes of one file of weights, without building the model."""
    if not isinstance(architecture, Mapping):
        return LARGEST
    total = 0.0
    for tower in ("vision_cfg", "text_cfg"):
        width, layers = (architecture[tower].get(key) for key in ("width", "layers"))
        if not isinstance(width, int) or not isinstance(layers, int):
            return LARGEST
        # A block has about 12 width² values. Twice as many leave room for embeddings and heads.
        total += 24 * width**2 * layers + 2**20
    return min(LARGEST, 4 * total)


def _size(architecture: str | Mapping, names: list[str]) -> float:
    """Bytes of one classifier, or 0 if it cannot be built here."""
    import torch

    from soups.cost import measurement, speeds

    try:
        with torch.device("meta"):  # shapes without memory
            if isinstance(architecture, str) and "/" not in architecture:
                import open_clip

                # `random_model` would move the weights to a device that has none.
                tower = open_clip.create_model(architecture, device="meta").visual
                return measurement.size_of(tower) + 4 * tower.output_dim * len(names)
            model = speeds.random_model(architecture, names).classifier(len(names))
            return measurement.size_of(model)
    except Exception:  # the job that builds the model reports the reason in full
        return 0


def _free(folder: Path) -> int:
    """Free bytes on the disk of a folder that need not exist."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free

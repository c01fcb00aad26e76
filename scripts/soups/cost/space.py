"""Whether the disk has space for the results that a run will write.

The check counts weights, logits and prepared examples whose number is in the configuration.
It leaves out everything smaller, and states of training. A run that it refuses cannot end.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from soups import problems
from soups.cost import estimate
from soups.errors import UserError
from soups.models import architectures

# Bytes of one file of weights that no model here exceeds. If even so large files fit on the disk,
# the model need not be built.
LARGEST = 8e9
WEIGHTS = ("models", "soups", "pretrained")  # folders of files of weights
WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def check(workflow, plan) -> None:
    """Refuse a run whose results clearly do not fit on the disk.

    Args:
        workflow: the object of Snakemake that describes the run.
        plan: see `experiment.plan.Plan`.

    Raises:
        UserError: with the bytes that are needed and those that are free.
    """
    made = [Path(file) for job in workflow.dag.needrun_jobs() for file in job.output]
    known = plan.problem.known_numbers(plan.config, plan.shifts)
    enough(made, plan.config, plan.results, known)


def enough(
    made: Iterable[Path], config: Mapping, folder: str | Path, numbers: Mapping[str, int]
) -> None:
    """Check the space for some files.

    Args:
        made: files that the run will write.
        config: the configuration.
        folder: of the results.
        numbers: set to its number of examples, if known.

    Raises:
        UserError: see `check`.
    """
    new = [path for path in made if not path.exists()]
    weights = [p for p in new if p.suffix == ".safetensors" and p.parent.name in WEIGHTS]
    problem = problems.of(config)
    names = problem.class_names(config["data"])
    others = sum(_array(path, numbers, len(names), config) for path in new)
    free = _free(Path(folder))
    if len(weights) * _largest(config["model"]) + others <= free:
        return
    each = _size(config, problem, names) if weights else 0
    if config["ingredients"]["source"] == "checkpoints":
        each /= 2  # their dtype may be a half precision
    needed = len(weights) * each + others
    if needed > free:
        raise UserError(
            f"{folder} needs about {estimate.size(needed)} more, of which {len(weights)} files of "
            f"weights take {estimate.size(len(weights) * each) or '0 B'}, but its disk has "
            f"{estimate.size(free) or '0 B'} free, expected more free space or a smaller experiment"
        )


def _array(path: Path, numbers: Mapping[str, int], classes: int, config: Mapping) -> float:
    """Bytes of logits or prepared examples, or 0 for another file and for an unknown number."""
    n = numbers.get(path.stem, 0)
    if path.suffix != ".npy" or not n:
        return 0
    if path.parent.name == "prepared":
        return problems.of(config).prepared_bytes(config) * n
    return estimate.LOGIT * classes * n if path.parent.parent.name == "logits" else 0


def _largest(model: Mapping) -> float:
    """An upper bound of the bytes of one file of weights, without building the model.

    Args:
        model: the ``model`` section.
    """
    read = [path for path in architectures.files_of(model) if path.endswith(WEIGHT_FILES)]
    # Half precision is stored in full. Headers and a head of a thousand classes need little.
    bounds = [2 * sum(Path(path).stat().st_size for path in read) + 2**26] if read else []
    return min(LARGEST, *bounds, _of_widths(model["architecture"]))


def _of_widths(architecture: str | Mapping) -> float:
    """The same bound for an architecture of the configuration's own."""
    if not isinstance(architecture, Mapping):
        return LARGEST
    total = 0.0
    for tower in ("vision_cfg", "text_cfg"):
        width, layers = (architecture[tower].get(key) for key in ("width", "layers"))
        if not isinstance(width, int) or not isinstance(layers, int):
            return LARGEST
        # A block has about 12 width² values. Twice as many leave room for embeddings and heads.
        total += 24 * width**2 * layers + 2**20
    return 4 * total


def _size(config: Mapping, problem: problems.Problem, names: list[str]) -> float:
    """Bytes of one classifier, or 0 if it cannot be built here."""
    try:
        return problem.classifier_bytes(config, names)
    except Exception:  # the job that builds the model reports the reason in full
        return 0


def _free(folder: Path) -> int:
    """Free bytes on the disk of a folder that need not exist."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free

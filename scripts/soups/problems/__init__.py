"""The problems that the workflow solves: image classification and text classification.

A problem says how its examples are read into arrays, which models classify them, how they are
augmented and how they are shown. Everything else is the same for all problems: splits, sweeps, the
training loop, logits, recipes, soups, ensembles, statistics, figures and claims.

A problem is a package of the library with a module ``problem``, which defines a subclass of
`Problem` and its instance ``PROBLEM``. The table `MODULES` below names the module.
Its methods stand in four classes by their callers: `planned`, `computed`, `used` and `estimated`.
docs/extending.md describes what a new problem needs.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from soups.problems.computed import Computed
from soups.problems.estimated import Estimated
from soups.problems.planned import Planned
from soups.problems.used import Used

# Name of a problem to its module. The name stands in the headers of models and in the metadata of
# prepared sets.
MODULES = {"images": "soups.images.problem", "text": "soups.text.problem"}
# Value of ``data.source`` to the name of its problem.
SOURCES = {"world": "images", "folders": "images", "text": "text"}
DEFAULT = "images"  # of files whose header or metadata names no problem


class Problem(Planned, Computed, Used, Estimated):
    """What a problem has to give. A method that raises NotImplementedError here has to be written.

    Attributes:
        name: key of `MODULES`.
        example, examples: the words for one example and for several, in figures and messages.
        tower: the words for a classifier without its head.
        compared: attributes of a pre-trained model, which stand in the headers of files too. They
            decide what the model computes, and the shapes of its tensors do not show them.
        modules: modules that a job with a model imports, for the estimate of the cost.
        off: hyperparameters without a meaning for this problem, and the value that each must have.
        unlabelled: a file, or a folder with a slash at its end, as an example of what
            `tools/predict.py` takes.
        checked: what the check of the data did with examples that have a fault, in a sentence or
            two for the report.
        captions: name of a figure to the caption that replaces its usual one.
    """

    name: str
    example: str
    examples: str
    tower: str
    compared: Sequence[str] = ()
    modules: Sequence[str] = ("soups.training.finetune", "soups.models.classifier")
    off: Mapping[str, Any] = {}
    unlabelled: str
    checked: str = ""
    captions: Mapping[str, str] = {}


@cache
def named(name: str) -> Problem:
    """The problem of a name."""
    return import_module(MODULES[name]).PROBLEM


def of_source(source: str) -> Problem:
    """The problem of a value of ``data.source``."""
    return named(SOURCES[source])


def of(config: Mapping) -> Problem:
    """The problem of a configuration."""
    return of_source(config["data"]["source"])


def of_note(note: Mapping) -> Problem:
    """The problem in the header of a model, or in the metadata of a set."""
    return named(note.get("problem", DEFAULT))

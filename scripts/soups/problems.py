"""The problems that the workflow solves: image classification and text classification.

A problem says how its examples are read into arrays, which models classify them, how they are
augmented and how they are shown. Everything else is the same for all problems: splits, sweeps, the
training loop, logits, recipes, soups, ensembles, statistics, figures and claims.

A problem is a package of the library with a module ``problem``, which defines a subclass of
`Problem` and its instance ``PROBLEM``. The table `MODULES` below names the module.
docs/extending.md describes what a new problem needs.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

# Name of a problem to its module. The name stands in the headers of models and in the metadata of
# prepared sets.
MODULES = {"images": "soups.images.problem", "text": "soups.text.problem"}
# Value of ``data.source`` to the name of its problem.
SOURCES = {"world": "images", "folders": "images", "text": "text"}
DEFAULT = "images"  # of files whose header or metadata names no problem


class Problem:
    """What a problem has to give. The methods of the first part run while Snakemake parses.

    Methods of the first part must not import torch, pandas or a model library. All modules that a
    method needs are imported inside of it.

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

    # While Snakemake parses the workflow.

    def check(self, config: dict) -> list[str]:
        """Check the sections ``data`` and ``model``, and fill in defaults in place.

        Returns:
            names of the training classes, in the order of their labels.

        Raises:
            UserError: one sentence with the key, its value and what was expected.
        """
        raise NotImplementedError

    def shifts(self, data: Mapping) -> list[str]:
        """Names of the shifts in the order of the ``data`` section, without those set to null."""
        raise NotImplementedError

    def offered_shifts(self, data: Mapping) -> list[str]:
        """Shifts that null switches off although no configuration file has to add them."""
        return []

    def store(self, data: Mapping) -> str:
        """How training examples are stored, see `data.prepared.train_paths`."""
        return "array"

    def source(self, data: Mapping) -> Any:
        """The object that the rules of this problem read as ``plan.source``, or None.

        It has the attribute ``classes``, names of the training classes.
        """
        raise NotImplementedError

    def rules(self, data: Mapping) -> str:
        """File in ``rules/`` with the rules that make the prepared sets."""
        raise NotImplementedError

    def tables(self, source: Any) -> list[str]:
        """Names of tables of the report that only this problem has.

        Args:
            source: see `source`.
        """
        return []

    def has_zeroshot(self, model: Mapping) -> bool:
        """Whether the ``model`` section describes a model with a zero-shot head."""
        return False

    def model_settings(self, config: Mapping) -> dict:
        """Settings of a pre-trained model that only this problem has, see `family`."""
        return {}

    def metric(self, data: Mapping) -> str:
        """The metric of the ``data`` section, where the key ``metric`` names none."""
        return "accuracy"

    # In jobs.

    def inputs(self, data: Any) -> Any:
        """Open the examples of a prepared set.

        Args:
            data: the `data.prepared.PreparedSet`.

        Returns:
            an object with ``len``. Indexed with an array of rows, it gives a numpy array. A tensor
            of that array is a batch that the classifier takes. If it has an attribute ``lengths``
            of shape (n,), evaluation makes batches of examples of similar length.
        """
        raise NotImplementedError

    def copied(self, data: Any, rows: Any, threads: int) -> Iterator[Any]:
        """Yield some examples of a prepared set in blocks, as ``write_set`` takes them."""
        raise NotImplementedError

    def described(self, data: Any) -> dict:
        """Entries of a set's metadata that a part of the set has too, such as the problem."""
        return {}

    def family(self, architecture: str | dict) -> type:
        """The class of the pre-trained models of an architecture, see `models.pretrained`.

        Its constructor takes `model_settings` in addition.
        """
        raise NotImplementedError

    def check_import(self, model: Any, params: Any, ours: bool) -> None:
        """Check an imported pre-trained model against the configuration, and complete it.

        Args:
            model: the model. It may be changed in place, unless this workflow made its file.
            params: of the rule ``import_pretrained``.
            ours: whether this workflow made its file.

        Raises:
            UserError: if the model does not fit the configuration.
        """

    def check_inputs(self, inputs: Any, pretrained: Any) -> None:
        """Check that a model takes these examples.

        Raises:
            UserError: if it does not.
        """

    def check_beside(self, path: Any, pretrained: Any) -> None:
        """Check the files beside the weights of a ready-made model.

        Args:
            path: file or folder of the model.
            pretrained: the model that it should fit.

        Raises:
            LeftOut: if they are of another model.
        """

    def transforms(self, hyperparameters: Mapping, inputs: Any) -> Any:
        """Random changes of single examples before they are batched, or None."""
        return None

    def batches(self, inputs: Any, rows: Any, size: int, epoch: int, seed: int) -> list:
        """Shuffled batches of positions in ``rows`` for one epoch, without a short last batch.

        The order depends on these arguments alone, so that a resumed run sees the same batches.

        Args:
            inputs: of the training set.
            rows: rows of the training examples, without the held-out ones.
            size: examples in a batch.
            epoch: number of the epoch.
            seed: of the order.
        """
        raise NotImplementedError

    def augmented(self, model: Any, batch: Any, strength: float, generator: Any) -> Any:
        """What the classifier is trained on: a batch on its device, changed at random.

        Args:
            model: the classifier.
            batch: as the `data.loading.Reader` yields it.
            strength: the hyperparameter ``augment``; 0 changes nothing.
            generator: a CPU generator, the only source of randomness.
        """
        raise NotImplementedError

    def card(self, config: Mapping, note: Mapping, heldout: Any, model: Any) -> dict:
        """Entries of the card in the header of a model, see `models.card`."""
        raise NotImplementedError

    def given(
        self,
        card: Mapping,
        places: Sequence[str],
        listed: str | None = None,
        columns: str | None = None,
    ) -> Any:
        """Open examples without labels, which tools/predict.py was given.

        Args:
            card: of the model, see `models.card`.
            places: files or folders.
            listed: the option ``--list``, or None.
            columns: the option ``--columns``, or None.

        Returns:
            an object with the attributes ``columns``, names of the first columns of the table, and
            ``rows``, a dictionary of them for each example. Its method ``logits(model, threads)``
            yields lists with an entry per example, in order: logits of shape (classes,) and "", or
            None and the reason why the example cannot be read. Then ``remark`` is a sentence about
            all examples, or "".

        Raises:
            UserError: if there is no example, or if an option does not exist for this problem.
        """
        raise NotImplementedError

    def facts(self, card: Mapping) -> list[tuple[str, str]]:
        """Label and text of what a card says about examples and features, for tools/verify.py."""
        raise NotImplementedError

    def compared_logits(self, ours: Any, theirs: Any, card: Mapping) -> tuple[Any, Any]:
        """Logits of a classifier, and of its library's own model, for the same examples.

        Args:
            ours: the classifier, in evaluation mode.
            theirs: see `models.pretrained.Pretrained.native_model`.
            card: of the classifier.
        """
        raise NotImplementedError

    def write_beside(self, folder: Any, library: Any, card: Mapping) -> None:
        """Write the files beside the weights from which transformers prepares examples.

        Args:
            folder: the folder of an exported model.
            library: the model of its library.
            card: of the model.
        """
        raise NotImplementedError

    def sheet(self, sets: Sequence[Any], classes: Sequence[str], params: Any) -> Any:
        """Figure with an example of each class from every set."""
        raise NotImplementedError

    # For the estimate of the cost and for the space on the disk, see `soups.cost`.

    def class_names(self, data: Mapping) -> list[str]:
        """Names of the training classes, in the order of their labels.

        Args:
            data: the ``data`` section, which was checked.
        """
        raise NotImplementedError

    def known_numbers(self, config: Mapping, shifts: Sequence[str]) -> dict[str, int]:
        """Set to its number of examples, for the sets whose number needs no look at their files."""
        return {}

    def numbers(self, data: Mapping, corpus: int) -> tuple[dict[str, int], int]:
        """Number of examples of each set, before any data is prepared.

        Args:
            data: the ``data`` section.
            corpus: number of drawn images for pre-training.

        Returns:
            set to its number of examples, where ``train`` holds the held-out ones; and the number
            of examples for pre-training, which ``train`` does not hold.
        """
        raise NotImplementedError

    def prepared_bytes(self, config: Mapping) -> int:
        """Bytes of a prepared example, or 0 if they are not known before it is prepared."""
        return 0

    def classifier_bytes(self, config: Mapping, classes: list[str]) -> int:
        """Bytes of a classifier, found without memory for its weights.

        The arguments are those of `random_model`.
        """
        raise NotImplementedError

    def random_model(self, config: Mapping, classes: list[str]) -> Any:
        """A pre-trained model with random weights, none of which are downloaded.

        Args:
            config: the sections ``data`` and ``model``.
            classes: names of the training classes.
        """
        raise NotImplementedError

    def preparation(self, plan: Mapping, numbers: Mapping[str, int]) -> tuple[int, dict]:
        """Number of jobs that prepare the sets, and name of a speed to a number of examples.

        Args:
            plan: see `cost.estimate.work`.
            numbers: set to its number of examples, see `cost.estimate.Sizes`.
        """
        raise NotImplementedError

    def samples(self, pretrained: Any, data: Mapping, store: str, folder: Any) -> Any:
        """Examples to measure speeds with, a `data.samples.SampleSet`.

        Args:
            pretrained: see `random_model`.
            data: the ``data`` section.
            store: see `store`.
            folder: folder for files.
        """
        raise NotImplementedError


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

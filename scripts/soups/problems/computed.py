"""What jobs ask of a problem: examples, models, and what a training step needs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Computed:
    """Methods that run in jobs."""

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

    def sheet(self, sets: Sequence[Any], classes: Sequence[str], params: Any) -> Any:
        """Figure with an example of each class from every set."""
        raise NotImplementedError

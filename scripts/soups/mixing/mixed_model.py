"""One model into which soups are mixed, one after the other, without being written to disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from soups.data.prepared import PreparedSet
from soups.jobs import devices
from soups.mixing.mix import Mixture, mix
from soups.mixing.select import RunningSum
from soups.models import usable
from soups.models.batch_norm import Settle, settler
from soups.models.checkpoints import Checkpoint


class MixedModel:
    """A model whose weights are replaced by those of one soup after the other.

    Every method returns the same module, so its outputs must be computed before the next call.

    Args:
        model: a classifier, whose weights are overwritten.
        paths: model id to safetensors file.
        settle: gives a mixed model its batch statistics, see `batch_norm`.
        start: id of the model that the ingredients were fine-tuned from, None if they were
            fine-tuned from several.
    """

    def __init__(
        self,
        model: nn.Module,
        paths: Mapping[str, str | Path],
        settle: Settle,
        start: str | None = None,
    ) -> None:
        self._model = model.to(devices.device()).eval()
        self._paths, self._settle, self._start = paths, settle, start
        self._sum = RunningSum(Mixture, self._add)

    @classmethod
    def of_job(
        cls, job, paths: Mapping[str, str | Path] | None = None, start: str | None = None
    ) -> "MixedModel":
        """Build the model of a rule that mixes.

        Args:
            job: a job with the held-out set (`experiment.places.Places.heldout`) and ``weights``
                as inputs, and with ``params.recalibrate``.
            paths, start: see the class. By default, the paths are the ``weights`` of
                ``params.models``.
        """
        from soups.models.classifier import load_classifier  # The import takes seconds.

        if paths is None:
            paths = dict(zip(job.params.models, job.input.weights, strict=True))
        # The file of a model that is left out has no weights.
        model = load_classifier(job.input.pretrained, usable.first(job.input.weights))
        settle = settler(PreparedSet(job.input.heldout[0]).inputs, job.params.recalibrate)
        return cls(model, paths, settle, start)

    def of(self, recipe: dict) -> nn.Module:
        """The model with the weights of a recipe."""
        return self.load(mix(recipe, self._paths, self._start))

    def average(self, names: Sequence[str], grows: bool = False) -> nn.Module:
        """The model with the plain average of some models, which is cheap for growing soups.

        The float64 sum of all models but the last is kept for the next call. It can be reused if
        the next soup extends it, or if it differs in its last model alone. Besides the model, only
        this sum is in memory, however many soups are tried. The last bits may differ from those of
        `of`, which multiplies each model by its coefficient before the sum.

        Args:
            names: the models.
            grows: keep the sum of all models. The next soup should extend this one, and then no
                model is read twice.
        """
        if grows:
            self._sum.of(tuple(names)).write(self._model, 1 / len(names))
        else:
            soup = self._sum.of(tuple(names[:-1]))
            soup.write(self._model, 1 / len(names), Checkpoint(self._paths[names[-1]]))
        self._settle(self._model)
        return self._model

    def single(self, name: str) -> nn.Module:
        """The model with the weights and batch statistics of one checkpoint."""
        self._model.load_state_dict(Checkpoint(self._paths[name]).state())
        return self._model

    def load(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The model with the weights of a mixed state dict and batch statistics for them."""
        self._model.load_state_dict(state)
        self._settle(self._model)
        return self._model

    def cooked(self, recipe: dict) -> tuple[nn.Module, dict[str, Tensor]]:
        """The model as by `of`, and its state dict in the ingredients' dtypes."""
        mixed = mix(recipe, self._paths, self._start)
        model = self.load(mixed)
        state = {name: value.to(mixed[name].dtype) for name, value in model.state_dict().items()}
        return model, state

    def _add(self, soup: Mixture, name: str) -> Mixture:
        soup.add(Checkpoint(self._paths[name]))
        return soup

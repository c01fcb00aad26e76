"""Image classifiers without a text side, whose towers are models without their heads."""

from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from soups.errors import UserError, brief
from soups.models import sources
from soups.models.foreign.reading import Contents
from soups.models.pretrained import Pretrained


class Backbone(Pretrained):
    """An image classifier of another library without its head.

    Its features are not normalised. A subclass sets these attributes.

    Attributes:
        architecture: the name with the prefix of its family.
        words: None, because it has no text tower.
        mean, std: mean and standard deviation of the pixels (0–1), one value per channel.
        heads: names of the linear heads in the library's own model.
    """

    normalize = False
    heads: tuple[str, ...]
    _tower: nn.Module
    _size: int

    @property
    def whole(self) -> nn.Module:
        return self._tower

    @property
    def visual(self) -> nn.Module:
        return self._tower

    @property
    def image_size(self) -> int:
        return self._size

    def resize(self, size: int) -> None:
        """Make the model take images of another size, where its architecture allows it.

        A convolutional network keeps its weights. The position embeddings of a vision transformer
        are interpolated as its own library does.

        Args:
            size: pixels per side.

        Raises:
            UserError: if the model takes no images of that size.
        """
        own, self._size = self._size, size
        try:
            self._fit(self._tower, size)
            self.__dict__.pop("embed_dim", None)
            _ = self.embed_dim  # runs the tower on one image
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            reason = brief(error)
            raise UserError(
                f"model.architecture is {self.architecture!r}, which takes no images of {size} "
                f"pixels ({reason}), expected data.folders.image_size {own}"
            ) from error

    def _fit(self, model: nn.Module, size: int) -> None:
        """Adapt the library's model, or the tower without its head, to another image size.

        Raises:
            ValueError: if the architecture has one size alone.
        """
        raise ValueError("its weights are for one size")

    @property
    def made_from(self) -> dict:
        """The image size, because it depends on the tag of the weights."""
        return {"image_size": self.image_size}

    def text_head(self, names: list[str], templates: list[str]) -> Tensor | None:
        """Return None, because a zero-shot head needs a text tower."""

    def native(self, classes: int) -> dict[str, str | None]:
        if len(self.heads) != 1:
            raise UserError(
                f"model.architecture is {self.architecture!r}, whose own model has "
                f"{len(self.heads)} heads ({', '.join(self.heads) or 'none is linear'}), expected "
                "a model with one linear head for checkpoints of its own library"
            )
        names = {n: self._file_name(n) for n in self._tower.state_dict()}
        head = self.heads[0]
        weight, bias = self._file_name(f"{head}.weight"), self._file_name(f"{head}.bias")
        own = self._native_shapes
        rest = own.keys() - set(names.values()) - {weight, bias}
        lost = set(names.values()) - own.keys()
        if rest or lost or len([side for side in own.get(weight, ()) if side > 1]) > 2:
            raise UserError(
                f"model.architecture is {self.architecture!r}, whose own head is not a single "
                f"linear layer ({', '.join(sorted(rest | lost)[:3]) or head}), expected a model "
                "with one linear head for checkpoints of its own library"
            )
        tower = {f"{self.tower_name}.{name}": there for name, there in names.items()}
        return tower | {"head.weight": weight, "head.bias": bias if bias in own else None}

    @cached_property
    def _native_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the library's own model of two classes."""
        with torch.random.fork_rng(devices=[]):
            model = self._library_model(2)
        return {self._file_name(n): tuple(t.shape) for n, t in model.state_dict().items()}

    def native_model(self, classes: int, state: Mapping[str, Tensor] | None = None) -> nn.Module:
        model = self._library_model(classes)
        if state is not None:
            ours = {self._file_name(name): name for name in model.state_dict()}
            model.load_state_dict({ours.get(name, name): value for name, value in state.items()})
        return model.eval()

    def native_state(self, model: nn.Module) -> dict[str, Tensor]:
        """State dict of the library's own model under the names of a checkpoint."""
        return {self._file_name(name): value for name, value in model.state_dict().items()}

    def _heads_of(self) -> tuple[nn.Module, list[str]]:
        """The library's own model of two classes, and its layers whose shapes depend on the number.

        The model has no memory for its weights, where its code allows that.
        """
        two, three = (_shapes_alone(lambda n=n: self._library_model(n)) for n in (2, 3))
        other = three.state_dict()
        changed = (n for n, tensor in two.state_dict().items() if tensor.shape != other[n].shape)
        return two, sorted({name.rpartition(".")[0] for name in changed})

    def _remove_heads(self, model: nn.Module) -> None:
        """Put an identity in the place of each head of the library's own model."""
        for head in self.heads:
            parent, _, last = head.rpartition(".")
            setattr(model.get_submodule(parent), last, nn.Identity())

    def _library_model(self, classes: int) -> nn.Module:
        """The library's own model with its head, with random weights."""
        raise NotImplementedError

    def _file_name(self, name: str) -> str:
        """Name in a checkpoint of a tensor of the library's model."""
        return name

    def _fill(self, source: str, weights: str) -> Contents:
        """Load the tower from a file or folder, without the head, whatever its classes are."""
        contents = sources.contents(source, weights)
        state = contents.state
        tower = f"{self.tower_name}."
        if {name.partition(".")[0] for name in state} == {self.tower_name, "head"}:
            state = {  # of this workflow
                self._file_name(name.removeprefix(tower)): value
                for name, value in state.items()
                if name.startswith(tower)
            }
        state = self._without_heads(self.translated(state))
        ours = {self._file_name(name): name for name in self.whole.state_dict()}
        sources.fill(self.whole, {ours.get(n, n): v for n, v in state.items()}, source)
        return contents

    def _without_heads(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        left = tuple(
            self._file_name(f"{head}.weight").removesuffix("weight") for head in self.heads
        )
        return {name: value for name, value in state.items() if not name.startswith(left or "\0")}


def _shapes_alone(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a model without memory for its weights, where its code allows it."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build()
        except NotImplementedError:  # a RegNet computes with tensors to find its own shape
            return build()

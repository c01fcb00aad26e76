"""Image classifiers of torchvision."""

from collections.abc import Mapping

from torch import nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from soups.errors import UserError, near
from soups.models import sources
from soups.models.architectures import TORCHVISION, is_path
from soups.models.families.backbone import Backbone

# These models load no state dict without torch's own metadata, which safetensors files lack.
UNREADABLE = "mnasnet"
SERVER = "https://download.pytorch.org"


class TorchvisionModel(Backbone):
    """An image classifier of torchvision without the last linear layer of its classifier.

    Args:
        architecture: torchvision's name with ``torchvision/`` before it.
        words: None.
        source: the weights: a tag such as "IMAGENET1K_V2", a file or a folder. Without a source,
            the weights are random.
        weights: which weights of a training file are read, "plain" or "ema".
        note: of the header that describes the model.

    Raises:
        UserError: if torchvision has no such classifier, if its head is not one linear layer, or
            if the weights cannot be loaded.
    """

    def __init__(
        self,
        architecture: str,
        words: list[str] | None = None,
        source: str | None = None,
        weights: str = "plain",
        note: Mapping | None = None,
    ) -> None:
        name, _, tag = architecture.removeprefix(TORCHVISION).partition(".")
        known = [n for n in models.list_models(module=models) if not n.startswith(UNREADABLE)]
        if name not in known:
            meant = near(name, known)
            raise UserError(
                f"model.architecture is {architecture!r}, which is no image classifier of "
                f"torchvision{meant}"
            )
        self.architecture, self.words, self._name = TORCHVISION + name, None, name
        every = models.get_model_weights(name)
        download = None if is_path(source) else source
        tag = download or tag
        if tag:
            sources.check_tag(tag, [each.name for each in every], self.architecture)
        transforms = (every[tag] if tag else every.DEFAULT).transforms()
        self.mean, self.std = tuple(transforms.mean), tuple(transforms.std)
        self._size = (note or {}).get("image_size", transforms.crop_size[0])
        self.heads = (self._head(),)
        with sources.fetching(download, SERVER):
            if download:
                self._tower = models.get_model(name, weights=every[download])
            else:
                self._tower = self._library_model(2)
        self._remove_heads(self._tower)
        if source and not download:
            self._fill(source, weights)

    def _fit(self, model: nn.Module, size: int) -> None:
        if not self._name.startswith("vit_"):
            return  # these models have no weights for positions
        patch = model.patch_size
        state = interpolate_embeddings(size, patch, model.state_dict())
        model.encoder.pos_embedding = nn.Parameter(state["encoder.pos_embedding"])
        model.image_size, model.seq_length = size, model.encoder.pos_embedding.shape[1]

    def _head(self) -> str:
        """Name of the only layer whose shape depends on the number of classes.

        Raises:
            UserError: if it is not linear, or if other layers depend on the number as well.
        """
        two, changed = self._heads_of()
        last = [name for name, module in two.named_modules() if isinstance(module, nn.Linear)][-1:]
        if changed != last:
            heads = ", ".join(changed)
            raise UserError(
                f"model.architecture is {self.architecture!r}, whose layers {heads} depend on the "
                "number of classes, expected a model with one linear layer as its head"
            )
        return last[0]

    def _library_model(self, classes: int) -> nn.Module:
        # Vision transformers have a position for each patch, so they are made for one size.
        size = {"image_size": self._size} if self._name.startswith("vit_") else {}
        # This argument of two old models silences a warning about their initialisation.
        old = {"init_weights": True} if self._name in ("googlenet", "inception_v3") else {}
        return models.get_model(self._name, weights=None, num_classes=classes, **size, **old)

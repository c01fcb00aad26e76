"""Image classifiers of timm."""

import sys
from collections.abc import Mapping

import timm
from torch import Tensor, nn

from soups.errors import UserError, near
from soups.models import sources
from soups.models.architectures import TIMM, is_path
from soups.models.families.backbone import Backbone


class TimmModel(Backbone):
    """An image classifier of timm without its head.

    Args:
        architecture: timm's name with ``timm/`` before it. A tag after a dot, such as
            "timm/vit_base_patch16_224.augreg_in21k", decides the pixel statistics and the size.
        words: None.
        source: the weights: a tag of timm, a file or a folder. Without a source, the weights are
            random.
        weights: which weights of a training file are read, "plain" or "ema".
        note: of the header that describes the model.

    Raises:
        UserError: if timm has no such architecture or the weights cannot be loaded.
    """

    def __init__(
        self,
        architecture: str,
        words: list[str] | None = None,
        source: str | None = None,
        weights: str = "plain",
        note: Mapping | None = None,
    ) -> None:
        name, _, tag = architecture.removeprefix(TIMM).partition(".")
        if not timm.is_model(name):
            meant = near(name, timm.list_models())
            raise UserError(f"model.architecture is {architecture!r}, unknown to timm{meant}")
        self.architecture, self.words = TIMM + name, None
        download = None if is_path(source) else source
        tag = download or tag
        if tag:
            known = [full.split(".", 1)[1] for full in timm.list_pretrained(f"{name}.*")]
            sources.check_tag(tag, known, self.architecture)
        self._name = f"{name}.{tag}" if tag else name
        with sources.fetching(download):
            self._tower = timm.create_model(self._name, pretrained=bool(download))
        heads = self._tower.pretrained_cfg.get("classifier") or ()
        self.heads = (heads,) if isinstance(heads, str) else tuple(heads)
        self._tower.reset_classifier(0)
        config = self._fill(source, weights).config if source and not download else None
        # A folder of timm has a config.json with the statistics that its model was trained with.
        own = (config or {}).get("pretrained_cfg")
        data = timm.data.resolve_model_data_config(self._tower, pretrained_cfg=own)
        self.mean, self.std = tuple(data["mean"]), tuple(data["std"])
        self._size = self._own_size = data["input_size"][-1]
        if note and note.get("image_size", self._size) != self._size:
            self.resize(note["image_size"])

    def _library_model(self, classes: int) -> nn.Module:
        model = timm.create_model(self._name, num_classes=classes)
        if self._size != self._own_size:
            self._fit(model, self._size)
        return model

    def _fit(self, model: nn.Module, size: int) -> None:
        if hasattr(model, "set_input_size"):  # interpolates position embeddings, or sets windows
            model.set_input_size(img_size=size)
        elif model.pretrained_cfg.get("fixed_input_size"):
            raise ValueError("its weights are for one size")

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename tensors of the projects from which timm took its models, such as DeiT."""
        convert = getattr(sys.modules[type(self._tower).__module__], "checkpoint_filter_fn", None)
        if convert is None or sources.fits(self._tower, self._without_heads(state)):
            return dict(state)
        try:
            return dict(convert(dict(state), self._tower))
        except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError):
            return dict(state)  # of no project that timm knows

"""Models: a pre-trained one, for its architecture and text side; a classifier for everything else.

An ingredient is a `Classifier`: an image tower, features (CLIP's are L2-normalised), one
linear head (paper, appendix J.1 for LP-FT from CLIP). All soups average its state dict.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from open_clip import (
    create_model,
    get_model_config,
    get_pretrained_cfg,
    get_tokenizer,
    list_pretrained_tags_by_model,
)
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from soups.errors import UserError, near
from soups.models import checkpoints
from soups.models.architectures import TIMM, WEIGHTS
from soups.models.tokens import WordTokenizer

# Pixel statistics of the tiny model; named models bring their own.
HALF = (0.5, 0.5, 0.5)


class Pretrained:
    """A CLIP with what is needed to use it: tokenizer and pixel statistics.

    ``architecture`` is an open_clip name ("ViT-B-32-quickgelu") or a dictionary
    with open_clip's own keys ``embed_dim``, ``vision_cfg`` and ``text_cfg``.

    Args:
        architecture: as above.
        words: that the text tower of a dictionary's model knows.
        source: where a named model's weights come from: a tag of open_clip's, or a file.
            Without one they are random.

    Raises:
        UserError: if the architecture cannot be, or the weights cannot be had.
    """

    normalize = True  # features have unit length

    def __init__(
        self, architecture: str | dict, words: list[str] | None, source: str | None = None
    ) -> None:
        self.architecture, self.words = architecture, words
        if isinstance(architecture, dict):
            try:
                self.clip = CLIP(
                    architecture["embed_dim"],
                    CLIPVisionCfg(**architecture["vision_cfg"]),
                    CLIPTextCfg(**self._text_settings()),
                    quick_gelu=architecture.get("quick_gelu", False),
                )
            except TypeError as error:
                raise UserError(f"model.architecture: {error}") from error
            self.mean, self.std = HALF, HALF
        else:
            if source and not _is_file(source):
                _check_tag(source, list_pretrained_tags_by_model(architecture), architecture)
                _check_activation(architecture, source)
            with _fetching(source):
                self.clip = create_model(
                    architecture, pretrained=source, pretrained_text=bool(source)
                )
            self.mean, self.std = self.clip.visual.image_mean, self.clip.visual.image_std

    def _text_settings(self) -> dict:
        text = dict(self.architecture["text_cfg"])
        return text | {"vocab_size": WordTokenizer(self.words or [], 0).vocab_size}

    @cached_property
    def tokenizer(self):
        """Texts to token ids; named models bring open_clip's."""
        if isinstance(self.architecture, dict):
            return WordTokenizer(self.words or [], self.architecture["text_cfg"]["context_length"])
        return get_tokenizer(self.architecture)

    @property
    def whole(self) -> nn.Module:
        """All that is saved of it: both towers."""
        return self.clip

    @property
    def visual(self) -> nn.Module:
        """The image tower."""
        return self.clip.visual

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        size = self.clip.visual.image_size
        return size if isinstance(size, int) else size[0]

    def save(self, path: str | Path, note: dict, weights: bool = True) -> None:
        """Write its weights (or none), with the architecture and vocabulary in the header."""
        note = note | {"architecture": self.architecture, "words": self.words}
        note = note | {"mean": list(self.mean), "std": list(self.std)}
        checkpoints.save(path, self.whole.state_dict() if weights else {}, note)

    @classmethod
    def load(cls, path: str | Path) -> "Pretrained":
        """Read what `save` wrote.

        Raises:
            UserError: if the file is no such checkpoint or its tensors do not fit.
        """
        checkpoint = checkpoints.Checkpoint(path)
        model = _of_note(checkpoint)
        _load_strictly(model.whole, checkpoint)
        model.whole.eval()
        return model

    @torch.no_grad()
    def text_head(self, names: list[str], templates: list[str]) -> Tensor | None:
        """Zero-shot head: mean text feature over ``templates``, times the logit scale.

        Returns:
            float32, shape (len(names), embed_dim).
        """
        rows = []
        for name in names:
            tokens = self.tokenizer([template.format(name) for template in templates])
            features = self.clip.encode_text(tokens, normalize=True)
            rows.append(F.normalize(features.mean(0), dim=0))
        return torch.stack(rows) * self.clip.logit_scale.exp()

    def classifier(self, classes: int) -> "Classifier":
        """This model's image tower under a linear head of zeros."""
        return Classifier(self.visual, classes, self.embed_dim, self.mean, self.std, self.normalize)

    @cached_property
    def embed_dim(self) -> int:
        """Length of an image feature, asked of the tower itself.

        Raises:
            UserError: if the tower gives something else than one feature per image.
        """
        with torch.no_grad():
            training, size = self.visual.training, self.image_size
            features = self.visual.eval()(torch.zeros(1, 3, size, size))
            self.visual.train(training)
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise UserError(
                f"model.architecture is {self.architecture!r}: its image tower gives more than one "
                "feature per image, expected a model whose tower gives one"
            )
        return features.shape[1]


class Backbone(Pretrained):
    """An image classifier of timm's without its head: features as they are, no text side.

    Args:
        architecture: ``timm/`` and timm's name of it.
        words: None.
        source: a tag of timm's for its weights ("augreg_in21k"), or a file of them.
    """

    normalize = False

    def __init__(
        self, architecture: str, words: list[str] | None = None, source: str | None = None
    ) -> None:
        import timm

        name = architecture.removeprefix(TIMM)
        if not timm.is_model(name):
            meant = near(name, timm.list_models())
            raise UserError(f"model.architecture is {architecture!r}, unknown to timm{meant}")
        self.architecture, self.words = architecture, None
        if source and not _is_file(source):
            known = [full.split(".", 1)[1] for full in timm.list_pretrained(f"{name}.*")]
            _check_tag(source, known, architecture)
            name = f"{name}.{source}"
        with _fetching(source):
            # Under the head of the weights, or timm would pass over whatever does not fit.
            heads = _classes_in(source, timm.create_model(name)) if _is_file(source) else {}
            self._tower = timm.create_model(name, pretrained=bool(source), **heads)
            self._tower.reset_classifier(0)
        data = timm.data.resolve_model_data_config(self._tower)
        self.mean, self.std = data["mean"], data["std"]
        self._size = data["input_size"][-1]

    @property
    def whole(self) -> nn.Module:
        return self._tower

    @property
    def visual(self) -> nn.Module:
        return self._tower

    @property
    def image_size(self) -> int:
        return self._size

    def save(self, path: str | Path, note: dict, weights: bool = True) -> None:
        """As `Pretrained.save`; the size of images depends on the tag, so it is kept as well."""
        super().save(path, note | {"image_size": self.image_size}, weights)

    def text_head(self, names: list[str], templates: list[str]) -> None:
        """None: there is no text side to make a head of."""


def bring_in(architecture: str | dict, source: str | None) -> Pretrained:
    """A named model of open_clip's or timm's with pre-trained weights."""
    return _class_of(architecture)(architecture, None, source)


def _class_of(architecture: str | dict) -> type[Pretrained]:
    timm = isinstance(architecture, str) and architecture.startswith(TIMM)
    return Backbone if timm else Pretrained


def _of_note(checkpoint: checkpoints.Checkpoint) -> Pretrained:
    """The model that a header describes, with random weights."""
    note = checkpoint.note
    if "architecture" not in note:
        raise UserError(
            f"{checkpoint.path}: a safetensors file, but not a pre-trained model of this workflow"
        )
    model = _class_of(note["architecture"])(note["architecture"], note["words"])
    model.mean = note.get("mean", model.mean)
    model.std = note.get("std", model.std)
    if isinstance(model, Backbone):
        model._size = note["image_size"]
    return model


def _is_file(source: str | None) -> bool:
    return bool(source) and source.endswith(WEIGHTS)


def _classes_in(path: str, model: nn.Module) -> dict:
    """What timm has to be told of the head that a file's weights have, if they have one."""
    from timm.models import load_state_dict

    names = model.pretrained_cfg["classifier"]
    first = names if isinstance(names, str) else names[0]
    head = load_state_dict(path).get(f"{first}.weight")
    classes = 0 if head is None else len(head)
    overlay = {"file": path, "num_classes": classes}
    return {"num_classes": classes, "pretrained_cfg_overlay": overlay}


def _check_tag(tag: str, known: Sequence[str], architecture: str) -> None:
    if tag not in known:
        raise UserError(
            f"model.pretrained is {tag!r}, expected 'train', a file of weights or one of "
            f"{', '.join(known) or 'no tag'}, which there are for {architecture}"
        )


def _check_activation(architecture: str, tag: str) -> None:
    """Weights fit towers of either activation, and features are then quietly wrong."""
    wants = get_pretrained_cfg(architecture, tag).get("quick_gelu", False)
    if wants and not get_model_config(architecture).get("quick_gelu", False):
        raise UserError(
            f"model.architecture is {architecture!r}, but the weights {tag!r} were trained with "
            f"quick GELU, expected '{architecture}-quickgelu'"
        )


@contextmanager
def _fetching(source: str | None) -> Iterator[None]:
    """What libraries raise when weights cannot be had becomes one sentence."""
    # That weights are random is no news where only the architecture is asked for.
    logging.getLogger().setLevel(logging.WARNING if source else logging.ERROR)
    try:
        yield
    except UnpicklingError as error:
        raise UserError(
            f"model.pretrained is {source!r}, which needs code to be run to read it; expected a "
            "file of tensors alone"
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if source is None:
            raise
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"model.pretrained is {source!r}, whose weights could not be loaded "
            f"({type(error).__name__}: {reason}); expected a network, the weights in the cache of "
            "huggingface_hub, or a file that fits model.architecture"
        ) from error
    finally:
        logging.getLogger().setLevel(logging.WARNING)


class Classifier(nn.Module):
    """Image tower, features (of unit length for a CLIP), linear head.

    Takes uint8 images of shape (n, height, width, 3) or float images of shape
    (n, 3, height, width) already normalised, and returns logits of shape (n, classes).
    """

    def __init__(
        self, visual: nn.Module, classes: int, width: int, mean, std, normalize: bool = True
    ) -> None:
        super().__init__()
        self.visual, self.normalize = visual, normalize
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # Not weights: they are the same for every ingredient and stay out of the state dict.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def pixels(self, images: Tensor) -> Tensor:
        """uint8 (n, h, w, 3) to normalised float32 (n, 3, h, w)."""
        return (images.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def features(self, images: Tensor) -> Tensor:
        """Features, shape (n, width)."""
        images = self.pixels(images) if images.dtype == torch.uint8 else images
        features = self.visual(images)
        return F.normalize(features, dim=-1) if self.normalize else features

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    @contextmanager
    def only(self, classes: Sequence[int]) -> Iterator[None]:
        """Inside, the head knows some classes only, in their order, and is frozen."""
        whole = self.head
        self.head = nn.Linear(whole.in_features, len(classes))
        with torch.no_grad():
            self.head.weight.copy_(whole.weight[list(classes)])
            self.head.bias.copy_(whole.bias[list(classes)])
        self.head.requires_grad_(False)
        try:
            yield
        finally:
            self.head = whole.to(self.mean.device)


def load_classifier(pretrained: str | Path, weights: str | Path) -> Classifier:
    """An ingredient or soup, ready to evaluate.

    Args:
        pretrained: the pre-trained checkpoint, for the architecture.
        weights: the state dict of a `Classifier`.
    """
    checkpoint = checkpoints.Checkpoint(weights)
    if "head.weight" not in checkpoint.shapes():
        raise UserError(f"{weights}: no tensor 'head.weight', expected an image classifier")
    classes = checkpoint.shapes()["head.weight"][0][0]
    # The header alone: the pre-trained weights would be overwritten at once.
    model = _of_note(checkpoints.Checkpoint(pretrained)).classifier(classes)
    _load_strictly(model, checkpoint)
    return model.eval()


def _load_strictly(module: nn.Module, checkpoint: checkpoints.Checkpoint) -> None:
    want = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    have = {name: shape for name, (shape, _) in checkpoint.shapes().items()}
    wrong = sorted(name for name in want | have if want.get(name) != have.get(name))
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{checkpoint.path}: {len(wrong)} tensors do not fit the architecture; {name!r} has "
            f"shape {have.get(name, 'missing')}, expected {want.get(name, 'absent')}"
        )
    module.load_state_dict(checkpoint.state())

"""The pre-trained model and the classifier built on its image tower.

A `Pretrained` provides the architecture and the text tower. Every ingredient and every soup is a
`Classifier`: an image tower with one linear head (paper, appendix J.1 for LP-FT from CLIP). The
features of a CLIP are L2-normalised before the head. A soup averages the state dicts of its
ingredients.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip import create_model, get_tokenizer, list_pretrained_tags_by_model
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from soups.errors import UserError, near
from soups.models import card, checkpoints, sources
from soups.models.architectures import TIMM
from soups.models.tokens import WordTokenizer

# Mean and std of the pixels (0–1) of a model trained here. Named models have their own.
HALF = (0.5, 0.5, 0.5)


class Pretrained:
    """A CLIP with its tokenizer and pixel statistics.

    Args:
        architecture: an open_clip name such as "ViT-B-32-quickgelu", or a dictionary with
            open_clip's keys ``embed_dim``, ``vision_cfg`` and ``text_cfg``.
        words: the vocabulary of the text tower, if the architecture is a dictionary.
        source: the weights of a named model, either a tag of open_clip or a file. Without a
            source, the weights are random.

    Attributes:
        architecture, words: the arguments.
        clip: open_clip's model.
        mean, std: mean and standard deviation of the pixels (0–1), one value per channel.

    Raises:
        UserError: if the architecture is invalid or the weights cannot be loaded.
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
            if source and not sources.is_file(source):
                sources.check_tag(source, list_pretrained_tags_by_model(architecture), architecture)
                sources.check_activation(architecture, source)
            with sources.fetching(source):
                self.clip = create_model(
                    architecture, pretrained=source, pretrained_text=bool(source)
                )
            self.mean, self.std = self.clip.visual.image_mean, self.clip.visual.image_std

    def _text_settings(self) -> dict:
        text = dict(self.architecture["text_cfg"])
        return text | {"vocab_size": WordTokenizer(self.words or [], 0).vocab_size}

    @cached_property
    def tokenizer(self):
        """Function from texts to token ids; open_clip's own for a named model."""
        if isinstance(self.architecture, dict):
            return WordTokenizer(self.words or [], self.architecture["text_cfg"]["context_length"])
        return get_tokenizer(self.architecture)

    @property
    def whole(self) -> nn.Module:
        """The module whose weights `save` writes, with both towers."""
        return self.clip

    @property
    def visual(self) -> nn.Module:
        """The image tower."""
        return self.clip.visual

    @property
    def image_size(self) -> int:
        """Side of an image in pixels."""
        size = self.clip.visual.image_size
        return size if isinstance(size, int) else size[0]

    def save(self, path: str | Path, note: dict, weights: bool = True) -> None:
        """Write a checkpoint with the architecture, words and pixel statistics in its header.

        Args:
            path: the file to write.
            note: more entries of the header's note.
            weights: whether the file holds the weights, or the header alone.
        """
        note = note | {"architecture": self.architecture, "words": self.words}
        note = note | {"mean": list(self.mean), "std": list(self.std)}
        checkpoints.save(path, self.whole.state_dict() if weights else {}, note)

    @classmethod
    def load(cls, path: str | Path) -> "Pretrained":
        """Read a checkpoint that `save` wrote with weights.

        Raises:
            UserError: if the file is not such a checkpoint, or if its tensors do not fit.
        """
        checkpoint = checkpoints.Checkpoint(path)
        model = _of_note(checkpoint.note, path)
        _load_strictly(model.whole, checkpoint)
        model.whole.eval()
        return model

    @torch.no_grad()
    def text_head(self, names: list[str], templates: list[str]) -> Tensor | None:
        """Weight of a zero-shot head: the text feature of each class, times the logit scale.

        The text feature of a class is the mean over the templates, scaled to unit length.

        Args:
            names: class names.
            templates: prompts with one ``{}`` in place of the class name.

        Returns:
            float32, shape (len(names), embed_dim), or None for a model without a text tower.
        """
        rows = []
        for name in names:
            tokens = self.tokenizer([template.format(name) for template in templates])
            features = self.clip.encode_text(tokens, normalize=True)
            rows.append(F.normalize(features.mean(0), dim=0))
        return torch.stack(rows) * self.clip.logit_scale.exp()

    def classifier(self, classes: int) -> "Classifier":
        """Make a classifier from this image tower and a linear head of zeros."""
        return Classifier(self.visual, classes, self.embed_dim, self.mean, self.std, self.normalize)

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of a classifier with this image tower."""
        state = self.classifier(classes).state_dict()
        return {name: tuple(tensor.shape) for name, tensor in state.items()}

    @cached_property
    def embed_dim(self) -> int:
        """Length of an image feature, found by running the tower on one image.

        Raises:
            UserError: if the tower does not give one feature per image.
        """
        with torch.no_grad():
            training, size = self.visual.training, self.image_size
            features = self.visual.eval()(torch.zeros(1, 3, size, size))
            self.visual.train(training)
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise UserError(
                f"model.architecture is {self.architecture!r}, expected a model whose image tower "
                "gives one feature per image"
            )
        return features.shape[1]


class Backbone(Pretrained):
    """A timm image classifier without its head, whose features are not normalised.

    It has no text tower.

    Args:
        architecture: timm's name with ``timm/`` before it.
        words: None.
        source: the weights, either a tag of timm such as "augreg_in21k" or a file. Without a
            source, the weights are random.

    Raises:
        UserError: if timm has no such architecture or the weights cannot be loaded.
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
        if source and not sources.is_file(source):
            known = [full.split(".", 1)[1] for full in timm.list_pretrained(f"{name}.*")]
            sources.check_tag(source, known, architecture)
            name = f"{name}.{source}"
        with sources.fetching(source):
            # If the head fits the file, timm loads strictly. Otherwise timm would silently skip
            # every tensor that does not fit. `reset_classifier` removes the head afterwards.
            heads = (
                sources.classes_in(source, timm.create_model(name))
                if sources.is_file(source)
                else {}
            )
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
        """As `Pretrained.save`, with the image size in the note, because it depends on the tag."""
        super().save(path, note | {"image_size": self.image_size}, weights)

    def text_head(self, names: list[str], templates: list[str]) -> None:
        """Return None, because a zero-shot head needs a text tower."""


def bring_in(architecture: str | dict, source: str | None) -> Pretrained:
    """Load a model of open_clip or timm.

    Args:
        architecture: see `Pretrained` and `Backbone`.
        source: a tag, a file of weights, or None for random weights.

    Raises:
        UserError: if the architecture is invalid or the weights cannot be loaded.
    """
    return _class_of(architecture)(architecture, None, source)


def _class_of(architecture: str | dict) -> type[Pretrained]:
    timm = isinstance(architecture, str) and architecture.startswith(TIMM)
    return Backbone if timm else Pretrained


def _of_note(note: dict, path: str | Path) -> Pretrained:
    """Make the model that a note or a card describes, with random weights.

    Args:
        note: of a pre-trained model, or the card of a classifier, see `models.card`.
        path: the file, for messages.
    """
    if "architecture" not in note:
        raise UserError(
            f"{path} is a safetensors file but not a pre-trained model of this workflow"
        )
    # A classifier has no text tower, so its card has no words.
    model = _class_of(note["architecture"])(note["architecture"], note.get("words"))
    model.mean = note.get("mean", model.mean)
    model.std = note.get("std", model.std)
    if isinstance(model, Backbone):
        model._size = note["image_size"]
    return model


class Classifier(nn.Module):
    """An image tower with a linear head, which gives logits of shape (n, classes).

    It takes uint8 images of shape (n, height, width, 3), or normalised float images of shape
    (n, 3, height, width). The weight and bias of a new head are 0.

    Args:
        visual: the image tower.
        classes: number of classes.
        width: length of a feature.
        mean, std: mean and standard deviation of the pixels (0–1), one value per channel.
        normalize: whether features are scaled to unit length, as CLIP's are.
    """

    def __init__(
        self, visual: nn.Module, classes: int, width: int, mean, std, normalize: bool = True
    ) -> None:
        super().__init__()
        self.visual, self.normalize = visual, normalize
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # All ingredients share these values, so the state dict leaves them out.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def pixels(self, images: Tensor) -> Tensor:
        """Normalise uint8 (n, h, w, 3) to float32 (n, 3, h, w)."""
        return (images.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def features(self, images: Tensor) -> Tensor:
        """Features of images, shape (n, width)."""
        images = self.pixels(images) if images.dtype == torch.uint8 else images
        features = self.visual(images)
        return F.normalize(features, dim=-1) if self.normalize else features

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    @contextmanager
    def only(self, classes: Sequence[int]) -> Iterator[None]:
        """A context in which the head is frozen and has some of the classes only.

        Args:
            classes: indices of the classes, in the order of the logits.
        """
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


def load_classifier(pretrained: str | Path, weights: str | Path | None = None) -> Classifier:
    """Load an ingredient or a soup, in evaluation mode.

    ``load_classifier(soup)`` needs no other file, because the card in the soup's header has the
    architecture. Files of older versions have no card and need the pre-trained model as well.

    Args:
        pretrained: file of the pre-trained model, whose header has the architecture. Without
            ``weights``, the file of a `Classifier` with a card.
        weights: file of a `Classifier`'s state dict.

    Raises:
        UserError: if a file is not such a checkpoint, if its tensors do not fit, or if a file
            without ``weights`` has no card.
    """
    if weights is None:
        note, weights = card.read(pretrained), pretrained
    else:
        note = checkpoints.Checkpoint(pretrained).note
    checkpoint = checkpoints.Checkpoint(weights)
    if "head.weight" not in checkpoint.shapes():
        raise UserError(f"{weights} has no tensor 'head.weight', expected an image classifier")
    classes = checkpoint.shapes()["head.weight"][0][0]
    # Only the header is read, because the weights would be overwritten at once.
    model = _of_note(note, pretrained).classifier(classes)
    _load_strictly(model, checkpoint)
    return model.eval()


def _load_strictly(module: nn.Module, checkpoint: checkpoints.Checkpoint) -> None:
    want = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    have = {name: shape for name, (shape, _) in checkpoint.shapes().items()}
    wrong = sorted(name for name in want | have if want.get(name) != have.get(name))
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{checkpoint.path} has {len(wrong)} tensors that do not fit the architecture, such as "
            f"{name!r} with shape {have.get(name, 'missing')}, expected {want.get(name, 'absent')}"
        )
    module.load_state_dict(checkpoint.state())

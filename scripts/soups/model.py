"""Models: a CLIP for pre-training and its text side; a classifier for everything else.

An ingredient is a `Classifier`: an image tower, L2-normalised features, one linear
head (paper, appendix J.1 for LP-FT from CLIP). All soups average its state dict.
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

from soups import checkpoints
from soups.errors import UserError
from soups.tokens import WordTokenizer

# Pixel statistics of the tiny model; named open_clip models bring their own.
HALF = (0.5, 0.5, 0.5)


class Pretrained:
    """A CLIP with what is needed to use it: tokenizer and pixel statistics.

    ``architecture`` is an open_clip name ("ViT-B-32-quickgelu") or a dictionary
    with open_clip's own keys ``embed_dim``, ``vision_cfg`` and ``text_cfg``.
    """

    def __init__(
        self, architecture: str | dict, words: list[str] | None, tag: str | None = None
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
            if tag and tag not in list_pretrained_tags_by_model(architecture):
                raise UserError(
                    f"model.pretrained is {tag!r}, expected 'train', a .safetensors file or one of "
                    f"{', '.join(list_pretrained_tags_by_model(architecture)) or 'no tag'}, "
                    f"which open_clip has for {architecture}"
                )
            self.clip = create_model(architecture, pretrained=tag, pretrained_text=bool(tag))
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
    def image_size(self) -> int:
        size = self.clip.visual.image_size
        return size if isinstance(size, int) else size[0]

    def save(self, path: str | Path, note: dict) -> None:
        """Write both towers, with the architecture and vocabulary in the header."""
        note = note | {"architecture": self.architecture, "words": self.words}
        note = note | {"mean": list(self.mean), "std": list(self.std)}
        checkpoints.save(path, self.clip.state_dict(), note)

    @classmethod
    def load(cls, path: str | Path) -> "Pretrained":
        """Read what `save` wrote.

        Raises:
            UserError: if the file is no such checkpoint or its tensors do not fit.
        """
        checkpoint = checkpoints.Checkpoint(path)
        if "architecture" not in checkpoint.note:
            raise UserError(
                f"{path}: a safetensors file, but not a pre-trained CLIP of this workflow"
            )
        model = cls(checkpoint.note["architecture"], checkpoint.note["words"])
        model.mean = checkpoint.note.get("mean", model.mean)
        model.std = checkpoint.note.get("std", model.std)
        _load_strictly(model.clip, checkpoint)
        model.clip.eval()
        return model

    @torch.no_grad()
    def text_head(self, names: list[str], templates: list[str]) -> Tensor:
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
        return Classifier(self.clip.visual, classes, self.embed_dim, self.mean, self.std)

    @cached_property
    def embed_dim(self) -> int:
        """Length of an image feature, asked of the tower itself.

        Raises:
            UserError: if the tower gives something else than one feature per image.
        """
        with torch.no_grad():
            training, size = self.clip.visual.training, self.image_size
            features = self.clip.visual.eval()(torch.zeros(1, 3, size, size))
            self.clip.visual.train(training)
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise UserError(
                f"model.architecture is {self.architecture!r}: its image tower gives more than one "
                "feature per image, expected a CLIP whose tower gives one"
            )
        return features.shape[1]


class Classifier(nn.Module):
    """Image tower, normalised features, linear head.

    Takes uint8 images of shape (n, height, width, 3) or float images of shape
    (n, 3, height, width) already normalised, and returns logits of shape (n, classes).
    """

    def __init__(self, visual: nn.Module, classes: int, width: int, mean, std) -> None:
        super().__init__()
        self.visual = visual
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
        """Unit-length features, shape (n, width)."""
        images = self.pixels(images) if images.dtype == torch.uint8 else images
        return F.normalize(self.visual(images), dim=-1)

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
    model = Pretrained.load(pretrained).classifier(classes)
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

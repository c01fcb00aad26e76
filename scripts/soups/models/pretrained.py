"""The pre-trained model, which provides the architecture, the image tower and the text tower.

`Pretrained` is a model of open_clip. Its subclasses in `models.families` are image classifiers of
other libraries. Every ingredient and every soup is a `Classifier`: an image tower with one linear
head (paper, appendix J.1 for LP-FT from CLIP). The features of a CLIP are L2-normalised before the
head.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip import create_model, get_tokenizer, list_pretrained_tags_by_model
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from soups import problems
from soups.errors import UserError, brief
from soups.models import checkpoints, sources
from soups.models.architectures import HUB, LOCAL, TIMM, TORCHVISION, TRANSFORMERS, is_path
from soups.models.network import HALF, Classifier
from soups.models.tokens import WordTokenizer

# Module and class of a family by the prefix of its names. A module is imported on use, because
# transformers may be missing and takes seconds.
FAMILIES = {
    TIMM: ("timm_models", "TimmModel"),
    TORCHVISION: ("torchvision_models", "TorchvisionModel"),
    TRANSFORMERS: ("transformers_models", "TransformersModel"),
    HUB: ("open_clip_hub", "OpenClipHub"),
    LOCAL: ("open_clip_hub", "OpenClipHub"),
}


class Pretrained:
    """A CLIP with its tokenizer and pixel statistics.

    Args:
        architecture: an open_clip name such as "ViT-B-32-quickgelu", or a dictionary with
            open_clip's keys ``embed_dim``, ``vision_cfg`` and ``text_cfg``.
        words: the vocabulary of the text tower, if the architecture is a dictionary.
        source: the weights of a named model: a tag of open_clip, a file or a folder. Without a
            source, the weights are random.
        weights: which weights of a training file are read, "plain" or "ema".
        note: the note in the header of a file that `save` wrote, if the model is made from one.

    Attributes:
        architecture, words: the arguments.
        clip: open_clip's model.
        mean, std: mean and standard deviation of the pixels (0–1), one value per channel.

    Raises:
        UserError: if the architecture is invalid or the weights cannot be loaded.
    """

    normalize = True  # features have unit length
    problem = problems.named("images")
    tower_name = "visual"  # of the tower in the names of a classifier's tensors

    def __init__(
        self,
        architecture: str | dict,
        words: list[str] | None = None,
        source: str | None = None,
        weights: str = "plain",
        note: Mapping | None = None,
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
            return
        tag = None if is_path(source) else source
        if tag:
            sources.check_tag(tag, list_pretrained_tags_by_model(architecture), architecture)
            sources.check_activation(architecture, tag)
        with sources.fetching(tag):
            self.clip = create_model(architecture, pretrained=tag, pretrained_text=bool(tag))
        if source and not tag:
            sources.fill_clip(self.clip, sources.contents(source, weights).state, source)
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

    @property
    def made_from(self) -> dict:
        """More entries of the header, without which the architecture cannot be built again."""
        return {}

    def save(self, path: str | Path, note: dict, weights: bool = True) -> None:
        """Write a checkpoint with the architecture, words and pixel statistics in its header.

        Args:
            path: the file to write.
            note: more entries of the header's note.
            weights: whether the file holds the weights, or the header alone.
        """
        note = note | {"architecture": self.architecture, "words": self.words}
        note = note | {"mean": list(self.mean), "std": list(self.std)} | self.made_from
        checkpoints.save(path, self.whole.state_dict() if weights else {}, note)

    @staticmethod
    def load(path: str | Path) -> "Pretrained":
        """Read a checkpoint that `save` wrote with weights.

        Raises:
            UserError: if the file is not such a checkpoint, or if its tensors do not fit.
        """
        checkpoint = checkpoints.Checkpoint(path)
        model = Pretrained.described(checkpoint)
        checkpoints.load_strictly(model.whole, checkpoint)
        model.whole.eval()
        return model

    @staticmethod
    def described(
        file: str | Path | checkpoints.Checkpoint, card: dict | None = None
    ) -> "Pretrained":
        """Make the model that a file of `save` describes in its header, with random weights.

        Args:
            file: the file, or a file of a classifier with a card.
            card: of the classifier, see `models.card`, instead of the file's note. It has no words,
                because a classifier has no text tower.

        Raises:
            UserError: if the file is not such a checkpoint, or if its header describes no model.
        """
        checkpoint = (
            file if isinstance(file, checkpoints.Checkpoint) else checkpoints.Checkpoint(file)
        )
        note = checkpoint.note if card is None else card
        if "architecture" not in note:
            raise UserError(
                f"{checkpoint.path} is a safetensors file but not a pre-trained model of this "
                "workflow"
            )
        made = note["architecture"]
        try:
            of_problem = problems.of_note(note).family(made)
            model = of_problem(made, note.get("words"), note=note)
        except UserError:
            raise
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = brief(error)
            raise UserError(
                f"{checkpoint.path} has the architecture {json.dumps(made)[:100]} in its header, "
                f"from which no model can be built ({type(error).__name__}: {reason}), expected a "
                "file of this workflow"
            ) from error
        for name in ("mean", "std"):
            if name in note:
                setattr(model, name, note[name])
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
            features = self.encode_text(tokens)
            rows.append(F.normalize(features.mean(0), dim=0))
        return torch.stack(rows) * self.clip.logit_scale.exp()

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Text features of unit length, shape (n, embed_dim), of token ids, shape (n, length)."""
        return self.clip.encode_text(tokens, normalize=True)

    def classifier(self, classes: int) -> Classifier:
        """Make a classifier from this image tower and a linear head of zeros."""
        return Classifier(self.visual, classes, self.embed_dim, self.mean, self.std, self.normalize)

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of a classifier with this image tower."""
        state = self.classifier(classes).state_dict()
        return {name: tuple(tensor.shape) for name, tensor in state.items()}

    def native(self, classes: int) -> dict[str, str | None]:
        """Names of the classifier's tensors in a checkpoint of the model's own library.

        Args:
            classes: number of classes.

        Returns:
            the name in the checkpoint by the name in the `Classifier`, or None for a tensor that
            the library's model does not have. A CLIP has no head. The weight of a head may have
            the shape (classes, width, 1, 1) in the checkpoint, and a head without ``head.bias`` has
            a bias of zeros.

        Raises:
            UserError: if the library's model is not an image tower with one linear head.
        """
        tower = {f"visual.{name}": f"visual.{name}" for name in self.visual.state_dict()}
        return tower | {"head.weight": None, "head.bias": None}

    def native_model(self, classes: int, state: Mapping[str, Tensor] | None = None) -> nn.Module:
        """Build the library's own model, in evaluation mode.

        Args:
            classes: number of classes, which a CLIP ignores.
            state: weights under the names of a checkpoint, all of which must fit. Without them the
                weights are random.

        Raises:
            UserError: see `native`.
            RuntimeError: if the weights do not fit.
        """
        made = type(self)(self.architecture, self.words, note=self.made_from).whole
        if state is not None:
            made.load_state_dict(state)
        return made.eval()

    def native_state(self, model: nn.Module) -> dict[str, Tensor]:
        """State dict of `native_model` under the names of a checkpoint."""
        return model.state_dict()

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename tensors of a file that the library itself reads under other names than `native`.

        Unknown names stay as they are.
        """
        return dict(state)

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


def bring_in(
    architecture: str | dict, source: str | None, weights: str = "plain", problem=None, **more
) -> Pretrained:
    """Load a model of any family.

    Args:
        architecture: see `Pretrained` and `models.families`.
        source: a tag, a file or folder of weights, "random" for random weights from one seed, or
            None for random weights.
        weights: which weights of a training file are read, "plain" or "ema".
        problem: image classification by default.
        more: settings of the models of one problem, see `problems.Problem.family`.

    Raises:
        UserError: if the architecture is invalid or the weights cannot be loaded.
    """
    made = (problem or Pretrained.problem).family(architecture)
    if source == "random":
        torch.manual_seed(0)
        source = None
    return made(architecture, None, source, weights, **more)


def family(architecture: str | dict) -> type[Pretrained]:
    """Class of the image models whose names begin like this architecture."""
    for prefix, (module, name) in FAMILIES.items():
        if isinstance(architecture, str) and architecture.startswith(prefix):
            return getattr(import_module(f"soups.models.families.{module}"), name)
    return Pretrained

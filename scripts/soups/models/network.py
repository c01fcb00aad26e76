"""Classifiers: a tower with a linear head."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soups import problems
from soups.problems import Problem

# Mean and std of the pixels (0–1) of a model trained here. Named models have their own.
HALF = (0.5, 0.5, 0.5)


class TowerWithHead(nn.Module):
    """A tower with a linear head, which gives logits of shape (n, classes).

    A subclass sets the tower as one of its modules, and then calls `_add_head`.

    Attributes:
        head: the linear layer.
    """

    def _add_head(self, width: int, classes: int) -> None:
        """Add a head whose weight and bias are 0.

        Args:
            width: length of a feature.
            classes: number of classes.
        """
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def problem(self) -> Problem:
        """The problem that this classifier solves."""
        raise NotImplementedError

    @property
    def tower(self) -> nn.Module:
        """The part without the head."""
        raise NotImplementedError

    def features(self, batch: Tensor) -> Tensor:
        """Features of a batch of examples, shape (n, width)."""
        raise NotImplementedError

    def forward(self, batch: Tensor) -> Tensor:
        return self.head(self.features(batch))

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
            self.head = whole.to(self.head.weight.device)


class Classifier(TowerWithHead):
    """An image tower with a linear head.

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
        self._add_head(width, classes)
        # All ingredients share these values, so the state dict leaves them out.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def problem(self) -> Problem:
        return problems.named("images")

    @property
    def tower(self) -> nn.Module:
        return self.visual

    def pixels(self, images: Tensor) -> Tensor:
        """Normalise uint8 (n, h, w, 3) to float32 (n, 3, h, w)."""
        return (images.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def features(self, images: Tensor) -> Tensor:
        images = self.pixels(images) if images.dtype == torch.uint8 else images
        features = self.visual(images)
        return F.normalize(features, dim=-1) if self.normalize else features

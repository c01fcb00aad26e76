"""The vision transformer of open_clip with its default options, in torch alone.

Importing open_clip takes longer than most jobs of a small experiment compute, because open_clip
imports timm and torchvision. A classifier with an architecture of its own therefore has this tower
if it uses no other option. The names of the tensors are the same, and the outputs are the same to
the bit.
"""

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from soups.models.network import HALF, Classifier

# The options of `VisionTransformer`, in open_clip's words.
OPTIONS = {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio"}
NEEDED = OPTIONS - {"head_width", "mlp_ratio"}


def classifier(note: Mapping, classes: int) -> Classifier | None:
    """Build a classifier with a plain tower and random weights, or None for other towers.

    Args:
        note: of the pre-trained model, or the card of a classifier.
        classes: number of classes.
    """
    made = note.get("architecture")
    if not isinstance(made, Mapping) or made.keys() != {"embed_dim", "vision_cfg", "text_cfg"}:
        return None
    # Headers of old pre-trained models lack the statistics of the pixels.
    vision, pixels = made["vision_cfg"], (note.get("mean", HALF), note.get("std", HALF))
    if not isinstance(vision, Mapping) or not NEEDED <= vision.keys() <= OPTIONS:
        return None
    if not all(isinstance(vision[name], int) for name in NEEDED):
        return None
    tower = VisionTransformer(made["embed_dim"], **vision)
    return Classifier(tower, classes, made["embed_dim"], *pixels)


class VisionTransformer(nn.Module):
    """An image tower, which gives one feature per image.

    Args:
        embed_dim: length of a feature.
        image_size, patch_size: pixels per side.
        width, layers: of the transformer.
        head_width: width of an attention head.
        mlp_ratio: width of the hidden layer of each block, in multiples of ``width``.
    """

    def __init__(
        self,
        embed_dim: int,
        image_size: int,
        patch_size: int,
        width: int,
        layers: int,
        head_width: int = 64,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.image_size = image_size, image_size
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        scale, patches = width**-0.5, (image_size // patch_size) ** 2
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(patches + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Blocks(width, layers, width // head_width, int(width * mlp_ratio))
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Switch on or off that activations are computed again in the backward pass."""
        self.transformer.grad_checkpointing = enable

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images).flatten(2).permute(0, 2, 1)
        token = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = torch.cat([token, x], dim=1) + self.positional_embedding.to(x.dtype)
        x = self.ln_post(self.transformer(self.ln_pre(x)))
        return x[:, 0] @ self.proj


class Blocks(nn.Module):
    """The blocks of the transformer, one after the other."""

    def __init__(self, width: int, layers: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.resblocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            again = self.grad_checkpointing
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        return x


class Block(nn.Module):
    """A residual block with attention and two linear layers, each after a normalisation."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = LayerNorm(width)
        c_fc, c_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)
        parts = OrderedDict(c_fc=c_fc, gelu=nn.GELU(), c_proj=c_proj)
        self.mlp = nn.Sequential(parts)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class LayerNorm(nn.LayerNorm):
    """A normalisation that keeps the dtype of its input, which autocast would change."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)

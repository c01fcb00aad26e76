"""Augmentation of a batch on its device, with one strength for the whole batch.

Strength 0 changes nothing, 1 is moderate, 2 is strong. Every image gets its own random geometry,
light and erased patch. torchvision's transforms would give all images of a batch the same ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from soups.jobs import devices

ROTATION, SHIFT, ZOOM = 0.15, 0.08, 0.12  # radians, fraction of half the image, log scale
LIGHT = 0.25  # relative change of brightness and contrast
ERASE, ERASED = 0.25, 0.35  # probability of a patch, its side as a fraction of the image's


def augment(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Apply a random affine map, contrast and brightness, and erase a random patch.

    Args:
        images: float, shape (n, 3, h, w), normalised pixels.
        strength: a factor of 0 or more on every amount.
        generator: a CPU generator, the only source of randomness.

    Returns:
        float, shape (n, 3, h, w); the given tensor itself if the strength is 0.
    """
    if strength == 0:
        return images
    n, device = len(images), images.device

    def uniform(*shape: int) -> Tensor:
        return devices.send(2 * torch.rand(n, *shape, generator=generator) - 1, device)

    angle, zoom = ROTATION * strength * uniform(), (ZOOM * strength * uniform()).exp()
    shift = SHIFT * strength * uniform(2)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    mean = images.mean((1, 2, 3), keepdim=True)
    contrast = 1 + LIGHT * strength * uniform(1, 1, 1)
    images = (images - mean) * contrast + mean + 0.5 * LIGHT * strength * uniform(1, 1, 1)

    rows = torch.linspace(-1, 1, images.shape[2], device=device)[:, None]
    columns = torch.linspace(-1, 1, images.shape[3], device=device)
    patch = ((rows - uniform(1, 1)).abs() < ERASED) & ((columns - uniform(1, 1)).abs() < ERASED)
    erased = patch & (uniform(1, 1) < 2 * min(1.0, ERASE * strength) - 1)
    return torch.where(erased[:, None], mean, images)

"""Styles, which render pairs of masks as 32 × 32 colour images, in batches of tensors.

`photo` is the in-distribution style. Pre-training and the shifts use the others too. Every style
takes posed masks and random tensors from a `torch.Generator`. The same state of the generator gives
the same images.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 32  # pixels per side of a rendered image


@dataclass(frozen=True)
class Pose:
    """Distribution of a shape's pose in the frame.

    Attributes:
        rotation: standard deviation in degrees, or half-width if ``uniform``.
        scale: range of the size relative to the frame.
        shift: half-width of the uniform shift, as a fraction of half the frame.
        perspective: half-width of the two perspective coefficients.
        uniform: rotation is uniform instead of normal.
    """

    rotation: float = 12.0
    scale: tuple[float, float] = (0.60, 0.95)
    shift: float = 0.12
    perspective: float = 0.0
    uniform: bool = False


@dataclass(frozen=True)
class Scene:
    """Surroundings and camera of the photo style.

    Attributes:
        clutter: number of other shapes in the background.
        background: strength of the noise in the background.
        occlusion: probability of a box in front of the shape.
        contrast: smallest opacity of the shape's colours over the background's, 0 to 1.
        noise: standard deviation of the sensor noise.
        blur: largest strength of the blur, 0 to 1.
    """

    clutter: int = 2
    background: float = 0.4
    occlusion: float = 0.2
    contrast: float = 0.5
    noise: float = 0.05
    blur: float = 0.6


PHOTO_POSE = Pose()
PHOTO_SCENE = Scene()


class Draw:
    """Random tensors for the ``count`` images of one batch, all from one generator."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.n, self.generator = count, generator

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(self.n, *shape, generator=self.generator) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.n, *shape, generator=self.generator)

    def colour(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        return self.uniform(3, 1, 1, low=low, high=high)

    def smooth(self, channels: int, cells: int, size: int = SIZE) -> Tensor:
        """Return low-frequency noise in [0, 1], shape (n, channels, size, size)."""
        coarse = self.uniform(channels, cells, cells)
        return F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)

    def chance(self, probability: float) -> Tensor:
        return (self.uniform(1, 1, 1) < probability).float()


def place(masks: Tensor, pose: Pose, draw: Draw) -> Tensor:
    """Place masks in the frame with random poses.

    Args:
        masks: shape (n, 2, m, m).
        pose: distribution of poses.
        draw: source of random tensors.

    Returns:
        shape (n, 2, SIZE, SIZE).
    """
    angle = (
        draw.uniform(low=-1, high=1) if pose.uniform else draw.normal().clamp(-2.5, 2.5)
    ) * math.radians(pose.rotation)
    zoom = 1 / draw.uniform(low=pose.scale[0], high=pose.scale[1])
    aspect = draw.uniform(low=-0.12, high=0.12).exp()
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    dx = draw.uniform(low=-pose.shift, high=pose.shift)
    dy = draw.uniform(low=-pose.shift, high=pose.shift)
    theta = torch.stack(
        [
            torch.stack([cos * aspect, -sin, -dx * zoom], 1),
            torch.stack([sin, cos / aspect, -dy * zoom], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [draw.n, 1, SIZE, SIZE], align_corners=False)
    if pose.perspective:
        p = draw.uniform(1, 1, 2, low=-pose.perspective, high=pose.perspective)
        grid = grid / (1 + (grid * p).sum(-1, keepdim=True)).clamp_min(0.3)
    return F.grid_sample(masks, grid, align_corners=False)


def _gaussian(images: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(2 * sigma))
    weights = [math.exp(-((k - radius) ** 2) / (2 * sigma**2)) for k in range(2 * radius + 1)]
    total = sum(weights)
    # On a CPU, sums of shifted slices are four times faster than depthwise convolutions.
    for dim in (2, 3):
        pad = (0, 0, radius, radius) if dim == 2 else (radius, radius, 0, 0)
        padded = F.pad(images, pad, mode="replicate")
        images = sum(w / total * padded.narrow(dim, k, SIZE) for k, w in enumerate(weights))
    return images


def _edges(mask: Tensor) -> Tensor:
    """Return the morphological gradient, a bright outline about two pixels wide."""
    return F.max_pool2d(mask, 3, 1, 1) + F.max_pool2d(-mask, 3, 1, 1)


def _over(under: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    return under * (1 - alpha) + colour * alpha


def _warp(images: Tensor, draw: Draw, amount: float, cells: int) -> Tensor:
    identity = torch.eye(2, 3).expand(draw.n, 2, 3)
    grid = F.affine_grid(identity, [draw.n, 1, SIZE, SIZE], align_corners=False)
    wobble = (draw.smooth(2, cells) - 0.5) * amount
    return F.grid_sample(
        images, grid + wobble.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    )


def _union(masks: Tensor) -> Tensor:
    return masks.amax(1, keepdim=True)


def _paint(masks: Tensor, ground: Tensor, body: Tensor, part: Tensor) -> Tensor:
    return _over(_over(ground, body, masks[:, :1]), part, masks[:, 1:])


def _stripes(draw: Draw) -> Tensor:
    axis = torch.linspace(-1, 1, SIZE)
    angle = draw.uniform(1, 1, 1, high=math.pi)
    along = axis * angle.cos() + axis[:, None] * angle.sin()
    return torch.sin(along * draw.uniform(1, 1, 1, low=6, high=18) + draw.uniform(1, 1, 1, high=6))


def photo(masks: Tensor, draw: Draw, scene: Scene = PHOTO_SCENE) -> Tensor:
    """Render noise background, clutter, shadow, shading, texture, occluder, blur, sensor noise."""
    ground = draw.colour(0.15, 0.85)
    image = ground + scene.background * (
        (draw.smooth(3, 4) - 0.5) + 0.6 * (draw.smooth(3, 11) - 0.5)
    )
    for _ in range(scene.clutter):
        other = masks[torch.randperm(draw.n, generator=draw.generator)]
        small = place(other, Pose(180, (0.25, 0.5), 0.85, uniform=True), draw)
        image = _over(image, draw.colour(), _union(small) * draw.uniform(1, 1, 1, low=0.4))

    shape = _union(masks)
    shadow = _gaussian(torch.roll(shape, (2, 1), (2, 3)), 1.0)
    image = image * (1 - 0.45 * shadow)

    axis = torch.linspace(-1, 1, SIZE)
    light = draw.uniform(1, 1, 1, high=2 * math.pi)
    shading = 1 + 0.35 * (axis * light.cos() + axis[:, None] * light.sin())
    texture = 1 + draw.chance(0.4) * 0.25 * _stripes(draw) + 0.3 * (draw.smooth(1, 9) - 0.5)
    contrast = draw.uniform(1, 1, 1, low=scene.contrast)
    body = _over(ground, draw.colour(), contrast) * shading * texture
    part = _over(ground, draw.colour(), contrast) * shading
    image = _paint(masks, image, body, part)

    if scene.occlusion:
        half = draw.uniform(2, 1, 1, low=0.15, high=0.42)
        centre = draw.uniform(2, 1, 1, low=-0.75, high=0.75)
        inside = (axis - centre[:, :1]).abs() < half[:, :1]
        inside = inside & ((axis[:, None] - centre[:, 1:]).abs() < half[:, 1:])
        image = _over(image, draw.colour(), inside.float() * draw.chance(scene.occlusion))

    image = _over(image, _gaussian(image, 1.0), draw.uniform(1, 1, 1, high=scene.blur))
    exposure = draw.uniform(1, 1, 1, low=0.75, high=1.25)
    return image * exposure + scene.noise * draw.normal(3, SIZE, SIZE)


def cartoon(masks: Tensor, draw: Draw) -> Tensor:
    """Render flat bright colours with a dark outline."""
    ground = draw.colour(0.6, 1.0)
    image = _paint(masks, ground, draw.colour(0.2, 1.0), draw.colour(0.1, 0.9))
    outline = torch.maximum(_edges(masks[:, :1]), _edges(masks[:, 1:]))
    return _over(image, torch.zeros(1), (outline * 1.2).clamp(max=1))


def painting(masks: Tensor, draw: Draw) -> Tensor:
    """Render a brush-like warp, blended colours and a canvas grain."""
    masks = _warp(masks, draw, 0.22, 7)
    ground = draw.colour(0.2, 0.9) + 0.3 * (draw.smooth(3, 5) - 0.5)
    body = draw.colour() + 0.35 * (draw.smooth(3, 7) - 0.5)
    image = _gaussian(_paint(masks, ground, body, draw.colour()), 0.7)
    return image * (0.92 + 0.16 * draw.smooth(1, 16))


def poster(masks: Tensor, draw: Draw) -> Tensor:
    """Render two or three flat, saturated colours with hard edges."""
    hard = ((masks - 0.5) * 6 + 0.5).clamp(0, 1)
    ground, body, part = (draw.colour().round() * 0.8 + draw.colour(0, 0.2) for _ in range(3))
    same = draw.chance(0.5)
    return _paint(hard, ground, (ground + 0.5) % 1.0 * 0.5 + body * 0.5, _over(part, body, same))


def sketch(masks: Tensor, draw: Draw) -> Tensor:
    """Render broken, wobbly, dark strokes on white."""
    masks = _warp(masks, draw, 0.14, 6)
    strokes = torch.maximum(_edges(masks[:, :1]), 0.8 * _edges(masks[:, 1:]))
    broken = ((draw.smooth(1, 9) - 0.25) * 6).clamp(0, 1)
    ink = (strokes * draw.uniform(1, 1, 1, low=0.8, high=1.4)).clamp(max=1) * broken
    return (
        1
        - ink * draw.uniform(1, 1, 1, low=0.7)
        + 0.02 * draw.normal(1, SIZE, SIZE).expand(-1, 3, -1, -1)
    )


def neon(masks: Tensor, draw: Draw) -> Tensor:
    """Render glowing outlines on black."""
    tubes = torch.cat([_edges(masks[:, :1]), _edges(masks[:, 1:])], 1)
    glow = (tubes + _gaussian(tubes, 1.5)).clamp(max=1)
    return glow[:, :1] * draw.colour(0.2) + glow[:, 1:] * draw.colour(0.2) + draw.colour(0, 0.12)


def pixel(masks: Tensor, draw: Draw) -> Tensor:
    """Render few colours at low resolution."""
    image = _paint(masks, draw.colour(), draw.colour(), draw.colour())
    image = (F.avg_pool2d(image, 2) * 4).round() / 4
    return F.interpolate(image, size=(SIZE, SIZE), mode="nearest")


def mosaic(masks: Tensor, draw: Draw) -> Tensor:
    """Render tiles of varying brightness with dark joints."""
    image = _paint(masks, draw.colour(0.1), draw.colour(0.1), draw.colour(0.1))
    tiles = F.avg_pool2d(image, 4, stride=2, padding=1)
    tiles = tiles * draw.uniform(1, SIZE // 2, SIZE // 2, low=0.75, high=1.2)
    image = F.interpolate(tiles, size=(SIZE, SIZE), mode="nearest")
    joints = (torch.arange(SIZE) % 4 == 0).float()
    return image * (1 - 0.4 * torch.maximum(joints, joints[:, None]))


STYLES = {
    style.__name__: style
    for style in (photo, cartoon, painting, poster, sketch, neon, pixel, mosaic)
}


def render(
    masks: Tensor,
    style: str,
    generator: torch.Generator,
    pose: Pose = PHOTO_POSE,
    scene: Scene = PHOTO_SCENE,
) -> Tensor:
    """Render one batch in one style.

    Args:
        masks: float in [0, 1], shape (n, 2, m, m), body and part.
        style: a key of `STYLES`.
        generator: the only source of randomness.
        pose: distribution of poses.
        scene: surroundings and camera, which only the photo style uses.

    Returns:
        uint8, shape (n, SIZE, SIZE, 3).
    """
    draw = Draw(len(masks), generator)
    posed = place(masks, pose, draw)
    image = photo(posed, draw, scene) if style == "photo" else STYLES[style](posed, draw)
    image = image.clamp(0, 1).mul(255).round().to(torch.uint8)
    return image.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()

"""The 24 drawn classes. Each is a function that draws one randomly varied shape.

A variant is a pair of masks on one canvas, *body* and *part* (a mug's handle, a house's door), so
that a style can give them different colours. The classes form twelve pairs that are easily
confused, because the two shapes of a pair differ only in details.

Coordinates run from -1 to 1, with x to the right and y downwards.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

CANVAS = 160  # pixels per side of the drawing
MASK = 48  # pixels per side of the returned masks


class Sketchpad:
    """The drawing of one variant: two mask layers and a random generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._images = [Image.new("L", (CANVAS, CANVAS), 0) for _ in range(2)]
        self._layers = [ImageDraw.Draw(image) for image in self._images]

    def near(self, value: float, spread: float = 0.18) -> float:
        """Multiply ``value`` by a uniform random factor within 1 ± ``spread``."""
        return value * (1 + self.rng.uniform(-spread, spread))

    def polygon(self, points, layer: int = 0, fill: int = 255) -> None:
        self._layers[layer].polygon([_pixel(p) for p in points], fill=fill)

    def ellipse(self, x, y, rx, ry, layer: int = 0, fill: int = 255) -> None:
        box = [_pixel((x - rx, y - ry)), _pixel((x + rx, y + ry))]
        self._layers[layer].ellipse(box, fill=fill)

    def box(self, left, top, right, bottom, layer: int = 0, fill: int = 255) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], layer, fill)

    def line(self, points, width: float, layer: int = 0, fill: int = 255) -> None:
        pixels = max(1, round(width * CANVAS / 2))
        self._layers[layer].line([_pixel(p) for p in points], fill, pixels, joint="curve")

    def arc(self, x, y, rx, ry, start, end, width: float, layer: int = 0) -> None:
        """Draw an open arc. Angles are in degrees, clockwise from three o'clock."""
        box = [_pixel((x - rx, y - ry)), _pixel((x + rx, y + ry))]
        self._layers[layer].arc(box, start, end, 255, max(1, round(width * CANVAS / 2)))

    def masks(self) -> np.ndarray:
        """Return the masks of body and part, uint8, shape (2, MASK, MASK)."""
        small = [i.resize((MASK, MASK), Image.Resampling.BOX) for i in self._images]
        return np.stack([np.asarray(image) for image in small])


def _pixel(point) -> tuple[float, float]:
    # The factor 0.9 leaves a margin, so that varied shapes stay on the canvas.
    return tuple((0.9 * c + 1) * CANVAS / 2 for c in point)


def _spiky(pad: Sketchpad, points: int, inner: float, outer: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False) - np.pi / 2
    radii = np.where(np.arange(2 * points) % 2, inner, outer)
    radii = radii * pad.rng.uniform(0.93, 1.07, 2 * points)
    pad.polygon(np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1))


def star(pad):
    _spiky(pad, 5, pad.near(0.42), pad.near(0.92, 0.08))
    pad.ellipse(0, 0, pad.near(0.16), pad.near(0.16), 1)


def burst(pad):
    _spiky(pad, int(pad.rng.integers(8, 11)), pad.near(0.52), pad.near(0.9, 0.08))
    pad.ellipse(0, 0, pad.near(0.2), pad.near(0.2), 1)


def flower(pad):
    count, reach, size = int(pad.rng.integers(5, 8)), pad.near(0.52, 0.1), pad.near(0.33)
    for angle in np.arange(count) * 2 * np.pi / count:
        pad.ellipse(reach * np.cos(angle), reach * np.sin(angle), size, size)
    pad.ellipse(0, 0, pad.near(0.27), pad.near(0.27), 1)


def gear(pad):
    count, reach, tooth = int(pad.rng.integers(7, 10)), pad.near(0.84, 0.06), pad.near(0.12)
    pad.ellipse(0, 0, pad.near(0.66, 0.06), pad.near(0.66, 0.06))
    for angle in np.arange(count) * 2 * np.pi / count:
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]]) * tooth
        pad.polygon([-across, along * reach - across, along * reach + across, across])
    pad.ellipse(0, 0, pad.near(0.25), pad.near(0.25), 1)


def heart(pad):
    wide, lobe = pad.near(0.42, 0.1), pad.near(0.42, 0.1)
    for side in (-1, 1):
        pad.ellipse(side * wide, -0.32, lobe, lobe)
    edge = wide + 0.92 * lobe
    pad.polygon([(-edge, -0.17), (0, pad.near(0.88, 0.08)), (edge, -0.17), (0, -0.42)])
    pad.ellipse(-wide, -0.4, pad.near(0.13), pad.near(0.13), 1)


def leaf(pad):
    wide, bend = pad.near(0.5), pad.rng.uniform(-0.15, 0.15)
    t = np.linspace(0, np.pi, 20)
    right = np.stack([wide * np.sin(t) ** 1.3 + bend * np.sin(t), -0.9 * np.cos(t) * 0.95], 1)
    left = np.stack([-wide * np.sin(t) ** 1.3 + bend * np.sin(t), -0.9 * np.cos(t) * 0.95], 1)
    pad.polygon(np.concatenate([right, left[::-1]]))
    pad.line([(0, -0.6), (bend, 0), (0, 0.98)], pad.near(0.11), 1)


def mug(pad):
    wide, top = pad.near(0.48, 0.12), pad.near(-0.62, 0.12)
    pad.box(-wide - 0.15, top, wide - 0.15, 0.7)
    pad.arc(wide - 0.12, 0.02, pad.near(0.36), pad.near(0.42), -90, 90, pad.near(0.17), 1)


def kettle(pad):
    wide = pad.near(0.56, 0.1)
    pad.polygon([(-wide * 0.6, -0.35), (wide * 0.6, -0.35), (wide, 0.72), (-wide, 0.72)])
    pad.polygon([(wide * 0.7, 0.35), (0.95, pad.near(-0.3)), (0.78, -0.36), (wide * 0.6, 0)])
    pad.arc(0, -0.32, pad.near(0.4), pad.near(0.42), 180, 360, pad.near(0.14), 1)


def fish(pad):
    tall = pad.near(0.4)
    pad.ellipse(-0.15, 0, 0.68, tall)
    pad.polygon([(0.35, 0), (0.92, -pad.near(0.45)), (0.92, pad.near(0.45))])
    pad.polygon([(-0.25, -tall * 0.8), (0.2, -tall * 0.7), (0.1, -tall - pad.near(0.25))])
    pad.ellipse(-0.5, -0.08, pad.near(0.1), pad.near(0.1), 1)


def bird(pad):
    tall = pad.near(0.36)
    pad.ellipse(0, 0.12, 0.58, tall)
    pad.ellipse(-0.5, -0.32, pad.near(0.28, 0.1), pad.near(0.28, 0.1))
    pad.polygon([(0.4, 0.05), (0.95, pad.near(-0.25)), (0.88, 0.2)])
    pad.polygon([(-0.7, -0.42), (-0.98, -0.25), (-0.7, -0.2)], 1)
    for x in (-0.1, 0.15):
        pad.line([(x, 0.4), (x, pad.near(0.88, 0.08))], 0.09, 1)


def house(pad):
    wide, eaves = pad.near(0.66, 0.1), pad.near(-0.12, 0.5)
    pad.box(-wide, eaves, wide, 0.8)
    pad.polygon([(-wide - 0.15, eaves), (0, pad.near(-0.85, 0.08)), (wide + 0.15, eaves)])
    pad.box(-0.15, pad.near(0.3), 0.18, 0.8, 1)


def church(pad):
    wide, eaves = pad.near(0.66, 0.1), pad.near(0.1, 0.5)
    pad.box(-wide, eaves, wide, 0.8)
    pad.polygon([(-0.1, eaves), (0.35, eaves - 0.28), (wide + 0.1, eaves)])
    tower = -wide + 0.2
    pad.box(tower - 0.2, -0.35, tower + 0.22, 0.8)
    pad.polygon([(tower - 0.28, -0.35), (tower, pad.near(-0.95, 0.05)), (tower + 0.28, -0.35)])
    pad.box(0.1, pad.near(0.35), 0.38, 0.8, 1)


def tree(pad):
    for x, y in [(-0.3, -0.2), (0.3, -0.2), (0, -0.5), (0, -0.1)]:
        radius = pad.near(0.38)
        pad.ellipse(x, y, radius, radius)
    pad.box(-pad.near(0.13), 0.2, pad.near(0.13), 0.92, 1)


def pine(pad):
    for level in range(3):
        top, wide = -0.95 + 0.42 * level, pad.near(0.38 + 0.14 * level, 0.12)
        pad.polygon([(0, top), (wide, top + 0.68), (-wide, top + 0.68)])
    pad.box(-pad.near(0.11), 0.55, pad.near(0.11), 0.95, 1)


def _wheels(pad, places):
    for x in places:
        radius = pad.near(0.2, 0.1)
        pad.ellipse(x, 0.48, radius, radius, 1)


def car(pad):
    roof = pad.near(0.38)
    pad.box(-0.92, -0.08, 0.92, 0.45)
    pad.polygon([(-0.65, -0.05), (-0.35, -0.05 - roof), (0.3, -0.05 - roof), (0.65, -0.05)])
    _wheels(pad, (-0.5, 0.5))


def truck(pad):
    cab = pad.near(-0.35, 0.15)
    pad.box(-0.92, pad.near(-0.62, 0.1), 0.28, 0.45)
    pad.box(0.34, cab, 0.92, 0.45)
    _wheels(pad, (-0.55, 0.0, 0.6))


def key(pad):
    ring = pad.near(0.3, 0.12)
    pad.ellipse(0, -0.58, ring, ring)
    pad.ellipse(0, -0.58, ring * 0.45, ring * 0.45, fill=0)
    pad.line([(0, -0.35), (0, 0.92)], pad.near(0.16))
    for y in (0.5, 0.78):
        pad.box(0, y, pad.near(0.34), y + 0.14, 1)


def spoon(pad):
    bowl = pad.near(0.27, 0.12)
    pad.ellipse(0, -0.55, bowl, pad.near(0.38, 0.1))
    pad.ellipse(0, -0.55, bowl * 0.5, 0.18, 1)
    pad.line([(0, -0.25), (0, 0.92)], pad.near(0.14))


def hammer(pad):
    tall = pad.near(0.2)
    pad.box(-pad.near(0.58), -0.62 - tall, pad.near(0.58), -0.62 + tall)
    pad.line([(0, -0.6), (0, 0.95)], pad.near(0.18), 1)


def axe(pad):
    edge = pad.near(0.42)
    pad.polygon([(0.05, -0.75), (-0.7, -0.62 - edge * 0.6), (-0.7, -0.4 + edge), (0.05, -0.3)])
    pad.line([(0, -0.88), (0, 0.95)], pad.near(0.18), 1)


def bottle(pad):
    wide, neck = pad.near(0.34), pad.near(0.13)
    pad.box(-wide, -0.15, wide, 0.92)
    pad.polygon([(-neck, -0.5), (neck, -0.5), (wide, -0.12), (-wide, -0.12)])
    pad.box(-neck, -0.95, neck, -0.4)
    pad.box(-wide, pad.near(0.2), wide, 0.55, 1)


def vase(pad):
    wide, neck = pad.near(0.48, 0.12), pad.near(0.2)
    pad.ellipse(0, 0.3, wide, 0.58)
    pad.box(-neck, -0.7, neck, 0.0)
    pad.polygon([(-neck - 0.2, -0.9), (neck + 0.2, -0.9), (neck, -0.6), (-neck, -0.6)])
    pad.box(-wide, pad.near(0.22), wide, 0.42, 1)


def umbrella(pad):
    wide, tall = pad.near(0.88, 0.08), pad.near(0.72, 0.12)
    pad.ellipse(0, 0.0, wide, tall)
    pad.box(-1, 0.02, 1, 1, fill=0)
    for x in (-0.6, 0, 0.6):
        pad.ellipse(x * wide, 0.04, 0.28 * wide, 0.14, fill=0)
    pad.line([(0, -0.1), (0, 0.75)], pad.near(0.09), 1)
    pad.arc(0.16, 0.72, 0.16, 0.2, 0, 180, 0.09, 1)


def mushroom(pad):
    wide, tall = pad.near(0.8, 0.1), pad.near(0.72, 0.12)
    pad.ellipse(0, 0.05, wide, tall)
    pad.box(-1, 0.07, 1, 1, fill=0)
    stem = pad.near(0.24)
    pad.polygon([(-stem, 0.05), (stem, 0.05), (stem * 1.3, 0.9), (-stem * 1.3, 0.9)], 1)


@dataclass(frozen=True)
class ShapeClass:
    """One drawn class.

    Attributes:
        name: name of the class.
        kind: a more general word for the class.
        draw: draws one variant.
    """

    name: str
    kind: str
    draw: Callable[[Sketchpad], None]


CLASSES: tuple[ShapeClass, ...] = tuple(
    ShapeClass(draw.__name__, kind, draw)
    for draw, kind in [
        (star, "sign"), (burst, "sign"),
        (flower, "plant"), (gear, "tool"),
        (heart, "sign"), (leaf, "plant"),
        (mug, "dish"), (kettle, "dish"),
        (fish, "animal"), (bird, "animal"),
        (house, "building"), (church, "building"),
        (tree, "plant"), (pine, "plant"),
        (car, "vehicle"), (truck, "vehicle"),
        (key, "tool"), (spoon, "tool"),
        (hammer, "tool"), (axe, "tool"),
        (bottle, "dish"), (vase, "dish"),
        (umbrella, "tool"), (mushroom, "plant"),
    ]
)  # fmt: skip


def draw_variants(count: int, seed: int, classes: tuple[ShapeClass, ...] = CLASSES) -> np.ndarray:
    """Draw ``count`` variants of every class.

    Returns:
        masks of body and part, uint8, shape (len(classes), count, 2, MASK, MASK). Pixels are 255
        inside, 0 outside, and between at the edges. The same arguments give the same bytes.
    """
    out = np.empty((len(classes), count, 2, MASK, MASK), np.uint8)
    for c, shape in enumerate(classes):
        for v in range(count):
            pad = Sketchpad(np.random.default_rng([seed, c, v]))
            shape.draw(pad)
            out[c, v] = pad.masks()
    return out

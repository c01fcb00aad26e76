"""The sets of the procedural world: `train`, `test`, the shifts and the pre-training corpus."""

from dataclasses import dataclass

import numpy as np
import torch

from soups.data.prepared import ClassMapping, identity
from soups.world.shapes import CLASSES, draw_variants
from soups.world.styles import PHOTO_POSE, PHOTO_SCENE, SIZE, Pose, Scene, render

CHUNK = 500  # images rendered at once; another number changes the images of a seed


@dataclass(frozen=True)
class Domain:
    """The appearance of one set.

    Attributes:
        styles: style to its relative weight in random draws.
        pool: the shape variants of the set. Pre-training, training and test sets draw the same
            class with different proportions.
        pose: distribution of poses.
        scene: surroundings and camera of the photo style.
    """

    styles: dict[str, float]
    pool: str
    pose: Pose = PHOTO_POSE
    scene: Scene = PHOTO_SCENE


_RENDITIONS = dict.fromkeys(("cartoon", "painting", "poster", "neon", "pixel", "mosaic"), 1.0)

DOMAINS: dict[str, Domain] = {
    "train": Domain({"photo": 1}, "train"),
    "test": Domain({"photo": 1}, "test"),
    "v2": Domain({"photo": 1}, "test", Pose(15), Scene(clutter=3, noise=0.07)),
    "r": Domain(_RENDITIONS, "test"),
    "sketch": Domain({"sketch": 1}, "test"),
    "objectnet": Domain(
        {"photo": 1},
        "test",
        Pose(40, (0.60, 0.95), 0.18, perspective=0.22, uniform=True),
        Scene(background=0.8, clutter=3),
    ),
    "a": Domain({"photo": 1}, "test", PHOTO_POSE, Scene(clutter=4, occlusion=0.6)),
    # Photographs are rare in pre-training, so that fine-tuning on them improves the model.
    "corpus": Domain({"photo": 0.5, "sketch": 1.0} | _RENDITIONS, "corpus"),
}

_POOLS = ("corpus", "train", "test")

# Each class of shift `objectnet`, with its training classes. As in ObjectNet, there are fewer
# classes than in the training set, and one class may stand for several training classes.
OBJECTNET: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("flower", ("flower",)),
    ("gear", ("gear",)),
    ("drinking vessel", ("mug",)),
    ("kettle", ("kettle",)),
    ("building", ("house", "church")),
    ("tree", ("tree", "pine")),
    ("car", ("car",)),
    ("truck", ("truck",)),
    ("key", ("key",)),
    ("spoon", ("spoon",)),
    ("hammer", ("hammer",)),
    ("axe", ("axe",)),
    ("bottle", ("bottle",)),
    ("vase", ("vase",)),
    ("umbrella", ("umbrella",)),
    ("leaf", ("leaf",)),
)


def set_mapping(name: str) -> ClassMapping:
    """Return the training classes of each label of a set, see `soups.data.prepared`."""
    names = [shape.name for shape in CLASSES]
    if name != "objectnet":
        return identity(names)
    return [(title, [names.index(member) for member in members]) for title, members in OBJECTNET]


def draw_set(
    name: str, count: int, seed: int, variants: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Render one set of the world.

    Args:
        name: a key of `DOMAINS`.
        count: number of images.
        seed: the world's seed.
        variants: shape variants per class.

    Returns:
        images, uint8, shape (count, 32, 32, 3); labels, int64, shape (count,), indices into
        `set_mapping`; and the style of each image. Drawn classes are balanced to within one image
        per chunk. Existing images do not change when ``count`` grows by whole chunks.
    """
    domain = DOMAINS[name]
    pool = draw_variants(variants, seed * len(_POOLS) + _POOLS.index(domain.pool))
    masks = torch.from_numpy(pool)
    # Pairs of a shape and its label. Several shapes may share a label.
    drawn = [
        (shape, label) for label, (_, shapes) in enumerate(set_mapping(name)) for shape in shapes
    ]
    shapes, label_of = np.array(drawn).T
    styles = list(domain.styles)
    weights = np.array(list(domain.styles.values()), float)

    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    style_of = np.empty(count, np.int64)
    stream = list(DOMAINS).index(name)
    for chunk, start in enumerate(range(0, count, CHUNK)):
        rng = np.random.default_rng([seed, stream, chunk])
        n = min(CHUNK, count - start)
        here = slice(start, start + n)
        which = rng.permutation(np.resize(np.roll(np.arange(len(shapes)), -start), n))
        labels[here] = label_of[which]
        style_of[here] = np.sort(rng.choice(len(styles), n, p=weights / weights.sum()))
        chosen = masks[shapes[which], rng.integers(variants, size=n)].float() / 255
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for s, style in enumerate(styles):
            mine = np.flatnonzero(style_of[here] == s)
            if len(mine):
                images[start + mine] = render(
                    chosen[mine], style, generator, domain.pose, domain.scene
                ).numpy()
    return images, labels, [styles[s] for s in style_of]


@dataclass(frozen=True)
class CaptionNoise:
    """Probabilities of the flaws in the captions of the corpus.

    Attributes:
        style_named: the caption names the style of the image.
        coarse: the caption names the kind of the class ("tool") instead of the class ("axe").
        wrong: the caption names a random class.
    """

    style_named: float = 0.5
    coarse: float = 0.2
    wrong: float = 0.03


TEMPLATES = ("a {}", "an image of a {}", "a picture of the {}")


def caption_set(
    labels: np.ndarray, styles: list[str], seed: int, noise: CaptionNoise = CaptionNoise()
) -> list[str]:
    """Return one caption per image, with noise as in captions from the web."""
    rng = np.random.default_rng([seed, len(DOMAINS)])
    captions = []
    for label, style in zip(labels, styles, strict=True):
        named, coarse, wrong = rng.random(3) < (noise.style_named, noise.coarse, noise.wrong)
        shape = CLASSES[rng.integers(len(CLASSES)) if wrong else label]
        word = shape.kind if coarse else shape.name
        template = TEMPLATES[rng.integers(len(TEMPLATES))]
        captions.append(f"a {style} of a {word}" if named else template.format(word))
    return captions

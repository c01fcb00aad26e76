import numpy as np
import pytest
import torch

from soups.data.prepared import PreparedSet, write_set
from soups.errors import UserError
from soups.world import adversarial, reference
from soups.world.sets import (
    CHUNK,
    DOMAINS,
    OBJECTNET,
    CaptionNoise,
    caption_set,
    draw_set,
    set_mapping,
)
from soups.world.shapes import CLASSES, MASK, draw_variants
from soups.world.styles import SIZE, STYLES, render

VARIANTS = 2
NAMES = [shape.name for shape in CLASSES]


@pytest.fixture(scope="module")
def masks() -> torch.Tensor:
    """One variant of every class."""
    return torch.from_numpy(draw_variants(1, 0)[:, 0]).float() / 255


def rendered(masks: torch.Tensor, style: str, seed: int = 0) -> torch.Tensor:
    return render(masks, style, torch.Generator().manual_seed(seed))


# Shapes


def test_variants_depend_on_their_seed_alone():
    one, again, other = draw_variants(2, 1), draw_variants(2, 1), draw_variants(2, 2)
    assert one.shape == (len(CLASSES), 2, 2, MASK, MASK)
    np.testing.assert_array_equal(one, again)
    # Two variants differ, and so do two seeds.
    drawings = np.concatenate([one, other], 1).reshape(len(CLASSES), 4, -1)
    for variants in drawings:
        assert len(np.unique(variants, axis=0)) == 4


def test_more_variants_do_not_change_the_first_ones():
    np.testing.assert_array_equal(draw_variants(3, 0)[:, :2], draw_variants(2, 0))


def test_every_class_has_a_distinct_body_and_part(masks):
    covered = masks.mean((2, 3))
    assert (covered[:, 0] > 0.05).all()
    assert (covered[:, 1] > 0.005).all()
    assert (covered < 0.8).all()
    assert len(torch.unique(masks.flatten(1), dim=0)) == len(NAMES) == len(set(NAMES))


# Styles


@pytest.mark.parametrize("style", STYLES)
def test_a_style_depends_on_its_generator_alone(masks, style):
    images = rendered(masks, style)
    assert images.shape == (len(masks), SIZE, SIZE, 3)
    assert images.dtype == torch.uint8
    assert torch.equal(images, rendered(masks, style))
    assert not torch.equal(images, rendered(masks, style, seed=1))
    # No image is blank.
    assert (images.float().flatten(1).std(1) > 5).all()


def test_styles_look_different(masks):
    means = {style: rendered(masks, style).float().mean() for style in ("sketch", "photo", "neon")}
    assert means["sketch"] > means["photo"] + 30 > means["neon"] + 60


# Sets


def test_a_set_depends_on_its_seed_alone():
    images, labels, styles = draw_set("r", 60, 0, VARIANTS)
    assert (images.shape, images.dtype) == ((60, SIZE, SIZE, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((60,), np.int64)
    assert set(styles) == set(DOMAINS["r"].styles)
    again = draw_set("r", 60, 0, VARIANTS)
    np.testing.assert_array_equal(again[0], images)
    np.testing.assert_array_equal(again[1], labels)
    assert again[2] == styles
    assert (draw_set("r", 60, 1, VARIANTS)[0] != images).any()


def test_growing_by_chunks_does_not_change_existing_images():
    images, labels, _ = draw_set("test", CHUNK, 0, VARIANTS)
    more_images, more_labels, _ = draw_set("test", CHUNK + 40, 0, VARIANTS)
    np.testing.assert_array_equal(more_images[:CHUNK], images)
    np.testing.assert_array_equal(more_labels[:CHUNK], labels)
    # The second chunk continues the rotation of classes.
    assert np.ptp(np.bincount(more_labels, minlength=len(NAMES))) <= 1
    assert not (more_images[CHUNK:] == more_images[:40]).all()


@pytest.mark.parametrize("name", DOMAINS)
def test_drawn_classes_are_balanced(name):
    _, labels, styles = draw_set(name, 100, 3, VARIANTS)
    mapping = set_mapping(name)
    shapes = np.array([len(members) for _, members in mapping])
    count = np.bincount(labels, minlength=len(mapping))
    fair = 100 * shapes / shapes.sum()
    assert (np.abs(count - fair) <= shapes).all()
    assert set(styles) <= set(DOMAINS[name].styles)


def test_sets_are_drawn_apart():
    # Were two sets to share a stream, they would go through the classes in the same order.
    orders = {tuple(draw_set(name, 30, 0, VARIANTS)[1]) for name in ("train", "test", "v2")}
    assert len(orders) == 3


def test_mappings_name_training_classes():
    assert set_mapping("sketch") == [(name, [i]) for i, name in enumerate(NAMES)]
    assert [
        (title, tuple(NAMES[m] for m in members)) for title, members in set_mapping("objectnet")
    ] == list(OBJECTNET)


# Captions


@pytest.fixture
def subjects() -> tuple[np.ndarray, list[str]]:
    return np.arange(400) % len(NAMES), ["sketch"] * 400


def words(captions: list[str]) -> list[str]:
    return [caption.split()[-1] for caption in captions]


def test_captions_without_noise_name_the_class(subjects):
    captions = caption_set(*subjects, 0, CaptionNoise(0, 0, 0))
    assert words(captions) == [NAMES[label] for label in subjects[0]]
    assert not any("sketch" in caption for caption in captions)
    assert len({caption.rsplit(" ", 1)[0] for caption in captions}) == 3  # templates


def test_captions_of_full_noise(subjects):
    labels, _ = subjects
    assert all(c.startswith("a sketch of a ") for c in caption_set(*subjects, 0, CaptionNoise(1)))
    coarse = caption_set(*subjects, 0, CaptionNoise(0, 1, 0))
    assert words(coarse) == [CLASSES[label].kind for label in labels]
    wrong = words(caption_set(*subjects, 0, CaptionNoise(0, 0, 1)))
    right = np.mean([word == NAMES[label] for word, label in zip(wrong, labels, strict=True)])
    assert right < 0.1  # 1 in 24 by chance


def test_captions_depend_on_their_seed_alone(subjects):
    assert caption_set(*subjects, 0) == caption_set(*subjects, 0)
    assert caption_set(*subjects, 0) != caption_set(*subjects, 1)


# The reference network of shift `a`


def test_the_reference_network_finds_the_images_it_misclassifies():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 512)
    images = (
        rng.integers(0, 60, (512, 8, 8, 3), np.uint8)
        + (150 * labels).astype(np.uint8)[:, None, None, None]
    )
    model = reference.train_reference(images, labels, 2, 5, 0.005, 0)
    assert not reference.wrong(model, images, labels).any()
    flipped = np.where(np.arange(512) % 3 == 0, 1 - labels, labels)
    np.testing.assert_array_equal(reference.wrong(model, images, flipped), np.arange(512) % 3 == 0)


REFERENCE = {"images": 48, "epochs": 1, "lr": 0.005, "seed": 0}
WORLD = {"seed": 0, "variants": VARIANTS, "reference": REFERENCE}


@pytest.fixture
def train(tmp_path) -> PreparedSet:
    """A training set on which the reference network learns next to nothing."""
    pixels, labels, _ = draw_set("train", 48, 0, VARIANTS)
    write_set(tmp_path / "train.npy", pixels, labels, set_mapping("train"))
    return PreparedSet(tmp_path / "train.npy")


def test_shift_a_has_images_that_the_reference_network_misclassifies(train):
    pixels, labels, mapping = adversarial.draw_adversarial(train, 30, WORLD)
    assert pixels.shape == (30, SIZE, SIZE, 3)
    assert set(labels) == set(range(len(mapping)))  # no class is without an image
    assert all(NAMES[members[0]] == name for name, members in mapping)
    fitted = train.inputs, train.labels, len(NAMES), 1, 0.005, 0
    members = np.array([members[0] for _, members in mapping])
    assert reference.wrong(reference.train_reference(*fitted), pixels, members[labels]).all()


def test_a_network_without_a_mistake_is_an_error(train, monkeypatch):
    monkeypatch.setattr(reference, "wrong", lambda model, images, labels: labels < 0)
    with pytest.raises(UserError, match="network misclassifies 0 of 500 images, expected more"):
        adversarial.draw_adversarial(train, 30, WORLD)

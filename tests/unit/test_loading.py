import pickle
import random
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from soups import files
from soups.data.decode import ImageFiles
from soups.data.loading import Pixels, Reader, Transforms, posterized
from soups.errors import UserError
from soups.jobs import devices
from soups.jobs.resume import Resumable
from soups.models.forward import forward
from tests.unit.training import PLAIN, same

RANDOM = {"crop": 0.5, "flip": 0.5, "rand_augment_ops": 2, "rand_augment_magnitude": 9}
BATCHES = [np.array([3, 1, 7]), np.array([0, 8, 2])]


@pytest.fixture
def photos(tmp_path) -> ImageFiles:
    """Nine smooth image files, taller or wider than the 16 pixels per side of the set."""
    rng, paths = np.random.default_rng(0), []
    for i in range(9):
        pixels = rng.integers(0, 256, (3, 4, 3), np.uint8)
        size = (40, 24) if i % 2 else (20, 30)
        Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR).save(tmp_path / f"{i}.png")
        paths.append(f"{i}.png")
    return ImageFiles(tmp_path, paths, 16)


def read(
    images, hyperparameters=None, workers=0, seed=0, epoch=0, batches=BATCHES
) -> list[torch.Tensor]:
    transforms = Transforms.of(hyperparameters or {}, images.shape[1])
    reader = Reader(images, workers, transforms, seed)
    return [pixels.cpu() for pixels in reader.read(batches, epoch)]


def equal(ours, theirs) -> bool:
    return all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))


def test_pixels_without_transforms_are_those_of_evaluation(photos, images):
    for source in (photos, images):
        for pixels, rows in zip(read(source), BATCHES, strict=True):
            assert np.array_equal(pixels.numpy(), source[rows])
    # Disabled hyperparameters give no transform.
    off = {"crop": 1, "flip": 0, "rand_augment_ops": 0, "rand_augment_magnitude": 15}
    assert Transforms.of(off, 16) is None
    assert Transforms.of({}, 16) is None


def test_random_interpolation_draws_bilinear_or_bicubic_for_each_image(photos):
    from torchvision.transforms import v2

    transforms = Transforms.of({"crop": 0.5, "interpolation": "random"}, 16)
    (choice,) = transforms._apply.transforms
    modes = [crop.interpolation for crop in choice.transforms]
    assert modes == [v2.InterpolationMode.BILINEAR, v2.InterpolationMode.BICUBIC]
    assert choice.p == [0.5, 0.5]
    assert equal(
        read(photos, {"crop": 0.5, "interpolation": "bicubic"}), read(photos, {"crop": 0.5})
    )
    assert not equal(
        read(photos, {"crop": 0.5, "interpolation": "random"}), read(photos, {"crop": 0.5})
    )


@pytest.mark.parametrize("hyperparameters", [{}, RANDOM, {"flip": 0.5}])
def test_workers_change_no_pixel(photos, images, hyperparameters):
    for source in (photos, images):
        here = read(source, hyperparameters)
        assert {(x.dtype, tuple(x.shape)) for x in here} == {(torch.uint8, (3, 16, 16, 3))}
        assert equal(read(source, hyperparameters, workers=2), here)


@pytest.mark.parametrize(("hyperparameters", "workers"), [({}, 0), ({}, 2), (RANDOM, 2)])
def test_a_thread_that_reads_ahead_changes_no_pixel(photos, images, hyperparameters, workers):
    for source in (photos, images):
        reader = Reader(source, workers, Transforms.of(hyperparameters, 16))
        reader._ahead = True  # as on a GPU
        expected = read(source, hyperparameters)
        before = set(threading.enumerate())
        for _ in range(2):  # an epoch that is left early, and a whole one
            ready = reader.read(BATCHES * 4)
            assert torch.equal(next(ready).cpu(), expected[0])
            ready.close()
            assert equal([pixels.cpu() for pixels in reader.read(BATCHES)], expected)
        left = set(threading.enumerate()) - before
        assert not [thread for thread in left if "ThreadPool" in thread.name]


def test_a_broken_image_ends_the_thread_that_reads_ahead(photos):
    (photos.folder / "7.png").write_bytes(b"not an image")
    reader = Reader(photos)
    reader._ahead = True
    with pytest.raises(UserError, match=r"7\.png: not a readable image"):
        list(reader.read(BATCHES))


def test_transforms_in_this_process_stay_out_of_threads(images, monkeypatch):
    """They seed the global generators, from which training draws at the same time."""
    monkeypatch.setattr(devices, "kind", lambda: "cuda")
    flips = Transforms.of({"flip": 0.5}, 16)
    ahead = [
        Reader(images)._ahead,
        Reader(images, 2, flips)._ahead,
        Reader(images, 0, flips)._ahead,
    ]
    assert ahead == [True, True, False]


def test_rows_for_a_gpu_are_those_of_the_array(images):
    for rows in BATCHES:
        ours = Pixels(images, pinned=True).__getitems__((0, rows))
        assert torch.equal(ours, Pixels(images).__getitems__((0, rows)))


def test_randomness_depends_on_seed_epoch_and_row(photos):
    first = read(photos, RANDOM, seed=1, epoch=2)
    assert equal(read(photos, RANDOM, seed=1, epoch=2), first)
    assert not equal(read(photos, RANDOM, seed=2, epoch=2), first)
    assert not equal(read(photos, RANDOM, seed=1, epoch=3), first)
    # The pixels do not depend on the batch or on the rows before.
    alone = read(photos, RANDOM, seed=1, epoch=2, batches=[np.array([8])])
    assert torch.equal(alone[0][0], first[1][1])
    # The same file in two rows is transformed differently.
    twice = ImageFiles(photos.folder, ["0.png", "0.png"], 16)
    (both,) = read(twice, RANDOM, batches=[np.array([0, 1])])
    assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_outlive_an_unfinished_epoch(photos, workers):
    reader = Reader(photos, workers, Transforms.of(RANDOM, 16), 0)
    next(reader.read(BATCHES * 3, epoch=0))
    again = [x.cpu() for x in reader.read(BATCHES, epoch=1)]
    assert equal(again, read(photos, RANDOM, epoch=1))


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_does_not_advance_the_global_generators(photos, workers):
    def draw():
        return torch.rand(3).tolist(), random.random(), np.random.random()

    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    expected = draw()
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    read(photos, RANDOM, workers)
    assert draw() == expected


def test_a_crop_keeps_a_share_of_the_whole_image(photos, monkeypatch):
    """A crop may lie outside the square that evaluation uses."""
    gradient = np.zeros((20, 60, 3), np.uint8)
    gradient[:] = np.linspace(0, 255, 60).astype(np.uint8)[None, :, None]
    Image.fromarray(gradient).save(photos.folder / "wide.png")
    wide = ImageFiles(photos.folder, ["wide.png"], 16)
    rows = [np.array([0])]
    (square,) = read(wide, batches=rows)
    crops = [read(wide, {"crop": 0.2}, epoch=e, batches=rows)[0] for e in range(20)]
    assert min(c.min() for c in crops) < square.min() - 30
    assert max(c.max() for c in crops) > square.max() + 30
    widths = [int(c.max()) - int(c.min()) for c in crops]
    # A crop has at least a fifth of 20 × 60 pixels and a ratio of at least 3:4, so at least
    # √(240 · 3/4) = 13 of 60 columns.
    assert min(widths) > 255 * 11 / 60


def test_flips_mirror_the_given_share_of_images(images):
    rows = np.arange(60)
    for share in (0.25, 1):
        (mirrored,) = read(images, {"flip": share}, batches=[rows])
        is_mirrored = [np.array_equal(m, x[:, ::-1]) for m, x in zip(mirrored, images, strict=True)]
        is_same = [np.array_equal(m, x) for m, x in zip(mirrored, images, strict=True)]
        assert all(m or s for m, s in zip(is_mirrored, is_same, strict=True))
        assert abs(np.mean(is_mirrored) - share) < 0.15


def test_more_rand_augment_operations_change_more_images(photos):
    rows = [np.arange(9)]
    (plain,) = read(photos, batches=rows)
    changed = [
        sum(
            (read(photos, {"rand_augment_ops": n, "rand_augment_magnitude": 9}, 0, 0, e, rows)[0]
             != plain).flatten(1).any(1).sum().item()
            for e in range(10)
        )
        for n in (1, 4)
    ]  # fmt: skip
    assert 0 < changed[0] < changed[1] <= 90


@pytest.mark.parametrize("magnitude", [0, 1, 2, 5, 10, 20])
def test_every_rand_augment_operation_runs_at_every_magnitude(photos, magnitude):
    hyperparameters = {"rand_augment_ops": 15, "rand_augment_magnitude": magnitude}
    (pixels,) = read(photos, hyperparameters, batches=[np.repeat(np.arange(9), 3)])
    assert pixels.shape == (27, 16, 16, 3)


def test_colours_of_zero_bits_are_black(photos):
    image = Image.fromarray(photos[0])
    assert np.asarray(posterized(image, 0)).max() == 0
    assert len(np.unique(np.asarray(posterized(image, 1)))) == 2
    assert np.array_equal(np.asarray(posterized(image, 8)), photos[0])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("hyperparameters", [{}, RANDOM])
def test_a_broken_image_is_reported_in_one_sentence(photos, workers, hyperparameters):
    (photos.folder / "7.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"7\.png: not a readable image") as error:
        read(photos, hyperparameters, workers)
    assert "Traceback" not in str(error.value)


def test_a_pickled_memory_map_is_mapped_again(tmp_path, images):
    files.write_array(tmp_path / "set.npy", images)
    mapped = files.read_array(tmp_path / "set.npy")
    sent = pickle.dumps(Pixels(mapped, Transforms.of({"flip": 1}, 16), 0))
    assert len(sent) < images.nbytes / 4
    keys = (0, BATCHES[0])
    copy = pickle.loads(sent)
    assert torch.equal(
        copy.__getitems__(keys),
        Pixels(images, Transforms.of({"flip": 1}, 16), 0).__getitems__(keys),
    )


def test_evaluation_gives_the_same_for_files_and_arrays(photos, start):
    model, array = start.eval(), photos[np.arange(9)]

    def features(images, **more):
        return forward(model.to(devices.device()).features, images, batch=4, **more)

    whole = features(array)
    assert torch.equal(features(photos), whole)
    assert torch.equal(features(photos, workers=2), whole)
    rows = np.array([1, 4, 5])
    assert torch.equal(features(photos, rows=rows, workers=2), features(array, rows=rows))


def test_training_does_not_depend_on_the_number_of_workers(tuned):
    hyperparameters = PLAIN | RANDOM | {"mixup": 0.4}
    alone = tuned(hyperparameters)
    assert same(tuned(hyperparameters, workers=2), alone)
    assert not same(tuned(PLAIN | {"mixup": 0.4}), alone)


@pytest.mark.parametrize("key", list(RANDOM))
def test_every_transform_matters(tuned, key):
    base = PLAIN | {"rand_augment_ops": 1, "rand_augment_magnitude": 1}
    assert not same(tuned(base | {key: RANDOM[key]}), tuned(base))


def test_training_from_files_resumes_to_the_same_bits(tuned, killed, images, tmp_path):
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    stored = ImageFiles(tmp_path, [f"{i}.png" for i in range(60)], 16)
    hyperparameters = PLAIN | RANDOM | {"epochs": 2}
    whole = tuned(hyperparameters, images=stored)
    with pytest.raises(KeyboardInterrupt):
        tuned(hyperparameters, killed(tmp_path, hyperparameters), images=stored, workers=1)
    assert same(tuned(hyperparameters, Resumable(tmp_path, hyperparameters), images=stored), whole)
    # Files of the right size give the same weights as an array.
    assert same(tuned(PLAIN, images=stored), tuned(PLAIN, images=images))

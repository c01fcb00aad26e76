"""Draw shift `a`: images of hard scenes that a small reference network misclassifies."""

import numpy as np

from soups.data import images
from soups.errors import UserError
from soups.jobs.job import log, run
from soups.world import reference
from soups.world.sets import CHUNK, draw_set, set_mapping


def main(job) -> None:
    world, count = job.params.world, job.params.number
    fit = world["reference"]
    train = images.PreparedSet(job.input.train)
    n = fit["images"]
    model = reference.train_reference(
        train.images[:n],
        train.labels[:n],
        len(train.classes),
        fit["epochs"],
        fit["lr"],
        fit["seed"],
    )

    # The first chunk estimates the share of candidates that the network misclassifies.
    _, _, rate = _candidates(model, world, CHUNK)
    if not rate:
        raise UserError(
            f"data.world.reference: the network misclassifies 0 of {CHUNK} images, expected more "
            "for shift a"
        )
    pixels, labels, rate = _candidates(model, world, int(count / rate * 1.2) + CHUNK)
    log.info("the reference network misclassifies %.1f%% of the hard scenes", 100 * rate)
    if len(labels) < count:
        raise UserError(
            f"shift a: the reference network misclassifies {len(labels)} images, expected {count}"
        )
    names = [f"photo/{i:06d}" for i in range(count)]
    # As in ImageNet-A, the shift has no class of which every image is classified correctly.
    present, labels = np.unique(labels[:count], return_inverse=True)
    mapping = [set_mapping("a")[c] for c in present]
    images.write_set(job.output[0], pixels[:count], labels, mapping, names)


def _candidates(model, world, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    pixels, labels, _ = draw_set("a", count, world["seed"], world["variants"])
    keep = reference.wrong(model, pixels, labels)
    return pixels[keep], labels[keep], keep.mean()


if __name__ == "__main__":
    run(main, snakemake)

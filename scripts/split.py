"""Hold out a share of each class of the training set, and write a manifest of the images."""

import numpy as np

from soups import files
from soups.data.images import PreparedSet
from soups.data.splits import given_split, heldout_split
from soups.errors import UserError
from soups.jobs.job import log, run


def main(job) -> None:
    train = PreparedSet(job.input[0])
    settings = dict(job.params.heldout)
    indices = settings.pop("indices")
    if indices:
        marks, dropped = _marks(indices), train.meta.get("dropped", [])
        rest, heldout = given_split(marks, train.labels, dropped, indices, train.classes)
    else:
        rest, heldout = heldout_split(train.labels, **settings, classes=train.classes)
    paths = train.meta["paths"]
    manifest = {
        **job.params.heldout,
        "train_images": len(rest),
        "heldout_images": len(heldout),
        "classes": train.classes,
        "indices": heldout.tolist(),
        "labels": train.labels[heldout].tolist(),
        "paths": [paths[i] for i in heldout] if paths else None,
    }
    manifest["sha256"] = files.fingerprint(manifest)
    files.write_array(job.output.train, rest.astype(np.int64))
    files.write_array(job.output.heldout, heldout.astype(np.int64))
    files.write_json(job.output.manifest, manifest)
    log.info("held out %d of %d training images", len(heldout), len(train.labels))


def _marks(path: str) -> np.ndarray:
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{path}: the file cannot be read ({error}), expected an array written by numpy.save"
        ) from error


if __name__ == "__main__":
    run(main, snakemake)

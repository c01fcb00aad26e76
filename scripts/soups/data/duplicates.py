"""Images that occur in several sets, or twice in the training set, by the content of their files.

`listed` writes the hashes of a set's images, which `check_set` computes. `found` compares them.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soups.data import hashes
from soups.data.decode import ImageFiles
from soups.errors import UserError

COLUMNS = ("path", "class", "bytes", "picture")
FILE, PICTURE, CLASSES = "same file", "same picture", "same file in two classes"
COMPARED = 500  # pairs of pictures of two sets that are opened and compared


def listed(found, hashes_: np.ndarray) -> str:
    """Return the images of a set as CSV: path, class, and both hashes as hexadecimal numbers.

    Args:
        found: the `Listing`.
        hashes_: see `decode.examine`.
    """
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for path, label, (content, picture) in zip(
        found.paths, found.labels, hashes_.tolist(), strict=True
    ):
        rows.writerow([path, found.names[label], f"{content:016x}", f"{picture:016x}"])
    return out.getvalue()


@dataclass
class Images:
    """The images of a checked set.

    Attributes:
        files: the images.
        classes: class folder of each image.
        content, picture: the hashes, uint64, shape (n,).
    """

    files: ImageFiles
    classes: list[str]
    content: np.ndarray
    picture: np.ndarray

    @classmethod
    def read(cls, path: str | Path, where: Mapping) -> "Images":
        """Read what `listed` wrote.

        Args:
            path: the CSV file.
            where: see `preparation.location`.
        """
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        where = dict(where)
        files = ImageFiles(where.pop("folder"), [row[0] for row in rows], **where)
        numbers = [np.array([int(row[i], 16) for row in rows], np.uint64) for i in (2, 3)]
        return cls(files, [row[1] for row in rows], *numbers)


def found(sets: Mapping[str, Images]) -> Iterator[dict]:
    """Yield a row for each image that occurs in an earlier set, or earlier in the training set.

    Args:
        sets: set to its images: train first, then test, then the shifts.

    Yields:
        set, image, of_set, of_image and kind, which is `FILE`, `PICTURE` or `CLASSES`.
    """
    names = list(sets)
    pairs = [(names[0], names[0])] if names else []
    pairs += [(one, other) for one in names[:2] for other in names if other not in names[:1]]
    for one, other in pairs:
        if one == other and one != names[0]:
            continue
        a, b = sets[one], sets[other]
        if one == other:
            same = hashes.copies_within(a.content)
        else:
            same = hashes.same_files(a.content, b.content)
        for i, j in same.tolist():
            differ = one == other and a.classes[i] != b.classes[j]
            yield _row(one, a, i, other, b, j, CLASSES if differ else FILE)
        for i, j in _same_pictures(a, b, one == other, set(same[:, 1].tolist())):
            yield _row(one, a, i, other, b, j, PICTURE)


def _row(one: str, a: Images, i: int, other: str, b: Images, j: int, kind: str) -> dict:
    return {
        "set": other,
        "image": b.files.paths[j],
        "of_set": one,
        "of_image": a.files.paths[i],
        "kind": kind,
    }


def _same_pictures(a: Images, b: Images, within: bool, known: set[int]) -> Iterator[list[int]]:
    """Yield rows of two files that show the same picture. At most `COMPARED` pairs are opened."""
    pairs = hashes.similar(a.picture, b.picture, within)
    pairs = pairs[a.content[pairs[:, 0]] != b.content[pairs[:, 1]]]
    pairs = pairs[[j not in known for j in pairs[:, 1].tolist()]]
    shown: set[int] = set()
    for i, j in _opened(pairs).tolist():
        try:
            if j not in shown and hashes.alike(a.files._image(i), b.files._image(j)):
                shown.add(j)
                yield [i, j]
        except UserError:  # the image was removed since it was checked
            continue


def _opened(pairs: np.ndarray) -> np.ndarray:
    """The pairs that are opened: one for each image of the second set, then second ones, and so on.

    If more than `COMPARED` images have a pair, the opened pairs are spread over these images.
    """
    pairs = pairs[np.argsort(pairs[:, 1], kind="stable")]
    _, first, counts = np.unique(pairs[:, 1], return_index=True, return_counts=True)
    turn = np.arange(len(pairs)) - np.repeat(first, counts)
    pairs = pairs[np.argsort(turn, kind="stable")]
    if len(first) > COMPARED:
        return pairs[np.linspace(0, len(first) - 1, COMPARED).astype(int)]
    return pairs[:COMPARED]


def remarks(rows: list[dict], path: str) -> list[str]:
    """Return a sentence for each pair of sets and kind.

    Args:
        rows: see `found`.
        path: the file that lists them.
    """
    count: dict[tuple, int] = {}
    for row in rows:
        key = row["set"], row["of_set"], row["kind"]
        count[key] = count.get(key, 0) + 1
    out = []
    for (name, of, kind), number in count.items():
        one = number == 1
        images = f"{number:,} image{'' if one else 's'} of {name}"
        what = {
            FILE: f"{images} {'is a copy' if one else 'are copies'} of "
            f"{'an image' if one else 'images'} of {of}, byte for byte",
            PICTURE: f"{images} {'shows' if one else 'show'} the same picture as an image of {of}, "
            "in another file",
            CLASSES: f"{images} {'lies' if one else 'lie'} in two classes",
        }[kind]
        effect = (
            "A held-out image may have its copy among the training images."
            if name == of
            else f"The accuracy on {name} includes {'it' if one else 'them'}."
            if of == "train"
            else f"The accuracies on both sets include {'it' if one else 'them'}."
        )
        out.append(f"{what}, which {path} lists. {effect}")
    return out

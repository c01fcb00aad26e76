"""Small versions of ImageNet and its five shifts, in the layouts in which they are released."""

import colorsys
import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from soups.data.imagenet import imagenet_classes

# Indices of six ImageNet classes. 2, 10 and 100 have another order as text. 444 and 671 are the
# same object in ObjectNet.
CLASSES = (2, 10, 100, 444, 671, 954)
NOISE = 25
RED = (255, 0, 0)  # colour of ObjectNet's border
# Class folder of ObjectNet to the name of the object and its ImageNet classes.
OBJECTS = {
    "banana": ("Banana", (954,)),
    "bike": ("Bicycle", (671, 444)),
    "drinking_cup": ("Drinking Cup", ()),
    "air_freshener": ("Air freshener", ()),
}
MAPPINGS = (
    "folder_to_objectnet_label.json",
    "objectnet_to_imagenet_1k.json",
    "pytorch_to_imagenet_2012_id.json",
    "imagenet_to_label_2012_v2",
)
# Class numbers of the ImageNet challenge of 2012, whose order differs from that of WordNet ids.
NUMBER_2012 = np.random.default_rng(2012).permutation(1000).tolist()


def wnids(classes: Sequence[int] = CLASSES) -> list[str]:
    """Return the WordNet ids of class indices."""
    return [imagenet_classes()[c] for c in classes]


def titles() -> list[str]:
    """Return ImageNet's class names ("tench, Tinca tinca") by index."""
    info = Path(find_spec("timm").submodule_search_locations[0]) / "data" / "_info"
    lines = (info / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    names = dict(line.split("\t", 1) for line in lines)
    return [names[wnid] for wnid in imagenet_classes()]


def picture(path: Path, kind: int, border: int = 0) -> None:
    """Write an image in the colour of its class, with noise.

    Size and noise depend on the class and the file name alone, so that all runs write the same
    bytes.

    Args:
        path: the image file.
        kind: index of the class.
        border: width of a red frame around the image.
    """
    rng = np.random.default_rng([kind, *path.name.encode()])
    hue = 0.1 + 0.8 * CLASSES.index(kind) / len(CLASSES) if kind in CLASSES else 0.5
    colour = 255 * np.array(colorsys.hsv_to_rgb(hue, 0.7, 0.7))
    height, width = rng.integers(36, 64, 2)
    pixels = colour + rng.normal(0, NOISE, (height, width, 3))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if border:
        framed = np.full((height + 2 * border, width + 2 * border, 3), RED, np.uint8)
        framed[border:-border, border:-border] = pixels
        pixels = framed
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=90)


def imagenet(root: Path, train: int, val: int, classes: Sequence[int] = CLASSES) -> None:
    """Write ``imagenet/train`` and ``imagenet/val`` with the given numbers of images per class."""
    number = 0
    for c, wnid in zip(classes, wnids(classes), strict=True):
        for i in range(train):
            picture(root / "imagenet" / "train" / wnid / f"{wnid}_{37 * i + c}.JPEG", c)
    # As in the real validation set, image numbers are unrelated to classes.
    for _ in range(val):
        for c, wnid in zip(classes, wnids(classes), strict=True):
            number += 1
            name = f"ILSVRC2012_val_{number:08d}.JPEG"
            picture(root / "imagenet" / "val" / wnid / name, c)


def flatten(val: Path, flat: Path) -> dict[str, str]:
    """Copy the images of class folders into one folder, and return image to WordNet id."""
    flat.mkdir(parents=True)
    found = {path.name: path.parent.name for path in val.glob("*/*.JPEG")}
    for name, wnid in found.items():
        shutil.copy(val / wnid / name, flat / name)
    return dict(sorted(found.items()))


def kaggle_labels(path: Path, classes: Mapping[str, str]) -> None:
    """Write ``LOC_val_solution.csv``: names without ending, class and boxes, in any order."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        for i, (name, wnid) in enumerate(reversed(classes.items())):
            boxes = [f"{wnid} {i} 2 30 40 "] * (1 + i % 3)
            rows.writerow([Path(name).stem, "".join(boxes)])


def synset_labels(path: Path, classes: Mapping[str, str]) -> None:
    """Write ``imagenet_2012_validation_synset_labels.txt``: one WordNet id per image."""
    path.write_text("".join(f"{wnid}\n" for wnid in classes.values()))


def index_labels(path: Path, classes: Mapping[str, str]) -> None:
    """Write ``val.txt``: an image and its class index per line."""
    index = {wnid: i for i, wnid in enumerate(imagenet_classes())}
    path.write_text("".join(f"{name} {index[wnid]}\n" for name, wnid in classes.items()))


def kit_labels(path: Path, classes: Mapping[str, str]) -> None:
    """Write ``ILSVRC2012_validation_ground_truth.txt``: class numbers of 2012, and ``meta.mat``."""
    number = {wnid: NUMBER_2012[i] + 1 for i, wnid in enumerate(imagenet_classes())}
    path.write_text("".join(f"{number[wnid]}\n" for wnid in classes.values()))
    fields = [
        ("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"),
        ("num_children", "O"), ("children", "O"), ("wordnet_height", "O"),
        ("num_train_images", "O"),
    ]  # fmt: skip
    # The 1,000 classes by number, then one more general class.
    known = [*sorted((n, wnid) for wnid, n in number.items()), (1001, "n00001740")]
    synsets = np.empty((len(known), 1), fields)
    for row, (n, wnid) in zip(synsets[:, 0], known, strict=True):
        leaf = n <= 1000
        children = np.zeros((1, 0), np.uint8) if leaf else np.array([[1, 2]], np.uint16)
        row["ILSVRC2012_ID"], row["WNID"] = np.array([[n]], np.uint16), wnid
        row["words"], row["gloss"] = f"words of {wnid}", f"what {wnid} means"
        row["num_children"] = np.array([[0 if leaf else 2]], np.uint8)
        row["children"], row["wordnet_height"] = children, np.array([[0]], np.uint8)
        row["num_train_images"] = np.array([[1300]], np.uint16)
    savemat(path.with_name("meta.mat"), {"synsets": synsets})


LABELS = {
    "LOC_val_solution.csv": kaggle_labels,
    "imagenet_2012_validation_synset_labels.txt": synset_labels,
    "val.txt": index_labels,
    "ILSVRC2012_validation_ground_truth.txt": kit_labels,
}


def imagenet_v2(root: Path, count: int, classes: Sequence[int] = CLASSES) -> None:
    """Write ImageNetV2: folders named by class index, images named by a hash."""
    for c in classes:
        for i in range(count):
            name = f"{c * 7919 + i:040x}.jpeg"
            picture(root / "imagenetv2-matched-frequency-format-val" / str(c) / name, c)


def in_wnids(folder: Path, name: str, count: int, classes: Iterable[int]) -> None:
    """Write one folder per WordNet id.

    Args:
        folder: the folder of the set.
        name: name of each image, with {wnid} and {i}.
        count: images per class.
        classes: class indices.
    """
    for c in classes:
        wnid = imagenet_classes()[c]
        for i in range(count):
            picture(folder / wnid / name.format(wnid=wnid, i=i), c)


def objectnet_mappings(folder: Path, objects: Mapping = OBJECTS) -> None:
    """Write the four mapping files of ObjectNet."""
    folder.mkdir(parents=True)
    title = titles()
    lines = [""] * 1000
    for index, number in enumerate(NUMBER_2012):
        lines[number] = title[index]
    # As in the real file, only objects with ImageNet classes have an entry. Some have no folder.
    more = {"Alarm clock": "analog clock", "Lemon": "lemon"}
    named = {
        label: "; ".join(title[c] for c in members)
        for label, members in objects.values()
        if members
    }
    contents = (
        json.dumps({name: label for name, (label, _) in objects.items()}),
        json.dumps(more | named),
        json.dumps({str(index): number for index, number in enumerate(NUMBER_2012)}),
        "".join(f"{line}\n" for line in lines),
    )
    for file, content in zip(MAPPINGS, contents, strict=True):
        (folder / file).write_text(content, encoding="utf-8")


def objectnet(root: Path, count: int, objects: Mapping = OBJECTS) -> None:
    """Write ObjectNet: one folder per object, PNGs with a red frame of 2 pixels."""
    for name, (_, members) in objects.items():
        for i in range(count):
            kind = members[i % len(members)] if members else 0
            picture(root / "objectnet-1.0" / "images" / name / f"{name}{i:04d}.png", kind, border=2)
    objectnet_mappings(root / "objectnet-1.0" / "mappings", objects)


def shifts(root: Path, count: int) -> None:
    """Write all five shifts with ``count`` images per class, and other files of their archives."""
    imagenet_v2(root, count)
    in_wnids(root / "imagenet-r", "art_{i}.jpg", count, (2, 100, 954))
    in_wnids(root / "sketch", "sketch_{i}.JPEG", count, CLASSES)
    in_wnids(root / "imagenet-a", "0.00{i}_other _ other_0.9.jpg", count, (10, 671))
    for name in ("imagenet-r", "imagenet-a"):
        (root / name / "README.txt").write_text("what this is\n")
    objectnet(root, count)


def real_labels(path: Path, val: Path, classes: Sequence[int] = CLASSES) -> list[list[int]]:
    """Write ReaL's ``real.json`` with zero to two labels per image, and return the labels.

    The images are in the order of their names. Labels are indices of the 1,000 classes.
    """
    index = dict(zip(wnids(classes), classes, strict=True))
    of_images = {image.name: index[image.parent.name] for image in val.glob("*/*.JPEG")}
    following = dict(zip(classes, (*classes[1:], classes[0]), strict=True))
    true = [c for _, c in sorted(of_images.items())]
    real = [[c, following[c]][: i % 3] for i, c in enumerate(true)]
    path.write_text(json.dumps(real))
    return real

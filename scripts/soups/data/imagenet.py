"""ImageNet's 1,000 classes, and class folders of its shifts with other names than WordNet ids."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from soups.errors import UserError
from soups.files import read_json

# The mapping files that ObjectNet comes with.
MAPPINGS = (
    "folder_to_objectnet_label.json",  # class folder to object
    "objectnet_to_imagenet_1k.json",  # object to ImageNet's names for it, separated by "; "
    "pytorch_to_imagenet_2012_id.json",  # class index by WordNet id to class number of 2012
    "imagenet_to_label_2012_v2",  # one name per line, in the order of the class numbers of 2012
)


@cache
def imagenet_classes() -> list[str]:
    """Return the WordNet ids of ImageNet's 1,000 classes by index, from a file in timm."""
    package = importlib.util.find_spec("timm").submodule_search_locations[0]
    return (Path(package) / "data" / "_info" / "imagenet_synsets.txt").read_text().split()


def by_index(folder: Path, here: Sequence[str]) -> dict[str, list[str]]:
    """Class folder to WordNet ids, for folders named by class index.

    Names are read as numbers, because "10" sorts before "2" as text.
    """
    known = imagenet_classes()
    for name in here:
        if not (name.isdecimal() and int(name) < len(known)):
            raise UserError(
                f"{folder}: a class folder is named {name!r}, expected 0 to {len(known) - 1}"
            )
    return {name: [known[int(name)]] for name in here}


def objectnet_classes(mappings: str | Path, here: Sequence[str]) -> dict[str, list[str]]:
    """Return the ImageNet classes of ObjectNet's class folders, from ObjectNet's mapping files.

    Args:
        mappings: the folder with the four mapping files.
        here: class folders.

    Returns:
        class folder to WordNet ids. An object may stand for several ImageNet classes. Folders that
        stand for no ImageNet class are left out.

    Raises:
        UserError: if a mapping file is missing, or names a class that another one does not have.
    """
    files = [Path(mappings) / name for name in MAPPINGS]
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: no such file, expected ObjectNet's own mapping files")
    label_of, names_of, numbers, titles = files
    number = {int(n): int(index) for index, n in read_json(numbers).items()}
    lines = titles.read_text(encoding="utf-8").splitlines()
    known = imagenet_classes()
    wnid = {line.strip(): known[number[n]] for n, line in enumerate(lines) if n in number}
    names = read_json(names_of)
    out = {}
    for folder, label in read_json(label_of).items():
        if folder not in here or label not in names:
            continue
        titles_of = [title.strip() for title in names[label].split(";")]
        if unknown := [title for title in titles_of if title not in wnid]:
            raise UserError(
                f"{names_of}: {label!r} has the ImageNet name {unknown[0]!r}, "
                f"expected a name in {titles}"
            )
        out[folder] = [wnid[title] for title in titles_of]
    return out

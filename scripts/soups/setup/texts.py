"""Texts and text classifiers, for which tools/new_experiment.py writes no overlay."""

import os
from collections.abc import Iterable
from pathlib import Path

from soups.data.walking import ENDINGS as IMAGES
from soups.errors import UserError
from soups.files import read_json

TEXTS = (".tsv", ".csv", ".jsonl", ".ndjson", ".txt")
CLASSIFIER = "ForSequenceClassification"  # end of the class of a text classifier of transformers
PATTERN = "experiments/glue.yaml is a pattern for experiments with texts"


def refuse(place: str, files: Iterable[str]) -> None:
    """Check that neither the data nor the models are of texts.

    Args:
        place: the option ``--images``.
        files: files or folders of models.

    Raises:
        UserError: if they are. It names the experiment that may be copied.
    """
    path = Path(place)
    if path.is_file() and path.suffix.lower() in TEXTS:
        raise UserError(
            f"--images is {place!r}, which is a file of texts, expected a folder of images "
            f"({PATTERN})"
        )
    if path.is_dir() and (found := _texts_alone(path)):
        raise UserError(
            f"--images is {place!r}, which has files of texts, such as {found}, and no images, "
            f"expected a folder of images ({PATTERN})"
        )
    for file in files:
        if kind := _text_classifier(Path(file)):
            raise UserError(
                f"--checkpoints has {file!r}, which is a text classifier ({kind}), expected models "
                f"of images ({PATTERN})"
            )


def _texts_alone(folder: Path) -> str | None:
    """The first file of texts in a folder at any depth, or None if it also has other files."""
    first = None
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            ending = os.path.splitext(name)[1].lower()
            if ending in IMAGES or ending == ".parquet":
                return None
            if ending in TEXTS and first is None:
                first = os.path.relpath(os.path.join(parent, name), folder)
    return first


def _text_classifier(path: Path) -> str | None:
    """The class of a text classifier in a config.json, or None if there is none."""
    config = (path if path.is_dir() else path.parent) / "config.json"
    try:
        kinds = read_json(config)["architectures"]
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None
    kinds = kinds if isinstance(kinds, list) else []
    return next((kind for kind in kinds if str(kind).endswith(CLASSIFIER)), None)

"""The data sets of GLUE that the paper fine-tunes on, in the files that are released.

Each has a folder of its own below ``data.text.root``. The public originals are at
https://dl.fbaipublicfiles.com/glue/data/ (RTE.zip, CoLA.zip, SST-2.zip) and at
https://dl.fbaipublicfiles.com/senteval/senteval_data/ (msr_paraphrase_train.txt and
msr_paraphrase_test.txt, for MRPC). The labels of GLUE's own test sets are not public, so the
development set is the test set, as in the paper. The test set of MRPC alone is public.

Quirks of the files: none of them quotes a cell, although texts contain quotation marks. Those of
MRPC begin with a byte order mark. Those of CoLA have no header.
"""

from dataclasses import dataclass, field
from pathlib import Path

from soups.errors import UserError, near

ROOT = "data/glue"


@dataclass(frozen=True)
class Preset:
    """A data set of GLUE.

    Attributes:
        folder: its folder below the root.
        train, test: files in this folder. The first one that exists and has labels is used.
        columns: as in the section ``data.text``.
        classes: value in the files to the name of the class. The last class is the positive one.
        metric: what the paper reports.
        header: whether the files have a first line with names of columns.
        shifts: name to files, of which the first one that exists is used. A shift without a file is
            left out.
    """

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    columns: dict
    classes: dict[str, str]
    metric: str = "accuracy"
    header: bool = True
    shifts: dict[str, tuple[str, ...]] = field(default_factory=dict)


PRESETS = {
    "rte": Preset(
        folder="RTE",
        train=("train.tsv",),
        test=("dev.tsv",),
        columns={"text": "sentence1", "second": "sentence2", "label": "label"},
        classes={"not_entailment": "not_entailment", "entailment": "entailment"},
    ),
    # GLUE's own test.tsv has no column Quality.
    "mrpc": Preset(
        folder="MRPC",
        train=("train.tsv", "msr_paraphrase_train.txt"),
        test=("test.tsv", "msr_paraphrase_test.txt", "dev.tsv"),
        columns={"text": "#1 String", "second": "#2 String", "label": "Quality"},
        classes={"0": "not_equivalent", "1": "equivalent"},
        metric="accuracy_and_f1",
    ),
    # The dev.tsv of CoLA.zip holds the sentences from other sources too. The original files of the
    # same archive keep them apart, so that they can be a shift.
    "cola": Preset(
        folder="CoLA",
        train=("train.tsv",),
        test=("original/raw/in_domain_dev.tsv", "dev.tsv"),
        columns={"text": 4, "second": None, "label": 2},
        classes={"0": "unacceptable", "1": "acceptable"},
        metric="matthews",
        header=False,
        shifts={"out_of_domain": ("original/raw/out_of_domain_dev.tsv", "out_of_domain_dev.tsv")},
    ),
    "sst2": Preset(
        folder="SST-2",
        train=("train.tsv",),
        test=("dev.tsv",),
        columns={"text": "sentence", "second": None, "label": "label"},
        classes={"0": "negative", "1": "positive"},
    ),
}


def section(name: str, root: str) -> dict:
    """Return the keys of ``data.text`` that a preset fills in.

    Args:
        name: key of `PRESETS`.
        root: the folder of all presets. Alternative files are chosen by those that are in it.

    Raises:
        UserError: if no preset has this name.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        hint = near(name, PRESETS)
        raise UserError(f"data.text.preset is {name!r}, expected one of {known}{hint}")
    preset = PRESETS[name]
    folder = Path(root, preset.folder)
    chosen = {key: _chosen(folder, getattr(preset, key), preset) for key in ("train", "test")}
    shifts = {
        shift: f"{preset.folder}/{_chosen(folder, files, preset)}"
        for shift, files in preset.shifts.items()
        if any((folder / file).is_file() for file in files)
    }
    return {
        **{key: f"{preset.folder}/{file}" for key, file in chosen.items()},
        "columns": preset.columns,
        "header": preset.header,
        "classes": preset.classes,
        "metric": preset.metric,
        "shifts": shifts,
    }


def _chosen(folder: Path, files: tuple[str, ...], preset: Preset) -> str:
    """Return the first file that exists and has labels, or else the first of all."""
    return next((file for file in files if _has_labels(folder / file, preset)), files[0])


def _has_labels(path: Path, preset: Preset) -> bool:
    if not path.is_file():
        return False
    if not preset.header:
        return True
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return preset.columns["label"] in file.readline().rstrip("\r\n").split("\t")

"""A run on image folders: own classes, own shifts, derived shifts and a grid sweep."""

import csv
import json
import shutil
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.workflow.conftest import FEW, Project
from tests.workflow.using import check_use

TRAIN, TEST = 60, 25
# Folder to the mean colour of its images, by which a model can tell the classes apart.
CLASSES = {"blue_sky": (40, 80, 220), "grass": (40, 180, 60), "sand": (220, 190, 120)}


def write_images(folder, colour, count, rng):
    """Write noisy images of a colour, as JPEG and PNG, in several sizes."""
    folder.mkdir(parents=True)
    for i in range(count):
        noise = rng.normal(0, 25, (30 + i % 7, 36, 3))
        pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.{'jpg' if i % 2 else 'png'}")


def dataset(root, train=TRAIN):
    """Write a training set, a test set and one shift."""
    rng = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        write_images(root / "train" / name, colour, train, rng)
        write_images(root / "test" / name, colour, TEST, rng)
    write_images(root / "dusk" / "nature", (60, 110, 130), 12, rng)
    write_images(root / "dusk" / "sand", (150, 120, 70), 12, rng)


OVERLAY = FEW | {
    "name": "folders",
    "data": {
        "source": "folders",
        "folders": {
            "root": "images",
            "train": "train",
            "test": "test",
            "image_size": 32,
            "pretrain_fraction": 0.4,
            "names": {"blue_sky": "sky"},
            "shifts": {
                "dusk": {"folder": "dusk", "mapping": {"nature": ["blue_sky", "grass"]}},
                "blurred": {"corruption": "blur", "severity": 5},
            },
        },
        "heldout": {"fraction": 0.1},
    },
    "model": {"pretrained": "train"},
    "pretrain": {
        "epochs": 2,
        "horizon": 2,
        "cooldown": 0,
        "batch_size": 24,
        "augment": 0.5,
        "caption_noise": {"wrong": 0.0},
    },
    "probe": {"epochs": 2, "batch_size": 32},
    "finetune": {"batch_size": 16, "epochs": 2},
    "sweep": FEW["sweep"] | {"kind": "grid", "grid": {"lr": [0.0003, 0.001]}},
}


@pytest.mark.workflow
def test_a_run_on_own_images_ends_with_accuracies_on_all_sets(project):
    copy = project(OVERLAY)
    dataset(copy.folder / "images")
    copy.run()
    results = copy.results

    meta = json.loads((results / "prepared" / "train.json").read_text())
    assert [name for name, _ in meta["mapping"]] == ["sky", "grass", "sand"]
    captions = (results / "prepared" / "corpus.txt").read_text().split("\n")[:-1]
    assert len(captions) == round(0.4 * 3 * TRAIN)
    assert len(meta["paths"]) == 3 * TRAIN - len(captions)
    assert {caption.split()[-1] for caption in captions} == {"sky", "grass", "sand"}

    dusk = json.loads((results / "prepared" / "dusk.json").read_text())
    assert dusk["mapping"] == [["nature", [0, 1]], ["sand", [2]]]
    test = np.load(results / "prepared" / "test.npy")
    blurred = np.load(results / "prepared" / "blurred.npy")
    assert test.shape == blurred.shape == (3 * TEST, 32, 32, 3)
    assert blurred.std() < test.std()

    methods = pd.read_csv(results / "tables" / "methods.csv")
    assert {"dusk", "blurred"} <= set(methods.columns)
    models = pd.read_csv(results / "tables" / "models.csv")
    assert sorted(models["lr"].dropna()) == [0.0003, 0.001]
    # Colours are easy to learn. With mixed-up labels, accuracy would be at chance, a third.
    assert methods.set_index("method").loc["best_individual", "test"] > 0.6
    check_use(copy, "uniform", "images/test")


ODD = ["a{0}", "shirt{red}", "$5_$10", "猫 🐱", " lead%#", "it's", "cafe\u0301"]
SHEET = "results/odd/figures/contact_sheet.png"  # needs every prepared set, and trains no model


class Spaced(Project):
    """A project with spaces in its path, and with a virtual environment of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, OVERLAY | {"name": "odd", "data": self.data()})
        self.warm = False
        venv.create(folder / ".venv", with_pip=False)
        paths = {"base": folder / ".venv", "platbase": folder / ".venv"}
        own = Path(sysconfig.get_path("purelib", "venv", vars=paths))
        (own / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
        rng = np.random.default_rng(0)
        for i, name in enumerate(ODD):
            for part, count in (("train", 10), ("test", 2)):
                # macOS and Linux write "é" in different forms.
                name = name if part == "train" else name.replace("e\u0301", "\u00e9")
                colour = np.array([30 * i, 200 - 20 * i, 90])
                write_images(folder / "images" / part / name, colour, count, rng)

    def data(self) -> dict:
        folders = OVERLAY["data"]["folders"]
        shifts = {"blurred": {"corruption": "blur", "severity": 5}}
        names = {"a{0}": "a {curly} name"}
        changed = folders | {"names": names, "shifts": shifts, "pretrain_fraction": 0.4}
        return OVERLAY["data"] | {"folders": changed, "heldout": {"fraction": 0.2}}

    def command(self, *arguments: str) -> list[str]:
        python = str(self.folder / ".venv" / "bin" / "python")
        return [python, "-m", "snakemake", *super().command(*arguments)[1:]]


@pytest.fixture(scope="module")
def spaced(tmp_path_factory) -> Spaced:
    """The prepared sets of a project with odd names, run as a notebook would run it."""
    project = Spaced(tmp_path_factory.mktemp("odd") / "my project (1)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        patch.setenv("PYTHONSTARTUP", "/nowhere/startup.py")
        patch.setenv("PYTHONPATH", str(project.folder / "images"))
        patch.setenv("OMP_NUM_THREADS", "3")
        project.run(SHEET, "results/odd/tables/data.csv")
    return project


@pytest.mark.workflow
def test_spaces_odd_names_and_a_notebook_disturb_no_run(spaced):
    assert (spaced.folder / SHEET).stat().st_size > 1000
    names = {name for name, _ in json.loads(prepared(spaced, "test.json").read_text())["mapping"]}
    assert names == {"a {curly} name", "shirt{red}", "$5 $10", "猫 🐱", " lead%#", "it's",
                     "cafe\u0301"}  # fmt: skip
    with open(spaced.results / "checks" / "test.images.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * len(ODD)


def prepared(project: Project, name: str) -> Path:
    return project.results / "prepared" / name


@pytest.mark.workflow
def test_a_new_shift_or_an_expected_number_makes_no_other_set_again(spaced):
    changed = {"shifts": {"blurred": {"corruption": "blur", "severity": 4},
                          "noise": {"corruption": "noise", "severity": 2}},
               "expected": {"train": 70, "test": 14}}  # fmt: skip
    text = json.dumps({"folders": changed})
    jobs = spaced.planned(SHEET, "--config", f"data={text}")
    assert jobs == {"corrupt_set": 2, "contact_sheet": 1}
    start = "results/odd/models/initialization.safetensors"
    assert spaced.planned(start, "--config", f"data={text}") == spaced.planned(start)


@pytest.mark.workflow
def test_a_file_of_a_file_manager_runs_nothing_again_but_an_image_does(spaced):
    images = spaced.folder / "images"
    for place in ("train", "train/a{0}", "test/it's"):
        (images / place / ".DS_Store").write_text("x")
        (images / place / "Thumbs.db").write_text("x")
        (images / place / "@eaDir").mkdir()
        shutil.copy(images / "train" / "a{0}" / "000.png", images / place / "@eaDir" / "t.png")
    assert spaced.planned(SHEET) == {}

    new = images / "test" / "it's" / "new.png"
    shutil.copy(images / "train" / "a{0}" / "000.png", new)
    jobs = {"check_set": 1, "prepare_folder": 1, "corrupt_set": 1, "contact_sheet": 1}
    assert spaced.planned(SHEET) == jobs
    new.unlink()
    assert spaced.planned(SHEET) == {}
    Image.new("RGB", (30, 30)).save(images / "test" / "it's" / "000.png")  # an image is changed
    assert spaced.planned(SHEET) == jobs

    # A copy of a training image in the test set is reported and ends nothing.
    shutil.copy(images / "train" / "a{0}" / "000.png", new)
    spaced.run("results/odd/tables/data.csv")
    with open(spaced.results / "checks" / "duplicates.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["of_image"], row["kind"]) for row in rows] == [
        ("it's/new.png", "a{0}/000.png", "same file")
    ]
    log = (spaced.results / "logs" / "check_data.log").read_text()
    assert "1 image of test is a copy of an image of train, byte for byte" in log
    assert "@eaDir" in log


@pytest.mark.workflow
def test_a_link_to_itself_ends_a_dry_run_with_one_sentence(spaced):
    link = spaced.folder / "images" / "train" / "it's" / "loop"
    link.symlink_to("..")
    done = spaced.run("-n", SHEET, check=False)
    link.unlink()
    assert done.returncode != 0
    assert "loop: the link leads to " in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.workflow
def test_a_run_in_another_folder_finds_its_own_files(spaced, tmp_path):
    for name in ("images", "overlay.yaml"):
        source = spaced.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    done = spaced.run(
        "-s", str(spaced.folder / "Snakefile"), "-d", str(tmp_path), "results/odd/checks/test.json"
    )
    assert (tmp_path / "results" / "odd" / "checks" / "test.json").is_file(), done.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"finetune": {"lrr": 1}}, "config key finetune.lrr is unknown; did you mean lr?"),
        ({"sweep": {"kind": "gird"}}, "config key sweep.kind is 'gird', expected one of"),
        ({"data": {"source": "folders"}}, "data.source is 'folders' but data.folders is empty"),
        (
            {"model": {"pretrained": "no.safetensors"}},
            "'no.safetensors', expected an existing file",
        ),
        (
            {"curves": {"paths": {"variants": ["smal"]}}},
            "curves.paths.variants has 'smal', expected one of base, small, medium, large",
        ),
        (
            {"claims": {"weaker": "weak"}},
            "claims.weaker has 'weak' but there is no results/weak/tables",
        ),
        (
            {"finetune": {"task": "one"}},
            "has task = 'one' and start = 'probe', expected 'zeroshot'",
        ),
        (
            {"finetune": {"task": "one", "start": "zeroshot"}},
            "m00 has task = 'one', expected one of all",
        ),
        (
            {"tasks": {"x": ["axe", "car"]}, "curves": {"tasks": {"variants": ["small"]}}},
            "curves.tasks.unseen is None, expected one of x",
        ),
        (
            {
                "tasks": {"x": ["axe", "car"]},
                "curves": {"tasks": {"variants": ["small"], "unseen": "x"}},
            },
            "m00_small of task 'all', which contains the class 'axe' of the unseen task 'x'",
        ),
        (
            {"tasks": {"x": ["axe", "cra"]}},
            "tasks.x has 'cra', expected the name of a class",
        ),
    ],
)
def test_a_bad_configuration_ends_with_one_sentence_and_an_exit_code(project, change, sentence):
    copy = project({"name": "bad", "model": {"pretrained": "train"}} | change)
    done = copy.run("-n", check=False)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr

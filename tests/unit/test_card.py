"""The card in a file's header, from which a model is used without any other file."""

import tomllib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

import soups
from soups.data.prepared import identity, write_set
from soups.errors import UserError
from soups.models import card, checkpoints
from soups.models.classifier import load_classifier
from soups.models.pretrained import bring_in

NAMES = ["cat", "dog", "bird", "fish"]


@pytest.fixture
def job(pretrained, images, labels, config, tmp_path):
    """A job of the drawn world with a pre-trained model and a held-out set."""
    write_set(tmp_path / "heldout.npy", images, labels, identity(NAMES))
    pretrained.save(tmp_path / "pretrained.safetensors", {})
    paths = SimpleNamespace(
        pretrained=tmp_path / "pretrained.safetensors", heldout=[tmp_path / "heldout.npy"]
    )
    return SimpleNamespace(input=paths, config=config)


def test_a_card_describes_the_model_its_pixels_and_its_classes(job, pretrained, architecture):
    classifier = pretrained.classifier(4)
    made = card.of_job(job, classifier)
    assert made == {
        "model": {
            "architecture": architecture,
            "image_size": 16,
            "resize": "bicubic, short side",
            "crop": "centre",
            "upright": True,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "normalize_features": True,
            "classes": NAMES,
        }
    }
    assert card.of_job(job, pretrained) == made


def test_pixels_come_from_the_model_if_an_old_header_lacks_them(job, pretrained):
    made, note = card.of_job(job, pretrained.classifier(4)), {"architecture": "x", "words": None}
    checkpoints.save(job.input.pretrained, {}, note)
    old = card.of_job(job, pretrained.classifier(4))
    assert old["model"]["mean"] == made["model"]["mean"]
    assert old["model"]["std"] == made["model"]["std"]


def test_a_card_has_the_class_folders_if_their_names_differ(job, pretrained, tmp_path, config):
    folders = ["n01", "n02", "n03", "n04"]
    for name in folders:
        (tmp_path / "train" / name).mkdir(parents=True)
    data = yaml.safe_load(
        "{root: '', train: train, test: test, image_size: 16, upright: false, shifts: {}}"
    )
    config["data"] |= {"source": "folders", "folders": data | {"root": str(tmp_path)}}
    made = card.of_job(job, pretrained)["model"]
    assert (made["classes"], made["folders"], made["upright"]) == (NAMES, folders, False)


@pytest.mark.parametrize("family", ["open_clip", "timm"])
def test_a_file_with_a_card_loads_alone(job, pretrained, tmp_path, family):
    if family == "timm":
        pretrained = bring_in("timm/test_efficientnet", None)
        pretrained.mean = (0.1, 0.2, 0.3)
        pretrained.save(job.input.pretrained, {})
    size = pretrained.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
    write_set(tmp_path / "heldout.npy", pixels, np.arange(4), identity(NAMES))
    classifier = pretrained.classifier(4).eval()
    torch.nn.init.normal_(classifier.head.weight)
    path = tmp_path / "m.safetensors"
    checkpoints.save(path, classifier.state_dict(), card.of_job(job, classifier))
    alone, both = load_classifier(path), load_classifier(job.input.pretrained, path)
    with torch.inference_mode():
        want = classifier(torch.from_numpy(pixels))
        assert torch.equal(alone(torch.from_numpy(pixels)), want)
        assert torch.equal(both(torch.from_numpy(pixels)), want)
    assert alone.normalize == (family == "open_clip")


def test_a_file_without_a_card_says_how_to_get_one(tmp_path, pretrained):
    path = tmp_path / "m.safetensors"
    checkpoints.save(path, pretrained.classifier(4).state_dict(), {"pretrained": "x"})
    with pytest.raises(UserError, match=r"m\.safetensors has no description .* this version"):
        load_classifier(path)
    checkpoints.save(path, pretrained.classifier(4).state_dict(), {"recipe": {}})
    with pytest.raises(UserError, match=r"older version .* delete the file and run snakemake"):
        card.read(path)


def test_the_provenance_of_equal_runs_is_equal(config):
    entry = {"method": "uniform", "ingredients": ["m00"]}
    made = card.provenance(config, entry)
    assert made == card.provenance(config, dict(entry))
    assert made["configuration"]["soup"] == entry
    assert made["configuration"]["sweep"] == config["sweep"]
    assert "compute" not in made["configuration"]
    assert made["code"]["version"] == soups.__version__


def test_the_version_is_the_same_everywhere(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == soups.__version__


@pytest.mark.parametrize(
    "architecture", [{}, {"embed_dim": 8}, [1], "nothing", "timm/nothing", None], ids=str
)
def test_an_architecture_that_cannot_be_built_is_an_error_of_one_sentence(tmp_path, architecture):
    path = tmp_path / "odd.safetensors"
    note = {"model": {"architecture": architecture}}
    checkpoints.save(path, {"head.weight": torch.ones(2, 3)}, note)
    with pytest.raises(UserError, match=r"no model can be built|unknown to timm") as error:
        load_classifier(path)
    assert "\n" not in str(error.value)

"""The shipped experiments are valid, and an overlay with a mistake is an error."""

import copy
import json

import numpy as np
import pytest
import yaml

from soups import hyperparameters
from soups.errors import UserError
from soups.experiment import catalog, settings, sweep, variants
from tests import layouts as trees


def merge(config: dict, overlay: dict) -> dict:
    """Merge an overlay into a configuration as Snakemake does."""
    merged = copy.deepcopy(config)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


@pytest.fixture
def validate(root, tmp_path, monkeypatch):
    """Return a function that validates the default with an overlay, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["pretrained"] = str(root / config["model"]["pretrained"])

    def validated(overlay: dict) -> dict:
        merged = merge(config, overlay)
        settings.validate(merged, root / "rules" / "schemas" / "config.schema.yaml")
        return merged

    return validated


@pytest.fixture
def folders(write_images, tmp_path) -> dict:
    """Return a valid overlay for a small dataset."""
    for name in ("train", "test"):
        write_images(tmp_path / "set" / name, {"cat": 4, "dog": 4})
    write_images(tmp_path / "set" / "art", {"cat": 1, "pet": 1})
    shifts = {
        "art": {"folder": "art", "mapping": {"pet": ["dog"]}},
        "noise": {"corruption": "noise", "severity": 1},
    }
    data = {"root": "set", "train": "train", "test": "test", "image_size": 32, "shifts": shifts}
    return {"data": {"source": "folders", "folders": data, "heldout": {"fraction": 0.25}}}


@pytest.mark.parametrize("name", ["tasks", "weak"])
def test_every_overlay_of_the_world_is_valid(name, root, validate):
    validate(yaml.safe_load((root / "experiments" / f"{name}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["images", "cifar10"])
def test_every_shipped_experiment_is_valid(name, root, validate, write_images, tmp_path):
    overlay = yaml.safe_load((root / "experiments" / f"{name}.yaml").read_text(encoding="utf-8"))
    data = overlay["data"]["folders"]
    for part in ("train", "test"):
        write_images(tmp_path / data["root"] / data[part], {"cat": 110, "dog": 110})
    merged = validate(overlay)
    assert settings.shifts(merged) == list(data["shifts"])


def test_the_shipped_experiment_with_checkpoints_is_valid(root, validate, write_images, tmp_path):
    overlay = yaml.safe_load((root / "experiments" / "checkpoints.yaml").read_text("utf-8"))
    data = overlay["data"]["folders"]
    for part in ("train", "test"):
        write_images(tmp_path / data["root"] / data[part], {"cat": 2, "dog": 2})
    (tmp_path / "runs" / "lr1").mkdir(parents=True)
    (tmp_path / "runs" / "lr1" / "model_best.pth.tar").touch()
    # `validate` names the default's file by its whole path, which looks like the user's own.
    config = validate(merge(overlay, {"model": {"pretrained": None}}))
    made = variants.Sweep.given(config["sweep"], [], config["ingredients"]["checkpoints"]["files"])
    assert made.files == {"lr1": "runs/lr1/model_best.pth.tar"}
    with pytest.raises(UserError, match=r"data.heldout.fraction is 1, expected less than 1"):
        validate({"data": {"heldout": {"fraction": 1}}})


def test_the_small_dataset_is_valid(validate, folders):
    assert settings.shifts(validate(folders)) == ["art", "noise"]


@pytest.mark.parametrize(
    ("shifts", "sentence"),
    [
        (
            {"test": {"corruption": "blur", "severity": 1}},
            "has the name 'test', expected another one",
        ),
        ({"train": {"folder": "art"}}, "has the name 'train', expected another one"),
        ({"lr": {"folder": "art"}}, "has the name 'lr', expected another one"),
        ({"x_lo": {"folder": "art"}}, "has the name 'x_lo', expected another one"),
        ({"kind": {"folder": "art"}}, "has the name 'kind', expected another one"),
        ({"x_sd": {"folder": "art"}}, "has the name 'x_sd', expected another one"),
        ({"art": None, "noise": None}, "has no shift that is switched on"),
        (
            {"both": {"folder": "art", "corruption": "blur", "severity": 1}},
            "expected either folder",
        ),
        ({"none": {}}, "shifts.none is {}, expected either folder (and mapping) or corruption"),
        ({"noise": {"severity": 9}}, "shifts.noise.severity is 9, expected at most 5"),
        ({"noise": {"corruption": "fog"}}, "corruption is 'fog', expected one of noise,"),
        ({"again": {"folder": "test"}}, "expected a separate folder for each set"),
        ({"inner": {"folder": "test/cat"}}, "has no subfolder, expected one per class"),
        ({"art": {"mapping": {"bird": ["cat"]}}}, "has 'bird', expected class folders of"),
        ({"art": {"mapping": {"pet": ["cat"]}}}, "two classes stand for training class 'cat'"),
        (
            {"art": {"mapping": {"pet": ["cow"]}}},
            "the mapping of 'pet' names 'cow', which is not among",
        ),
        (
            {"gone": {"folder": "gone"}},
            "no such folder, expected one subfolder of images per class",
        ),
    ],
)
def test_an_invalid_shift_is_an_error(validate, folders, shifts, sentence):
    with pytest.raises(UserError) as error:
        validate(merge(folders, {"data": {"folders": {"shifts": shifts}}}))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"model": {"architecture": "ViT-B-23"}}, "unknown to open_clip; did you mean ViT-B-32?"),
        ({"model": {"templates": ["a {} {x}"]}}, "expected one {} where the class name goes"),
        ({"model": {"architecture": "ViT-B-32"}}, "expected that of model.architecture"),
        ({"data": {"world": {"train": 10}}}, "takes 0 of the 0 training images of class 'house'"),
        (
            {"data": {"heldout": {"fraction": 0.0001}}},
            "expected at least 1 taken and 1 left; 0.001 to 0.999 would split every class",
        ),
        ({"sweep": {"random": {"parameters": {"0.1)": None}}}}, "distribution has to be quoted"),
        ({"name": "recorded"}, "name is 'recorded'"),
        (
            {"shared": "nothing"},
            "shared is 'nothing' but there is no results/nothing/settings.json",
        ),
        ({"pretrain": {"cooldown": 10}}, "expected cooldown <= epochs <= horizon"),
        ({"pretrain": {"warmup": 0.9}}, "expected the warmup to end before the cooldown begins"),
        ({"pretrain": {"lr": float("nan")}}, "config key pretrain.lr is nan, expected"),
    ],
)
def test_an_invalid_overlay_is_an_error(validate, overlay, sentence):
    with pytest.raises(UserError) as error:
        validate(overlay)
    assert sentence in str(error.value)


def test_a_named_model_needs_its_own_image_size(validate, folders):
    named = {"model": {"architecture": "ViT-B-32", "pretrained": "openai"}}
    with pytest.raises(UserError, match="image_size is 32, expected 224"):
        validate(merge(folders, named))


def test_a_shared_experiment_needs_the_same_data_and_starts(validate, tmp_path):
    made = settings.sections(validate({}))
    (tmp_path / "results" / "first").mkdir(parents=True)
    (tmp_path / "results" / "first" / "settings.json").write_text(json.dumps(made))
    validate({"shared": "first", "sweep": {"random": {"seed": 7}}})
    validate({"shared": "first", "finetune": {"start": "zeroshot"}})
    with pytest.raises(UserError, match=r"data\.heldout differs from that of the shared"):
        validate({"shared": "first", "data": {"heldout": {"fraction": 0.05}}})
    file = tmp_path / "results" / "first" / "settings.json"
    old = json.loads(file.read_text())
    del old["model"]["pooling"], old["data"]["text"], old["data"]["train_fraction"]
    file.write_text(json.dumps(old))
    validate({"shared": "first"})
    with pytest.raises(UserError, match=r"data\.train_fraction differs from that of the shared"):
        validate({"shared": "first", "data": {"train_fraction": 0.1}})


def test_a_class_with_too_few_images_is_found_before_any_job(validate, folders):
    few = merge(folders, {"data": {"heldout": {"fraction": 0.02}}})
    with pytest.raises(UserError, match="takes 0 of the 4 training images of class 'cat'"):
        validate(few)


def test_hidden_class_folders_are_ignored_but_a_hidden_root_is_not(validate, folders, tmp_path):
    (tmp_path / "set").rename(tmp_path / ".hidden")
    moved = merge(folders, {"data": {"folders": {"root": "../" + tmp_path.name + "/.hidden"}}})
    validate(moved)
    (tmp_path / ".hidden" / "test" / "dog").rename(tmp_path / ".hidden" / "test" / ".dog")
    with pytest.raises(UserError, match="only the training folder has 'dog'"):
        validate(moved)


def test_the_ablations_extend_the_default(root, validate):
    """The ablations add rows and soups, and change none of the default."""

    def parsed(overlay: dict) -> tuple[dict, dict]:
        config = validate(overlay)
        base = sweep.draw(config["sweep"], config["finetune"])
        rows, origin = variants.vary(base, config["sweep"]["variants"])
        starts = {name: hyperparameters.START[row["start"]] for name, row in rows.items()}
        return rows, catalog.soups(
            config["soups"], lambda *c: variants.pool(rows, origin, *c), starts
        )

    overlay = yaml.safe_load((root / "experiments" / "ablations.yaml").read_text(encoding="utf-8"))
    rows, soups = parsed({})
    more_rows, more_soups = parsed(overlay)
    assert {name: more_rows[name] for name in rows} == rows
    assert {name: more_soups[name] for name in soups} == soups
    assert len(more_rows) == len(rows) + 6 * 6 + 4 + 9 + 1
    assert more_soups["soup_with_and_without_SAM"]["ingredients"] == [
        "m00", "m01", "m02", "m03_sam", "m04_sam", "m05_sam"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("overlays", "models"),
    [
        (["imagenet"], 72 + 7),
        (["imagenet", "grid"], 12),
        (["imagenet", "large"], 29 + 7 + 29),
        (["imagenet", "released"], 72),
    ],
)
def test_the_experiments_at_full_scale_are_valid(overlays, models, root, validate, tmp_path):
    trees.imagenet(tmp_path / "data", 30, 1)
    trees.shifts(tmp_path / "data", 1)
    (tmp_path / "experiments").symlink_to(root / "experiments")
    np.save(tmp_path / "data" / "imagenet_98_idxs.npy", np.zeros(30 * len(trees.CLASSES)))
    overlay: dict = {}
    for name in overlays:
        text = (root / "experiments" / f"{name}.yaml").read_text(encoding="utf-8")
        overlay = merge(overlay, yaml.safe_load(text))
    config = validate(overlay)
    starts = settings.starts(config)
    if overlays[-1] == "released":
        made = variants.Sweep.given(config["sweep"], starts, None)
    else:
        made = variants.Sweep.of(config["sweep"], config["finetune"], starts)
    assert len(made.rows) == models
    catalog.soups(config["soups"], made.pool, made.origins)
    assert settings.starts(config) == {
        "released": ["initialization"],
    }.get(overlays[-1], ["zeroshot", "initialization"])  # fmt: skip

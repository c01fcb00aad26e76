import copy
import shutil

import pytest

from soups.errors import UserError
from soups.experiment import schema, settings


def change(config: dict, changes: dict) -> None:
    """Set keys of a configuration, written with dots."""
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        section = config
        for name in sections:
            section = section[name]
        section[key] = value


@pytest.fixture
def validate(config, root):
    """Return a function that validates the default configuration with some keys changed."""

    def changed(changes: dict) -> None:
        change(config, changes)
        settings.validate(config, root / "rules" / "schemas" / "config.schema.yaml")

    return changed


def refusal(validate, changes: dict) -> str:
    """Return the message of the error, which has to be one sentence."""
    with pytest.raises(UserError) as error:
        validate(changes)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


def test_the_default_configuration_is_valid(validate):
    validate({})


def test_the_order_of_fixed_keys_is_no_change(config, root):
    """Snakemake would make everything again that depends on a section with another order."""
    path = root / "rules" / "schemas" / "config.schema.yaml"
    names = ("data", "model", "pretrain", "probe", "finetune", "compute", "curves")
    other = config | {name: reverse(config[name]) for name in names}
    other["model"]["architecture"] = dict(reversed(config["model"]["architecture"].items()))
    settings.validate(other, path)
    for name in names:
        assert repr(other[name]) == repr(config[name]), name


def test_the_order_of_names_is_kept(config, root):
    """It is the order of rows."""
    config["data"]["folders"] = {
        "root": ".", "train": "a", "test": "b", "image_size": 32,
        "shifts": {"z": {"severity": 1, "corruption": "blur"}, "a": {"folder": "c"}},
    }  # fmt: skip
    config["tasks"] = {"z": ["car", "cup"], "a": ["tree", "fish"]}
    sweep = config["sweep"]
    sweep["random"]["parameters"] = {"mixup": 0, "lr": 0.1}
    sweep["variants"] = {"z": {"first": 1, "set": {"lr": 1}}, "a": {"first": 2, "set": {"lr": 2}}}
    config["soups"] = dict(reversed(config["soups"].items()))
    before = copy.deepcopy(config)
    schema.check(config, root / "rules" / "schemas" / "config.schema.yaml")
    assert config == before
    for path in (
        "soups",
        "tasks",
        "sweep.variants",
        "sweep.random.parameters",
        "data.folders.shifts",
    ):
        one, other = config, before
        for key in path.split("."):
            one, other = one[key], other[key]
        assert list(one) == list(other), path
    assert list(config["data"]["folders"]["shifts"]["z"]) == ["corruption", "severity"]


def reverse(value):
    if not isinstance(value, dict):
        return value
    return {key: reverse(value[key]) for key in reversed(value)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"finetune.lrr": 1}, "config key finetune.lrr is unknown; did you mean lr?"),
        ({"sweeep": {}}, "config key sweeep is unknown; did you mean sweep?"),
        ({"model.zzz": 1}, "config key model.zzz is unknown, expected one of architecture, pr"),
        ({"finetune.lr": "fast"}, "config key finetune.lr is 'fast', expected number"),
        ({"pretrain.epochs": 1.5}, "config key pretrain.epochs is 1.5, expected integer"),
        ({"model.templates": "a {}"}, "config key model.templates is 'a {}', expected 'imagenet'"),
        ({"finetune": None}, "config key finetune is None, expected object"),
        ({"data.heldout": {"seed": 0}}, "config key data.heldout: 'fraction' is a required"),
        ({"data.heldout.fraction": 0}, "config key data.heldout.fraction is 0, expected more tha"),
        ({"data.heldout.fraction": 2}, "config key data.heldout.fraction is 2, expected at most"),
        ({"finetune.seed": -1}, "config key finetune.seed is -1, expected at least 0"),
        ({"finetune.warmup": -1}, "config key finetune.warmup is -1, expected at least 0"),
        ({"soups": {"x": {"method": "gredy"}}}, "soups.x.method is 'gredy', expected one of unif"),
        (
            {"soups": {1: {"method": "greedy"}}},
            "config has the key soups.1, expected text in quotes",
        ),
        ({"soups": {}}, "config key soups is {}, expected at least 1 entry"),
        ({"soups": ["greedy"]}, "config key soups is ['greedy'], expected object"),
        ({"soups": {"x": {"method": "ties", "desnity": 1}}}, "soups.x.desnity is unknown; did you"),
        ({"soups": {"x": {}}}, "config key soups.x: 'method' is a required"),
        ({"ensembles": {"x": {"method": "all"}}}, "ensembles.x.method is 'all', expected one of"),
        ({"sweep.variants": {"x": {"set": {"emma": 1}}}}, "variants.x.set.emma is unknown"),
        ({"curves.images.test": 0}, "config key curves.images.test is 0, expected at least 1"),
        ({"data.source": "disk"}, "config key data.source is 'disk', expected one of world, folde"),
        ({"data.world.shifts": ["v3"]}, "config key data.world.shifts.0 is 'v3', expected one of"),
        ({"name": "a b"}, "config key name is 'a b', expected text matching"),
        ({"metric": "auc"}, "config key metric is 'auc', expected one of"),
        ({"metric": "f1"}, "metric is 'f1', which needs two classes, but the training set has 24,"),
        (
            {"metric": "matthews", "published": "released.csv"},
            "metric is 'matthews' but published is 'released.csv', expected the metric accuracy",
        ),
        ({"model.templates": ["a cat"]}, "config key model.templates.0 is 'a cat', expected text"),
        (
            {"finetune.start": "pro"},
            "config key finetune.start is 'pro', expected one of probe, ze",
        ),
    ],
)
def test_a_value_against_the_schema_is_an_error(validate, changes, sentence):
    assert sentence in refusal(validate, changes)


def test_held_out_sets_are_drawn_from_one_that_is_large_enough(validate):
    drawn = {"per_class": [5, 50], "draws": 2, "seed": 0}
    sentence = refusal(validate, {"curves.heldout_size": drawn, "data.heldout.per_class": 40})
    assert sentence == (
        "curves.heldout_size.per_class has 50, expected at most data.heldout.per_class, which is 40"
    )
    validate({"data.heldout.per_class": 50})


def test_a_share_of_training_images_needs_training(config):
    change(config, {"ingredients.source": "checkpoints", "data.train_fraction": 0.5})
    with pytest.raises(UserError, match=r"data.train_fraction is 0.5, expected 1 because nothing"):
        settings._check_sizes(config)
    settings._check_sizes(config | {"ingredients": {"source": "train"}})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"sweep.random.parameters.lr": "unifrom(0, 1)"},
            "sweep.random.parameters.lr is 'unifrom(0, 1)', expected a number, uniform(low, high)",
        ),
        ({"sweep.random.parameters.lr": "uniform(0, 1) or 1"}, "expected a number, uniform(low, h"),
        ({"sweep.random.parameters.lr": "uniform(1, 0)"}, "expected two numbers with low <= high"),
        (
            {"sweep.random.parameters.lr": {"uniform": [0, 1]}},
            "sweep.random.parameters.lr is {'uniform': [0, 1]}, expected number or string or null",
        ),
        (
            {"sweep.random.choices": {"size": {"small": {"set": {"warmup": "unifrom(0, 1)"}}}}},
            "sweep.random.choices.size.small.set.warmup is 'unifrom(0, 1)', expected a number, ",
        ),
        (
            {"sweep.random.choices": {"size": {"small": {"set": {"lr": 0.1}}}}},
            "sweep.random.choices.size.small sets lr, which sweep.random.parameters sets too, "
            "expected one of them to leave it out",
        ),
        (
            {
                "sweep.random.choices": {
                    "a": {"x": {"set": {"crop": 0.1}}},
                    "b": {"y": {"set": {"crop": 0.2}}},
                }
            },
            "sweep.random.choices.b.y sets crop, which sweep.random.choices.a sets too, expected",
        ),
        (
            {"sweep.random.choices": {"size": {"small": None}}},
            "sweep.random.choices.size is empty, expected at least one option",
        ),
        (
            {"sweep.random.choices": {"size": {"small": {"weight": 0, "set": {"crop": 1}}}}},
            "config key sweep.random.choices.size.small.weight is 0, expected more than 0",
        ),
        (
            {"sweep.random.choices": {"size": {"small": {"set": {"crp": 1}}}}},
            "config key sweep.random.choices.size.small.set.crp is unknown; did you mean",
        ),
        ({"sweep.random.n": 12.0}, "config key sweep.random.n is 12.0, expected integer"),
        (
            {"sweep.random.parameters.momentum": 0.9},
            "parameters.momentum is unknown, expected one of task",
        ),
        ({"sweep.grid": {"momentum": [0.9]}}, "sweep.grid.momentum is unknown"),
        ({"sweep.grid": {"lr": []}}, "config key sweep.grid.lr is [], expected at least 1 entry"),
        ({"sweep.random.n": 0}, "config key sweep.random.n is 0, expected at least 1"),
        ({"sweep.kind": "grid"}, "sweep.kind is 'grid' but sweep.grid is empty"),
        ({"sweep.kind": "table"}, "sweep.kind is 'table' but sweep.table is empty"),
    ],
)
def test_an_invalid_sweep_is_an_error(validate, changes, sentence):
    assert sentence in refusal(validate, changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"model.pretrained": "none.safetensors"},
            "model.pretrained is 'none.safetensors', expected an existing file",
        ),
        (
            {"model.pretrained": "models/lite0/gone.pth"},
            "This command writes models/lite0/tf_efficientnet_lite0.safetensors: python tools/fet",
        ),
        (
            {"model.pretrained": "openai"},
            "model.pretrained is 'openai', expected 'train' or a .safetensors file",
        ),
        (
            {"model.architecture": "ViT-B-32"},
            "model.architecture is 'ViT-B-32' and model.pretrained is 'train', expected embed_dim",
        ),
        ({"model.architecture": 32}, "config key model.architecture is 32, expected one of the f"),
        (
            {"model.architecture": "ViT-B-33", "model.pretrained": "openai"},
            "model.architecture is 'ViT-B-33', unknown to open_clip; did you mean ViT-B-32?",
        ),
        (
            {"pretrain.epochs": 5, "pretrain.horizon": 4, "pretrain.cooldown": 1},
            "pretrain has cooldown 1, epochs 5 and horizon 4, expected cooldown <= epochs",
        ),
        (
            {"pretrain.epochs": 2, "pretrain.horizon": 4, "pretrain.cooldown": 3},
            "pretrain has cooldown 3, epochs 2 and horizon 4, expected cooldown <= epochs",
        ),
    ],
)
def test_an_invalid_model_is_an_error(validate, changes, sentence):
    assert sentence in refusal(validate, changes)


def test_text_becomes_a_number_where_the_schema_expects_one(validate, config):
    # Nested values of --config are text, and so is 1e-3 in YAML.
    validate({"sweep.random.n": "20", "finetune.lr": "1e-3", "data.folders": "null"})
    assert config["sweep"]["random"]["n"] == 20
    assert config["finetune"]["lr"] == 0.001
    assert config["data"]["folders"] is None


# Image folders


@pytest.fixture
def folder_config(config, tmp_path, write_images):
    """Return the default configuration with image folders of cats and dogs."""
    write_images(tmp_path / "train", {"cat": 4, "dog": 4})
    write_images(tmp_path / "test", {"cat": 1, "dog": 1})
    write_images(tmp_path / "drawn", {"puppy": 1})
    config["data"]["source"] = "folders"
    config["data"]["heldout"]["fraction"] = 0.5
    config["data"]["folders"] = {
        "root": str(tmp_path),
        "train": "train",
        "test": "test",
        "image_size": 32,
        "pretrain_fraction": 0.5,
        "names": {"cat": "house cat"},
        "shifts": {
            "sketch": {"folder": "drawn", "mapping": {"puppy": ["dog"]}},
            "off": None,
            "blurred": {"corruption": "blur", "severity": 3},
        },
    }
    return config


def test_valid_image_folders_are_accepted(validate, folder_config):
    validate({})
    assert settings.shifts(folder_config) == ["sketch", "blurred"]


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("text", {"preset": "rte"}),
        (
            "folders",
            {"root": "x", "train": "a", "test": "b", "image_size": 8, "shifts": {"c": None}},
        ),
    ],
)
def test_a_section_of_another_source_is_refused(validate, key, section):
    with pytest.raises(UserError, match=f"data.source is 'world', expected '{key}' because"):
        validate({f"data.{key}": section})


SKETCH = "data.folders.shifts.sketch"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data.folders": None}, "data.source is 'folders' but data.folders is empty"),
        ({"data.folders.train": "gone"}, "/gone: no such folder, expected one subfolder of images"),
        ({SKETCH: {"folder": "gone"}}, "/gone: no such folder"),
        ({SKETCH: {"folder": "test/cat"}}, "/test/cat: the folder has no subfolder, expected one"),
        ({SKETCH: {"folder": "drawn"}}, "/drawn: class 'puppy' is not among the 2 training classe"),
        (
            {SKETCH: {"folder": "drawn", "mapping": {"puppy": ["wolf"]}}},
            "/drawn: the mapping of 'puppy' names 'wolf', which is not among the 2",
        ),
        (
            {SKETCH: {"corruption": "blurr", "severity": 1}},
            f"{SKETCH}.corruption is 'blurr', expected one of noise, impulse_noise, blur",
        ),
        (
            {SKETCH: {"corruption": "blur", "severity": 6}},
            f"config key {SKETCH}.severity is 6, expected at most 5",
        ),
        ({SKETCH: {"corruption": "blur"}}, f"config key {SKETCH} is"),
        (
            {"data.folders.names": {"cow": "cow"}},
            "data.folders.names has 'cow', expected class",
        ),
        ({"data.folders.image_size": 64}, "data.folders.image_size is 64, expected 32"),
        (
            {"data.folders.pretrain_fraction": 0},
            "model.pretrained is 'train' but data.folders.pretrain_fraction is 0",
        ),
    ],
)
def test_invalid_image_folders_are_an_error(validate, folder_config, changes, sentence):
    assert sentence in refusal(validate, changes)


@pytest.mark.parametrize("folder", ["train/dog", "test/dog", "drawn/puppy"])
def test_an_error_names_an_empty_class_folder(validate, folder_config, tmp_path, folder):
    for image in (tmp_path / folder).glob("*.png"):
        image.unlink()
    assert f"/{folder}: the folder has no image, expected at least one" in refusal(validate, {})
    (tmp_path / folder / "notes.txt").touch()
    assert f"/{folder}: none of its 1 files is an image that can be" in refusal(validate, {})


def test_the_training_and_the_test_folder_need_the_same_classes(validate, folder_config, tmp_path):
    shutil.rmtree(tmp_path / "test" / "dog")
    assert "/test: only the training folder has 'dog', expected the same" in refusal(validate, {})


def test_the_default_has_the_shifts_of_the_world(config):
    assert settings.shifts(config) == ["v2", "r", "sketch", "objectnet", "a"]

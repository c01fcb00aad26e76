"""New experiments from files of models and folders of images."""

import re
import subprocess
import sys
from argparse import Namespace

import pytest
import timm
import torch
import yaml

from soups.errors import UserError
from soups.experiment import found, settings
from soups.experiment.schema import read_yaml
from soups.setup import experiment, images, models, starts
from soups.setup.overlay import learned_soups, steps
from tests.checkpoints import fine_tuned, save_as_timm
from tests.unit.test_overlays import merge

OPTIONS = Namespace(
    checkpoints=["runs/*/model_best.pth.tar"], images="data", out="mine.yaml", architecture=None,
    weights=None, start=None, classes=None, train=None, heldout=None, test=None, image_size=None,
    pretrained=None, force=False,
)  # fmt: skip


def options(**changes) -> Namespace:
    return Namespace(**{**vars(OPTIONS), **changes})


@pytest.fixture
def folder(tmp_path, monkeypatch, write_images):
    """The current folder, with two runs of timm and a data set."""
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val", "test"):
        write_images(tmp_path / "data" / part, {"cat": 5, "dog": 5, "owl": 5})
    for i, state in enumerate(fine_tuned("test_vit", 1)):
        save_as_timm(tmp_path / f"runs/lr{i}/model_best.pth.tar", "test_vit", state)
    return tmp_path


def written(root, **changes) -> tuple[dict, list[str]]:
    lines: list[str] = []
    out = experiment.write(options(**changes), root, lines.append)
    return yaml.safe_load(out.read_text(encoding="utf-8")), lines


def test_an_overlay_for_checkpoints_says_what_was_found(folder, root):
    overlay, lines = written(root)
    assert overlay["model"] == {"architecture": "timm/test_vit", "weights": "plain"}
    assert overlay["ingredients"]["checkpoints"] == {"files": "runs/*/model_best.pth.tar"}
    assert overlay["data"]["folders"]["train"] == "val"
    assert overlay["data"]["folders"]["image_size"] == 160
    assert overlay["data"]["heldout"] == {"fraction": 1}
    assert lines[1].split() == [
        "lr0", "timm/test_vit", "3", "float32", "plain", "state_dict", "A",
        "runs/lr0/model_best.pth.tar",
    ]  # fmt: skip
    text = "\n".join(lines)
    assert "The held-out set has only 15 images: accuracies on it go in steps of 6.7 points" in text
    assert "so the run leaves out the methods greedy_wise_ft, model_stock" in text
    assert not any(word in text for word in ("θ", "curves", "paths", "landscape"))
    with pytest.raises(UserError, match=r"mine\.yaml exists, expected another --out, or --force"):
        written(root)


def test_a_start_and_class_names_are_taken(folder, root):
    (folder / "names.txt").write_text("cat\ndog\nowl\n")
    overlay, lines = written(root, start="runs/lr0/model_best.pth.tar", classes="names.txt")
    given = overlay["ingredients"]["checkpoints"]
    assert given["initialization"] == "runs/lr0/model_best.pth.tar"
    assert given["classes"] == "names.txt"
    assert not any("model_stock" in line for line in lines)


def test_own_images_without_checkpoints(folder, root):
    overlay, lines = written(root, checkpoints=None)
    assert "ingredients" not in overlay
    assert overlay["data"]["folders"]["train"] == "train"
    assert overlay["data"]["folders"]["test"] == "test"
    assert 0 < overlay["data"]["heldout"]["fraction"] < 1
    said = [line.split(maxsplit=1) for line in lines if line.startswith("val")]
    assert said == [["val", "passed over: the test images are in 'test'"]]


@pytest.mark.parametrize(
    ("count", "batch", "epochs", "total"),
    [(6, 6, 100, 100), (72, 16, 25, 100), (830, 32, 8, 200), (2608, 64, 8, 320)],
)
def test_few_images_get_smaller_batches_and_more_epochs(count, batch, epochs, total):
    *found, per_epoch = steps(count)
    assert found == [batch, epochs]
    assert per_epoch == count // batch
    assert epochs * per_epoch == total


@pytest.mark.parametrize(
    ("heldout", "batch", "epochs"), [(15, 15, 200), (485, 16, 7), (1000, 25, 5), (5119, 127, 5)]
)
def test_few_heldout_images_get_learned_soups_of_more_steps(heldout, batch, epochs):
    options = {"batch_size": batch, "epochs": epochs}
    assert yaml.safe_load(learned_soups(heldout)) == {
        "soups": {"learned": options, "learned_by_layer": options}
    }


@pytest.mark.parametrize("heldout", [0, 5120])
def test_no_or_many_heldout_images_leave_learned_soups_as_they_are(heldout):
    assert learned_soups(heldout) == ""


def test_a_folder_of_domains_and_a_name_with_a_space_are_refused_with_advice(
    folder, root, write_images
):
    for domain in ("photo", "sketch"):
        write_images(folder / "pacs" / domain, {"cat": 1, "dog": 1})
    with pytest.raises(UserError, match=r"no folder train .* copy experiments/pacs\.yaml and set"):
        written(root, checkpoints=None, images="pacs")
    with pytest.raises(UserError, match=r"--out is 'my exp\.yaml', expected a path without spaces"):
        written(root, checkpoints=None, out="my exp.yaml")


def test_own_images_with_a_model_of_ones_choice(folder, root):
    start = "runs/lr0/model_best.pth.tar"
    model = {"architecture": "timm/test_convnext", "pretrained": start}
    overlay, _ = written(root, checkpoints=None, **model)
    assert {key: overlay["model"][key] for key in model} == model
    assert overlay["data"]["folders"]["image_size"] == 160
    assert overlay["finetune"]["lr"] == 1e-5
    assert overlay["soups"].keys() == {"learned", "learned_by_layer"}
    normed = model | {"architecture": "timm/test_resnet"}
    overlay, _ = written(root, checkpoints=None, image_size=96, force=True, **normed)
    assert overlay["data"]["folders"]["image_size"] == 96
    assert overlay["finetune"]["lr"] == 3e-4
    overlay, _ = written(  # a CLIP with batch normalisation
        root, checkpoints=None, force=True, architecture="RN50", pretrained="openai"
    )
    assert overlay["finetune"]["lr"] == 1e-5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"start": "m.pt"}, "--start is 'm.pt', expected --checkpoints beside it"),
        ({"architecture": "timm/test_vit"}, "--pretrained is None, expected both or none"),
        ({"pretrained": "openai"}, "--architecture is None and --pretrained is 'openai', expected"),
        ({"checkpoints": ["runs/*"], "pretrained": "a.pt"}, "expected --start with the file"),
        ({"image_size": 96}, "--image-size is 96, expected 224, the size of this CLIP, or"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(folder, root, changes, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        written(root, **{"checkpoints": None, **changes})
    assert not (folder / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": "none"}, "--images is 'none', expected an existing folder"),
        ({"heldout": "none"}, "--heldout is 'none', expected a folder in data"),
        ({"start": "none.pt"}, "--start is 'none.pt', expected an existing file"),
        ({"test": "val"}, "--test is 'val', expected another folder than that of 'val'"),
        ({"checkpoints": ["none/*"]}, "has 'none/*', which finds no file of weights"),
        ({"architecture": "timm/test_convnext"},
         "--architecture is 'timm/test_convnext', but the tensors of runs/lr0/model_best.pth.tar "
         "are not its own, expected timm/test_vit"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(folder, root, changes, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        written(root, **changes)
    assert not (folder / "mine.yaml").exists()


def test_what_cannot_be_decided_is_asked_for(folder, root):
    (folder / "data" / "val").rename(folder / "data" / "other")
    with pytest.raises(
        UserError, match=r"expected --heldout with a folder in it .*--heldout train"
    ):
        written(root)
    assert written(root, heldout="other")[0]["data"]["folders"]["train"] == "other"
    (folder / "data" / "test").rename(folder / "data" / "more")
    with pytest.raises(UserError, match="has no folder test, testing or eval, expected --test"):
        written(root, heldout="other", force=True)
    state = fine_tuned("test_vit", 0)[0]
    save_as_timm(folder / "runs/lr2/model_best.pth.tar", "test_vit", state, state)
    with pytest.raises(UserError, match=r"lr2/model_best.pth.tar has plain and averaged weights"):
        written(root, heldout="other", test="more", force=True)
    overlay, _ = written(root, heldout="other", test="more", weights="plain", force=True)
    assert overlay["model"]["weights"] == "plain"


def test_several_fitting_architectures_are_named(folder):
    torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), folder / "plain.pt")
    seen = models.look(found.find("plain.pt"))
    with pytest.raises(
        UserError,
        match=r"one of timm/resnet18, timm/resnetblur18, torchvision/resnet18 "
        r"\(timm/resnet18 and torchvision/resnet18 compute the same\)",
    ):
        models.architecture(seen, None)
    assert models.architecture(seen, "torchvision/resnet18") == "torchvision/resnet18"


def test_another_number_of_classes_is_refused(folder, root, write_images):
    write_images(folder / "data" / "val", {"wolf": 5})
    with pytest.raises(UserError, match="for 3 classes, but data/val has 4 class folders"):
        written(root)


def test_a_head_with_more_classes_needs_their_names(folder, root):
    for part in ("train", "val", "test"):
        (folder / "data" / part / "owl").rename(folder / f"{part}_owl")
    with pytest.raises(
        UserError, match=r"has 2 class folders, expected .* or --classes with their"
    ):
        written(root)
    (folder / "names.txt").write_text("cat\ndog\nowl\n")
    assert written(root, classes="names.txt")[0]["ingredients"]["checkpoints"]["classes"]


def test_models_of_another_start_are_another_group(folder):
    for i, state in enumerate(fine_tuned("test_vit", 1, seed=7)):
        save_as_timm(folder / f"runs/other{i}/model_best.pth.tar", "test_vit", state)
    (folder / "runs/broken").mkdir()
    (folder / "runs/broken/model_best.pth.tar").write_bytes(b"no weights")
    seen = models.look(found.find("runs/*/model_best.pth.tar"))
    groups = starts.groups(seen)
    assert groups.letters == {
        "broken": "?", "lr0": "A", "lr1": "A", "other0": "B", "other1": "B",
    }  # fmt: skip
    assert groups.between < 0.1
    assert models.table(seen, groups.letters)[0][1] == "cannot be read"
    (sentence,) = starts.sentences(groups)
    assert "Models of different groups may have different starts. The doctor" in sentence
    assert f"correlate by at most {groups.between:.2f}" in sentence
    assert "cannot" not in sentence


def test_a_model_far_from_its_start_is_not_called_another_start(folder):
    # Noise of five times the spread of the weights leaves a correlation of 0.2.
    far = fine_tuned("test_vit", 1, noise=5)[1]
    save_as_timm(folder / "runs/hot/model_best.pth.tar", "test_vit", far)
    groups = starts.groups(models.look(found.find("runs/*/model_best.pth.tar")))
    assert groups.letters == {"hot": "A?", "lr0": "A", "lr1": "A"}
    assert 0.1 < groups.nearest["hot"] < 0.3
    (sentence,) = starts.sentences(groups)
    assert f"at most {groups.nearest['hot']:.2f}" in sentence
    assert "A large learning rate or another start may" in sentence


def test_a_chain_of_models_is_one_group(folder):
    base, one, other = (torch.randn(5000, generator=torch.Generator().manual_seed(i))
                        for i in range(3))  # fmt: skip
    seen = [
        models.Seen(name, name, sample={"w": values})
        for name, values in (("a", base + 1.8 * one), ("b", base), ("c", base + 1.8 * other))
    ]
    # The ends have a correlation of 0.24 with each other and of 0.49 with the middle.
    assert starts.groups(seen).letters == {"a": "A", "b": "A", "c": "A"}


@pytest.fixture
def normed(folder):
    for i, state in enumerate(fine_tuned("test_resnet", 2)):
        save_as_timm(folder / f"bn/m{i}/model_best.pth.tar", "test_resnet", state)
    return folder


@pytest.mark.parametrize("part", ["runs", "bn"])
@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("classes", [False, True])
def test_every_overlay_is_accepted(normed, root, part, start, classes):
    (normed / "names.txt").write_text("cat\ndog\nowl\n")
    first = {"runs": "runs/lr0", "bn": "bn/m0"}[part] + "/model_best.pth.tar"
    overlay, _ = written(
        root, checkpoints=[f"{part}/*/model_best.pth.tar"], start=first if start else None,
        classes="names.txt" if classes else None,
    )  # fmt: skip
    text = (normed / "mine.yaml").read_text(encoding="utf-8")
    line = "\n  # recalibrate_batch_norm: 15   # for models with batch normalisation: the doctor "
    assert (line in text) == (part == "bn")
    assert set(overlay["model"]) == {"architecture", "weights"}
    default = root / "config.yaml"
    config = merge(read_yaml(default), overlay)
    settings.validate(config, root / "rules/schemas/config.schema.yaml", [default])
    # The comment becomes a valid key without its mark.
    config = merge(read_yaml(default), yaml.safe_load(text.replace("# recal", "recal")))
    settings.validate(config, root / "rules/schemas/config.schema.yaml", [default])
    assert config["model"]["recalibrate_batch_norm"] == (15 if part == "bn" else 0)
    given = overlay["ingredients"]["checkpoints"]
    assert ("initialization" in given, "classes" in given) == (start, classes)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("cat dog", "--classes is 'names.txt' with 2 class names, expected 3, as the heads of"),
        ("cat dog wolf", "--classes names.txt names 3 classes ('cat', 'dog', 'wolf'), of which"),
        ("a b c", "fit 3 of the data's 3 classes, such as 'cat'"),
        ("cat cat owl", "names.txt has the class 'cat' twice"),
    ],
)
def test_wrong_class_names_are_refused(folder, root, names, sentence):
    (folder / "names.txt").write_text("\n".join(names.split()))
    with pytest.raises(UserError, match=re.escape(sentence)):
        written(root, classes="names.txt")
    assert not (folder / "mine.yaml").exists()


def named(path, state, names) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"arch": "test_vit", "state_dict": state, "classes": names}, path)


def test_class_names_in_files_must_be_those_of_the_folders(folder, root):
    states = fine_tuned("test_vit", 1)
    for i, state in enumerate(states):
        named(folder / f"named/m{i}/best.pt", state, ["cat", "dog", "wolf"])
    with pytest.raises(UserError, match=r"m0/best\.pt names 3 classes .*'wolf'"):
        written(root, checkpoints=["named/*/best.pt"])
    # If two models remain, the others are left out of the run.
    for i, state in enumerate(states):
        named(folder / f"named/good{i}/best.pt", state, ["owl", "dog", "cat"])
    lines = written(root, checkpoints=["named/*/best.pt"])[1]
    assert sum(line.startswith("The run will leave out m") for line in lines) == 2
    (folder / "names.txt").write_text("cat\ndog\nowl\n")
    with pytest.raises(UserError, match="in another order than --classes"):
        written(root, checkpoints=["named/good*/best.pt"], classes="names.txt", force=True)


def test_an_unusable_start_is_refused(folder, root):
    (folder / "broken.pt").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"--start is 'broken\.pt'.* \(unreadable\)"):
        written(root, start="broken.pt")
    other = fine_tuned("test_convnext", 0)[0]
    torch.save(other, folder / "other.pt")
    with pytest.raises(UserError, match=r"--start is 'other\.pt'.* \(other architecture\).*lacks"):
        written(root, start="other.pt")
    wide = timm.create_model("test_vit", num_classes=9).state_dict()
    torch.save(wide, folder / "wide.pt")
    with pytest.raises(UserError, match=r"\(other classes\).*is for 9 classes, expected 3"):
        written(root, start="wide.pt")
    assert not (folder / "mine.yaml").exists()


def test_one_model_makes_no_soup(folder, root):
    with pytest.raises(UserError, match=r"finds one model \(runs/lr0/.*expected at least two"):
        written(root, checkpoints=["runs/lr0/model_best.pth.tar"])
    (folder / "runs/lr1/model_best.pth.tar").write_bytes(b"no weights")
    with pytest.raises(UserError, match="finds 2 models, of which 1 can be read"):
        written(root)
    assert not (folder / "mine.yaml").exists()


@pytest.mark.parametrize("checkpoints", [OPTIONS.checkpoints, None])
def test_other_folders_with_the_classes_are_shifts(folder, root, write_images, checkpoints):
    write_images(folder / "data" / "sketch", {"cat": 2, "dog": 2, "owl": 2})
    write_images(folder / "data" / "old photos", {"owl": 2})
    write_images(folder / "data" / "zoo", {"owl": 2, "wolf": 2})
    write_images(folder / "data" / "order", {"owl": 2})
    (folder / "data" / "notes").mkdir()
    overlay, lines = written(root, checkpoints=checkpoints)
    assert overlay["data"]["folders"]["shifts"] == {
        "sketch": {"folder": "sketch"}, "old_photos": {"folder": "old photos"},
    }  # fmt: skip
    said = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in lines}
    assert said["sketch"] == "shift sketch"
    assert said["old photos"] == "shift old_photos"
    assert said["zoo"] == "passed over: its folder 'wolf' is none of the classes"
    assert said["notes"] == "passed over: it has no class folders"
    assert said["order"] == "passed over: its name cannot be that of a shift"
    unused = "train" if checkpoints else "val"
    assert said[unused].startswith("passed over: ")


def test_without_other_folders_the_shifts_are_corruptions(folder, root):
    overlay, lines = written(root)
    assert {*overlay["data"]["folders"]["shifts"]} == {"noise", "blur", "contrast"}
    assert any(line.endswith("so the shifts are corrupted test images.") for line in lines)


def test_models_of_hugging_face_are_seen_by_their_config(folder):
    hub = folder / "hf" / "one"
    hub.mkdir(parents=True)
    torch.save(fine_tuned("test_vit", 0)[0], hub / "pytorch_model.bin")
    (hub / "config.json").write_text('{"architecture": "test_vit", "num_classes": 3}')
    assert models.architecture(models.look(found.find("hf/*")), None) == "timm/test_vit"
    (hub / "config.json").write_text('{"model_type": "vit", "id2label": {"0": "a", "1": "b"}}')
    seen = models.look(found.find("hf/*"))
    assert models.architecture(seen, None) == "transformers/hf/one"
    assert seen[0].names == ["a", "b"]


def test_the_share_of_held_out_images_gives_every_class_one(folder, write_images):
    write_images(folder / "small" / "train", {"a": 4, "b": 40})
    write_images(folder / "small" / "test", {"a": 1, "b": 1})
    data = images.look("small", {}, ready_made=False)
    assert data.fraction * 4 >= 0.8
    assert (data.train, data.test, data.passed_over) == ("train", "test", {})


def test_the_tool_ends_with_a_sentence(folder, root):
    tool = [sys.executable, str(root / "tools" / "new_experiment.py"), "--images", "none"]
    done = subprocess.run(tool, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("error: --images is 'none', expected an existing folder")


def test_texts_and_text_classifiers_end_with_a_sentence(folder, root):
    (folder / "glue" / "RTE").mkdir(parents=True)
    (folder / "glue" / "RTE" / "train.tsv").write_text("text\tlabel\n")
    (folder / "bert").mkdir()
    (folder / "bert" / "config.json").write_text(
        '{"architectures": ["BertForSequenceClassification"]}'
    )
    (folder / "bert" / "model.safetensors").write_bytes(b"")
    pattern = r"\(experiments/glue\.yaml is a pattern for experiments with texts\)"
    for changes, reason in (
        ({"images": "glue/RTE/train.tsv", "checkpoints": None}, "which is a file of texts"),
        ({"images": "glue"}, r"which has files of texts, such as RTE/train\.tsv, and no images"),
        (
            {"checkpoints": ["bert"]},
            r"which is a text classifier \(BertForSequenceClassification\)",
        ),
    ):
        with pytest.raises(UserError, match=f"{reason}, expected .* {pattern}$"):
            written(root, **changes)

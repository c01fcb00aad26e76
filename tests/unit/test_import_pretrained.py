"""The script of the rule that imports a pre-trained model, with real files."""

from types import SimpleNamespace

import import_pretrained
import pytest
import torch

from soups.errors import UserError
from soups.models.checkpoints import Checkpoint
from soups.models.pretrained import Pretrained, bring_in

IMAGES, TEXTS = ({"data": {"source": source}} for source in ("folders", "text"))


class Params(dict):
    """Parameters of a job, as attributes and as a dictionary."""

    __getattr__ = dict.__getitem__


@pytest.fixture
def run_import(tmp_path):
    """A function that imports a source and returns the file that it made."""

    def run(architecture, source, image_size=None, config=IMAGES, **more):
        pixels = {"mean": None, "std": None}
        params = Params(architecture=architecture, source=source, image_size=image_size,
                        pixels=pixels, **more)  # fmt: skip
        out = tmp_path / "out" / "model.safetensors"
        out.parent.mkdir(exist_ok=True)
        import_pretrained.main(SimpleNamespace(params=params, output=[str(out)], config=config))
        return out

    return run


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("ours", [True, False])
def test_weights_that_are_not_finite_are_refused_with_the_name(run_import, tmp_path, value, ours):
    model = bring_in("timm/test_vit", None)
    with torch.no_grad():
        model.visual.norm.weight[3] = value
    source = tmp_path / ("ours.safetensors" if ours else "theirs.pt")
    if ours:
        model.save(source, {})
    else:
        torch.save(model.whole.state_dict(), source)
    with pytest.raises(UserError, match=rf"{source.name}: tensor 'norm\.weight' has values that"):
        run_import("timm/test_vit", str(source))
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_file_of_this_workflow_is_copied_byte_by_byte(run_import, tmp_path):
    bring_in("timm/test_vit", None).save(tmp_path / "ours.safetensors", {"made": "before"})
    out = run_import("timm/test_vit", str(tmp_path / "ours.safetensors"))
    assert out.read_bytes() == (tmp_path / "ours.safetensors").read_bytes()


def test_the_average_is_imported_on_request(run_import, tmp_path):
    model = bring_in("timm/test_vit", None)
    states = [model.native_model(4).state_dict() for _ in range(2)]
    torch.save(
        dict(zip(("state_dict", "state_dict_ema"), states, strict=True)), tmp_path / "a.ckpt"
    )
    for more, state in (({}, states[0]), ({"weights": "ema"}, states[1])):
        made = Pretrained.load(run_import("timm/test_vit", str(tmp_path / "a.ckpt"), **more))
        assert torch.equal(made.visual.state_dict()["pos_embed"], state["pos_embed"])


def test_without_a_source_the_file_has_the_architecture_alone(run_import):
    made = Checkpoint(run_import("torchvision/resnet18", None, 224))
    assert made.shapes() == {}
    assert (made.note["architecture"], made.note["image_size"]) == ("torchvision/resnet18", 224)


def test_images_of_another_size_are_refused(run_import):
    with pytest.raises(UserError, match=r"image_size is 64, expected 160, .* 'timm/test_vit' with"):
        run_import("timm/test_vit", None, 64)


def test_a_model_of_another_problem_is_refused(run_import, tmp_path):
    bring_in("timm/test_vit", None).save(tmp_path / "ours.safetensors", {})
    with pytest.raises(
        UserError, match=r"ours\.safetensors', a model of images, expected a model of"
    ):
        run_import("transformers/bert", str(tmp_path / "ours.safetensors"), config=TEXTS)

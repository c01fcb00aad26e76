"""The script of the rule that imports a pre-trained model, with real files."""

from types import SimpleNamespace

import import_pretrained
import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed

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


@pytest.mark.parametrize("name", ["timm/test_efficientnet", "torchvision/resnet18"])
def test_a_convolutional_network_takes_another_size_with_the_same_weights(
    run_import, tmp_path, name
):
    model = bring_in(name, None)
    source = tmp_path / "weights.pt"
    torch.save(model.native_model(3).state_dict(), source)
    made = Pretrained.load(run_import(name, str(source), 96))
    assert made.image_size == 96
    own = Pretrained.load(run_import(name, str(source), model.image_size))
    assert own.image_size == model.image_size
    for key, value in own.visual.state_dict().items():
        assert torch.equal(value, made.visual.state_dict()[key])
    assert made.classifier(2)(torch.zeros(1, 3, 96, 96)).shape == (1, 2)


@pytest.mark.parametrize(("name", "size"), [("timm/test_vit", 96), ("torchvision/vit_b_32", 96)])
def test_position_embeddings_of_a_vision_transformer_are_interpolated(
    run_import, tmp_path, name, size
):
    torch.manual_seed(0)
    model, source = bring_in(name, None), tmp_path / "weights.pt"
    own = model.native_model(3)
    torch.save(own.state_dict(), source)
    made = Pretrained.load(run_import(name, str(source), size))  # reads the file again
    assert made.image_size == size
    assert made.classifier(2)(torch.zeros(1, 3, size, size)).shape == (1, 2)
    if name.startswith("timm/"):
        want = resample_abs_pos_embed(own.pos_embed, [size // 16] * 2)
        assert torch.equal(made.visual.pos_embed, want)
        with torch.inference_mode():  # timm's own model of that size, from the same file
            theirs = timm.create_model("test_vit", img_size=size, num_classes=0)
            theirs.load_state_dict(made.visual.state_dict())
            x = torch.randn(2, 3, size, size)
            assert torch.equal(theirs.eval()(x), made.visual(x))
    same = Pretrained.load(run_import(name, str(source), model.image_size)).visual.state_dict()
    assert all(torch.equal(same[key], v) for key, v in own.state_dict().items() if key in same)


def test_random_weights_are_the_same_in_every_import(run_import):
    made = [Pretrained.load(run_import("timm/test_vit", "random")).visual for _ in range(2)]
    for one, two in zip(*(each.state_dict().values() for each in made), strict=True):
        assert torch.equal(one, two)
    assert made[0].state_dict()["pos_embed"].std() > 0


def test_a_size_that_an_architecture_cannot_take_is_refused(run_import, tmp_path):
    source = tmp_path / "weights.pt"
    torch.save(bring_in("timm/test_vit", None).native_model(3).state_dict(), source)
    with pytest.raises(UserError, match=r"which takes no images of 8 pixels \(.*image_size 160$"):
        run_import("timm/test_vit", str(source), 8)

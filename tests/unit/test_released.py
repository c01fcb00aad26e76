"""The paper's released checkpoints and the import of a checkpoint as an ingredient."""

import re
from collections import OrderedDict
from types import SimpleNamespace

import import_checkpoint
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import transforms

from soups import files
from soups.data import decode, prepared
from soups.errors import LeftOut, UserError
from soups.models import checkpoints
from soups.models.fitting import layouts, released
from soups.models.foreign import reading
from soups.models.pretrained import Pretrained

CLASSES = ["a", "b", "c", "d"]
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def shapes_of(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def as_released(shapes, seed=0):
    """A released state dict with random weights for a `Classifier` of these shapes.

    The standard deviation of a matrix is one over the square root of its inputs, as CLIP
    initialises it. Gains are near 1 and biases are not 0, so a missing one changes the logits.
    """
    generator = torch.Generator().manual_seed(seed)
    state = OrderedDict()
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if re.search(r"ln_\w+\.weight$", name):
            values = 1 + 0.1 * values
        elif name.endswith("bias"):
            values *= 0.1
        elif name == "visual.conv1.weight":
            values /= values[0].numel() ** 0.5
        elif name == "visual.proj":
            values /= shape[0] ** 0.5
        elif name != "head.weight":
            values /= shape[-1] ** 0.5
        theirs = name.replace("head.", "classification_head.")
        state[theirs if theirs != name else f"model.{name}"] = values
    return state


def text_side(width=8, words=10, dtype=torch.float32):
    """Tensors of CLIP's text tower that a checkpoint may also have."""
    named = {
        "token_embedding.weight": (words, width),
        "positional_embedding": (77, width),
        "transformer.resblocks.0.attn.in_proj_weight": (3 * width, width),
        "transformer.resblocks.11.ln_2.bias": (width,),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
        "text_projection": (width, width),
        "logit_scale": (),
    }
    return {f"model.{name}": torch.ones(shape, dtype=dtype) for name, shape in named.items()}


@pytest.fixture
def small(pretrained):
    """The shapes of a tiny classifier of four classes."""
    return shapes_of(pretrained.classifier(4))


# The paper's model, written again from its description: a ViT (Dosovitskiy et al., 2021) as in CLIP
# (Radford et al., 2021, section 2.4), with unit-length features and a linear head.
def original_logits(state, x, heads=12):
    p = {name.removeprefix("model.visual."): tensor.float() for name, tensor in state.items()}

    def norm(x, name):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]

    def attention(x, name):
        n, tokens, width = x.shape
        qkv = x @ p[f"{name}.in_proj_weight"].T + p[f"{name}.in_proj_bias"]
        q, k, v = qkv.view(n, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).reshape(n, tokens, width)
        return mixed @ p[f"{name}.out_proj.weight"].T + p[f"{name}.out_proj.bias"]

    def mlp(x, name):
        x = x @ p[f"{name}.c_fc.weight"].T + p[f"{name}.c_fc.bias"]
        x = x * torch.sigmoid(1.702 * x)  # quick-GELU
        return x @ p[f"{name}.c_proj.weight"].T + p[f"{name}.c_proj.bias"]

    width, _, side, _ = p["conv1.weight"].shape
    patches = F.unfold(x, side, stride=side).transpose(1, 2)  # (n, patches, 3 * side * side)
    patches = patches @ p["conv1.weight"].view(width, -1).T
    first = p["class_embedding"].expand(len(x), 1, width)
    x = norm(torch.cat([first, patches], 1) + p["positional_embedding"], "ln_pre")
    blocks = {name.split(".")[2] for name in p if name.startswith("transformer.resblocks.")}
    for i in range(len(blocks)):
        block = f"transformer.resblocks.{i}"
        x = x + attention(norm(x, f"{block}.ln_1"), f"{block}.attn")
        x = x + mlp(norm(x, f"{block}.ln_2"), f"{block}.mlp")
    features = norm(x[:, 0], "ln_post") @ p["proj"]
    features = features / features.norm(dim=-1, keepdim=True)
    return features @ p["classification_head.weight"].T + p["classification_head.bias"]


def test_logits_are_those_of_the_original(tmp_path):
    whole = Pretrained("ViT-B-32-quickgelu", None)
    model = whole.classifier(1000).eval()
    state = as_released(shapes_of(model))
    assert state["classification_head.weight"].shape == (1000, 512)
    torch.save(OrderedDict(state | text_side(512, 49408, torch.float16)), tmp_path / "model_0.pt")

    rng = np.random.default_rng(0)
    original = transforms.Compose(
        [
            transforms.Resize(224, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    ours, theirs = [], []
    # ImageNet's usual size, one whose resized long side is no whole number, and a small one.
    for i, (width, height) in enumerate([(500, 375), (375, 500), (301, 640), (60, 57)]):
        # A smooth image with noise, so that both resampling and cropping matter.
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
        noise = rng.integers(-40, 40, (height, width, 3))
        pixels = np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)
        path = tmp_path / f"{i}.png"
        Image.fromarray(pixels).save(path)
        ours.append(decode.load(path, 224))
        theirs.append(original(Image.open(path)))
    with torch.inference_mode():
        want = original_logits(state, torch.stack(theirs))
        contents = reading.read(tmp_path / "model_0.pt")
        fit = layouts.fit(contents, whole, [str(i) for i in range(1000)])
        assert fit.layout == layouts.RELEASED
        model.load_state_dict(fit.state)
        have = model(torch.from_numpy(np.stack(ours)))
    assert want.std() > 0.5  # the logits are not all alike
    assert (want[0] - want[1]).abs().max() > 0.1  # and they depend on the image
    torch.testing.assert_close(have, want, atol=1e-4, rtol=0)


def fitted(state, pretrained, tmp_path, dtype="float32", classes=CLASSES):
    """A file with these tensors as the state dict of a classifier."""
    torch.save(state, tmp_path / "model_7.pt")
    contents = reading.read(tmp_path / "model_7.pt")
    return layouts.fitted(contents, pretrained, classes, dtype)


def test_converted_tensors_have_our_names_and_the_same_values(small, pretrained, tmp_path):
    state = as_released(small)
    for given in (
        state,
        state | text_side(),
        {f"module.{name}": tensor for name, tensor in (state | text_side()).items()},
    ):
        out = fitted(given, pretrained, tmp_path)
        assert list(out) == list(small)
        assert torch.equal(out["head.bias"], state["classification_head.bias"])
        assert torch.equal(out["visual.proj"], state["model.visual.proj"])


def test_dtypes(small, pretrained, tmp_path):
    state = as_released(small)
    state["model.visual.proj"] = state["model.visual.proj"].half()
    state["model.visual.ln_post.bias"] = state["model.visual.ln_post.bias"].bfloat16()
    state["model.visual.ln_pre.bias"] = state["model.visual.ln_pre.bias"].double()
    mixed = fitted(state, pretrained, tmp_path, "as is")
    assert mixed["visual.proj"].dtype == torch.float16
    assert mixed["visual.ln_pre.bias"].dtype == torch.float64
    assert mixed["head.weight"].dtype == torch.float32
    whole = fitted(state, pretrained, tmp_path)
    assert {tensor.dtype for tensor in whole.values()} == {torch.float32}
    assert torch.equal(whole["visual.proj"], state["model.visual.proj"].float())
    half = fitted(state, pretrained, tmp_path, "float16")
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}


@pytest.mark.parametrize("dtype", layouts.DTYPES)
def test_converted_tensors_own_their_memory(small, pretrained, tmp_path, dtype):
    state = as_released(small)
    gain = "model.visual.ln_pre.weight"
    state["model.visual.ln_post.weight"] = state[gain]  # tied, which safetensors would refuse
    torch.save(state, tmp_path / "model_7.pt")
    contents = reading.read(tmp_path / "model_7.pt")
    out = layouts.fitted(contents, pretrained, CLASSES, dtype)
    checkpoints.save(tmp_path / "model.safetensors", out, {})
    before = out["visual.ln_pre.weight"].clone()
    contents.state[gain].zero_()
    assert torch.equal(out["visual.ln_pre.weight"], before)
    assert torch.equal(out["visual.ln_post.weight"], before)


PROJ, HEAD, BIAS = "model.visual.proj", "classification_head.weight", "classification_head.bias"
OTHER = "other architecture"


@pytest.mark.parametrize(
    ("changed", "verdict", "message"),
    [
        ({"model.visual.tail": torch.ones(1)}, OTHER, r"has 1 tensor outside .*'model\.visual"),
        ({"extra": torch.ones(1)}, OTHER, r"has 1 tensor outside .* such as 'extra', expected n"),
        # Names that only begin or end like those of the text tower.
        ({"model.logit_scale.x": torch.ones(1)}, OTHER, r"has 1 tensor .*'model\.logit_scale\.x'"),
        ({"x.model.logit_scale": torch.ones(1)}, OTHER, r"has 1 tensor .*'x\.model\.logit_scale'"),
        ({PROJ: None}, OTHER, r"lacks 1 of the \d+ tensors .* such as 'model\.visual\.proj', and"),
        ({HEAD: None}, OTHER, r"has no head: none of its .* shape \(classes, 16\)"),
        ({PROJ: torch.ones(16, 32)}, OTHER, r"has 1 tensor of .* with \(16, 32\), expected "),
        ({HEAD: torch.ones(7, 16), BIAS: torch.ones(7)}, "other classes",
         r"'\S+head\.weight' is for 7 classes, expected 4, as in the data"),
        ({BIAS: torch.ones(7)}, OTHER, r"'\S+bias' has shape \(7,\), expected \(4,\), as"),
        ({HEAD: torch.ones(4, 9)}, OTHER, r"has no head"),
        ({BIAS: torch.ones(4, dtype=torch.int64)}, "unreadable", r"\S+bias' has dtype "),
        ({BIAS: torch.tensor([0, 1, torch.nan, 2])}, "diverged", r"\S+bias' has 1 values .* nan"),
        ({PROJ: torch.full((32, 16), -torch.inf)}, "diverged",
         r"'model\.visual\.proj' has 512 values that are not finite, the first is -inf"),
        ({"module.x": torch.ones(1)}, OTHER, r"has 1 tensor outside .*'module\.x'"),
    ],
)  # fmt: skip
def test_a_state_dict_that_does_not_fit_is_refused(
    small, pretrained, tmp_path, changed, verdict, message
):
    state = {n: t for n, t in (as_released(small) | changed).items() if t is not None}
    with pytest.raises(LeftOut, match=rf"model_7\.pt:? {message}") as caught:
        fitted(state, pretrained, tmp_path)
    assert caught.value.verdict == verdict


def test_a_value_too_large_for_float16_is_refused(small, pretrained, tmp_path):
    state = as_released(small) | {BIAS: torch.tensor([0.0, 1e6, 0, 0])}
    assert fitted(state, pretrained, tmp_path)["head.bias"][1] == 1e6
    with pytest.raises(UserError, match=r"has the value 1000000\.0, .*float16") as caught:
        fitted(state, pretrained, tmp_path, "float16")
    assert not isinstance(caught.value, LeftOut)  # the configuration is wrong, and not the model


def test_a_head_without_a_bias_has_a_bias_of_zeros(small, pretrained, tmp_path):
    state = as_released(small)
    del state[BIAS]
    out = fitted(state, pretrained, tmp_path)
    assert out["head.bias"].tolist() == [0, 0, 0, 0]
    assert torch.equal(out["head.weight"], state[HEAD])


def saved(path, architecture, mean=CLIP_MEAN):
    note = {"architecture": architecture, "words": None, "mean": mean, "std": CLIP_STD}
    checkpoints.save(path, {}, note)
    return path


def test_another_activation_is_refused(architecture, tmp_path):
    path = tmp_path / "model.safetensors"
    for fine in ("ViT-B-32-quickgelu", architecture | {"quick_gelu": True}):
        released.check_pretrained(saved(path, fine), layouts.RELEASED)
    for other in ("ViT-B-32", architecture):
        with pytest.raises(UserError, match=r"model\.architecture is .* no quick-GELU"):
            released.check_pretrained(saved(path, other), layouts.RELEASED)
        released.check_pretrained(saved(path, other), layouts.OWN)
    saved(path, "ViT-B-32-quickgelu", mean=(0.5, 0.5, 0.5))
    with pytest.raises(UserError, match=r"pixels have mean \(0\.5, 0\.5, 0\.5\), expected CLIP's"):
        released.check_pretrained(path, layouts.RELEASED)


def test_start_is_in_the_header_of_our_files_and_the_same_for_all_others(tmp_path):
    pretrained = saved(tmp_path / "pretrained.safetensors", "ViT-B-32-quickgelu")
    other = saved(tmp_path / "other.safetensors", "ViT-L-14-quickgelu")
    for name in ("one", "two", "silent", "silent too"):
        note = {"pretrained": name} if "silent" not in name else {}
        checkpoints.save(tmp_path / name, {"x": torch.ones(1)}, note)
    contents = [reading.read(tmp_path / n) for n in ("one", "two", "silent", "silent too")]
    own = [released.start(each, pretrained) for each in contents]
    assert own[:2] == ["one", "two"]
    assert own[2] == own[3]
    assert own[2] != released.start(contents[2], other)


@pytest.fixture
def job(tmp_path, architecture):
    """The job of `import_checkpoint` for a small CLIP and a released file."""
    pretrained = Pretrained(architecture | {"quick_gelu": True}, None)
    # The header alone, as the workflow writes it for a named model without weights.
    saved(tmp_path / "pretrained.safetensors", pretrained.architecture)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    mapping = prepared.identity(CLASSES)
    prepared.write_set(tmp_path / "heldout.npy", pixels, np.arange(12) % 4, mapping)
    state = as_released(shapes_of(pretrained.classifier(4)))
    torch.save(state | text_side(), tmp_path / "model_3.pt")
    return SimpleNamespace(
        input=SimpleNamespace(
            pretrained=tmp_path / "pretrained.safetensors",
            checkpoint=tmp_path / "model_3.pt",
            heldout=prepared.set_paths(tmp_path, "heldout"),
            classes=[],
            first=[],
        ),
        output=SimpleNamespace(
            weights=tmp_path / "out" / "model_3.safetensors",
            heldout=tmp_path / "out" / "model_3.heldout.npy",
        ),
        params=SimpleNamespace(
            file="model_3.pt", dtype="float32", weights="plain", templates=["a {}"], start=False,
            note={"hyperparameters": {"lr": 1}},
        ),
        config={"ingredients": {"checkpoints": {"sums": None}, "strict": False},
                "data": {"source": "world"}},
        state=state,
    )  # fmt: skip


def test_an_import_writes_the_same_files_as_a_fine_tune(job):
    import_checkpoint.main(job)
    weights = checkpoints.Checkpoint(job.output.weights)
    assert weights.note["hyperparameters"] == {"lr": 1}
    assert weights.note["source"] == files.sha256(job.input.checkpoint)
    assert weights.note["pretrained"]
    pixels = torch.from_numpy(np.array(prepared.PreparedSet(job.input.heldout[0]).inputs))
    mean, std = (torch.tensor(values) for values in (CLIP_MEAN, CLIP_STD))
    x = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    want = original_logits(job.state, x, heads=2)
    have = torch.from_numpy(np.load(job.output.heldout))
    torch.testing.assert_close(have, want, atol=1e-4, rtol=0)


def test_images_of_another_size_are_refused(job):
    path = job.input.heldout[0]
    np.save(path, np.zeros((12, 24, 24, 3), np.uint8))
    with pytest.raises(UserError, match=r"images are 24 pixels wide, expected 16 for"):
        import_checkpoint.main(job)


def test_a_file_copied_by_hand_must_have_its_checksum(job, tmp_path):
    sums = tmp_path / "SHA256SUMS"
    job.config["ingredients"]["checkpoints"]["sums"] = str(sums)
    sums.write_text(f"{'0' * 64}  model_3.pt\n")
    with pytest.raises(UserError, match=r"model_3\.pt has sha256 .*, expected 0000"):
        import_checkpoint.main(job)
    assert not job.output.weights.exists()
    sums.write_text(f"{files.sha256(job.input.checkpoint)}  model_3.pt\n")
    import_checkpoint.main(job)
    assert job.output.weights.exists()


def test_a_model_that_cannot_be_an_ingredient_is_left_out(job):
    torch.save(job.state | {PROJ: torch.full((32, 16), torch.nan)}, job.input.checkpoint)
    import_checkpoint.main(job)
    weights = checkpoints.Checkpoint(job.output.weights)
    assert weights.left_out["verdict"] == "diverged"
    assert "'model.visual.proj' has 512 values that are not finite" in weights.left_out["reason"]
    assert weights.note["source"] == files.sha256(job.input.checkpoint)
    assert weights.shapes() == {}
    logits = np.load(job.output.heldout)
    assert (logits.shape, logits.dtype) == ((12, 4), np.float32)
    assert np.isnan(logits).all()


@pytest.mark.parametrize("key", ["strict", "start"])
def test_a_strict_run_and_a_broken_start_end_with_the_sentence(job, key):
    job.input.checkpoint.write_bytes(b"")
    if key == "strict":
        job.config["ingredients"]["strict"] = True
    else:
        job.params.start = True
    with pytest.raises(LeftOut, match=r"model_3\.pt is empty, expected a checkpoint"):
        import_checkpoint.main(job)
    assert not job.output.weights.exists()


def test_averaged_weights_are_used_on_demand(job):
    ema = {name: tensor * 0.5 for name, tensor in job.state.items()}
    torch.save({"state_dict": dict(job.state), "state_dict_ema": ema}, job.input.checkpoint)
    for kind, state in (("plain", job.state), ("ema", ema)):
        job.params.weights = kind
        import_checkpoint.main(job)
        assert torch.equal(checkpoints.Checkpoint(job.output.weights).state()["head.weight"],
                           state[HEAD])  # fmt: skip


def test_other_dtypes_are_refused_before_the_logits(job, tmp_path):
    job.params.dtype = "as is"
    job.input.first = tmp_path / "model_1.pt"
    torch.save({name: tensor.half() for name, tensor in job.state.items()}, job.input.first)
    with pytest.raises(UserError, match=r"model_3\.pt has .* float32, but .*1\.pt of float16, exp"):
        import_checkpoint.main(job)
    assert not job.output.weights.exists()
    torch.save(dict(job.state), job.input.first)
    import_checkpoint.main(job)
    assert job.output.weights.exists()


def test_what_was_found_is_in_the_log(job, tmp_path, caplog):
    (tmp_path / "classes.txt").write_text("d\nc\nb\na\n")
    job.input.classes = str(tmp_path / "classes.txt")
    caplog.set_level("INFO")
    import_checkpoint.main(job)
    assert "plain weights, names of the paper's files" in caplog.text
    assert "head 'classification_head'" in caplog.text
    assert "in another order" in caplog.text
    weights = checkpoints.Checkpoint(job.output.weights)
    assert torch.equal(weights.state()["head.weight"], job.state[HEAD].flip(0))
    assert weights.note["model"]["classes"] == CLASSES

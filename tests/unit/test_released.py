"""Conversion of checkpoints made elsewhere to our layout, and refusal of malformed ones."""

import pickle
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
from soups.data import decode, images
from soups.errors import UserError
from soups.models import checkpoints, released
from soups.models.pretrained import Pretrained

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
    model = Pretrained("ViT-B-32-quickgelu", None).classifier(1000).eval()
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
        template = shapes_of(model)
        model.load_state_dict(released.load(tmp_path / "model_0.pt", "openai", template))
        have = model(torch.from_numpy(np.stack(ours)))
    assert want.std() > 0.5  # the logits are not all alike
    assert (want[0] - want[1]).abs().max() > 0.1  # and they depend on the image
    torch.testing.assert_close(have, want, atol=1e-4, rtol=0)


def test_read_gives_what_was_saved(tmp_path):
    state = OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.ones(2, dtype=torch.float16))
    path = tmp_path / "model.pt"
    for content, zipped in [(state, True), (dict(state), False), ({"state_dict": state}, True)]:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        back = released.read(path)
        assert list(back) == ["a", "b"]
        assert all(torch.equal(back[name], state[name]) for name in state)
        assert back["b"].dtype == torch.float16


class Payload:
    """Creates a file when an unrestricted unpickler reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_no_payload_is_run(tmp_path, kind):
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    content = {"model.visual.proj": torch.ones(2), "extra": Payload(mark)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(
        UserError, match=r"model\.pt cannot be read safely, because it holds .*, expected a"
    ):
        released.read(path)
    assert not mark.exists()
    # An unrestricted unpickler does run the payload.
    if kind == "pickle":
        pickle.loads(path.read_bytes())["extra"].close()
    else:
        torch.load(path, weights_only=False)["extra"].close()
    assert mark.exists()


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds a list, expected"),
        (torch.ones(2), "holds a Tensor, expected"),
        ({}, "holds an empty dictionary"),
        ({"a": torch.ones(2), "epoch": 3}, "'epoch' is a int, expected a tensor"),
        ({"model": {"a": torch.ones(2)}}, "'model' is a dict, expected a tensor"),
        ({"state_dict": {"a": [1.0]}}, "'a' is a list, expected a tensor"),
        ({3: torch.ones(2)}, "has the key 3, expected names"),
        ({"a": torch.eye(2).to_sparse()}, "'a' is not a dense tensor"),
        (
            torch.nn.Linear(2, 2),
            r"cannot be read safely, because it holds torch\.nn\.\S+, which",
        ),
    ],
)
def test_a_file_without_a_state_dict_is_refused(tmp_path, content, message):
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(UserError, match=rf"model\.pt:? {message}"):
        released.read(path)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(UserError, match=r"model\.pt does not exist, expected a checkpoint"):
        released.read(path)
    torch.save({"a": torch.ones(1000)}, path)
    whole = path.read_bytes()
    for content in (b"", b"<html>not found</html>", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=r"model\.pt (is not|cannot) .* expected a torch-s"
        ) as e:
            released.read(path)
        assert "\n" not in str(e.value)


def test_converted_tensors_have_our_names_and_the_same_values(small):
    state = as_released(small)
    for given in (
        state,
        state | text_side(),
        {f"module.{name}": tensor for name, tensor in (state | text_side()).items()},
    ):
        out = released.convert(given, small, "model.pt")
        assert list(out) == list(small)
        assert torch.equal(out["head.bias"], state["classification_head.bias"])
        assert torch.equal(out["visual.proj"], state["model.visual.proj"])


def test_dtypes(small):
    state = as_released(small)
    state["model.visual.proj"] = state["model.visual.proj"].half()
    mixed = released.convert(state, small, "model.pt", "as is")
    assert mixed["visual.proj"].dtype == torch.float16
    assert mixed["head.weight"].dtype == torch.float32
    whole = released.convert(state, small, "model.pt")
    assert {tensor.dtype for tensor in whole.values()} == {torch.float32}
    assert torch.equal(whole["visual.proj"], state["model.visual.proj"].float())
    half = released.convert(state, small, "model.pt", "float16")
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}


@pytest.mark.parametrize("dtype", released.DTYPES)
def test_converted_tensors_own_their_memory(small, tmp_path, dtype):
    state = as_released(small)
    gain = "model.visual.ln_pre.weight"
    state["model.visual.ln_post.weight"] = state[gain]  # tied, which safetensors would refuse
    out = released.convert(state, small, "model.pt", dtype)
    checkpoints.save(tmp_path / "model.safetensors", out, {})
    before = out["visual.ln_pre.weight"].clone()
    state[gain].zero_()
    assert torch.equal(out["visual.ln_pre.weight"], before)
    assert torch.equal(out["visual.ln_post.weight"], before)


PROJ, HEAD, BIAS = "model.visual.proj", "classification_head.weight", "classification_head.bias"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model.visual.tail": torch.ones(1)}, r"has 'model\.visual\.tail', expected only"),
        ({"optimizer": torch.ones(1)}, "has 'optimizer', expected only"),
        # Names that only begin or end like those of the text tower.
        ({"model.logit_scale.x": torch.ones(1)}, r"has 'model\.logit_scale\.x', expected only"),
        ({"x.model.logit_scale": torch.ones(1)}, r"has 'x\.model\.logit_scale', expected only"),
        ({PROJ: None}, r"has no 'model\.visual\.proj', expected a tensor of shape \(32, 16\)"),
        ({BIAS: None}, r"has no 'classification_head\.bias', expected a tensor of shape \(4,\)"),
        ({PROJ: torch.ones(16, 32)}, r"'model\.visual\.proj' has shape \(16, 32\), expected \(32"),
        ({HEAD: torch.ones(7, 16)}, r"'\S+head\.weight' is for 7 classes, expected 4,"),
        ({BIAS: torch.ones(7)}, r"'classification_head\.bias' is for 7 classes, expected 4,"),
        ({BIAS: torch.tensor(1.0)}, r"'classification_head\.bias' has shape \(\), expected \(4,\)"),
        ({HEAD: torch.ones(4, 9)}, r"'classification_head\.weight' has shape \(4, 9\), expected"),
        ({BIAS: torch.ones(4, dtype=torch.int64)}, r"\S+ has dtype torch\.int64, expected fl"),
        ({BIAS: torch.tensor([0, 1, torch.nan, 2])}, r"\S+ has the value nan, expected finite"),
        ({BIAS: torch.tensor([0, -torch.inf, 1, 2])}, r"\S+ has the value -inf, expected finite"),
        ({"module.x": torch.ones(1)}, r"'module\.x' begins with 'module\.' but other"),
    ],
)  # fmt: skip
def test_a_state_dict_that_does_not_fit_is_refused(small, changed, message):
    state = {n: t for n, t in (as_released(small) | changed).items() if t is not None}
    with pytest.raises(UserError, match=rf"^model_7\.pt:? {message}"):
        released.convert(state, small, "model_7.pt")


def test_a_value_too_large_for_float16_is_refused(small):
    state = as_released(small) | {BIAS: torch.tensor([0.0, 1e6, 0, 0])}
    assert released.convert(state, small, "model.pt")["head.bias"][1] == 1e6
    with pytest.raises(UserError, match=r"has the value 1000000\.0, expected .*float16"):
        released.convert(state, small, "model.pt", "float16")


def test_our_own_layout(pretrained, small, tmp_path):
    path = tmp_path / "m03.safetensors"
    state = pretrained.classifier(4).state_dict()
    checkpoints.save(path, state, {})
    out = released.load(path, "classifier", small)
    assert all(torch.equal(out[name], tensor) for name, tensor in state.items())
    with pytest.raises(UserError, match=r"m03\.safetensors: 'head\.weight' is for 4 classes, .* 5"):
        released.load(path, "classifier", shapes_of(pretrained.classifier(5)))
    checkpoints.save(path, {f"model.{name}": tensor for name, tensor in state.items()}, {})
    with pytest.raises(UserError, match=r"m03\.safetensors has 'model\.head\.bias', expected"):
        released.load(path, "classifier", small)


def saved(path, architecture, mean=CLIP_MEAN):
    note = {"architecture": architecture, "words": None, "mean": mean, "std": CLIP_STD}
    checkpoints.save(path, {}, note)
    return path


def test_another_activation_is_refused(architecture, tmp_path):
    path = tmp_path / "model.safetensors"
    for fine in ("ViT-B-32-quickgelu", architecture | {"quick_gelu": True}):
        released.check_pretrained(saved(path, fine), "openai")
    for other in ("ViT-B-32", architecture):
        with pytest.raises(UserError, match=r"model\.architecture is .* no quick-GELU"):
            released.check_pretrained(saved(path, other), "openai")
        released.check_pretrained(saved(path, other), "classifier")
    saved(path, "ViT-B-32-quickgelu", mean=(0.5, 0.5, 0.5))
    with pytest.raises(UserError, match=r"pixels have mean \(0\.5, 0\.5, 0\.5\), expected CLIP's"):
        released.check_pretrained(path, "openai")


def test_start_is_in_the_header_of_our_files_and_the_same_for_all_released_ones(tmp_path):
    pretrained = saved(tmp_path / "pretrained.safetensors", "ViT-B-32-quickgelu")
    other = saved(tmp_path / "other.safetensors", "ViT-L-14-quickgelu")
    for name in ("one", "two", "silent"):
        note = {} if name == "silent" else {"pretrained": name}
        checkpoints.save(tmp_path / name, {"x": torch.ones(1)}, note)
    own = [released.start(tmp_path / n, "classifier", pretrained) for n in ("one", "two", "silent")]
    assert own[:2] == ["one", "two"]
    # Released files are not read, so these need not exist. All of them have the same start.
    assert own[2] == released.start("model_0.pt", "openai", pretrained)
    assert own[2] == released.start("model_1.pt", "openai", pretrained)
    assert own[2] != released.start("model_1.pt", "openai", other)


@pytest.fixture
def job(tmp_path, architecture):
    """The job of `import_checkpoint` for a small CLIP and a released file."""
    pretrained = Pretrained(architecture | {"quick_gelu": True}, None)
    # The header alone, as the workflow writes it for a named model without weights.
    saved(tmp_path / "pretrained.safetensors", pretrained.architecture)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    mapping = images.identity(["a", "b", "c", "d"])
    images.write_set(tmp_path / "heldout.npy", pixels, np.arange(12) % 4, mapping)
    state = as_released(shapes_of(pretrained.classifier(4)))
    torch.save(state | text_side(), tmp_path / "model_3.pt")
    return SimpleNamespace(
        input=SimpleNamespace(
            pretrained=tmp_path / "pretrained.safetensors",
            checkpoint=tmp_path / "model_3.pt",
            heldout=images.set_paths(tmp_path, "heldout"),
        ),
        output=SimpleNamespace(
            weights=tmp_path / "out" / "model_3.safetensors",
            heldout=tmp_path / "out" / "model_3.heldout.npy",
        ),
        params=SimpleNamespace(
            file="model_3.pt", layout="openai", dtype="float32", note={"hyperparameters": {"lr": 1}}
        ),
        config={"ingredients": {"checkpoints": {"sums": None}}},
        state=state,
    )


def test_an_import_writes_the_same_files_as_a_fine_tune(job):
    import_checkpoint.main(job)
    weights = checkpoints.Checkpoint(job.output.weights)
    assert weights.note["hyperparameters"] == {"lr": 1}
    assert weights.note["source"] == files.sha256(job.input.checkpoint)
    assert weights.note["pretrained"]
    pixels = torch.from_numpy(np.array(images.PreparedSet(job.input.heldout[0]).images))
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

"""Reading of checkpoints: formats, wrappers, kinds of weights, names, and refusals."""

import argparse
import contextlib
import gzip
import io
import json
import pathlib
import pickle
import re
import tarfile
import zipfile
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.swa_utils import AveragedModel

from soups.errors import LeftOut, UserError
from soups.models import checkpoints
from soups.models.foreign import reading, wrappers

HTML = b"\n <!DOCTYPE html><html><body>Sign in</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


class Net(torch.nn.Module):
    """A small network with batch normalisation, whose state has integers too."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 2)
        self.norm = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 3)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def state_of(net):
    return net.state_dict()


def prefixed(prefix, state):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def shifted(state):
    """Other weights of the same network."""
    return OrderedDict((name, tensor + 1) for name, tensor in state.items())


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def saved(path, content, **more):
    torch.save(content, path, **more)
    return path


def refusal(path, weights="plain"):
    """The sentence about a file that cannot be read, without the path."""
    with pytest.raises(LeftOut) as caught:
        reading.read(path, weights)
    assert caught.value.verdict == "unreadable"
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text[len(str(path)) :].strip()


def training_files(net):
    """Files of training runs by name: the content, and the kinds of weights in it."""
    optimizer = torch.optim.AdamW(net.parameters())
    net.fc(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    state, ema = state_of(net), shifted(state_of(net))
    averaged = AveragedModel(net)
    averaged.load_state_dict(prefixed("module.", ema) | {"n_averaged": torch.tensor(4)})
    args = argparse.Namespace(model="net_small", lr=0.1, output=pathlib.Path("runs/a"))
    beside = {"optimizer": optimizer.state_dict(), "epoch": 3, "args": args}
    return {
        "timm": (
            {"state_dict": state, "state_dict_ema": ema, "arch": "net_small", "metric": 71.2,
             "amp_scaler": {"scale": 65536.0}, "version": 2} | beside, ["plain", "ema"]),
        "deit": (
            {"model": state, "model_ema": ema, "lr_scheduler": {"base_lrs": [0.1]},
             "scaler": {"scale": torch.tensor(2.0)}} | beside, ["plain", "ema"]),
        "torchvision": (
            {"model": prefixed("module.", state), "model_ema": averaged.state_dict()} | beside,
            ["plain", "ema"]),
        "open_clip": (
            {"epoch": 3, "name": "2024_01_01-lr_0.1", "state_dict": prefixed("module.", state),
             "optimizer": optimizer.state_dict(), "scaler": {}}, ["plain"]),
        "lightning": (
            {"state_dict": prefixed("net.", state) | {"criterion.weight": torch.ones(3)},
             "pytorch-lightning_version": "2.5.0", "optimizer_states": [optimizer.state_dict()],
             "loops": {"fit_loop": {"state_dict": {}}}, "global_step": 12,
             "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.7)}},
             "hyper_parameters": {"arch": "net_small"}}, ["plain"]),
        "lightning with an average": (
            {"state_dict": prefixed("model.", state) | prefixed("ema_model.module.", ema)
             | {"ema_model.n_averaged": torch.tensor(3)}}, ["plain", "ema"]),
        "lightning with weight averaging": (
            {"state_dict": prefixed("model.", ema), "hyper_parameters": {"lr": 0.1},
             "current_model_state": prefixed("model.", state),
             "averaging_state": {"n_averaged": torch.tensor(3)}}, ["plain", "ema"]),
        "deepspeed": ({"module": state, "dp_world_size": 8, "lr_scheduler": None}, ["plain"]),
        "swin": ({"model": state, "config": defaultdict(list), "max_accuracy": 80.1}, ["plain"]),
        "an unknown key": ({"student": state, "best": np.float64(0.9)}, ["plain"]),
        "an average alone": (averaged.state_dict(), ["ema"]),
        "deep": ({"ema": {"module": {"state_dict": ema}}, "net": {"weights": state}},
                 ["plain", "ema"]),
        "with numbers": (state | {"epoch": 3, "acc": np.float32(0.5), "note": "good"}, ["plain"]),
    }  # fmt: skip


FILES = list(training_files(Net()))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_training_files_are_read(tmp_path, net, name, zipped):
    content, kinds = training_files(net)[name]
    want = {"plain": state_of(net), "ema": shifted(state_of(net))}
    path = saved(tmp_path / "epoch=3.anything", content, _use_new_zipfile_serialization=zipped)
    for kind in kinds:
        found = reading.read(path, kind)
        assert same(found.state, want[kind])
        assert (found.kind, found.kinds) == (kind, kinds)
    if kinds == ["ema"]:  # nothing else is there to take
        assert same(reading.read(path, "plain").state, want["ema"])
    if kinds == ["plain"]:
        assert re.match("has no averaged weights, which model.weights 'ema'", refusal(path, "ema"))


def test_tensors_beside_a_state_dict_are_no_weights(tmp_path, net):
    """PyTorch's own ImageNet example saves the best accuracy as a tensor."""
    content = {
        "epoch": 3, "arch": "resnet18", "state_dict": state_of(net), "best_acc1": torch.tensor(7.0),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []},
    }  # fmt: skip
    found = reading.read(saved(tmp_path / "model_best.pth.tar", content))
    assert same(found.state, state_of(net))
    assert (found.arch, found.wrappers) == ("resnet18", ["state_dict"])
    layer = {"weight": torch.ones(3, 4), "bias": torch.ones(3)}
    found = reading.read(saved(tmp_path / "layer.pt", layer | {"optimizer": content["optimizer"]}))
    assert same(found.state, layer)


def test_the_names_of_the_architecture_are_found(tmp_path, net):
    for name in ("timm", "deit", "lightning"):
        path = saved(tmp_path / name, training_files(net)[name][0])
        assert reading.read(path).arch == "net_small"
    assert reading.read(saved(tmp_path / "x", state_of(net))).arch is None


WRAPS = st.lists(
    st.sampled_from(["module.", "_orig_mod.", "model.", "net.", "_forward_module.", "average",
                     "state_dict", "model", "weights", "module", "beside"]), max_size=6,
)  # fmt: skip


@given(WRAPS, st.booleans())
def test_any_nesting_of_wrappers_is_removed(tmp_path, wraps, zipped):
    state = Net().state_dict()
    content, nested = dict(state), False
    for wrap in wraps:
        if wrap.endswith(".") and not nested:
            content = dict(prefixed(wrap, content))
        elif wrap == "average" and not nested:
            content = dict(prefixed("module.", content)) | {"n_averaged": torch.tensor(2)}
        elif wrap == "beside":
            content = content | {"epoch": 3, "args": argparse.Namespace(lr=0.1)}
        elif not wrap.endswith(".") and wrap != "average":
            content, nested = {wrap: content}, True
    # A wrapper around an averaged model also renames the counter.
    path = saved(tmp_path / "m", content, _use_new_zipfile_serialization=zipped)
    assert same(reading.read(path).state, state)


def test_only_prefixes_of_all_names_are_removed(tmp_path, net):
    state = prefixed("module.", state_of(net)) | {"extra": torch.ones(1)}
    found = reading.read(saved(tmp_path / "m", state))
    assert same(found.state, state)
    assert found.wrappers == []


def test_parts_that_compilation_adds_within_names_are_removed(tmp_path, net):
    state = state_of(net)
    inside = {name.replace("stem.", "stem._orig_mod."): t for name, t in state.items()}
    assert same(reading.read(saved(tmp_path / "m", inside)).state, state)


# Formats and folders


def test_safetensors_of_any_ending_is_read(tmp_path, net):
    state = state_of(net)
    safetensors.torch.save_file(state, tmp_path / "weights.pt", {"format": "pt"})
    found = reading.read(tmp_path / "weights.pt")
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[name], tensor) for name, tensor in state.items())
    assert (found.start, found.note) == (None, {})


def test_the_header_of_this_workflow_is_read(tmp_path, net):
    card = {"architecture": "timm/x", "classes": ["b", "a", "c"]}
    path = tmp_path / "m.safetensors"
    checkpoints.save(path, state_of(net), {"pretrained": "abc", "model": card})
    found = reading.read(path)
    assert (found.start, found.arch, found.classes) == ("abc", "timm/x", ["b", "a", "c"])
    checkpoints.save_left_out(path, LeftOut("diverged", "it diverged"), {})
    with pytest.raises(LeftOut, match="it diverged") as caught:
        reading.read(path)
    assert caught.value.verdict == "diverged"


@pytest.mark.parametrize("note", [[], 3, {"pretrained": 3, "model": 4}, {"model": {"classes": 3}}])
def test_odd_notes_in_a_header_are_no_error(tmp_path, net, note):
    metadata = {"soups": json.dumps(note)}
    safetensors.torch.save_file(state_of(net), tmp_path / "m", metadata)
    found = reading.read(tmp_path / "m")
    assert (found.start, found.classes) == (None, None)
    if not isinstance(note, dict):
        with pytest.raises(UserError, match="has a header that this workflow did not write"):
            checkpoints.Checkpoint(tmp_path / "m")


def shards(folder, state, ending="safetensors"):
    """Write a model in two shards with an index."""
    names, where = list(state), {}
    stem = {"safetensors": "model", "bin": "pytorch_model"}[ending]
    for i, part in enumerate((names[:3], names[3:]), 1):
        name = f"{stem}-0000{i}-of-00002.{ending}"
        tensors = {each: state[each] for each in part}
        if ending == "bin":
            torch.save(tensors, folder / name)
        else:
            safetensors.torch.save_file(tensors, folder / name)
        where |= dict.fromkeys(part, name)
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"weight_map": where}))


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_folders_with_shards_are_read(tmp_path, net, ending):
    shards(tmp_path, state_of(net), ending)
    for path in (tmp_path, next(tmp_path.glob("*.index.json"))):
        assert reading.read(path).state.keys() == state_of(net).keys()
        assert len(reading.files_of(path)) == 3
    next(tmp_path.glob("*-00002-of*")).unlink()
    assert re.match(r"lacks 1 of the 2 shards that \S+ lists \(\S+-00002-of", refusal(tmp_path))


def test_a_shard_without_its_tensors_is_refused(tmp_path, net):
    shards(tmp_path, state_of(net))
    safetensors.torch.save_file({"stem.bias": torch.ones(4)},
                                tmp_path / "model-00001-of-00002.safetensors")  # fmt: skip
    assert "lacks the tensor" in refusal(tmp_path)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors",
             "open_clip_pytorch_model.bin", "best.ckpt"],
)  # fmt: skip
def test_folders_with_one_model_are_read(tmp_path, net, name):
    if name.endswith("safetensors"):
        safetensors.torch.save_file(state_of(net), tmp_path / name)
    else:
        torch.save(state_of(net), tmp_path / name)
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    torch.save([1], tmp_path / "training_args.bin")
    (tmp_path / "trainer_state.json").write_text("{}")
    config = {"model_type": "net", "architectures": ["NetForImageClassification"],
              "id2label": {"1": "dog", "0": "cat", "2": "owl"}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = reading.read(tmp_path)
    assert found.config == config
    assert found.classes == ["cat", "dog", "owl"]
    assert found.arch == "NetForImageClassification"
    assert reading.files_of(tmp_path) == [tmp_path / name]


def test_folders_without_one_model_are_refused(tmp_path, net):
    (tmp_path / "events.out").write_text("")
    (tmp_path / "checkpoint-500").mkdir()
    assert refusal(tmp_path) == (
        "is a folder with no weights, it holds checkpoint-500/, events.out, expected a file such "
        "as model.safetensors"
    )
    torch.save(state_of(net), tmp_path / "last.pth.tar")
    torch.save(state_of(net), tmp_path / "model_best.pth.tar")
    text = "is a folder with 2 files of weights (last.pth.tar, model_best.pth.tar), expected"
    assert refusal(tmp_path).startswith(text)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "it holds nothing" in refusal(empty)
    (empty / "__0_0.distcp").write_bytes(b"x")
    assert refusal(empty).startswith("is a distributed checkpoint")
    flax = tmp_path / "flax"
    flax.mkdir()
    (flax / "flax_model.msgpack").write_bytes(b"\x81")
    assert refusal(flax).startswith("has flax_model.msgpack but no weights of PyTorch")


def test_a_missing_file_is_an_error_and_no_model_to_leave_out(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pt does not exist") as caught:
        reading.read(tmp_path / "gone.pt")
    assert not isinstance(caught.value, LeftOut)


# Class names


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"class_names": ["b", "a", "c"]}, ["b", "a", "c"]),
        ({"classes": ("b", "a", "c")}, ["b", "a", "c"]),
        ({"class_to_idx": {"a": 1, "b": 0, "c": 2}}, ["b", "a", "c"]),
        ({"idx_to_class": {0: "b", 1: "a", 2: "c"}}, ["b", "a", "c"]),
        ({"id2label": {"0": "b", "1": "a", "2": "c"}}, ["b", "a", "c"]),
        ({"args": argparse.Namespace(class_names=["b", "a", "c"])}, ["b", "a", "c"]),
        ({"class_to_idx": {"0": 2, "1": 1, "2": 0}}, ["0", "1", "2"]),
        ({"id2label": {0: "LABEL_0", 1: "LABEL_1"}}, None),
        ({"classes": 3}, None),
        ({"classes": []}, None),
        ({"class_to_idx": {}}, None),
    ],
)
def test_class_names_are_found(tmp_path, net, content, names):
    path = saved(tmp_path / "m", content | {"model": state_of(net)})
    if content.get("class_to_idx") == {"0": 2, "1": 1, "2": 0}:
        names = ["2", "1", "0"]  # names that are digits are still names
    assert reading.read(path).classes == names


def test_class_numbers_with_gaps_are_refused(tmp_path, net):
    path = saved(tmp_path / "m", {"model": state_of(net), "class_to_idx": {"a": 1, "b": 2}})
    with pytest.raises(LeftOut, match="numbers 2 classes from 1 to 2, expected 0 to 1") as caught:
        reading.read(path)
    assert caught.value.verdict == "other classes"


# Refusals


class Payload:
    """Creates a file when an unrestricted unpickler reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class Hidden(Payload):
    """Calls an allowed name with a payload as its argument."""

    def __reduce__(self):
        return argparse.Namespace, (), {"x": Payload(self.path)}


@pytest.mark.parametrize("make", [Payload, Hidden])
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_no_payload_is_run(tmp_path, kind, make):
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    content = {"a": torch.ones(2), "extra": make(mark)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    refusal(path)
    assert not mark.exists()
    # An unrestricted unpickler does run the payload.
    if kind == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert mark.exists()


def test_objects_of_allowed_names_are_inert(tmp_path):
    """A path in a training file makes no path here, and no class of NumPy is called."""
    content = {"a.b": torch.ones(2), "p": pathlib.Path("x"), "n": np.float64(3), "r": np.ones(3)}
    found = reading.unpickled(saved(tmp_path / "m", content), "zip")
    assert {type(found[name]).__name__ for name in "pnr"} == {"StandIn"}


def test_a_pickled_module_gets_the_lines_that_save_it_again(tmp_path, net, monkeypatch):
    path = tmp_path / "model.pth"
    for content, zipped in ((net, True), (net, False), ({"model": net, "epoch": 1}, True)):
        saved(path, content, _use_new_zipfile_serialization=zipped)
        text = refusal(path)
        assert "holds a whole pickled module (tests.unit.test_reading.Net)" in text
        monkeypatch.chdir(tmp_path)
        space = {"torch": torch}
        for line in re.findall("`(.+?)`", text):
            exec(line, space)
        assert same(reading.read(tmp_path / "weights.pt").state, state_of(net))


class Settings:
    """A class that no reader knows."""

    def __init__(self):
        self.lr = 0.1


def test_an_unknown_class_is_named(tmp_path, net):
    path = saved(tmp_path / "m", {"model": state_of(net), "settings": Settings()})
    assert refusal(path).startswith("holds an object of the class tests.unit.test_reading.Settings")


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights"), io.BytesIO())
    return buffer.getvalue()


def numpy_archive():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected a checkpoint"),
        (bytes(5000), "begins with zeros"),
        (HTML, "is a web page that was saved as a checkpoint"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page"),
        (LFS, "is a Git LFS pointer to a file that was not downloaded"),
        (b"/annex/objects/SHA256E-s1--4d7a.pt\n", "is a git-annex pointer"),
        (b"GGUF\x03\0\0\0" + bytes(60), "is a GGUF file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "is an HDF5 file, as TensorFlow and Keras write"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xb1\x01", "is an ONNX file"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "is a TensorFlow Lite file"),
        (b"\x81\xa6params\x82\xa4bias\xc7", "is a msgpack file, as Flax writes"),
        (b"\xde\x00\x10\xa4head\x82", "is a msgpack file, as Flax writes"),
        (gzip.compress(b"x" * 99), "is compressed with gzip"),
        (tarred(), "is a tar archive, expected the unpacked file"),
        (numpy_archive(), r"is a NumPy archive \(\.npz\)"),
        (b"\x93NUMPY\x01\0v\0", "is a NumPy array"),
        (zipped(**{"config.json": "{}", "model.weights.h5": ""}), "is a Keras archive"),
        (zipped(a__data="x", b="y"), "is a zip archive of 2 files, such as 'a/data'"),
        (zipped(m__code__x="", m__constants="", **{"m__data.pkl": ""}), "is a TorchScript archive"),
        (b"import torch\n", "begins with 'import torch"),
        (b'{"lr": 0.1}', "begins with '{\"lr\": 0.1}'"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,  # archives hold the time
)
def test_other_formats_get_their_own_sentence(tmp_path, content, message):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    text = refusal(path)
    assert re.match(message, text)
    assert "expected" in text or "interrupted" in text


def test_a_torchscript_archive_is_refused_with_how_to_save_it(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    line = re.search("`(.+)`", refusal(path))[1].replace("'weights.pt'", repr(str(tmp_path / "w")))
    exec(line, {"torch": torch})
    assert reading.read(tmp_path / "w").state.keys() == {"weight", "bias"}


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, net, form, share):
    path = tmp_path / "m"
    if form == "safetensors":
        safetensors.torch.save_file(state_of(net), path)
    else:
        saved(path, state_of(net), _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "truncated" in refusal(path)


@given(st.binary(max_size=60), st.integers(0, 10**6), st.booleans())
def test_damaged_files_raise_no_other_error(tmp_path, junk, where, legacy):
    path = tmp_path / "m"
    saved(path, Net().state_dict(), _use_new_zipfile_serialization=not legacy)
    content = bytearray(path.read_bytes())
    at = where % len(content)
    content[at : at + len(junk)] = junk
    path.write_bytes(bytes(content))
    with contextlib.suppress(UserError):
        reading.read(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds a list, expected"),
        (torch.ones(2), "holds a single tensor, expected"),
        (3, "holds an int, expected"),
        ({}, "holds an empty dictionary, expected"),
        ({"state_dict": {"a": [1.0]}, "epoch": 3}, r"holds a dictionary without tensors \('state_"),
        ({3: torch.ones(2)}, r"holds a dictionary without tensors \('3'\)"),
        ({"a.b": torch.eye(2).to_sparse()}, "has the sparse tensor 'a.b'"),
        ({"a.b": torch.eye(2).to_sparse_csr()}, "has the sparse tensor 'a.b'"),
        ({"a.b": torch.empty(2, device="meta")}, r"has the valueless \(meta\) tensor 'a.b'"),
        ({"a.b": torch.ones(2, dtype=torch.complex64)}, "has the complex tensor 'a.b'"),
        ({"a.b": torch.ones(2).to(torch.float8_e4m3fn)}, "has the quantised tensor 'a.b'"),
        ({"a.qweight": torch.ones(2, dtype=torch.int32)}, "has the quantised tensor"),
        ({"b.weight": torch.ones(2), "b.weight.absmax": torch.ones(2)}, "has the quantised tensor"),
        ({"b.lora_A.weight": torch.ones(2, 2)}, r"has the adapter tensor 'b.lora_A.weight' \(LoRA"),
        ({"generator": {"a.b": torch.ones(2)}, "discriminator": {"a.b": torch.ones(2)}},
         r"holds several sets of weights \('generator', 'discriminator'\)"),
        ({"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
         "holds the state of an optimizer but no weights"),
        ({"optimizer": {"state": {0: {"m": torch.ones(2)}}, "param_groups": []}, "epoch": 1},
         "holds the state of an optimizer but no weights"),
    ],
)  # fmt: skip
def test_a_file_without_plain_weights_is_refused(tmp_path, content, message):
    assert re.match(message, refusal(saved(tmp_path / "m", content)))


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_quantised_modules_are_refused(tmp_path):
    tensor = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    assert "has the quantised tensor" in refusal(saved(tmp_path / "m", {"a.b": tensor}))


def test_adapters_are_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    safetensors.torch.save_file({"x": torch.ones(1)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(LeftOut, match=r"adapter_config\.json is of an adapter \(LoRA\), expected"):
        reading.read(tmp_path)
    with pytest.raises(LeftOut, match=r"adapter_model\.safetensors is of an adapter"):
        reading.read(tmp_path / "adapter_model.safetensors")


def test_pickles_of_other_makers_are_refused(tmp_path, net):
    path = tmp_path / "m.pkl"
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps(state_of(net), protocol=protocol))
        assert "with `torch.save(" in refusal(path) or "with torch.save" in refusal(path)
    saved(path, state_of(net), pickle_protocol=4)
    assert "pickle protocol" in refusal(path)


def test_unwrapping_leaves_the_given_dictionary_alone(net):
    state = prefixed("module.", state_of(net)) | {"n_averaged": torch.tensor(1)}
    before = list(state)
    out, removed = wrappers.unwrap(state)
    assert list(state) == before
    assert removed == ["n_averaged", "module."]
    assert same(out, state_of(net))

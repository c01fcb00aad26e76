"""The cases of tools/fuzz.py: valid files, broken at random, and the code that reads them."""

import contextlib
import copy
import inspect
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import mutations
import numpy as np
import ready
import torch
import yaml
from PIL import Image
from snakemake.utils import update_config

import _library  # noqa: F401
from soups.data import decode
from soups.experiment import settings
from soups.experiment.plan import Plan
from soups.models import architectures, checkpoints
from soups.models.foreign import reading

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "rules" / "schemas" / "config.schema.yaml"
OVERLAYS = ("tiny", "minimal", "grid", "ablations", "large", "images", "released")


def nothing() -> None:
    """No file of the case has changed."""


def configs(folder: Path) -> Callable:
    """Overlays that are merged with the default configuration, as files."""
    default = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    overlays = [
        yaml.safe_load((ROOT / "experiments" / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in OVERLAYS
    ]
    path = folder / "overlay.yaml"
    path.write_text("")

    def make(random: Random):
        overlay = copy.deepcopy(random.choice([default, *overlays]))
        for _ in range(random.choice((1, 1, 2, 3))):
            mutations.change(overlay, random)
        text = yaml.safe_dump(overlay, allow_unicode=random.random() < 0.5, sort_keys=False)
        data = text.encode("utf-8", "surrogatepass")
        if random.random() < 0.1:
            data = mutations.corrupt(data, random)
        path.write_bytes(data)

        def call() -> None:
            ready.refuse_broken([path])
            config = copy.deepcopy(default)
            update_config(config, yaml.safe_load(path.read_text(encoding="utf-8")))
            notes = settings.validate(config, SCHEMA, [ROOT / "config.yaml", path])
            extra = [notes] if len(inspect.signature(Plan.of).parameters) > 1 else []
            Plan.of(config, *extra)

        return call, lambda: None if path.read_bytes() == data else "the overlay has changed"

    return make


class Canary:
    """A pickled object that writes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self):
        return os.system, (f"touch {self._path}",)


def checkpoint_files(canary: Path) -> dict[str, bytes]:
    """Files of several formats by name; those with "pickle" in their name hold a `Canary`."""
    state = {f"blocks.{i}.weight": torch.full((4, 3), float(i)) for i in range(3)}
    state |= {"head.bias": torch.zeros(4, dtype=torch.float16), "steps": torch.tensor(7)}
    safe = canary.with_name("whole.safetensors")
    checkpoints.save(safe, state, {"pretrained": "x", "model": {"classes": ["a", "b"]}})
    out = {"ours.safetensors": safe.read_bytes()}
    safe.unlink()
    trained = {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3, "arch": "x"}
    for name, content, zipped in (
        ("plain.pt", state, True),
        ("training.pth.tar", trained, True),
        ("legacy.bin", trained, False),
        ("pickle.pt", state | {"more": Canary(canary)}, True),
        ("legacy_pickle.pth", state | {"more": Canary(canary)}, False),
    ):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        out[name] = buffer.getvalue()
    out["bare_pickle.ckpt"] = pickle.dumps({"state_dict": {}, "more": Canary(canary)})
    return out


def checkpoint_cases(folder: Path) -> Callable:
    """Files of weights with broken headers, notes, archives, pickles and bytes."""
    canary = folder / "executed"
    originals = checkpoint_files(canary)
    for name in originals:
        (folder / f"case-{name}").write_bytes(b"")

    def make(random: Random):
        name, data = random.choice(list(originals.items()))
        other = random.choice(list(originals.values()))
        kind = random.random()
        if name.endswith(".safetensors") and kind < 0.6:
            data = _header_changed(data, random)
        elif zipfile.is_zipfile(io.BytesIO(data)) and kind < 0.5:
            data = _member_changed(data, random)
        elif kind < 0.98:
            data = mutations.corrupt(data, random, other)
        path = folder / f"case-{name}"
        path.write_bytes(data)
        read = random.choice((_read, _read_averaged, _checkpoint, _header))

        def broken() -> str | None:
            if canary.exists():
                canary.unlink()
                return "a pickle was executed"
            return None if path.read_bytes() == data else "the checkpoint has changed"

        return lambda: read(path), broken

    return make


def _header_changed(data: bytes, random: Random) -> bytes:
    """Change the JSON of a safetensors header, or the JSON of the note in it."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if random.random() < 0.4:
        note = json.loads(header["__metadata__"]["soups"])
        mutations.change(note, random)
        header["__metadata__"]["soups"] = _json(random.choice((note, mutations.value(random))))
    else:
        mutations.change(header, random)
    text = _json(header).encode("utf-8", "replace")
    if random.random() < 0.1:
        text = mutations.corrupt(text, random)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _json(tree) -> str:
    with contextlib.suppress(TypeError, ValueError):
        return json.dumps(tree, default=str)
    return "{"


def _member_changed(data: bytes, random: Random) -> bytes:
    """Change the bytes of one file in a zip archive, whose directory stays valid."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        pickled = [name for name in names if name.endswith("data.pkl")]
        chosen = random.choice(pickled if random.random() < 0.7 else names)
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = mutations.corrupt(content, random)
            new.writestr(name, content)
    return out.getvalue()


def _read(path: Path) -> None:
    for tensor in reading.read(path).state.values():
        tensor.float().sum()


def _read_averaged(path: Path) -> None:
    reading.read(path, "ema")


def _checkpoint(path: Path) -> None:
    checkpoint = checkpoints.Checkpoint(path)
    assert checkpoint.left_out is None or checkpoint.left_out["verdict"]
    checkpoint.size()
    checkpoint.state()


def _header(path: Path) -> None:
    architectures.header(path)


def image_files() -> dict[str, bytes]:
    """Images of several formats and modes by name."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    files = {
        "rgb.png": (image, {}),
        "alpha.png": (image.convert("RGBA"), {}),
        "palette.png": (image.quantize(16), {"transparency": 3}),
        "deep.png": (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), {}),
        "turned.jpg": (image, {"exif": exif}),
        "print.jpg": (image.convert("CMYK"), {}),
        "progressive.jpg": (image, {"progressive": True}),
        "animated.gif": (image.quantize(8), {"save_all": True, "append_images": [image]}),
        "scan.tif": (image, {"compression": "tiff_lzw"}),
        "web.webp": (image, {}),
        "plain.bmp": (image, {}),
    }
    out = {}
    for name, (picture, options) in files.items():
        buffer = io.BytesIO()
        form = {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], Path(name).suffix[1:].upper())
        picture.save(buffer, form, **options)
        out[name] = buffer.getvalue()
    return out


def image_cases(folder: Path) -> Callable:
    """Images with broken bytes."""
    originals = image_files()
    for name in originals:
        (folder / name).write_bytes(b"")

    def make(random: Random):
        name, data = random.choice(list(originals.items()))
        if random.random() < 0.98:
            data = mutations.corrupt(data, random, random.choice(list(originals.values())))
        path = folder / name
        path.write_bytes(data)

        def call() -> None:
            pixels = decode.load(path, 32, border=random.choice((0, 2)))
            assert pixels.shape == (32, 32, 3)
            assert pixels.dtype == np.uint8

        return call, lambda: None if path.read_bytes() == data else "the image has changed"

    return make


KINDS = {"configs": configs, "checkpoints": checkpoint_cases, "images": image_cases}

"""Restricted unpickling: tensors, plain containers, and inert stand-ins for known classes.

Training files hold settings beside the weights, such as an argparse Namespace. Their classes are
replaced by stand-ins that keep the values. So no constructor of a library runs with values from a
file.
"""

import io
import itertools
import pickle
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch

from soups.errors import brief
from soups.models.foreign.formats import ZIP, unreadable


class StandIn:
    """An inert object in place of one from a file; ``values`` holds its attributes.

    Args:
        arguments: the arguments that the original class would be called with.
    """

    def __new__(cls, *arguments) -> "StandIn":
        made = super().__new__(cls)
        made.arguments, made.values = arguments, {}
        return made

    def __init__(self, *arguments) -> None:
        """Accept any arguments, which `__new__` keeps."""

    def __setstate__(self, state) -> None:
        if isinstance(state, Mapping):
            self.values = dict(dict.items(state))


def _mapping(*arguments) -> dict:
    """A new mapping in place of a subclass, such as a defaultdict."""
    return {}


# Classes and functions that `StandIn` replaces. Training files of timm, open_clip, DeiT, Swin,
# torchvision's references, transformers and Lightning hold them beside the weights.
NAMES = (
    "argparse.Namespace", "types.SimpleNamespace", "datetime.datetime", "datetime.date",
    "datetime.timedelta", "datetime.timezone", "decimal.Decimal", "uuid.UUID", "builtins.slice",
    "builtins.range", "builtins.frozenset", "builtins.list", "builtins.dict", "builtins.int",
    "builtins.float", "builtins.str", "builtins.bool", "builtins.tuple", "typing.Any",
    "collections.deque", "torch.torch_version.TorchVersion",
    "numpy.ndarray", "numpy.dtype", "numpy.random._pickle.__randomstate_ctor",
    *(f"{module}.multiarray.{name}" for module in ("numpy.core", "numpy._core")
      for name in ("scalar", "_reconstruct")),
    *(f"{module}.numeric._frombuffer" for module in ("numpy.core", "numpy._core")),
    *(f"numpy.dtypes.{kind}DType" for kind in (
        "Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64",
        "Float16", "Float32", "Float64", "LongDouble", "Str", "Bytes", "Object")),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in (
        "Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
    "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.StringNode", "omegaconf.nodes.IntegerNode", "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.BooleanNode", "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
)  # fmt: skip
# Subclasses of dict. An OrderedDict takes their items and their attributes.
DICTS = (
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode", "easydict.EasyDict", "addict.addict.Dict",
    "ml_collections.config_dict.config_dict.ConfigDict",
)  # fmt: skip
# Attributes of every pickled module.
MODULE = (b"_parameters", b"_buffers", b"_modules")
ALLOWED = [
    *((StandIn, name) for name in NAMES),
    *((OrderedDict, name) for name in DICTS),
    (_mapping, "collections.defaultdict"),
]


def unpickled(path: Path, form: str) -> object:
    """Read a file of `torch.save` without running any code in it.

    The tensors are memory-mapped if the format of the file allows it.

    Args:
        path: the file.
        form: its format, see `formats.format_of`.

    Raises:
        LeftOut: if the file needs other classes, or if it is broken.
    """
    try:
        with torch.serialization.safe_globals(ALLOWED), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the caller refuses sparse and quantised tensors
            return torch.load(path, map_location="cpu", weights_only=True, mmap=form == ZIP)
    except pickle.UnpicklingError as error:
        raise _refused(path, form, error) from error
    except MemoryError:
        raise
    except Exception as error:
        # A broken file may raise any error in the unpickler, such as KeyError or EOFError.
        reason = brief(str(error).split(". ")[0]) or type(error).__name__
        raise unreadable(
            path, f"is broken or truncated ({reason}), expected a complete file of torch.save"
        ) from error


def _refused(path: Path, form: str, error: Exception):
    """The error for a file that the restricted unpickler refused, with what to do."""
    text = str(error)
    file = str(path)
    found = re.search(r"GLOBAL ([\w.<>]+)", text)
    culprit = found[1] if found else None
    if "Invalid magic number" in text or culprit == "torch.storage._load_from_bytes":
        return unreadable(
            path,
            "was written by pickle instead of torch.save, expected tensors alone (load it where "
            "it was made, and save it with `torch.save(state_dict, 'weights.pt')`)",
        )
    if "Unsupported operand" in text:
        return unreadable(
            path,
            "has a pickle protocol that cannot be read safely, expected protocol 2 (load it where "
            "it was made, and save it with torch.save without pickle_protocol)",
        )
    if "DTensor" in text or "torch.distributed.tensor" in text:
        culprit = "torch.distributed.tensor.DTensor"
    if culprit is None:
        return unreadable(
            path,
            "holds pickled objects that are not tensors, expected tensors alone (load it where it "
            "was made, and save `model.state_dict()` with torch.save)",
        )
    text = _pickle_of(path, form)
    if all(mark in text for mark in MODULE):
        whole = _begins_with_a_class(text, form)
        line = "model.state_dict()" if whole else "{k: v.state_dict() for k, v in held.items() if "
        line += "" if whole else "isinstance(v, torch.nn.Module)}"
        name = "model" if whole else "held"
        return unreadable(
            path,
            f"holds a whole pickled module ({culprit}), whose code would have to be run, expected "
            "its state dict (save it where it was made: "
            f"`{name} = torch.load({file!r}, weights_only=False)`, then "
            f"`torch.save({line}, 'weights.pt')`)",
        )
    return unreadable(
        path,
        f"holds an object of the class {culprit}, which cannot be read safely, expected tensors "
        "and plain values (load it where it was made, and save `model.state_dict()` alone with "
        "torch.save)",
    )


def _pickle_of(path: Path, form: str) -> bytes:
    """The pickle in a file of `torch.save`; in an old file, some values of tensors follow it."""
    if form == ZIP:
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
        except (zipfile.BadZipFile, NotImplementedError, StopIteration, ValueError) as error:
            raise unreadable(path, f"is a broken zip archive ({error})") from error
    with open(path, "rb") as file:
        return file.read(2**26)


def _begins_with_a_class(text: bytes, form: str) -> bool:
    """Whether the outermost object of a pickle is that of a class, and no dictionary."""
    file = io.BytesIO(text)
    try:
        # An old file begins with three pickles: a magic number, the version and the platform.
        for _ in range(0 if form == ZIP else 3):
            for _ in pickletools.genops(file):
                pass
        _, (code, name, _) = itertools.islice(pickletools.genops(file), 2)
    except ValueError:
        return True
    return code.name != "EMPTY_DICT" and name != "collections OrderedDict"

"""Recognition of file formats by content: which files hold weights, and a sentence for each other.

Endings say little, because `torch.save` writes the same file as .pt, .pth.tar, .bin or .ckpt.
"""

import json
import zipfile
from pathlib import Path

from soups.errors import LeftOut

SAFETENSORS, ZIP, PICKLE = "safetensors", "zip", "pickle"
LONGEST = 100_000_000  # bytes of a header, the limit of safetensors itself
HEAD = 4096  # bytes at the start of a file that are enough to tell the formats apart

# First bytes of files that hold no weights of PyTorch, with the end of a sentence about them.
FOREIGN = {
    b"version https://git-lfs": "is a Git LFS pointer to a file that was not downloaded, expected "
    "the weights themselves (run `git lfs pull` in its repository)",
    b"/annex/objects/": "is a git-annex pointer to a file that was not downloaded, expected the "
    "weights themselves (run `git annex get` in its repository)",
    b"GGUF": "is a GGUF file, whose tensors are usually quantised, expected the weights of PyTorch "
    "that it was made from",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file, as TensorFlow and Keras write, expected weights of "
    "PyTorch (convert it with the library that the model comes from)",
    b"\x1f\x8b": "is compressed with gzip, expected the unpacked file",
    b"BZh": "is compressed with bzip2, expected the unpacked file",
    b"\xfd7zXZ\x00": "is compressed with xz, expected the unpacked file",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive, expected the unpacked file",
    b"Rar!": "is a RAR archive, expected the unpacked file",
    b"(\xb5/\xfd": "is compressed with zstd, expected the unpacked file",
    b"\x93NUMPY": "is a NumPy array, expected a state dict saved with torch.save or safetensors",
}
PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<body")


def unreadable(path: str | Path, reason: str) -> LeftOut:
    """The error for a file from which no weights can be read; ``reason`` follows the path."""
    return LeftOut("unreadable", f"{path} {reason}")


def format_of(path: Path) -> str:
    """Return `SAFETENSORS`, `ZIP` or `PICKLE`, the formats that may hold a state dict.

    Raises:
        LeftOut: with a sentence about the format that the file has instead.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not head:
        raise unreadable(path, "is empty, expected a checkpoint")
    if not head.strip(b"\0"):
        raise unreadable(path, "begins with zeros, so an interrupted copy may have left it")
    for magic, reason in FOREIGN.items():
        if head.startswith(magic):
            raise unreadable(path, reason)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGE):
        raise unreadable(
            path, "is a web page that was saved as a checkpoint, expected the file behind its link"
        )
    if head[:2] == b"PK":
        _check_zip(path)
        return ZIP
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and len(head) > 8 and length < 2**40:
        _check_safetensors(path, length, size)
        return SAFETENSORS
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return PICKLE
    if head[257:262] == b"ustar":
        raise unreadable(path, "is a tar archive, expected the unpacked file")
    if head[4:8] == b"TFL3":
        raise unreadable(path, "is a TensorFlow Lite file, expected weights of PyTorch")
    if _is_onnx(head):
        raise unreadable(
            path, "is an ONNX file, whose tensors have other names, expected weights of PyTorch"
        )
    if _is_msgpack(head):
        raise unreadable(
            path,
            "is a msgpack file, as Flax writes, expected weights of PyTorch (in transformers, "
            "`from_pretrained(..., from_flax=True)` and `save_pretrained` convert it)",
        )
    text = head[:24].decode("ascii", "replace")
    shown = repr(text if all(c.isprintable() or c.isspace() for c in text) else head[:12])
    raise unreadable(
        path, f"begins with {shown}, expected a file of torch.save or a safetensors file"
    )


def _is_onnx(head: bytes) -> bool:
    """Whether a protobuf begins as ONNX's: the version of the format, then the producer."""
    return (
        len(head) > 8 and head[0] == 0x08 and 0 < head[1] < 0x20 and head[2] in (0x12, 0x3A, 0x42)
    )


def _is_msgpack(head: bytes) -> bool:
    """Whether a file begins as a msgpack map whose first key is a short text."""
    start = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x81 <= head[0] <= 0x8F else 0)
    if not start or len(head) <= start or not 0xA1 <= head[start] <= 0xBF:
        return False
    key = head[start + 1 : start + 1 + head[start] - 0xA0]
    return key.isascii() and key.decode("ascii").isprintable()


def _check_safetensors(path: Path, length: int, size: int) -> None:
    """Check that a safetensors file is complete.

    Raises:
        LeftOut: with the sizes that the file has and should have.
    """
    if length > LONGEST:
        raise unreadable(
            path,
            f"has a header of {length:,} bytes, expected at most {LONGEST:,}, as in safetensors",
        )
    if 8 + length > size:
        raise unreadable(
            path,
            f"is truncated: it has {size:,} bytes, expected {8 + length:,} for its header alone",
        )
    with open(path, "rb") as file:
        file.seek(8)
        raw = file.read(length)
    try:
        header = json.loads(raw)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        complete = 8 + length + end <= size
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise unreadable(
            path, "has a broken header, expected a file of torch.save or a safetensors file"
        ) from None
    if not complete:
        raise unreadable(
            path, f"is truncated: it has {size:,} bytes, expected {8 + length + end:,}"
        )


def _check_zip(path: Path) -> None:
    """Check that a zip archive is one of `torch.save`.

    Raises:
        LeftOut: if the archive is truncated or holds something else.
    """
    try:
        whole = zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it looks like a part of an archive on several disks
        whole = False
    if not whole:
        raise unreadable(
            path, "is a truncated file of torch.save, because the end of it is missing"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a broken directory of the archive raises many kinds of errors
        raise unreadable(path, "is a broken zip archive, expected a file of torch.save") from None
    ends = [name.split("/", 1)[-1] for name in names]
    if "constants.pkl" in ends or any(end.startswith("code/") for end in ends):
        raise unreadable(
            path,
            "is a TorchScript archive, which holds a program, expected a state dict (save it with "
            f"`torch.save(torch.jit.load({str(path)!r}).state_dict(), 'weights.pt')`)",
        )
    if "data.pkl" in ends:
        return
    if names and all(name.endswith(".npy") for name in names):
        raise unreadable(
            path,
            "is a NumPy archive (.npz), expected a state dict saved with torch.save or safetensors",
        )
    if any(end.endswith("weights.h5") for end in ends):
        raise unreadable(path, "is a Keras archive, expected weights of PyTorch")
    if any(end in ("archive_format", "serialized_exported_program.json") for end in ends):
        raise unreadable(
            path, "is an exported program of torch.export, expected the state dict of its model"
        )
    first = f", such as {names[0]!r}" if names else ""
    raise unreadable(path, f"is a zip archive of {len(names)} files{first}, expected it unpacked")

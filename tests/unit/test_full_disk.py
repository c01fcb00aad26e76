"""A full disk: one sentence, and no half-written file. The disk is a small tmpfs."""

import os
import re
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from soups import files
from soups.errors import UserError
from soups.jobs import job
from soups.models import checkpoints

SIZE = 2**19  # bytes of the disk
NOISE = np.random.default_rng(0).integers(0, 256, 4 * SIZE, np.uint8)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A folder on a disk of `SIZE` bytes."""
    folder = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk needs the right to mount a tmpfs")
    yield folder
    # The frames of a traceback may keep files open, so the disk goes when they are closed.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def write_png(path) -> None:
    with files.replacing(path) as aside:
        Image.fromarray(NOISE.reshape(-1, 512, 4)[..., :3]).save(aside)


def write_state(path) -> None:
    with files.replacing(path) as aside:
        torch.save({"weights": torch.from_numpy(NOISE)}, aside)


def write_safetensors(path) -> None:
    checkpoints.save(path, {"weights": torch.from_numpy(NOISE)}, {})


WRITES = {
    "weights.safetensors": write_safetensors,
    "array.npy": lambda path: files.write_array(path, NOISE),
    "blocks.npy": lambda path: files.write_blocks(path, np.split(NOISE, 4), len(NOISE)),
    "note.json": lambda path: files.write_json(path, NOISE.tolist()),
    "table.csv": lambda path: files.write_text(path, "model,accuracy\n" * SIZE),
    "figure.png": write_png,
    "state.pt": write_state,
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_on_a_full_disk_leaves_the_old_file_and_nothing_else(disk, name):
    (disk / name).write_bytes(b"old")
    said = rf"{re.escape(str(disk / name))} cannot be written: its disk has no space left for it"
    with pytest.raises(UserError, match=rf"{said} \([\d.]+ MB free\)$"):
        WRITES[name](disk / name)
    assert list(disk.iterdir()) == [disk / name]
    assert (disk / name).read_bytes() == b"old"
    (disk / name).unlink()


def test_a_job_on_a_full_disk_ends_with_one_sentence(disk, capfd, configured):
    full = disk / "full"
    # Even the log has no space.
    with pytest.raises(OSError, match="No space left"):
        full.write_bytes(bytes(2 * SIZE))
    task = SimpleNamespace(log=[disk / "rule.log"], threads=1, config={})
    before = list(job.log.handlers)
    try:
        with pytest.raises(SystemExit) as end:
            job.run(lambda _: files.write_array(disk / "array.npy", NOISE), task)
    finally:
        for handler in set(job.log.handlers) - set(before):
            job.log.removeHandler(handler)
            handler.close()
        for path in disk.iterdir():
            path.unlink()
    assert end.value.code == 1
    said = capfd.readouterr().err
    assert said == f"error: {disk / 'array.npy'} {said.split(' ', 2)[2]}"
    assert "no space left" in said
    assert said.count("\n") == 1


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    for error in (ValueError("x"), PermissionError(13, "denied", "x"), RuntimeError("bad")):
        assert files.no_space(error, tmp_path / "x") is None
    with pytest.raises(RuntimeError, match="file write failed"), files.replacing(tmp_path / "x"):
        raise RuntimeError("file write failed")  # this disk has space

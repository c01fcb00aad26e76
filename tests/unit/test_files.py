import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soups import files
from soups.errors import UserError

KEYS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "note.txt"
    files.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "half of it \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_write_leaves_nothing(tmp_path):
    path = tmp_path / "note.txt"

    def killed():
        with files.replacing(path) as aside:
            aside.write_text("half of it")
            assert not path.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_killed_job_are_removed_and_those_of_a_running_one_kept(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pids = (ended.pid, os.getppid())
    dead, alive = (tmp_path / f".note.{files._HOST}-{pid}.part.txt" for pid in pids)
    dead.touch()
    alive.touch()
    files.write_text(tmp_path / "note.txt", "new")
    assert sorted(tmp_path.iterdir()) == sorted([alive, tmp_path / "note.txt"])


def test_missing_folders_are_made(tmp_path):
    files.write_text(tmp_path / "a" / "b" / "note.txt", "ü")
    assert (tmp_path / "a" / "b" / "note.txt").read_bytes() == "ü".encode()


@given(JSON)
def test_json_round_trip(tmp_path, value):
    files.write_json(tmp_path / "value.json", value)
    assert files.read_json(tmp_path / "value.json") == value


def test_json_keeps_the_order_of_keys(tmp_path):
    files.write_json(tmp_path / "value.json", {"b": 1, "a": 2})
    assert list(files.read_json(tmp_path / "value.json")) == ["b", "a"]


def test_broken_json_is_reported(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text('{"a": ')
    with pytest.raises(UserError, match=r"broken\.json: not valid JSON"):
        files.read_json(path)


def test_arrays_are_read_as_read_only_maps(tmp_path):
    array = np.arange(12, dtype=np.int64).reshape(3, 4)
    files.write_array(tmp_path / "array.npy", array)
    back = files.read_array(tmp_path / "array.npy")
    assert isinstance(back, np.memmap)
    assert not back.flags.writeable
    np.testing.assert_array_equal(back, array)


def test_sha256_is_the_hash_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert files.sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@given(st.dictionaries(KEYS, JSON, min_size=1, max_size=5))
def test_a_fingerprint_ignores_only_the_order_of_keys(value):
    reordered = dict(reversed(value.items()))
    assert files.fingerprint(reordered) == files.fingerprint(value)
    assert files.fingerprint(value | {next(iter(value)): ["another"]}) != files.fingerprint(value)


def test_blocks_are_written_as_the_bytes_of_one_array(tmp_path):
    array = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    files.write_array(tmp_path / "whole.npy", array)
    # The second block is a view that is not contiguous.
    files.write_blocks(tmp_path / "blocks.npy", [array[:2], array[2:, ::-1][:, ::-1]], 5)
    assert (tmp_path / "blocks.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize(
    "blocks",
    [[np.zeros((2, 3))], [np.zeros((4, 3))], [], [np.zeros((2, 3)), np.zeros((1, 3), np.float32)]],
    ids=["too few rows", "too many rows", "no rows", "another dtype"],
)
def test_blocks_that_do_not_fit_leave_no_file(tmp_path, blocks):
    with pytest.raises(ValueError, match=r"blocks\.npy"):
        files.write_blocks(tmp_path / "blocks.npy", blocks, 3)
    assert list(tmp_path.iterdir()) == []

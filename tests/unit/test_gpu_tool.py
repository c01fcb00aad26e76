"""`make gpu` in its smallest sizes on the CPU."""

import csv
import os
import re
import subprocess
import sys
import time

import gpu
import pytest


def test_figures_are_written_part_by_part(tmp_path, root):
    command = [sys.executable, gpu.__file__, "--cpu", "--output", tmp_path, "--parts"]
    subprocess.run([*map(str, command), "evaluation", "readers"], check=True, cwd=root)
    with (tmp_path / "gpu.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["part"] for row in rows} == {"evaluation", "readers"}
    assert all(row["unit"] == "" or float(row["value"]) > 0 for row in rows)
    assert {row["what"].split(",")[0] for row in rows[:4]} == {
        "bare forward loop", "forward from an array",
    }  # fmt: skip
    text = (tmp_path / "gpu.md").read_text()
    assert text.count("| done in ") == 2
    assert f"{rows[0]['value']} images/s" in text


def test_a_part_that_is_cut_leaves_its_figures(tmp_path, monkeypatch):
    def slow(python, cpu, lines, add, folder) -> None:
        code = "print('first', flush=True); import time; time.sleep(60)"
        for line in lines([python, "-c", code]):
            add(line.strip(), 1, "s")

    def broken(python, cpu, lines, add, folder) -> None:
        list(lines([python, "-c", "raise SystemExit(3)"]))

    monkeypatch.setattr(gpu, "PARTS", {"slow": (0.5, slow), "broken": (10, broken)})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--cpu", "--output", str(tmp_path)])
    begin = time.monotonic()
    gpu.main()
    assert time.monotonic() - begin < 50
    text = (tmp_path / "gpu.md").read_text()
    assert re.search(r"\| slow \| stopped after \d+ s \|", text)
    assert "| slow | first | 1 s | 1 |" in text
    assert "| broken | failed with status 3, see broken.log |" in text


def test_all_parts_fit_into_eight_minutes():
    assert sum(limit for limit, _ in gpu.PARTS.values()) < 480


def test_without_a_gpu_the_option_is_named(monkeypatch, tmp_path):
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(tmp_path)])
    with pytest.raises(
        SystemExit, match="torch sees no GPU, expected one with CUDA, or the option"
    ):
        gpu.main()

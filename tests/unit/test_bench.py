"""The benchmarks run, on small checkpoints."""

import json
import subprocess
import sys

import bench
import bench_scale
import pytest
import torch

from soups.models import checkpoints


@pytest.mark.skipif(not bench.Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_memory_is_measured(tmp_path):
    for i in range(2):
        state = {f"w{t}": torch.randn(10_000) for t in range(3)}
        checkpoints.save(tmp_path / f"{i}.safetensors", state, {"pretrained": "same"})

    def measured(*arguments) -> dict:
        """In a process of its own: in this one, memory that was freed would be used again."""
        command = [sys.executable, bench.__file__, *map(str, arguments)]
        return json.loads(subprocess.check_output(command, text=True))

    assert measured("mix", tmp_path, 3)["seconds"] > 0
    for gigabytes in (0, 1):
        assert measured("learn", tmp_path, 3, gigabytes)["peak_mb"] > 0


def test_every_stage_at_scale_runs(tmp_path, monkeypatch, root):
    """A smaller tower, two models and a few images of the real size."""
    monkeypatch.setattr(bench_scale, "ARCHITECTURE", "ViT-S-32-alt")
    monkeypatch.setattr(bench_scale, "MODELS", 2)
    monkeypatch.chdir(root)
    for stage in bench_scale.STAGES:
        row = bench_scale.once(stage, tmp_path, 8, 1, {})
        assert row["seconds"] > 0
        assert row["peak_mb"] > 100

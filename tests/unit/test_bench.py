"""The benchmarks on small checkpoints."""

import json
import subprocess
import sys

import bench
import bench_scale
import pytest
import torch

from soups.models import checkpoints

TENSORS, NUMBERS = 20, 250_000
SIZE = TENSORS * NUMBERS * 4 / 2**20  # of a checkpoint, in MB
COUNT = 8


@pytest.fixture
def measured(tmp_path):
    """Return a function that measures in a fresh process, whose memory is unused."""
    for i in range(2):
        state = {f"w{t}": torch.randn(NUMBERS) for t in range(TENSORS)}
        checkpoints.save(tmp_path / f"{i}.safetensors", state, {"pretrained": "same"})

    def run(stage: str, *arguments) -> dict:
        command = [sys.executable, bench.__file__, stage, tmp_path, *arguments]
        return json.loads(subprocess.check_output(list(map(str, command)), text=True))

    return run


needs_proc = pytest.mark.skipif(
    not bench.Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc"
)


@needs_proc
def test_mixing_holds_one_sum_and_not_all_ingredients(measured):
    peak = measured("mix", COUNT)["peak_mb"]
    assert 2 * SIZE < peak < 5 * SIZE  # The float64 sum alone has twice the size.


@needs_proc
def test_streamed_ingredients_of_a_learned_soup_take_no_memory(measured):
    streamed, held = (measured("learn", COUNT, budget)["peak_mb"] for budget in (0, 1))
    assert held - streamed > 0.6 * COUNT * SIZE


def test_every_stage_at_scale_processes_its_models_or_images(tmp_path, monkeypatch, root):
    """Run each stage with a smaller tower, two models and a few images of the real size."""
    monkeypatch.setattr(bench_scale, "ARCHITECTURE", "ViT-S-32-alt")
    monkeypatch.setattr(bench_scale, "MODELS", 2)
    monkeypatch.chdir(root)
    rows = {stage: bench_scale.once(stage, tmp_path, 8, 1, {}) for stage in bench_scale.STAGES}
    assert {stage: row["number"] for stage, row in rows.items()} == {
        "start": 2, "forward": 8, "probe": 10 * bench_scale.CLASSES, "finetune": 8, "mix": 2,
        "greedy": 2,
    }  # fmt: skip
    model = (tmp_path / "m0.safetensors").stat().st_size / 2**20
    # The peak of this process can only grow, and a mixture alone has twice the size of a model.
    assert rows["greedy"]["peak_mb"] >= rows["start"]["peak_mb"] > 2 * model

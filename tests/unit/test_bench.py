"""The benchmarks run, on small checkpoints."""

import bench
import pytest
import torch

from soups import checkpoints


@pytest.mark.skipif(not bench.Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_memory_is_measured(tmp_path):
    for i in range(2):
        state = {f"w{t}": torch.randn(10_000) for t in range(3)}
        checkpoints.save(tmp_path / f"{i}.safetensors", state, {"pretrained": "same"})
    assert bench.mix_once(str(tmp_path), 3)["seconds"] > 0
    for gigabytes in (0, 1):
        assert bench.learn_once(str(tmp_path), 3, gigabytes)["peak_mb"] > 0

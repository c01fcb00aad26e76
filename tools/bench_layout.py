"""Measures the training of models of convolutions in both memory layouts.

`python tools/bench_layout.py` writes results/recorded/bench/layout.csv. The models have random
weights and train on augmented noise of 96 pixels a side, with one thread. Both layouts take turns
in one process.
"""

import copy
import statistics
from pathlib import Path

import numpy as np
import torch
import yaml
from _table import options, write_table

import _library  # noqa: F401
from soups.cost import speeds
from soups.jobs import compute, job
from soups.models.families.timm_models import TimmModel

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "results" / "recorded" / "bench" / "layout.csv"
MODELS = ("tf_efficientnet_lite0", "mobilenetv3_large_100", "resnet50", "convnext_tiny")
SIZE = 96
LAYOUTS = {"usual": False, "channels last": True}


def main(repeats: int, hardware: str, result: Path) -> None:
    """Write a row per model and layout: the median of its images per second."""
    job.limit_threads(1)
    row = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["finetune"]
    row |= {"seed": 0, "batch_size": 16, "augment": 0.5}
    rows = []
    for name in MODELS:
        compute.configure({"device": "cpu"})
        torch.manual_seed(0)
        start = TimmModel(f"timm/{name}", note={"image_size": SIZE}).classifier(10)
        found: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
        for _ in range(repeats):
            for layout, wanted in LAYOUTS.items():
                compute.configure({"device": "cpu", "channels_last": wanted})
                seconds, _ = speeds.training(copy.deepcopy(start), row, noise)
                found[layout].append(1 / seconds)
        usual = statistics.median(found["usual"])
        for layout, speed in found.items():
            here = statistics.median(speed)
            made = {"hardware": hardware, "command": "python tools/bench_layout.py"}
            made |= {"n": repeats, "model": name, "pixels": SIZE, "layout": layout}
            rows.append(made | {"images_per_second": f"{here:.4g}", "ratio": f"{here / usual:.2f}"})
    write_table(result, rows)
    print(result.read_text(encoding="utf-8"), end="")


def noise(count: int) -> np.ndarray:
    """That number of images of noise."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


if __name__ == "__main__":
    given = options(__doc__, 5, "1 core of an AMD EPYC", RESULT)
    main(given.repeats, given.hardware, given.result)

"""Measures evaluation with oneDNN's linear layers against evaluation with MKL's.

`python tools/bench_linear.py` writes results/recorded/bench/linear.csv. It evaluates the model of
the miniature and CLIP ViT-B/32 on noise, both with random weights, with one thread. Both sides take
turns in one process, and the table counts processor time.
"""

import statistics
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from _table import options, write_table

import _library  # noqa: F401
from soups.jobs import compute, job
from soups.models import linear
from soups.models.forward import forward
from soups.models.pretrained import Pretrained

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "results" / "recorded" / "bench" / "linear.csv"
SIDES = {"MKL": False, "oneDNN": True}


def main(repeats: int, hardware: str, result: Path) -> None:
    """Write a row per model and side: the median of its images per second."""
    if not linear.onednn_is_faster():
        raise SystemExit("error: this CPU keeps MKL, expected one of AMD's with AVX-512")
    job.limit_threads(1)
    compute.configure({"device": "cpu"})
    miniature = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["model"][
        "architecture"
    ]
    rows = []
    for name, architecture, count in (
        ("miniature", miniature, 3000),
        ("ViT-B/32", "ViT-B-32-quickgelu", 50),
    ):
        torch.manual_seed(0)
        pretrained = Pretrained(architecture, None)
        model = pretrained.classifier(24).eval()
        size = pretrained.image_size
        images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
        speeds: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(repeats):
            for side, faster in SIDES.items():
                linear.onednn_is_faster = lambda faster=faster: faster
                begin = time.process_time()
                forward(model, images)
                speeds[side].append(count / (time.process_time() - begin))
        usual = statistics.median(speeds["MKL"])
        for side, found in speeds.items():
            speed = statistics.median(found)
            row = {"hardware": hardware, "command": "python tools/bench_linear.py", "n": repeats}
            row |= {"model": name, "images": count, "layers": side}
            rows.append(
                row | {"images_per_second": f"{speed:.4g}", "ratio": f"{speed / usual:.2f}"}
            )
    write_table(result, rows)
    print(result.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    given = options(__doc__, 9, "1 core of an AMD EPYC", RESULT)
    main(given.repeats, given.hardware, given.result)

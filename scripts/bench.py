"""Benchmarks: peak memory of mixing k models, and speeds. `make bench` prints them as a table.

Memory is measured in a fresh process per k, as the peak resident size above that of the
imports; the checkpoints have 40 million random float32 parameters (160 MB) each.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNTS = (2, 8, 32)
PARAMETERS = 40_000_000
TENSORS = 50


def mix_once(folder: str, count: int) -> dict:
    """Mix ``count`` checkpoints (a link each to a few files) in this process."""
    from soups.recipes import mix, uniform

    before = _restart_peak()
    paths = {f"m{i}": Path(folder) / f"{i % 2}.safetensors" for i in range(count)}
    start = time.perf_counter()
    mix(uniform(paths), paths)
    return {"seconds": time.perf_counter() - start, "peak_mb": _peak_mb() - before}


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def _restart_peak() -> float:
    """Forget the peak so far (imports have one of their own); returns what is resident, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak_mb() -> float:
    return _status("VmHWM")


def memory() -> None:
    import torch

    from soups import checkpoints

    size = PARAMETERS * 4 / 2**20
    print(f"Mixing k checkpoints of {size:.0f} MB (float64 sum: {2 * size:.0f} MB)\n")
    print("| k | peak above imports (MB) | in ingredients | seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for i in range(2):
            generator = torch.Generator().manual_seed(i)
            shape = (PARAMETERS // TENSORS,)
            state = {f"w{t:02d}": torch.randn(shape, generator=generator) for t in range(TENSORS)}
            checkpoints.save(Path(folder) / f"{i}.safetensors", state, {"pretrained": "same"})
        for count in COUNTS:
            command = [sys.executable, __file__, "mix", folder, str(count)]
            out = json.loads(subprocess.check_output(command, text=True))
            peak = out["peak_mb"]
            print(f"| {count} | {peak:.0f} | {peak / size:.2f} | {out['seconds']:.1f} |")


def speed() -> None:
    import torch
    import torch.nn.functional as F
    import yaml

    from soups.model import Pretrained
    from soups.optim import adamw
    from soups.world.sets import CHUNK, draw_set

    torch.set_num_threads(1)
    architecture = yaml.safe_load(Path("config.yaml").read_text())["model"]["architecture"]
    model = Pretrained(architecture, ["a"]).classifier(24).train()
    optimizer = adamw(model, 1e-4, 0.01)
    images = torch.randint(0, 256, (128, 32, 32, 3), dtype=torch.uint8)
    labels = torch.randint(0, 24, (128,))

    def train():
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def forward():
        with torch.inference_mode():
            model(images)

    print("\n| one thread, the miniature's model | images/s |\n|---|---|")
    print(f"| fine-tuning step, batch 128 | {_rate(train, 128):,.0f} |")
    print(f"| forward, batch 128 | {_rate(forward, 128):,.0f} |")
    rendering = _rate(lambda: draw_set("train", CHUNK, 0, 1), CHUNK)
    print(f"| rendering the photo style | {rendering:,.0f} |")


def _rate(call, images: int, seconds: float = 3.0) -> float:
    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        calls += 1
    return calls * images / (time.perf_counter() - start)


if __name__ == "__main__":
    if sys.argv[1:2] == ["mix"]:
        print(json.dumps(mix_once(sys.argv[2], int(sys.argv[3]))))
    else:
        memory()
        speed()

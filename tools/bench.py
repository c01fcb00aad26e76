"""Benchmarks of mixing, learned soups, training, evaluation and drawing, printed by `make bench`.

The last table has the seconds of the last run of the miniature by rule, see `bench_rules`.

Each row about memory comes from a fresh process. Its memory is the peak resident size minus the
size after the imports. Checkpoints have 40 million random float32 parameters (160 MB).
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_rules

import _library  # noqa: F401

COUNTS = (2, 8, 32)
STEPS, CLASSES = 3, 4
PARAMETERS = 40_000_000
TENSORS = 50


def mix_once(folder: str, count: int) -> dict:
    """Mix ``count`` checkpoints in this process. They are two files, read several times."""
    from soups.mixing.mix import mix
    from soups.mixing.recipes import uniform

    before = _restart_peak()
    paths = {f"m{i}": Path(folder) / f"{i % 2}.safetensors" for i in range(count)}
    start = time.perf_counter()
    mix(uniform(paths), paths)
    return {"seconds": time.perf_counter() - start, "peak_mb": _peak_mb() - before}


def learn_once(folder: str, count: int, gigabytes: float) -> dict:
    """Run `STEPS` steps of a learned soup by layer in this process.

    Args:
        folder: folder of two checkpoints, which are read several times.
        count: number of ingredients.
        gigabytes: memory that ingredients may use.

    Returns:
        seconds of reading the ingredients, seconds per step, and the peak memory in MB.
    """
    import numpy as np
    import torch

    from soups.mixing import learned
    from soups.models import blocks
    from soups.models.checkpoints import Checkpoint

    class Wide(torch.nn.Module):
        """A model with the checkpoints' parameters and a fast forward pass."""

        def __init__(self) -> None:
            super().__init__()
            for name, (shape, _) in Checkpoint(f"{folder}/0.safetensors").shapes().items():
                self.register_parameter(name, torch.nn.Parameter(torch.zeros(shape)))

        def forward(self, images):
            x = images.flatten(1)[:, :4].float() / 255
            total = sum(p[: 4 * CLASSES].view(4, CLASSES) for p in self.parameters())
            return x @ total + sum((p * 1e-6).sum() for p in self.parameters())

    torch.set_num_threads(1)
    before = _restart_peak()
    paths = [f"{folder}/{i % 2}.safetensors" for i in range(count)]
    group = blocks.groups(list(Checkpoint(paths[0]).shapes()), "tensor")
    start = time.perf_counter()
    ingredients = learned.within(paths, gigabytes * 2**30)
    reading = time.perf_counter() - start
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), np.uint8)
    start = time.perf_counter()
    labels = torch.arange(8) % CLASSES
    fit = {"lr": 0.05, "epochs": STEPS, "batch_size": 8, "seed": 0}
    learned.learn(Wide(), ingredients, images, labels, group, **fit)
    seconds = (time.perf_counter() - start) / STEPS
    return {"reading": reading, "seconds": seconds, "peak_mb": _peak_mb() - before}


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def _restart_peak() -> float:
    """Reset the peak memory of this process, and return its resident size in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak_mb() -> float:
    return _status("VmHWM")


def memory() -> None:
    """Print the memory and time of mixing and of learned soups."""
    import torch

    from soups.models import checkpoints

    with tempfile.TemporaryDirectory() as folder:
        for i in range(2):
            generator = torch.Generator().manual_seed(i)
            shape = (PARAMETERS // TENSORS,)
            state = {f"w{t:02d}": torch.randn(shape, generator=generator) for t in range(TENSORS)}
            checkpoints.save(Path(folder) / f"{i}.safetensors", state, {"pretrained": "same"})

        def measured(*arguments) -> dict:
            command = [sys.executable, __file__, *map(str, arguments)]
            return json.loads(subprocess.check_output(command, text=True))

        size = PARAMETERS * 4 / 2**20
        print(f"Mixing k checkpoints of {size:.0f} MB (the float64 sum has {2 * size:.0f} MB)\n")
        print("| k | peak above imports (MB) | in ingredients | seconds |\n|---|---|---|---|")
        for count in COUNTS:
            out = measured("mix", folder, count)
            peak = out["peak_mb"]
            print(f"| {count} | {peak:.0f} | {peak / size:.2f} | {out['seconds']:.1f} |")
        print("\nLearned soup by layer, where a step reads all ingredients twice\n")
        print(
            "| k | ingredients | peak (MB) | in ingredients | s per step |\n|---|---|---|---|---|"
        )
        for count in COUNTS:
            for title, gigabytes in (("streamed", 0), ("in memory", 1000)):
                out = measured("learn", folder, count, gigabytes)
                peak, seconds = out["peak_mb"], out["seconds"]
                print(f"| {count} | {title} | {peak:.0f} | {peak / size:.2f} | {seconds:.2f} |")


def speed() -> None:
    """Print the speeds of training, evaluating and drawing for the miniature."""
    import torch
    import torch.nn.functional as F
    import yaml

    from soups.models.pretrained import Pretrained
    from soups.training.optim import adamw
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


def points() -> None:
    """Print the time of a point of a plane: mixed in place, by way of a file, and evaluated."""
    import numpy as np
    import torch
    import yaml

    from soups.mixing.mix import mix
    from soups.mixing.recipes import recipe
    from soups.models import checkpoints
    from soups.models.checkpoints import Checkpoint
    from soups.models.forward import forward
    from soups.models.pretrained import Pretrained

    torch.set_num_threads(1)
    architecture = yaml.safe_load(Path("config.yaml").read_text())["model"]["architecture"]
    model = Pretrained(architecture, ["a"]).classifier(24).eval()
    images = np.random.default_rng(0).integers(0, 256, (600, 32, 32, 3), np.uint8)
    made = recipe({"0": 0.2, "1": 0.5, "2": 0.3}, "plane")
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.safetensors" for name in "012"}
        for path in paths.values():
            checkpoints.save(path, model.state_dict(), {"pretrained": "same"})

        def in_place():
            model.load_state_dict(mix(made, paths))

        def by_file():
            checkpoints.save(Path(folder) / "point.safetensors", mix(made, paths), {})
            model.load_state_dict(Checkpoint(Path(folder) / "point.safetensors").state())

        print("\n| one point of a plane, the miniature's model | ms |\n|---|---|")
        print(f"| mixed in place | {1000 / _rate(in_place, 1):.1f} |")
        print(f"| written and read again | {1000 / _rate(by_file, 1):.1f} |")
        print(
            f"| evaluated on 600 images | {1000 / _rate(lambda: forward(model, images), 1):.0f} |"
        )


def _rate(call, images: int, seconds: float = 3.0) -> float:
    """Images per second of a call that processes some images, after one call to warm up."""
    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        calls += 1
    return calls * images / (time.perf_counter() - start)


if __name__ == "__main__":
    if sys.argv[1:2] == ["mix"]:
        print(json.dumps(mix_once(sys.argv[2], int(sys.argv[3]))))
    elif sys.argv[1:2] == ["learn"]:
        print(json.dumps(learn_once(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
    else:
        memory()
        speed()
        points()
        bench_rules.section()

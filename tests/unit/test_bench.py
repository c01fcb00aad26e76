"""The benchmarks on small checkpoints."""

import json
import os
import subprocess
import sys

import bench
import bench_rules
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
def test_mixing_holds_the_result_and_not_the_ingredients(measured):
    peak = measured("mix", COUNT)["peak_mb"]
    assert SIZE < peak < 3 * SIZE  # The result alone has the size of one of 8 ingredients.


@needs_proc
def test_streamed_ingredients_of_a_learned_soup_take_no_memory(measured):
    streamed, held = (measured("learn", COUNT, budget)["peak_mb"] for budget in (0, 1))
    assert held - streamed > 0.6 * COUNT * SIZE


# A smaller tower than the tool's, and a number of models. The tool itself has no such options.
SMALLER = """
import json, pathlib, sys, bench_scale
models, stage, folder, images = sys.argv[1:]
bench_scale.ARCHITECTURE, bench_scale.MODELS = "ViT-S-32-alt", int(models)
row = bench_scale.once(stage, pathlib.Path(folder), int(images), 1, {"device": "cpu"})
print(json.dumps(row))
"""


@pytest.fixture(scope="module")
def at_scale(tmp_path_factory, root):
    """Return a function that runs a stage in a fresh process, with images of the real size.

    The folder has six models.
    """
    folder = tmp_path_factory.mktemp("models")

    def run(stage: str, models: int = 2, images: int = 8) -> dict:
        command = [sys.executable, "-c", SMALLER, models, stage, folder, images]
        path = {"PYTHONPATH": str(root / "tools")}
        out = subprocess.check_output(
            list(map(str, command)), text=True, cwd=root, env=os.environ | path
        )
        return json.loads(out)

    assert run("start", models=6)["number"] == 6
    sizes = {path.name: path.stat().st_size / 2**20 for path in folder.iterdir()}
    models = {f"m{i}.safetensors" for i in range(6)}
    assert sizes.keys() == {"pretrained.safetensors", *models}
    run.size = sizes["m0.safetensors"]  # in MB
    assert {sizes[name] for name in models} == {run.size}
    # The pre-trained model has the text tower too.
    assert sizes["pretrained.safetensors"] > 1.5 * run.size
    return run


@pytest.mark.parametrize("stage", ["mix", "greedy"])
def test_memory_at_scale_does_not_grow_with_the_number_of_models(at_scale, stage):
    few, many = (at_scale(stage, models=n) for n in (2, 6))
    assert (few["number"], many["number"]) == (2, 6)
    # Four more models in memory would have four times the size.
    assert many["peak_mb"] - few["peak_mb"] < 2 * at_scale.size


def test_fine_tuning_at_scale_holds_gradients_and_moments(at_scale):
    forward, finetune = at_scale("forward"), at_scale("finetune")
    assert forward["number"] == finetune["number"] == 8
    # AdamW has a gradient and two moments for every weight.
    assert finetune["peak_mb"] - forward["peak_mb"] > 2 * at_scale.size


def test_the_command_line_at_scale_runs_a_stage(tmp_path, root):
    """The stage of the probe needs no model."""
    command = [sys.executable, bench_scale.__file__, "probe", tmp_path, "8", "1", "{}"]
    row = json.loads(subprocess.check_output(list(map(str, command)), text=True, cwd=root))
    assert row["number"] == 10 * bench_scale.CLASSES
    features = row["number"] * 512 * 4 / 2**20
    assert row["peak_mb"] > features
    assert row["seconds"] > 0


def test_the_seconds_of_a_run_are_summed_by_rule(tmp_path, capsys):
    run = tmp_path / "run"
    jobs = [("finetune/m00", 10, 8), ("finetune/m01", 12, 9), ("plot/scatter", 2, 1)]
    for name, seconds, inside in [*jobs, ("claims", 4, 3)]:
        benchmark, log = run / f"benchmarks/{name}.tsv", run / f"logs/{name}.events.jsonl"
        for path in (benchmark, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text(f"s\th:m:s\n{seconds}\t0\n")
        started = {"event": "started", "time": 100.0, "process": 1, "host": "h"}
        ended = {"event": "ended", "time": 100.0 + inside}
        log.write_text("".join(json.dumps(event) + "\n" for event in (started, ended)))
    assert bench_rules.by_rule(run) == {
        "finetune": (2, 22.0, 17.0), "claims": (1, 4.0, 0.0), "plot": (1, 2.0, 0.0)
    }  # fmt: skip
    output = tmp_path / "bench" / "run.csv"
    bench_rules.section(run, output)
    assert "| all rules | 4 | 28.0 | 11.0 |" in capsys.readouterr().out
    assert output.read_text().splitlines()[1].endswith(",make run,1,finetune,2,22.0,5.0")
    bench_rules.section(tmp_path / "absent", output)
    assert "no table by rule" in capsys.readouterr().out

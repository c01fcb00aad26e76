"""Test and measure this project on a machine with one GPU, in less than eight minutes.

`make gpu` runs parts in the order of their value: the tests of a GPU, training, evaluation, the
miniature with eight jobs on the GPU, checkpoints on seven sets, greedy, readers of JPEGs. Each part
has a time limit. The tables in the folder `results/gpu` are written anew after every figure, so a
run that is cut short leaves all figures until then. `python tools/gpu.py --cpu` tries all parts in
small sizes on a machine without a GPU.

No network is needed. `--wheels FOLDER` installs the wheels of a folder beside the packages that the
machine has. Without them, torch, torchvision, open_clip, Snakemake and pytest must be there.
"""

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from _figures import Report

ROOT = Path(__file__).resolve().parents[1]
MINIATURE = "gpu_miniature"  # name of the experiment
SMALL = {  # the miniature of --cpu
    "data": {"world": {"train": 1500, "test": 100, "shift": 60, "variants": 6,
                       "reference": {"images": 200, "epochs": 1}}},
    "sweep": {"random": {"n": 2, "parameters": {"epochs": "choice(1, 1)"}}},
    "compute": {"device": "cpu"},
}  # fmt: skip
# Models, images, threads and architecture of greedy, by --cpu.
GREEDY = {
    False: (12, 500, 15, "ViT-B-32-quickgelu"),
    True: (3, 8, 1, "ViT-S-32-alt"),
}


def run(command: list, log: Path, stop: float, environment: dict) -> Iterator[str]:
    """Run a command in a process group of its own, and yield the lines of its output.

    Args:
        command: the program and its arguments.
        log: the file to which the output is appended.
        stop: the time at which it is killed, as by `time.monotonic`.
        environment: its environment variables.

    Raises:
        TimeoutError: if it was killed because of the time.
        CalledProcessError: if it failed for another reason.
    """
    late = threading.Event()
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

        def kill() -> None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        def end() -> None:
            late.set()
            kill()

        timer = threading.Timer(max(stop - time.monotonic(), 0), end)
        timer.start()
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                yield line
            process.wait()
        finally:
            timer.cancel()
            kill()
            process.wait()
    if late.is_set():
        raise TimeoutError
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def tests(python: str, cpu: bool, lines, add, folder: Path) -> None:
    """The tests that are marked `cuda`, which are skipped on a CPU."""
    with suppress(subprocess.CalledProcessError):  # the number of failures says it
        for line in lines([python, "-m", "pytest", "-m", "cuda", "-q", "tests/unit/test_cuda.py"]):
            if re.search(r"\d+ (passed|failed|skipped|errors?).* in [\d.:]+", line):
                for count, kind in re.findall(r"(\d+) (passed|failed|skipped|errors?)", line):
                    add(f"tests {kind}", int(count), "")


def bench(part: str, python: str, cpu: bool, lines, add, folder: Path) -> None:
    """A part of tools/bench_gpu.py."""
    for line in lines([python, "tools/bench_gpu.py", part, *["--small"] * cpu]):
        if line.startswith("{"):
            row = json.loads(line)
            add(row["what"], row["value"], row["unit"], row["n"])


def miniature(python: str, cpu: bool, lines, add, folder: Path) -> None:
    """The default experiment from the beginning."""
    shutil.rmtree(ROOT / "results" / MINIATURE, ignore_errors=True)
    overlay = SMALL if cpu else {"compute": {"jobs_per_gpu": 8}}
    file = folder / "miniature.yaml"  # YAML includes JSON
    file.write_text(json.dumps(overlay | {"name": MINIATURE}), encoding="utf-8")
    command = [python, "-m", "snakemake", "--cores", "all", "--quiet", "rules"]
    more = ["experiments/minimal.yaml"] if cpu else []
    begin, jobs = time.perf_counter(), 0
    for line in lines([*command, "--resources", "gpu=8", "--configfile", *more, file]):
        if done := re.match(r"(\d+) of \d+ steps", line):
            jobs = int(done[1])
    add(f"the miniature{' in small' * cpu}, {jobs} jobs", round(time.perf_counter() - begin), "s")
    shutil.copy(ROOT / "results" / MINIATURE / "tables" / "methods.csv", folder)


def greedy(python: str, cpu: bool, lines, add, folder: Path) -> None:
    """tools/bench_greedy.py, whose table is copied into the folder as well."""
    models, images, threads, architecture = GREEDY[cpu]
    made, out = folder / "greedy", folder / "greedy.csv"
    shutil.rmtree(made, ignore_errors=True)
    tool, options = [python, "tools/bench_greedy.py"], ["--models", models, "--threads", threads]
    try:
        sizes = ["--images", images, "--architecture", architecture]
        list(lines([*tool, "prepare", made, *options, *sizes]))
        list(lines([*tool, "run", made, *options, "--repeats", 1, "--out", out]))
    finally:
        shutil.rmtree(made, ignore_errors=True)
    with out.open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    name = f"greedy over {models} checkpoints and {images} JPEGs"
    for key, unit in (("plain_seconds", "s"), ("here_seconds", "s"), ("ratio", "×")):
        add(f"{name}: {key.replace('_', ' ')}", float(row[key]), unit, row["n"])


# The most valuable come first. Limits are in seconds.
PARTS = {
    "tests": (80, tests),
    "training": (110, partial(bench, "training")),
    "evaluation": (30, partial(bench, "evaluation")),
    "miniature": (100, miniature),
    "checkpoints": (45, partial(bench, "checkpoints")),
    "greedy": (75, greedy),
    "readers": (30, partial(bench, "readers")),
}


def installed(wheels: Path | None, folder: Path) -> str:
    """Return the Python to use, after installing the wheels of a folder beside its packages."""
    if wheels is None:
        return sys.executable
    place = folder / "venv"
    subprocess.check_call([sys.executable, "-m", "venv", "--system-site-packages", place])
    python = str(place / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.check_call([*pip, *sorted(wheels.glob("*.whl"))])
    return python


def hardware(python: str) -> tuple[str, bool]:
    """One line about the machine, and whether torch sees a GPU."""
    code = (
        "import torch; there = torch.cuda.is_available();"
        "name = torch.cuda.get_device_name() if there else 'no GPU';"
        "print(there); print(name, torch.__version__, sep=', torch ')"
    )
    there, line = subprocess.check_output([python, "-c", code], text=True).splitlines()[-2:]
    return f"{os.cpu_count()} CPU cores, {line}", there == "True"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="small sizes on the CPU")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "gpu")
    parser.add_argument("--seconds", type=float, default=465, help="limit of all parts together")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the part, too
    slower = 10 if asked.cpu else 1  # a CPU only tries the parts
    end, folder = time.monotonic() + slower * asked.seconds, asked.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = installed(asked.wheels, folder)
    described, there = hardware(python)
    if not (there or asked.cpu):
        raise SystemExit("error: torch sees no GPU, expected one with CUDA, or the option --cpu")
    report = Report(folder, described, asked.cpu)
    # Snakemake runs its scripts with the first `python` on the path.
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}
    environment |= {"CUDA_VISIBLE_DEVICES": ""} if asked.cpu else {}
    for part in asked.parts:
        begin, log = time.monotonic(), folder / f"{part}.log"
        log.write_text("")
        limit, measure = PARTS[part]

        stop = min(begin + slower * limit, end)
        lines = partial(run, log=log, stop=stop, environment=environment)
        add = partial(report.add, part)
        report.state(part, "running")
        try:
            measure(python, asked.cpu, lines, add, folder)
            state = f"done in {time.monotonic() - begin:.0f} s"
        except TimeoutError:
            state = f"stopped after {time.monotonic() - begin:.0f} s"
        except subprocess.CalledProcessError as error:
            state = f"failed with status {error.returncode}, see {log.name}"
        report.state(part, state)
        print(f"{part}: {state}", flush=True)


if __name__ == "__main__":
    main()

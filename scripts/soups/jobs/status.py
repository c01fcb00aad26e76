"""The progress of an experiment according to its files alone: outputs, events, the plan of a run.

The module writes nothing and talks to no running process, so it works on another machine or for
another user. Times of events and files are compared with this machine's clock. The module imports
neither torch nor pandas, which take seconds to import.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from soups import files, problems
from soups.errors import UserError
from soups.jobs import events
from soups.jobs.events import JobRecord
from soups.jobs.runs import PLAN, states

# Seconds without an event after which a job may be dead. A training step rarely takes longer.
FRESH = 300


@dataclass(frozen=True)
class Ingredient:
    """One model of the sweep.

    Attributes:
        name: its id.
        state: ``done``, ``running``, ``waiting``, ``failed``, ``interrupted`` (its process is
            gone) or ``silent`` (it had no event for `FRESH` seconds, and its process may be gone).
        log: path of its log.
        step, total, loss, speed: see `JobRecord`.
        left: seconds until it is done, if it is running.
        since: seconds since 1970 when it was done, when it began (if running), or when its last
            event came.
        quiet: seconds since its last event, if it is running or silent.
        cost: seconds that the whole fine-tune takes, if known.
        note: why it failed, where it will resume, or what it waits for.
    """

    name: str
    state: str
    log: str
    step: int | None = None
    total: int | None = None
    loss: float | None = None
    speed: int | None = None
    left: float | None = None
    since: float | None = None
    quiet: float | None = None
    cost: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Status:
    """The progress of an experiment.

    Attributes:
        folder: of the experiment.
        begun: when the last run began, ISO 8601.
        ingredients: the models of the sweep.
        stages: name, number of outputs that are done, number of planned outputs.
        left: seconds until all ingredients are done that have not failed; None if unknown.
        ended: when the last run ended, ISO 8601; None if it was killed or is still running.
        failed: Snakemake's log of the last run, if the run failed; may be "".
        interrupted: whether signals ended the last run.
        examples: what the models are trained on, such as ``images``.
    """

    folder: str
    begun: str
    ingredients: list[Ingredient]
    stages: list[tuple[str, int, int]]
    left: float | None
    ended: str | None = None
    failed: str | None = None
    interrupted: bool = False
    examples: str = "images"

    @property
    def done(self) -> bool:
        """Whether all planned outputs are done."""
        return all(done == planned for _, done, planned in self.stages)


def look(folder: str | Path, clock: Callable[[], float] = time.time) -> Status:
    """Return the progress of the experiment in a folder.

    Args:
        folder: ``results/<name>``.
        clock: seconds since 1970.

    Raises:
        UserError: if the folder has no plan of a run, or the plan of another version.
    """
    folder = Path(folder)
    if not (folder / PLAN).is_file():
        others = sorted(str(path.parent) for path in folder.parent.glob(f"*/{PLAN}"))
        found = f": {', '.join(others)}" if others else ""
        raise UserError(
            f"{folder / PLAN} does not exist, expected the folder of an experiment that has been "
            f"run{found}"
        )
    plan = files.read_json(folder / PLAN)
    try:
        # Snakemake's working folder. A name, and so the folder, may have several parts.
        root = folder.resolve().parents[len(Path(plan["folder"]).parts) - 1]
        sweep = _Sweep(folder, root, plan["rule"], seconds(plan["begun"]), clock())
        ingredients = [sweep.ingredient(name) for name in plan["ingredients"]]
        done = sum(m.state == "done" for m in ingredients)
        return Status(
            folder=str(folder),
            begun=plan["begun"],
            ingredients=ingredients,
            stages=_stages(folder, root, plan, (done, len(ingredients))),
            left=_left(ingredients),
            ended=plan.get("ended"),
            failed=plan.get("failed"),
            interrupted=plan.get("interrupted", False),
            examples=problems.of_note(plan.get("words", {})).examples,
        )
    except KeyError as error:
        raise UserError(
            f"{folder / PLAN} has no key {error}, expected the plan of a run of this version"
        ) from None


@dataclass(frozen=True)
class _Sweep:
    """The files of a sweep's ingredients.

    Attributes:
        folder: of the experiment.
        root: Snakemake's working folder.
        rule: that makes the ingredients.
        begun: when the last run began, seconds since 1970.
        now: seconds since 1970.
    """

    folder: Path
    root: Path
    rule: str
    begun: float
    now: float

    def ingredient(self, name: str) -> Ingredient:
        """Return the state of a model from its outputs and its events."""
        log = self.folder / "logs" / self.rule / f"{name}.log"
        weights = self.folder / "models" / f"{name}.safetensors"
        heldout = weights.with_name(f"{name}.heldout.npy")
        record = self._record(log)
        made = _time(weights)
        if made and heldout.exists():
            cost = _cost(self.folder / "benchmarks" / self.rule / f"{name}.tsv", record)
            return Ingredient(name, "done", str(log), **_seen(record), since=made, cost=cost)
        if record is None:
            # An earlier version, which wrote no events, may have saved a state.
            if self._states(name):
                return Ingredient(name, "interrupted", str(log), note=self._resumes(name))
            return Ingredient(name, "waiting", str(log))
        if record.ended:  # its outputs were removed later
            return Ingredient(name, "waiting", str(log))
        if record.error and record.last < self.begun:
            note = f"it failed in an earlier run: {record.error}"
            return Ingredient(name, "waiting", str(log), note=note)
        return Ingredient(name, log=str(log), **_seen(record), **self._begun(name, record))

    def _record(self, log: Path) -> JobRecord | None:
        """Return the record of a job, or None if its events file does not exist."""
        path = events.beside(log)
        try:
            record = JobRecord.read(path)
            if record.last is None:  # the file is empty
                record.start = record.last = path.stat().st_mtime
        except FileNotFoundError:
            return None
        return record

    def _begun(self, name: str, record: JobRecord) -> dict:
        """Return state, since, quiet, left and note of a job that began and made no outputs."""
        if record.error:
            return {"state": "failed", "since": record.last, "note": record.error}
        quiet = max(0.0, self.now - record.last)
        state = self._state(record, quiet)
        if state == "interrupted":
            return {"state": state, "since": record.last, "note": self._resumes(name)}
        note = f"waiting for {record.waiting}" if record.waiting else None
        seen = {"state": state, "quiet": quiet, "note": note}
        if state == "silent":
            return seen | {"since": record.last}
        return seen | {"since": record.start, "left": record.left(self.now)}

    def _state(self, record: JobRecord, quiet: float) -> str:
        """Return ``interrupted``, ``running`` or ``silent``."""
        if record.signal:
            return "interrupted"
        if record.host == events.HOST:
            if not _runs(record.process):
                return "interrupted"
        # The process is not on this machine, or unknown. If no workflow runs, no job runs either.
        elif (record.host is None or quiet >= FRESH) and not any(
            (self.root / ".snakemake" / "locks").glob("*")
        ):
            return "interrupted"
        return "running" if quiet < FRESH else "silent"

    def _states(self, name: str) -> list[Path]:
        return states(self.folder / ".state", name)

    def _resumes(self, name: str) -> str:
        if self._states(name):
            return "its state is saved, so the next run resumes it"
        return "it has no saved state, so the next run starts it again"


def _seen(record: JobRecord | None) -> dict:
    """Return the fields of an `Ingredient` that every state shows."""
    names = ("step", "total", "loss", "speed")
    return {name: getattr(record, name) for name in names} if record else {}


def _runs(process: int) -> bool:
    if not files.alive(process):
        return False
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state != "Z"  # a zombie: it has ended, but its parent has not asked for its exit status


def _cost(benchmark: Path, record: JobRecord | None) -> float | None:
    """Return the seconds that a whole fine-tune takes, from Snakemake's benchmark file.

    The file has the time of the last job. If the job resumed a state, its time is scaled up.
    """
    try:
        seconds = float(benchmark.read_text().split("\n")[1].split("\t")[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if record and record.total and record.first:
        seconds *= record.total / max(1, record.total - record.first)
    return seconds


def _left(ingredients: list[Ingredient]) -> float | None:
    """Return the seconds until the last ingredient is done, or None if unknown.

    The estimate takes the number of jobs that run now as the number that always run at once.
    """
    running = [m for m in ingredients if m.state == "running"]
    to_come = [m for m in ingredients if m.state in ("waiting", "interrupted")]
    if not running:
        return None
    costs = [m.cost for m in ingredients if m.cost is not None]
    # If no ingredient is done, use the expected cost of those that run.
    costs = costs or [m.left * m.total / (m.total - m.step) for m in running if m.left]
    typical = sum(costs) / len(costs) if costs else None
    rests = []
    for m in running + to_come:
        if m.left is None and typical is None:
            return None
        share = 1 - m.step / m.total if m.total else 1
        rests.append(typical * share if m.left is None else m.left)
    at_once = sum(m.note is None for m in running) or len(running)  # a note: it waits for a GPU
    return max(*rests, sum(rests) / at_once)


def _stages(
    folder: Path, root: Path, plan: dict, ingredients: tuple[int, int]
) -> list[tuple[str, int, int]]:
    """Return name, done and planned outputs of every stage that has outputs to make."""
    shared = root / "results" / plan["shared"] if plan["shared"] else folder

    def each(home: Path, names: list[str], ending: str) -> list[list[Path]]:
        return [[home / f"{name}{ending}"] for name in names]

    def logits(model: str) -> list[Path]:
        home = shared if model in plan["starts"] else folder
        return [home / "logits" / model / f"{name}.npy" for name in plan["tests"]]

    def count(stages: dict[str, list[list[Path]]]) -> list[tuple[str, int, int]]:
        return [
            (stage, sum(all(map(Path.exists, outputs)) for outputs in units), len(units))
            for stage, units in stages.items()
            if units
        ]

    before = {
        "data": each(shared / "prepared", ["heldout", *plan["tests"]], ".npy"),
        "pre-trained model": each(shared / "pretrained", ["model"], ".safetensors"),
        "starting points": each(shared / "models", plan["starts"], ".safetensors"),
    }
    after = {
        "soups": each(folder / "soups", plan["soups"], ".safetensors"),
        "ensembles": each(folder / "ensembles", plan["ensembles"], ".json"),
        "evaluations": [logits(model) for model in plan["evaluated"]],
        "tables": each(folder / "tables", plan["tables"], ".csv"),
        "figures": each(folder / "figures", plan["figures"], ".png"),
        "report": each(folder, ["report"], ".html"),
    }
    return [*count(before), ("ingredients", *ingredients), *count(after)]


def seconds(moment: str) -> float:
    """Return the seconds since 1970 of a moment in ISO 8601."""
    return datetime.fromisoformat(moment).timestamp()


def _time(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def as_json(status: Status) -> dict:
    """Return the status for programs, with the keys of `Status`. A non-finite loss is null."""
    value = asdict(status) | {"done": status.done}
    for m in value["ingredients"]:
        if m["loss"] is not None and not math.isfinite(m["loss"]):
            m["loss"] = None
    value["stages"] = {stage: {"done": done, "planned": n} for stage, done, n in status.stages}
    return value

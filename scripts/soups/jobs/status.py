"""Where an experiment stands, told from its files alone: outputs, logs, and a plan.

Reads only, and asks no running process, so it works from another machine or for another user.
How old a file is, is the difference of its time stamp and this machine's clock. Needs neither
torch nor pandas, which take seconds to import.
"""

import math
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from soups import files
from soups.errors import UserError
from soups.jobs import progress
from soups.jobs.progress import Told, duration
from soups.jobs.runs import PLAN, states

FRESH = 300  # seconds without a line after which a job may be dead; a step rarely takes so long
WIDTH = 110  # columns of a terminal
BEGUN = ("running", "silent", "interrupted", "failed")  # shown even if there is little room


@dataclass(frozen=True)
class Ingredient:
    """One model of the sweep.

    Attributes:
        name: its id.
        state: ``done``, ``running``, ``waiting``, ``failed``, ``interrupted`` (its process is
            gone) or ``silent`` (no line for `FRESH` seconds; nobody here knows about its process).
        step, total, loss, speed: see `Told`.
        left: seconds, if it is running.
        since: when it was done, began (if running) or last gave a sign; seconds since 1970.
        quiet: seconds since its last line, if it is running or silent.
        cost: seconds from beginning to end, if that is known.
        note: why it failed, where it goes on, or what it waits for.
        log: path of its log.
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
    """Where an experiment stands.

    Attributes:
        folder: of the experiment.
        begun: when its last run did, ISO 8601.
        ended: when it ended; None if it was killed, or is under way.
        failed: Snakemake's log of it, if it failed.
        ingredients: the sweep.
        stages: name, how many are done, how many there will be.
        left: seconds until all ingredients are done that can be; None if that is not known.
    """

    folder: str
    begun: str
    ingredients: list[Ingredient]
    stages: list[tuple[str, int, int]]
    left: float | None
    ended: str | None = None
    failed: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is missing."""
        return all(done == planned for _, done, planned in self.stages)


def look(folder: str | Path, clock: Callable[[], float] = time.time) -> Status:
    """Where the experiment in a folder stands now.

    Args:
        folder: ``results/<name>``.
        clock: seconds since 1970.

    Raises:
        UserError: if no run has left its plan there, or it is of another version.
    """
    folder = Path(folder)
    if not (folder / PLAN).is_file():
        raise UserError(
            f"{folder / PLAN}: not there, expected the folder of an experiment; "
            "a run leaves this file when it begins"
        )
    plan = files.read_json(folder / PLAN)
    try:
        # Where the workflow was called: a name may have several parts, and so has its folder.
        root = folder.resolve().parents[len(Path(plan["folder"]).parts) - 1]
        about = plan["rule"], _seconds(plan["begun"]), clock()
        ingredients = [_ingredient(folder, root, m, *about) for m in plan["ingredients"]]
        done = sum(m.state == "done" for m in ingredients)
        stages = _stages(folder, root, plan, (done, len(ingredients)))
        end = plan.get("ended"), plan.get("failed")
        return Status(str(folder), plan["begun"], ingredients, stages, _left(ingredients), *end)
    except KeyError as error:
        raise UserError(f"{folder / PLAN}: no {error}, expected a plan of this version") from None


def _ingredient(
    folder: Path, root: Path, name: str, rule: str, begun: float, now: float
) -> Ingredient:
    log = folder / "logs" / rule / f"{name}.log"
    weights = folder / "models" / f"{name}.safetensors"
    heldout = weights.with_name(f"{name}.heldout.npy")
    try:
        told, written = progress.read(log), log.stat().st_mtime
    except FileNotFoundError:
        told, written = None, None
    seen = {}
    if told:
        seen = {"step": told.step, "total": told.total, "loss": told.loss, "speed": told.speed}
    seen |= {"name": name, "log": str(log)}
    if (made := _time(weights)) and heldout.exists():
        cost = _cost(folder / "benchmarks" / rule / f"{name}.tsv", told)
        return Ingredient(**seen, state="done", since=made, cost=cost)
    if told is None or told.last.startswith("held-out accuracy"):  # of outputs that were removed
        return Ingredient(name, "waiting", str(log))
    if told.error and written < begun:
        note = f"it failed in an earlier run: {told.error}"
        return Ingredient(name, "waiting", str(log), note=note)
    if told.error:
        return Ingredient(**seen, state="failed", since=written, note=told.error)
    quiet = max(0.0, now - written)
    state = _state(told, quiet, root)
    waits = told.last if told.last.startswith("waiting") else None  # for a GPU (soups.slots)
    if state == "running":
        left = None
        if told.rate is not None:
            left = max(0.0, told.rate * (told.total - told.step) - quiet)
        since = written - told.seconds
        return Ingredient(**seen, state=state, since=since, quiet=quiet, left=left, note=waits)
    if state == "silent":
        return Ingredient(**seen, state=state, since=written, quiet=quiet, note=waits)
    kept = states(folder / ".state", name)
    note = "its state is saved, so it will go on from there" if kept else "it will begin again"
    return Ingredient(**seen, state=state, since=written, note=note)


def _state(told: Told, quiet: float, root: Path) -> str:
    """Of a job that has begun, and neither ended nor failed."""
    if told.stopped:
        return "interrupted"
    if told.host == progress.HOST:
        if not _runs(told.process):
            return "interrupted"
    # It has not said a word, or not for long, and no workflow runs.
    elif (told.host is None or quiet >= FRESH) and not any(
        (root / ".snakemake" / "locks").glob("*")
    ):
        return "interrupted"
    return "running" if quiet < FRESH else "silent"


def _runs(process: int) -> bool:
    if not files.alive(process):
        return False
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state != "Z"  # ended, and nobody has asked how


def _cost(benchmark: Path, told: Told | None) -> float | None:
    """Seconds that a whole fine-tune takes, from Snakemake's record of its last part."""
    try:
        seconds = float(benchmark.read_text().split("\n")[1].split("\t")[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if told and told.total and told.first:
        seconds *= told.total / max(1, told.total - told.first)
    return seconds


def _left(ingredients: list[Ingredient]) -> float | None:
    """Seconds until the last ingredient is done, if as many run at once as do now."""
    running = [m for m in ingredients if m.state == "running"]
    to_come = [m for m in ingredients if m.state in ("waiting", "interrupted")]
    if not running:
        return None
    costs = [m.cost for m in ingredients if m.cost is not None]
    # If none is done, those that run are the measure.
    costs = costs or [m.left * m.total / (m.total - m.step) for m in running if m.left]
    typical = sum(costs) / len(costs) if costs else None
    rests = []
    for m in running + to_come:
        if m.left is None and typical is None:
            return None
        share = 1 - m.step / m.total if m.total else 1
        rests.append(typical * share if m.left is None else m.left)
    at_once = sum(m.note is None for m in running) or len(running)
    return max(*rests, sum(rests) / at_once)


def _stages(
    folder: Path, root: Path, plan: dict, ingredients: tuple[int, int]
) -> list[tuple[str, int, int]]:
    """Name, done and planned of every stage; one that has nothing to make is left out."""
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


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _time(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def text(status: Status, height: int | None = None, now: float | None = None) -> str:
    """The status for people, at most `WIDTH` columns wide.

    Args:
        status: what `look` returned.
        height: lines that there is room for; what is done or waiting is left out if need be.
        now: seconds since 1970; by default this machine's clock.
    """
    now = time.time() if now is None else now
    begun = _seconds(status.begun)
    head = [f"{status.folder}: last run begun {_when(begun, now)}"]
    if status.ended:
        how = f"failed, see {status.failed}" if status.failed else "ended"
        head = [f"{head[0]}, {_when(_seconds(status.ended), now)} {how}"]
    rows = [_row(m, now) for m in status.ingredients]
    notes = [line for m in status.ingredients for line in _note(m)]
    summary = _summary(status)

    def page(table: list[str]) -> str:
        return "\n\n".join("\n".join(part) for part in (head, table, notes, summary) if part)

    whole = page(_table(rows))
    if height is None or whole.count("\n") < height:
        return whole
    rest = Counter(m.state for m in status.ingredients if m.state not in BEGUN)
    hidden = "not shown: " + ", ".join(f"{count} {state}" for state, count in rest.items())
    return page([*_table([row for row in rows if row[1] in BEGUN]), *([hidden] if rest else [])])


HEADER = ("model", "state", "step", "", "loss", "images/s", "left", "since", "last line")
BAR = 10  # characters


def _row(m: Ingredient, now: float) -> list[str]:
    training = m.total is not None
    return [
        m.name,
        m.state,
        f"{m.step} of {m.total}" if training else "",
        _bar(m.step / m.total) if training and m.total and m.state in BEGUN else "",
        "" if m.loss is None else f"{m.loss:.4f}",
        "" if m.speed is None else f"{m.speed:,}",
        ("?" if m.left is None else duration(m.left)) if m.state == "running" else "",
        "" if m.since is None else _when(m.since, now),
        "" if m.quiet is None else f"{duration(m.quiet)} ago",
    ]


def _bar(share: float) -> str:
    full = int(share * BAR)
    return "#" * full + "." * (BAR - full)


def _table(rows: list[list[str]]) -> list[str]:
    """Aligned lines; a column without a cell is left out, long names are cut to fit `WIDTH`."""
    if not rows:
        return []
    columns = [i for i in range(len(HEADER)) if any(row[i] for row in rows)]
    cells = [[row[i] for i in columns] for row in [HEADER, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = WIDTH - sum(width + 2 for width in widths[1:])
    widths[0] = min(widths[0], max(room, len(HEADER[0])))
    cells.insert(1, ["-" * width for width in widths])
    return [
        "  ".join(
            _cut(cell, width).ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


def _note(m: Ingredient) -> list[str]:
    if m.note is None:
        return []
    said = textwrap.wrap(f"{m.name} {m.state}: {m.note}", WIDTH, subsequent_indent="  ")
    return [*said, f"  {m.log}"]


def _summary(status: Status) -> list[str]:
    width = max(len(stage) for stage, _, _ in status.stages)
    digits = max(len(str(planned)) for _, _, planned in status.stages)
    lines = []
    for stage, done, planned in status.stages:
        line = f"{stage:<{width}}  {done:>{digits}} of {planned:>{digits}}"
        if stage == "ingredients" and done < planned:
            states = Counter(m.state for m in status.ingredients)
            line += "".join(f", {states[s]} {s}" for s in (*BEGUN, "waiting") if states[s])
            line += "; ? left" if status.left is None else f"; about {duration(status.left)} left"
        lines.append(line)
    return lines


def _when(seconds: float, now: float) -> str:
    then, today = datetime.fromtimestamp(seconds), datetime.fromtimestamp(now)
    return then.strftime("%H:%M" if then.date() == today.date() else "%b %d %H:%M")


def as_json(status: Status) -> dict:
    """The status for programs: keys as in `Status`; a loss that is not finite is null."""
    value = asdict(status) | {"done": status.done}
    for m in value["ingredients"]:
        if m["loss"] is not None and not math.isfinite(m["loss"]):
            m["loss"] = None
    value["stages"] = {stage: {"done": done, "planned": n} for stage, done, n in status.stages}
    return value

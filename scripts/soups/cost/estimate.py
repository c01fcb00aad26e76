"""The expected cost of an experiment: the work of its configuration at measured speeds.

This module only calculates. It counts examples for each kind of work, bytes of weights and logits
that are mixed, and jobs. `speeds` measures the time of each on this machine. The number of soups
that a greedy rule tries depends on its results, so the rule is counted as if it kept every model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from soups import problems
from soups.experiment.registry import SOUP_METHODS

LOGIT = 4  # bytes of one float32
DEVICE, CPU = "device", "cpu"


@dataclass(frozen=True)
class Work:
    """The work of one stage.

    Attributes:
        stage: name of the stage.
        jobs: number of its jobs.
        examples: name of a speed to the number of examples processed at that speed.
        others: name of a speed to an amount that is not in examples, such as bytes.
        disk: bytes of its results.
        on: `DEVICE`, or `CPU` for work that never runs on a GPU.
        threads: threads of each job.
        light: whether its jobs start without importing torch, which takes seconds.
    """

    stage: str
    jobs: int
    examples: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)
    disk: float = 0
    on: str = DEVICE
    threads: int = 1
    light: bool = False


@dataclass(frozen=True)
class Sizes:
    """Sizes of the data and the models.

    Attributes:
        examples: set to its number of examples. ``train`` is counted without ``heldout``.
        classes: number of training classes.
        checkpoint: bytes of a fine-tuned model.
        pretrained: bytes of the pre-trained model.
        prepared: bytes of a prepared example.
        stored: bytes of a training example as the experiment stores it.
    """

    examples: Mapping[str, int]
    classes: int
    checkpoint: int
    pretrained: int
    prepared: float
    stored: float

    @property
    def tests(self) -> int:
        """Number of examples in the test set and all shifts together."""
        return sum(n for name, n in self.examples.items() if name not in ("train", "heldout"))

    def logits(self, examples: float) -> float:
        """Bytes of the logits of some examples."""
        return LOGIT * self.classes * examples

    def part(self, most: Mapping[str, int]) -> int:
        """Number of examples that the curves use, summed over the test set and all shifts.

        Args:
            most: the largest number of examples of ``test``, and of each ``shift``.
        """
        tests = {n: count for n, count in self.examples.items() if n not in ("train", "heldout")}
        return sum(min(n, most["test" if name == "test" else "shift"]) for name, n in tests.items())


def kind(row: Mapping) -> tuple:
    """The hyperparameters that decide the time of a training step, as a key."""
    averaged = bool(row["ema"] or row["swa"])
    on = [bool(row[name]) for name in ("sam", "mixup", "augment")]
    return (row["batch_size"], *on, averaged, bool(row["distill"]))


def passes(row: Mapping) -> int:
    """Forward and backward passes per training step. Sharpness-aware minimisation needs two."""
    return 2 if row["sam"] else 1


def transforms(row: Mapping) -> tuple:
    """The transforms that decide the time to load an example, as a key."""
    return row["crop"] < 1, row["flip"] > 0, row["rand_augment_ops"]


def train_speed(row: Mapping) -> str:
    """Name of the speed at which a row is fine-tuned, with the loading of its examples."""
    return f"train {kind(row)} {transforms(row)}"


def loaded(compute: float, load: float, workers: int) -> float:
    """Seconds per example when worker processes load examples while the model computes.

    Args:
        compute: seconds per example of the model.
        load: seconds per example that one process needs to load it.
        workers: number of worker processes. Without workers, the two times add up.
    """
    return max(compute, load / workers) if workers else compute + load


def workers_needed(compute: float, load: float) -> int:
    """Number of worker processes that load examples as fast as the model processes them."""
    return max(1, -int(-load // compute))


def work(plan: Mapping, sizes: Sizes) -> list[Work]:
    """The work of every stage of an experiment.

    Stages whose results come from a shared experiment are left out.

    Args:
        plan: ``plan`` of `experiment.estimated.estimated`, with the keys that
            `cost.counts.completed` adds.
        sizes: sizes of the data and the models.
    """
    first = [] if plan["shared"] else [_prepare(plan, sizes), *_starts(plan, sizes)]
    made = [_import(plan, sizes)] if plan["ready_made"] else _finetune(plan, sizes)
    rest = [_evaluate, _recipes, _cook, _curves, _ensembles]
    return [*first, *made, *(stage(plan, sizes) for stage in rest)]


def _prepare(plan: Mapping, sizes: Sizes) -> Work:
    numbers = sizes.examples
    kept = sum(numbers.values()) - numbers["train"]
    disk = sizes.prepared * kept + sizes.stored * numbers["train"]
    jobs, examples = problems.of_source(plan["source"]).preparation(plan, numbers)
    return Work("prepare", jobs, examples, {}, disk, CPU)


def _trained(plan: Mapping, sizes: Sizes) -> float:
    """Number of training examples that models are trained on."""
    return sizes.examples["train"] * plan.get("train_fraction", 1)


def _starts(plan: Mapping, sizes: Sizes) -> list[Work]:
    examples = {"pretrain": plan["corpus"] * plan["pretrain_epochs"]} if plan["corpus"] else {}
    made = [Work("pretrained", 1, examples, {}, sizes.pretrained)]
    if plan["ready_made"]:
        return made
    n = _trained(plan, sizes)
    heldout = sizes.examples["heldout"]
    disk = (len(plan["starts"]) + 1) * sizes.checkpoint
    disk += len(plan["starts"]) * sizes.logits(heldout)
    seen = {"features": n, "forward": heldout}
    others = {"probe": n * plan["probe_epochs"]}
    return [*made, Work("initialize", 1, seen, others, disk, threads=plan["threads"])]


def _finetune(plan: Mapping, sizes: Sizes) -> list[Work]:
    n = _trained(plan, sizes)
    heldout, rows = sizes.examples["heldout"], plan["rows"]
    examples: dict[str, float] = {"forward": len(rows) * heldout}
    for row in rows.values():
        name, share = train_speed(row), plan["task_share"].get(row["task"], 1)
        examples[name] = examples.get(name, 0) + row["epochs"] * n * share
    disk = len(rows) * (sizes.checkpoint + sizes.logits(heldout))
    made = [Work("finetune", len(rows), examples, {}, disk, threads=plan["threads"])]
    if any(row["distill"] for row in rows.values()):
        seen, logits = {"features": len(plan["base"]) * n}, sizes.logits(n)
        made.append(Work("teacher", 1, seen, {}, logits, threads=plan["threads"]))
    return made


def _import(plan: Mapping, sizes: Sizes) -> Work:
    number, heldout = len(plan["rows"]), sizes.examples["heldout"]
    disk = number * (sizes.checkpoint + sizes.logits(heldout))
    return Work("import", number, {"forward": number * heldout}, {}, disk)


def _evaluate(plan: Mapping, sizes: Sizes) -> Work:
    number = plan["evaluated"] + len(plan["starts"]) + len(plan["soups"])
    examples = number * sizes.tests
    return Work("evaluate", number, {"forward": examples}, {}, sizes.logits(examples))


def _recalibrated(entry: Mapping, plan: Mapping, heldout: int) -> int:
    """Number of held-out examples on which a soup's batch statistics are measured again."""
    return min(entry.get("recalibrate", plan["recalibrate"]), heldout)


def _recipes(plan: Mapping, sizes: Sizes) -> Work:
    heldout = sizes.examples["heldout"]
    forward = mixed = merged = gradient = learned = 0.0
    for entry in plan["soups"].values():
        options, n = entry["options"], len(entry["ingredients"])
        cost = SOUP_METHODS[entry["method"]].cost(options, n, len(entry["of"]))
        recalibrated = _recalibrated(entry, plan, heldout)
        forward += cost.scored * (heldout + recalibrated)
        mixed += cost.added
        merged += cost.merged
        if cost.epochs:
            size = min(options.get("batch_size", heldout), heldout)
            steps = cost.epochs * (heldout // size)
            gradient += steps * size
            learned += steps * len(entry["ingredients"])
            forward += steps * recalibrated
    examples = {"forward": forward, "gradient": gradient}
    others = {"mix": mixed, "merge": merged, "learn": learned}
    others = {name: count * sizes.checkpoint for name, count in others.items()}
    return Work("recipes", len(plan["soups"]), examples, others)


def _cook(plan: Mapping, sizes: Sizes) -> Work:
    soups, heldout = plan["soups"], sizes.examples["heldout"]
    # Each ingredient is read a second time for the hash in the soup's note.
    mixed = {"mix": 0, "merge": 0}
    for entry in soups.values():
        n = len(entry["ingredients"])
        mixed["merge" if SOUP_METHODS[entry["method"]].elementwise else "mix"] += n
        mixed["mix"] += n
    others = {name: count * sizes.checkpoint for name, count in mixed.items()}
    measured = [_recalibrated(entry, plan, heldout) for entry in soups.values()]
    examples = {"forward": len(soups) * heldout + sum(measured)}
    disk = len(soups) * (sizes.checkpoint + sizes.logits(heldout))
    return Work("cook", len(soups), examples, others, disk)


def _curves(plan: Mapping, sizes: Sizes) -> Work:
    """Points of curves are mixed and evaluated without being written.

    For some curves, greedy rules choose the points first.
    """
    curves, k, heldout = plan["curves"], len(plan["base"]), sizes.examples["heldout"]
    recalibrated = _recalibrated({}, plan, heldout)
    part, tests = sizes.part(curves["images"]), sizes.tests
    jobs, forward, mixed = 0, 0.0, 0.0

    def add(points: float, examples: float, reads: float, more_jobs: int = 0) -> None:
        nonlocal jobs, forward, mixed
        jobs += more_jobs
        forward += points * (examples + recalibrated)
        mixed += points * reads

    if plan["ends"]:
        add(plan["ends"] * len(curves["wise_ft"]["alphas"]), part, 2, 2)
    if curves["number_of_models"]:
        orders = curves["number_of_models"]["orders"]
        # The nth model may take any rank among n. Scores of soups before its rank are remembered.
        # So on average, (n - 1) / 2 + 1 soups are scored again.
        scored = sum((n - 1) / 2 + 1 for n in range(1, k + 1))
        add(orders * scored, heldout, 2, 1)
        mixed += orders * k * (k + 1) / 2
        add(orders * k, part, 1, 1)  # uniform soups, which gain one ingredient per point
        add(orders * k, part, (k + 1) / 2)  # greedy soups
        add(k, part, 1)
    if drawn := curves.get("heldout_size"):
        # Most sets are much smaller than the whole held-out set, so half of it is a high guess.
        sets = len(drawn["per_class"]) * drawn["draws"]
        add(sets * (k - 1), heldout / 2, 2, 2)
        add(2 * sets, part, k / 2)
    if large := plan["large"]:
        models = k + large
        add((large + 1) * (models - 1), heldout, 2, 1)
        add(3 * (large + 1), part, models / 2, 1)
    for models in plan["slices"]:
        add(models - 1, heldout, 2)
        add(3, tests, models)
    jobs += 2 if plan["slices"] else 0
    if plan["task_points"]:
        add(plan["task_points"], tests * plan["unseen_share"], k, 2)
    for pairs in plan["pairs"].values():
        inner = pairs["pairs"] * pairs["inner"]
        add(inner, part + (heldout if pairs["gap"] else 0), 2, 2)
        add(pairs["not_evaluated"], part, 1)
        mixed += 2 * pairs["pairs"]
    if plan["panels"]:
        most, points = curves["landscape"]["images"], curves["landscape"]["points"] ** 2 + 4
        both = min(heldout, most) + min(sizes.examples["test"], most)
        add(plan["panels"] * points, both, 3, 2)
    return Work("curves", jobs, {"forward": forward}, {"mix": mixed * sizes.checkpoint})


def _ensembles(plan: Mapping, sizes: Sizes) -> Work:
    chosen = plan["ensembles"].values()
    members = sum(len(entry["ingredients"]) for entry in chosen)
    each = sizes.logits(sizes.tests + sizes.examples["heldout"])
    others, disk = {"mix": members * each}, len(chosen) * each
    return Work("ensembles", 2 * len(chosen), {}, others, disk, CPU, light=True)


def needed(stages: Iterable[Work]) -> set[str]:
    """Names of all speeds that the stages need."""
    return {
        name
        for stage in stages
        for amounts in (stage.examples, stage.others)
        for name, amount in amounts.items()
        if amount
    }


def table(
    stages: Sequence[Work], seconds: Mapping[str, float], start: float, device: str, examples: str
) -> list[dict]:
    """One row per stage and one total per kind of device, in two significant digits.

    Args:
        stages: see `work`.
        seconds: name of a speed to seconds per example or byte.
        start: seconds that a job needs for its imports.
        device: ``cpu``, ``cuda`` or ``mps``.
        examples: what the examples are, such as ``images``.

    Returns:
        rows with ``stage``, ``jobs``, ``images``, ``images_per_second`` (these two are named after
        the examples), ``device``, ``hours`` (GPU hours or core hours) and ``disk_bytes``.
    """
    rows, speed = [], per_second(examples)
    for stage in stages:
        number = sum(stage.examples.values())
        seen = sum(n * seconds[name] for name, n in stage.examples.items() if n)
        other = sum(n * seconds[name] for name, n in stage.others.items() if n)
        here = CPU if stage.on == CPU else device
        cores = stage.threads if here == CPU else 1
        waited = 0 if stage.light else stage.jobs * start
        rows.append(
            {
                "stage": stage.stage,
                "jobs": stage.jobs,
                examples: round(number),
                speed: number / seen if seen else None,
                "device": here,
                "hours": cores * (waited + seen + other) / 3600,
                "disk_bytes": stage.disk,
            }
        )
    for name in dict.fromkeys(row["device"] for row in reversed(rows)):
        mine = [row for row in rows if row["device"] == name]
        sums = {key: sum(row[key] for row in mine) for key in ("jobs", examples, "hours")}
        disk = sum(row["disk_bytes"] for row in mine)
        rows.append({"stage": "total", speed: None, "device": name, "disk_bytes": disk} | sums)
    for row in rows:
        for key in (speed, "hours", "disk_bytes"):
            row[key] = row[key] and rounded(row[key])
    return rows


def per_second(examples: str) -> str:
    """Name of the column with the speed, see `table`."""
    return f"{examples}_per_second"


def rounded(value: float) -> float:
    """Round to two significant digits, because an estimate is no more precise.

    >>> rounded(1234), rounded(0.0456), rounded(99.6)
    (1200, 0.046, 100)
    """
    value = float(f"{value:.2g}")
    return int(value) if value.is_integer() else value


def size(count: float) -> str:
    """Bytes in words, or "" for 0.

    >>> size(0), size(950), size(3.4e9), size(2.5e12)
    ('', '950 B', '3.4 GB', '2.5 TB')
    """
    if not count:
        return ""
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    while count >= 1000 and len(units) > 1:
        count, units = count / 1000, units[1:]
    return f"{rounded(count):g} {units[0]}"


def cells(rows: Iterable[Mapping], examples: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `table` as text, with units."""
    units, speed = {CPU: "CPU-h"}, per_second(examples)
    out = [
        [
            row["stage"],
            f"{row['jobs']:,}",
            f"{row[examples]:,}" if row[examples] else "",
            f"{row[speed]:,}" if row[speed] else "",
            f"{_hours(row['hours'])} {units.get(row['device'], 'GPU-h')}",
            size(row["disk_bytes"]),
        ]
        for row in rows
    ]
    return ["stage", "jobs", examples, f"{examples}/s", "time", "disk"], out


def _hours(value: float) -> str:
    return f"{value:,}" if value >= 0.001 or not value else "< 0.001"

"""What an experiment will cost: its work, counted from the configuration, at measured speeds.

Pure arithmetic. Work is counted in images (by what is done to them), in bytes of weights and
logits that are mixed, and in jobs; `speeds` measures how long each takes. How many soups a
greedy rule tries depends on what it finds: it is counted as if every model were taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from soups.experiment.catalog import MERGES

LOGIT = 4  # bytes
DEVICE, CPU = "device", "cpu"


@dataclass(frozen=True)
class Work:
    """One stage.

    Attributes:
        stage: its name.
        jobs: how many, each of which has to start.
        images: name of a speed to images that are handled at it.
        others: the same for amounts that are no images, such as bytes.
        disk: bytes that stay.
        on: `DEVICE`, or `CPU` whatever the device.
        threads: of each job.
        light: its jobs start at once, without the libraries of models.
    """

    stage: str
    jobs: int
    images: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)
    disk: float = 0
    on: str = DEVICE
    threads: int = 1
    light: bool = False


@dataclass(frozen=True)
class Sizes:
    """What the work is done on.

    Attributes:
        images: set to its number of images; ``train`` without ``heldout``.
        classes: of the training set.
        side: pixels of an image.
        checkpoint: bytes of a fine-tuned model.
        pretrained: bytes of the pre-trained one.
        jpeg: bytes of a packed training image.
    """

    images: Mapping[str, int]
    classes: int
    side: int
    checkpoint: int
    pretrained: int
    jpeg: float

    @property
    def tests(self) -> int:
        """Images of the test set and all shifts."""
        return sum(n for name, n in self.images.items() if name not in ("train", "heldout"))

    def logits(self, images: float) -> float:
        """Bytes."""
        return LOGIT * self.classes * images

    def part(self, most: Mapping[str, int]) -> int:
        """Images of a part of every test set: at most so many of ``test`` and each ``shift``."""
        tests = {n: count for n, count in self.images.items() if n not in ("train", "heldout")}
        return sum(min(n, most["test" if name == "test" else "shift"]) for name, n in tests.items())


def kind(row: Mapping) -> tuple:
    """What a training step's duration depends on: equal for rows whose steps are alike."""
    averaged = bool(row["ema"] or row["swa"])
    on = [bool(row[name]) for name in ("sam", "mixup", "augment")]
    return (row["batch_size"], *on, averaged, bool(row["distill"]))


def passes(row: Mapping) -> int:
    """Forward and backward passes of a step; sharpness-aware minimisation takes two."""
    return 2 if row["sam"] else 1


def transforms(row: Mapping) -> tuple:
    """What is done to single images: equal for rows that take equally long to load."""
    return row["crop"] < 1, row["flip"] > 0, row["rand_augment_ops"]


def train_speed(row: Mapping) -> str:
    """Name of the speed of a row's fine-tuning, loading included."""
    return f"train {kind(row)} {transforms(row)}"


def loaded(compute: float, load: float, workers: int) -> float:
    """Seconds per image where images are read while others are computed on.

    Args:
        compute: seconds per image of the model.
        load: seconds per image of one process that reads.
        workers: processes that read ahead; without any, one waits for the other.
    """
    return max(compute, load / workers) if workers else compute + load


def workers_needed(compute: float, load: float) -> int:
    """Processes that load images as fast as the model takes them."""
    return max(1, -int(-load // compute))


def work(plan: Mapping, sizes: Sizes) -> list[Work]:
    """Everything an experiment does, stage by stage; what a shared one has done is left out.

    Args:
        plan: what the configuration asks for; `rules/estimate.smk` says what is in it.
        sizes: what it is done on.
    """
    first = [] if plan["shared"] else [_prepare(plan, sizes), *_starts(plan, sizes)]
    made = [_import(plan, sizes)] if plan["ready_made"] else _finetune(plan, sizes)
    rest = [_evaluate, _recipes, _cook, _curves, _ensembles]
    return [*first, *made, *(stage(plan, sizes) for stage in rest)]


def _prepare(plan: Mapping, sizes: Sizes) -> Work:
    images = sizes.images
    kept = sum(images.values()) - images["train"]
    pixels = 3 * sizes.side**2
    each = {"array": pixels, "packed": sizes.jpeg, "folder": 0}[plan["store"]]
    disk = pixels * kept + each * images["train"]
    drawn = sizes.tests + images["train"] + images["heldout"]
    if plan["source"] == "world":
        return Work("prepare", len(images) + 1, {"draw": drawn + plan["corpus"]}, {}, disk, CPU)
    # Every image is looked at first, and then decoded for good.
    again = drawn - (images["train"] if plan["store"] == "folder" else 0)
    jobs = 2 * len(images)
    return Work("prepare", jobs, {"decode": drawn + again + plan["corpus"]}, {}, disk, CPU)


def _starts(plan: Mapping, sizes: Sizes) -> list[Work]:
    images = {"pretrain": plan["corpus"] * plan["pretrain_epochs"]} if plan["corpus"] else {}
    made = [Work("pretrained", 1, images, {}, sizes.pretrained)]
    if plan["ready_made"]:
        return made
    n, heldout = sizes.images["train"], sizes.images["heldout"]
    disk = (len(plan["starts"]) + 1) * sizes.checkpoint
    disk += len(plan["starts"]) * sizes.logits(heldout)
    seen = {"features": n, "forward": heldout}
    others = {"probe": n * plan["probe_epochs"]}
    return [*made, Work("initialize", 1, seen, others, disk, threads=plan["threads"])]


def _finetune(plan: Mapping, sizes: Sizes) -> list[Work]:
    n, heldout, rows = sizes.images["train"], sizes.images["heldout"], plan["rows"]
    images: dict[str, float] = {"forward": len(rows) * heldout}
    for row in rows.values():
        name, share = train_speed(row), plan["task_share"].get(row["task"], 1)
        images[name] = images.get(name, 0) + row["epochs"] * n * share
    disk = len(rows) * (sizes.checkpoint + sizes.logits(heldout))
    made = [Work("finetune", len(rows), images, {}, disk, threads=plan["threads"])]
    if any(row["distill"] for row in rows.values()):
        seen, logits = {"features": len(plan["base"]) * n}, sizes.logits(n)
        made.append(Work("teacher", 1, seen, {}, logits, threads=plan["threads"]))
    return made


def _import(plan: Mapping, sizes: Sizes) -> Work:
    number, heldout = len(plan["rows"]), sizes.images["heldout"]
    disk = number * (sizes.checkpoint + sizes.logits(heldout))
    return Work("import", number, {"forward": number * heldout}, {}, disk)


def _evaluate(plan: Mapping, sizes: Sizes) -> Work:
    number = plan["evaluated"] + len(plan["starts"]) + len(plan["soups"])
    images = number * sizes.tests
    return Work("evaluate", number, {"forward": images}, {}, sizes.logits(images))


def tried(entry: Mapping) -> tuple[int, float, float]:
    """What choosing a soup takes, at most.

    Args:
        entry: of `catalog.soups`.

    Returns:
        soups that are scored on the held-out set, checkpoints that are read and added, and
        checkpoints that are read and merged element by element.
    """
    method, options, n = entry["method"], entry["options"], len(entry["ingredients"])
    if method in ("greedy", "greedy_random"):
        return n - 1, 2 * n, 0
    if method == "greedy_pruned":  # each soup without one is added up anew
        return 2 * (n - 1), 2 * n + n * (n - 1) / 2, 0
    if method in ("wise_ft", "task_arithmetic"):
        amounts = options["alphas" if method == "wise_ft" else "scales"]
        return len(amounts), n + len(amounts), 0
    if method == "ties":
        return len(options["scales"]), len(options["scales"]), n + 1
    if method == "best_of":
        return len(entry["of"]), len(entry["of"]) * n, 0
    return 0, n if method == "model_stock" else 0, 0


def _recipes(plan: Mapping, sizes: Sizes) -> Work:
    heldout, settled = sizes.images["heldout"], plan["recalibrate"]
    forward = mixed = merged = gradient = learned = 0.0
    for entry in plan["soups"].values():
        scored, added, elements = tried(entry)
        forward, mixed = forward + scored * (heldout + settled), mixed + added
        merged += elements
        if entry["method"] == "learned":
            size = min(entry["options"]["batch_size"], heldout)
            steps = entry["options"]["epochs"] * (heldout // size)
            gradient += steps * size
            learned += steps * len(entry["ingredients"])
    images = {"forward": forward, "gradient": gradient}
    others = {"mix": mixed, "merge": merged, "learn": learned}
    others = {name: count * sizes.checkpoint for name, count in others.items()}
    return Work("recipes", len(plan["soups"]), images, others)


def _cook(plan: Mapping, sizes: Sizes) -> Work:
    soups, heldout = plan["soups"], sizes.images["heldout"]
    # Ingredients are read once more, to note their hashes.
    mixed = {"mix": 0, "merge": 0}
    for entry in soups.values():
        n = len(entry["ingredients"])
        mixed["merge" if entry["method"] in MERGES else "mix"] += n
        mixed["mix"] += n
    others = {name: count * sizes.checkpoint for name, count in mixed.items()}
    images = {"forward": len(soups) * (heldout + plan["recalibrate"])}
    disk = len(soups) * (sizes.checkpoint + sizes.logits(heldout))
    return Work("cook", len(soups), images, others, disk)


def _curves(plan: Mapping, sizes: Sizes) -> Work:
    """Points are mixed and evaluated, never written; some are chosen by greedy rules first."""
    curves, k, heldout = plan["curves"], len(plan["base"]), sizes.images["heldout"]
    settled, part, tests = plan["recalibrate"], sizes.part(curves["images"]), sizes.tests
    jobs, forward, mixed = 0, 0.0, 0.0

    def add(points: float, images: float, reads: float, more_jobs: int = 0) -> None:
        nonlocal jobs, forward, mixed
        jobs += more_jobs
        forward += points * (images + settled)
        mixed += points * reads

    if plan["ends"]:
        add(plan["ends"] * len(curves["wise_ft"]["alphas"]), part, 2, 2)
    if curves["number_of_models"]:
        orders = curves["number_of_models"]["orders"]
        # The nth model comes in anywhere among those before it; what is tried before it is
        # known, what comes after is tried anew.
        anew = sum((n - 1) / 2 + 1 for n in range(1, k + 1))
        add(orders * anew, heldout, 2, 1)
        mixed += orders * k * (k + 1) / 2
        add(orders * k, part, 1, 1)  # uniform soups: one more ingredient each time
        add(orders * k, part, (k + 1) / 2)  # greedy ones
        add(k, part, 1)
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
        images, points = curves["landscape"]["images"], curves["landscape"]["points"] ** 2 + 4
        both = min(heldout, images) + min(sizes.images["test"], images)
        add(plan["panels"] * points, both, 3, 2)
    return Work("curves", jobs, {"forward": forward}, {"mix": mixed * sizes.checkpoint})


def _ensembles(plan: Mapping, sizes: Sizes) -> Work:
    chosen = plan["ensembles"].values()
    members = sum(len(entry["ingredients"]) for entry in chosen)
    each = sizes.logits(sizes.tests + sizes.images["heldout"])
    others, disk = {"mix": members * each}, len(chosen) * each
    return Work("ensembles", 2 * len(chosen), {}, others, disk, CPU, light=True)


def needed(stages: Iterable[Work]) -> set[str]:
    """Names of the speeds that some work is done at."""
    return {
        name
        for stage in stages
        for amounts in (stage.images, stage.others)
        for name, amount in amounts.items()
        if amount
    }


def table(
    stages: Sequence[Work], seconds: Mapping[str, float], start: float, device: str
) -> list[dict]:
    """A row per stage and a total per kind of device, in two significant digits.

    Args:
        stages: from `work`.
        seconds: speed to seconds per image or byte.
        start: seconds until a job has begun.
        device: ``cpu``, ``cuda`` or ``mps``.

    Returns:
        rows with ``stage``, ``jobs``, ``images``, ``images_per_second``, ``device``, ``hours``
        (of a GPU, or of a core) and ``disk_bytes``.
    """
    rows = []
    for stage in stages:
        images = sum(stage.images.values())
        seen = sum(n * seconds[name] for name, n in stage.images.items() if n)
        other = sum(n * seconds[name] for name, n in stage.others.items() if n)
        here = CPU if stage.on == CPU else device
        cores = stage.threads if here == CPU else 1
        waited = 0 if stage.light else stage.jobs * start
        rows.append(
            {
                "stage": stage.stage,
                "jobs": stage.jobs,
                "images": round(images),
                "images_per_second": images / seen if seen else None,
                "device": here,
                "hours": cores * (waited + seen + other) / 3600,
                "disk_bytes": stage.disk,
            }
        )
    for name in dict.fromkeys(row["device"] for row in reversed(rows)):
        mine = [row for row in rows if row["device"] == name]
        sums = {key: sum(row[key] for row in mine) for key in ("jobs", "images", "hours")}
        disk = sum(row["disk_bytes"] for row in mine)
        total = {"stage": "total", "images_per_second": None, "device": name, "disk_bytes": disk}
        rows.append(total | sums)
    for row in rows:
        for key in ("images_per_second", "hours", "disk_bytes"):
            row[key] = row[key] and rounded(row[key])
    return rows


def rounded(value: float) -> float:
    """To two significant digits; nobody should believe a third.

    >>> rounded(1234), rounded(0.0456), rounded(99.6)
    (1200, 0.046, 100)
    """
    value = float(f"{value:.2g}")
    return int(value) if value.is_integer() else value


def size(count: float) -> str:
    """
    >>> size(0), size(950), size(3.4e9), size(2.5e12)
    ('', '950 B', '3.4 GB', '2.5 TB')
    """
    if not count:
        return ""
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    while count >= 1000 and len(units) > 1:
        count, units = count / 1000, units[1:]
    return f"{rounded(count):g} {units[0]}"


def cells(rows: Iterable[Mapping]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `table` for people."""
    units = {CPU: "CPU-h"}
    out = [
        [
            row["stage"],
            f"{row['jobs']:,}",
            f"{row['images']:,}" if row["images"] else "",
            f"{row['images_per_second']:,}" if row["images_per_second"] else "",
            f"{_hours(row['hours'])} {units.get(row['device'], 'GPU-h')}",
            size(row["disk_bytes"]),
        ]
        for row in rows
    ]
    return ["stage", "jobs", "images", "images/s", "time", "disk"], out


def _hours(value: float) -> str:
    return f"{value:,}" if value >= 0.001 or not value else "< 0.001"

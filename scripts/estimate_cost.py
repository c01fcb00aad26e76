"""What an experiment will cost, from a probe of this machine: a table, and the same in words."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from soups import files
from soups.cost import estimate, speeds
from soups.cost.estimate import Sizes
from soups.data import folders
from soups.jobs import compute, devices
from soups.jobs.job import limit_threads, log, run
from soups.report import presentation
from soups.world.shapes import CLASSES

NOT_INCLUDED = (
    "Not included: downloads, tables and figures, and the saving of training states (three "
    "checkpoints on disk for each fine-tune that is running)."
)


def main(job) -> None:
    p = job.params
    names = class_names(p.data)
    images, corpus = image_counts(p.data, names, p.corpus)
    pretrained = speeds.random_model(p.architecture, names)
    side, model = pretrained.image_size, pretrained.classifier(len(names))
    workers = job.threads // p.compute["gpus"] - 1
    with tempfile.TemporaryDirectory() as folder:
        packed = p.data["folders"] and p.plan["store"] == "packed"
        short = folders.settings_of(p.data["folders"])["packed_side"] if packed else None
        photos = speeds.photos(Path(folder) / "photos", side)
        stored = speeds.photos(Path(folder) / "stored", side, short) if short else photos
        sizes = Sizes(
            images=images,
            classes=len(names),
            side=side,
            checkpoint=size_of(model),
            pretrained=size_of(pretrained.whole),
            jpeg=float(np.mean([len(stored.read(row)) for row in range(len(stored))])),
        )
        rows = p.plan["rows"]
        tasks = {name: len(members) / len(names) for name, members in p.tasks.items()}
        unseen = tasks.get(p.unseen, 0)
        plan = p.plan | {"corpus": corpus, "task_share": tasks, "unseen_share": unseen}
        plan["threads"] = job.threads
        stages = estimate.work(plan, sizes)
        needed = estimate.needed(stages)
        log.info("%d speeds to measure", len(needed))

        # Training first: its memory is what is told, and it alone has several threads.
        seconds, load, trained = {}, {}, {}
        measured_with = None
        if not p.plan["ready_made"]:
            trained, measured_with = training(model, rows, side)
        memory, device = speeds.peak_memory(), speeds.device_name()
        limit_threads(1)
        array = np.zeros((speeds.PHOTOS, side, side, 3), np.uint8)
        source = array if p.plan["store"] == "array" else stored
        for row in rows.values() if trained else ():
            key = estimate.transforms(row)
            if key not in load:
                load[key] = speeds.loading(source, row)
            step = trained[estimate.kind(row)]
            seconds[estimate.train_speed(row)] = estimate.loaded(step, load[key], workers)
        if trained:
            seconds["pretrain"] = trained[usual(rows)]
        seconds["forward"] = speeds.evaluation(model, side)
        plain = 0.0 if p.plan["store"] == "array" else speeds.decoding(stored)
        seconds["features"] = estimate.loaded(seconds["forward"], plain, workers)
        pair = speeds.two_models(model, Path(folder))
        options = [e["options"] for e in p.plan["soups"].values() if e["method"] == "learned"]
        if options:
            learned = speeds.learning(model, pair[0], options[0], side)
            seconds["gradient"], seconds["learn"] = learned
        world = p.data["world"]
        measured = {
            "mix": lambda: speeds.mixing(pair),
            "merge": lambda: speeds.mixing(pair, {"rule": "trimmed_mean", "trim": 1}),
            "probe": lambda: speeds.probing(model, p.probe),
            "decode": lambda: speeds.decoding(photos),
            "draw": lambda: speeds.drawing(world["seed"], world["variants"]),
        }
        seconds |= {name: measure() for name, measure in measured.items() if name in needed}
        start = speeds.starting()
    for name, value in {**seconds, "start": start}.items():
        log.info("%s: %.3g s", name, value)

    table = estimate.table(stages, seconds, start, devices.kind())
    files.write_text(job.output.table, pd.DataFrame(table).to_csv(index=False))
    lines = [presentation.text(*estimate.cells(table)), ""]
    lines += notes(p, measured_with, memory, device, trained, load, workers)
    files.write_text(job.output.text, "\n".join(lines) + "\n")


def class_names(data: dict) -> list[str]:
    """The training classes."""
    if data["source"] == "world":
        return [shape.name for shape in CLASSES]
    return folders.training_classes(folders.settings_of(data["folders"]))


def image_counts(data: dict, classes: list[str], corpus: int) -> tuple[dict[str, int], int]:
    """How many images each set will have; those that are not expected to be so many are counted.

    Args:
        data: the ``data`` section.
        classes: of training.
        corpus: images of the world to pre-train on.

    Returns:
        set to number, ``train`` without ``heldout``; images to pre-train on.
    """
    if data["source"] == "world":
        world = data["world"]
        images = {"train": world["train"], "test": world["test"]}
        images |= dict.fromkeys(world["shifts"], world["shift"])
    else:
        settings, images = folders.settings_of(data["folders"]), {}
        for name, spec in folders.sources(settings).items():
            if name in settings["expected"]:
                images[name] = settings["expected"][name]
            elif "corruption" in spec:
                images[name] = images["test"]
            else:
                images[name] = len(folders.listing(settings, name).paths)
        corpus = round(settings["pretrain_fraction"] * images["train"])
        images["train"] -= corpus
    heldout = data["heldout"]
    if heldout["indices"]:
        images["heldout"] = int(files.read_array(heldout["indices"]).astype(bool).sum())
    elif heldout["per_class"] is not None:
        images["heldout"] = heldout["per_class"] * len(classes)
    else:
        images["heldout"] = round(heldout["fraction"] * images["train"])
    images["train"] -= images["heldout"]
    return images, corpus


def training(model, rows: dict[str, dict], side: int) -> tuple[dict[tuple, float], int]:
    """Seconds per image of each kind of row; and the images of a step they were measured with.

    On a slow CPU only the commonest kind is measured. A step of another is taken to be as long,
    or twice that where SAM passes twice.
    """
    kinds = {estimate.kind(row): row for row in rows.values()}
    first = usual(rows)
    took, measured_with = speeds.training(model, kinds[first], side)
    slow = measured_with < -(-first[0] // compute.current().gpus)
    trained = {first: took}
    for key, row in kinds.items():
        if key == first:
            continue
        passes = estimate.passes(row) / estimate.passes(kinds[first])
        trained[key] = took * passes if slow else speeds.training(model, row, side)[0]
    for key, value in trained.items():
        log.info("training %s: %.3g images/s", key, 1 / value)
    return trained, measured_with


def usual(rows: dict[str, dict]) -> tuple:
    """What most rows' steps are like."""
    return Counter(map(estimate.kind, rows.values())).most_common(1)[0][0]


def size_of(module) -> int:
    """Bytes of a module's state."""
    return sum(t.numel() * t.element_size() for t in module.state_dict().values())


def notes(p, measured_with, memory, device, trained, load, workers) -> list[str]:
    """What was measured, how far it goes, and what would be slow."""
    chosen = compute.current()
    lines = [f"An estimate, from seconds on {device}; data loading may add to it."]
    if trained:
        key = usual(p.plan["rows"])
        wanted = key[0]
        parts = f" in {chosen.accumulate} parts" if chosen.accumulate > 1 else ""
        gpus = f" on {chosen.gpus} GPUs, taken to be as many times as fast" * (chosen.gpus > 1)
        lines.append(
            f"Training: {chosen.precision}, batches of {wanted}{parts}{gpus}; "
            f"{estimate.size(memory)} of memory at most."
        )
        if measured_with < -(-wanted // chosen.gpus):
            lines.append(
                f"Here {wanted} images take too long: measured with {measured_with} at a time, so "
                "the memory will be more."
            )
        slow = max(load.values(), default=0)
        if slow / max(workers, 1) > trained[key]:
            enough = estimate.workers_needed(trained[key], slow)
            loads, takes = (estimate.rounded(n) for n in (max(workers, 1) / slow, 1 / trained[key]))
            lines.append(
                f"Data loading is the bottleneck: {loads:,} images/s with {workers} workers, "
                f"training takes {takes:,}; {enough} would keep up: --set-threads "
                f"finetune={enough + 1} estimate_cost={enough + 1}."
            )
    lines.append("Greedy rules are counted as if they took every model.")
    extra = []
    if p.data["source"] == "world" and "a" in p.data["world"]["shifts"]:
        extra.append("Shift a's reference network and the images it discards are not included.")
    if p.corpus and trained:
        extra.append("Pre-training is counted at the speed of fine-tuning, without a text tower.")
    return [*lines, *extra, NOT_INCLUDED]


if __name__ == "__main__":
    run(main, snakemake)

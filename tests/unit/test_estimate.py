"""The estimate counts work as the rules do it, and measures the functions that they call."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from soups import problems
from soups.cost import counts, estimate, measurement, speeds
from soups.cost.estimate import Sizes, Work
from soups.cost.measurement import Measured
from soups.cost.notes import notes
from soups.errors import UserError
from soups.experiment import registry
from soups.images import samples
from soups.images.samples import random_images
from soups.jobs import compute, timing
from soups.mixing import select
from soups.models.sizes import size_of
from tests.unit.training import DEFAULTS

IMAGES = problems.named("images")
ROW = DEFAULTS | {"lr": 1e-4, "weight_decay": 0.1, "epochs": 2, "batch_size": 8, "warmup": 0}
SIZES = Sizes(
    examples={"train": 1000, "heldout": 50, "test": 200, "v2": 80, "r": 20},
    classes=10, checkpoint=4000, pretrained=6000, prepared=3 * 16**2, stored=3 * 16**2,
)  # fmt: skip


def soup(method: str, names: list[str], of: tuple[str, ...] = (), **options) -> dict:
    defaults = {
        k: v for k, v in registry.SOUP_METHODS[method].options.items() if k not in ("of", "orders")
    }
    return {"method": method, "options": defaults | options, "ingredients": names, "of": list(of)}


@pytest.fixture
def plan() -> dict:
    """Three models, two soups, no curves."""
    names = ["m00", "m01", "m02"]
    curves = {"images": {"test": 100, "shift": 50}, "number_of_models": None}
    return {
        "source": "world", "store": "array", "shared": False, "ready_made": False, "corpus": 0,
        "pretrain_epochs": 3, "probe_epochs": 4, "recalibrate": 0, "threads": 1,
        "rows": {name: ROW | {"epochs": i + 1} for i, name in enumerate(names)},
        "base": names, "starts": ["zeroshot", "initialization"], "evaluated": 3,
        "soups": {"uniform": soup("uniform", names), "greedy": soup("greedy", names)},
        "ensembles": {"ensemble": {"ingredients": names}}, "curves": curves, "ends": 0,
        "large": 0, "slices": [], "task_points": 0, "task_share": {}, "unseen_share": 0,
        "pairs": {}, "panels": 0,
    }  # fmt: skip


def stages(plan: dict, sizes: Sizes = SIZES) -> dict[str, Work]:
    return {stage.stage: stage for stage in estimate.work(plan, sizes)}


def test_images_and_bytes_of_every_stage(plan):
    made = stages(plan)
    assert list(made) == [
        "prepare", "pretrained", "initialize", "finetune", "evaluate", "recipes", "cook", "curves",
        "ensembles",
    ]  # fmt: skip
    assert made["prepare"].examples == {"draw": 1350}
    assert made["prepare"].disk == 3 * 16**2 * 1350
    assert made["initialize"].others == {"probe": 4000}
    assert made["finetune"].examples == {
        "forward": 3 * 50,
        estimate.train_speed(ROW): (1 + 2 + 3) * 1000,
    }
    assert made["finetune"].disk == 3 * (4000 + 4 * 10 * 50)
    # Three models, two starting points, two soups; logits are float32.
    assert made["evaluate"].jobs == 7
    assert made["evaluate"].examples == {"forward": 7 * 300}
    assert made["evaluate"].disk == 7 * 300 * 10 * 4
    assert made["recipes"].examples["forward"] == 2 * 50
    assert made["cook"].disk == 2 * (4000 + 4 * 10 * 50)
    assert made["curves"].jobs == 0
    assert estimate.needed(made.values()) >= {"draw", "forward", "features", "probe", "mix"}
    assert "learn" not in estimate.needed(made.values())


def test_rows_with_equal_steps_share_a_speed(plan):
    rows = plan["rows"]
    rows["m01"] |= {"lr": 1e-5, "mixup": 0.2}
    rows["m02"] |= {"lr": 1e-6, "sam": 0.05, "crop": 0.9}
    rows["m03"] = rows["m00"] | {"weight_decay": 0.3, "epochs": 0.5}
    images = stages(plan)["finetune"].examples
    assert images.pop("forward") == 4 * 50
    assert sorted(images.values()) == [1500, 2000, 3000]


def test_work_of_a_shared_experiment_or_of_ready_made_models_is_not_counted(plan):
    assert next(iter(stages(plan | {"shared": True}))) == "finetune"
    made = stages(plan | {"ready_made": True})
    assert "initialize" not in made
    assert made["import"].examples == {"forward": 3 * 50}


def test_training_images_in_their_folders_take_no_disk(plan):
    folders = plan | {"source": "folders"}
    pixels = 3 * 16**2 * 350
    kept = stages(folders | {"store": "folder"}, replace(SIZES, stored=0))
    assert kept["prepare"].disk == pixels
    packed = stages(folders | {"store": "packed"}, replace(SIZES, stored=500.0))["prepare"]
    assert packed.disk == pixels + 1000 * 500
    assert packed.examples == {"decode": 2 * 1350}


def test_distillation_needs_the_teacher_s_logits(plan):
    plan["rows"]["m02"] = ROW | {"distill": 0.5}
    teacher = stages(plan)["teacher"]
    assert teacher.examples == {"features": 3 * 1000}
    assert teacher.disk == 4 * 10 * 1000


@pytest.mark.parametrize("seed", range(5))
def test_greedy_rules_score_no_more_soups_than_are_counted(seed):
    names = [f"m{i:02d}" for i in range(9)]
    rng, asked = np.random.default_rng(seed), []

    def score(members: tuple[str, ...]) -> float:
        asked.append(members)
        return float(rng.random())

    def cost(method: str) -> registry.Cost:
        return registry.SOUP_METHODS[method].cost({}, len(names), 0)

    chosen, _ = select.greedy(names, select.full(select.remembered(score)))
    # The accuracy of the first model is known from its own logits.
    assert len(asked) - 1 == cost("greedy").scored == 8
    select.prune(chosen, select.full(score))
    assert len(asked) - 2 <= cost("greedy_pruned").scored


def test_soups_of_the_first_n_score_about_as_many_soups_as_are_counted(plan):
    """The estimate is the mean over orders for a rule that takes every model."""
    counts, k = [], 12
    for order in range(60):
        names = select.shuffled([f"m{i:02d}" for i in range(k)], 0, order)
        quality = {name: float(rank) for rank, name in enumerate(sorted(names))}
        asked = []

        def score(members, asked=asked):
            asked.append(members)
            return len(members)

        list(select.greedy_first(names, quality, select.full(select.remembered(score))))
        counts.append(len(asked))
    plan |= {"base": names, "curves": plan["curves"] | {"number_of_models": {"orders": 1}}}
    part = 100 + 50 + 20
    counted = (stages(plan)["curves"].examples["forward"] - part * 3 * k) / 50
    assert np.mean(counts) == pytest.approx(counted, rel=0.1)


def test_learned_soups_read_all_ingredients_every_step(plan):
    names = plan["base"]
    plan["soups"] = {"learned": soup("learned", names, epochs=5, batch_size=20)}
    recipes = stages(plan)["recipes"]
    assert recipes.examples["gradient"] == 5 * 2 * 20
    assert recipes.others["learn"] == 5 * 2 * 3 * 4000


def test_recalibration_takes_no_more_than_the_held_out_images(plan):
    names = plan["base"]
    plan["soups"] = {"learned": soup("learned", names, epochs=5, batch_size=20)}
    usual = stages(plan)
    plan["soups"]["learned"]["recalibrate"] = 7
    few = stages(plan)
    assert few["recipes"].examples["forward"] - usual["recipes"].examples["forward"] == 5 * 2 * 7
    assert few["cook"].examples["forward"] - usual["cook"].examples["forward"] == 7
    plan["soups"]["learned"]["recalibrate"] = 500  # of 50 held-out images
    most = stages(plan)
    assert most["cook"].examples["forward"] - usual["cook"].examples["forward"] == 50


def test_images_of_curves_are_points_times_images(plan):
    pairs = {"pairs": 4, "inner": 5, "gap": True, "not_evaluated": 2}
    curves = plan["curves"] | {"landscape": {"images": 60, "points": 7}}
    made = stages(plan | {"pairs": {"paths": pairs}, "curves": curves, "panels": 3})["curves"]
    part = 100 + 50 + 20
    assert made.examples["forward"] == 20 * (part + 50) + 2 * part + 3 * 53 * (50 + 60)
    assert made.jobs == 4


def test_the_table_adds_up_and_keeps_devices_apart():
    work = [
        Work("prepare", 2, {"draw": 7200}, {}, 1e9, estimate.CPU),
        Work("finetune", 10, {"train": 36000, "forward": 3600}, {"mix": 1e9}, 2.5e9, threads=8),
        Work("ensembles", 4, {}, {}, 0, estimate.CPU, light=True),
    ]
    seconds = {"draw": 0.5, "train": 0.1, "forward": 0.01, "mix": 1e-9}
    rows = estimate.table(work, seconds, 3.0, "cuda", "images")
    assert [row["stage"] for row in rows] == ["prepare", "finetune", "ensembles", "total", "total"]
    assert rows[0]["hours"] == pytest.approx(1.0)
    assert rows[1]["hours"] == pytest.approx((3600 + 36 + 1 + 30) / 3600, rel=0.05)
    assert rows[1]["images_per_second"] == 11
    assert rows[2]["hours"] == 0
    assert {row["device"]: row["disk_bytes"] for row in rows[3:]} == {"cpu": 1e9, "cuda": 2.5e9}
    header, cells = estimate.cells(rows, "images")
    assert len(header) == len(cells[0])
    assert [row[4].split()[1] for row in cells] == ["CPU-h", "GPU-h", "CPU-h", "CPU-h", "GPU-h"]
    # A job on eight cores costs eight core hours per hour.
    alone = estimate.table(work[1:2], seconds, 3.0, "cpu", "images")
    assert alone[0]["hours"] == pytest.approx(8 * rows[1]["hours"], rel=0.05)


def test_loading_overlaps_with_computing_only_if_there_are_workers():
    assert estimate.loaded(0.01, 0.04, 0) == 0.05
    assert estimate.loaded(0.01, 0.04, 2) == 0.02
    assert estimate.loaded(0.01, 0.04, 8) == 0.01
    needed = estimate.workers_needed(0.01, 0.045)
    assert needed == 5
    assert estimate.loaded(0.01, 0.045, needed) == 0.01


@pytest.mark.parametrize(
    ("heldout", "wanted"), [({"fraction": 0.02, "per_class": None}, 22), ({"per_class": 3}, 6)]
)
def test_numbers_of_images_come_from_the_configuration_or_are_counted(
    tmp_path, write_images, heldout, wanted
):
    for name in ("train", "test", "art"):
        write_images(tmp_path / name, {"cat": 2, "dog": 3})
    shifts = {"art": "art", "noise": {"corruption": "noise", "severity": 1}, "off": None}
    shifts["art"] = {"folder": "art"}
    inner = {"root": str(tmp_path), "train": "train", "test": "test", "shifts": shifts}
    inner |= {"expected": {"train": 1100}}
    data = {"source": "folders", "folders": inner, "heldout": {"indices": None} | heldout}
    names = problems.of_source("folders").class_names(data)
    images, corpus = counts.numbers(data, names, 0)
    assert names == ["cat", "dog"]
    assert images.pop("train") == 1100 - wanted
    assert images == {"test": 5, "art": 5, "noise": 5, "heldout": wanted}
    assert corpus == 0


def measured(**changes) -> Measured:
    """Measured speeds, where one process loads 22 and training processes 100 images per second."""
    usual = {
        "seconds": {}, "start": 1.0, "trained": {estimate.kind(ROW): 0.01}, "batch": 8,
        "load": {estimate.transforms(ROW): 0.045}, "workers": 2, "memory": 3_400_000_000,
        "device": "a GPU",
    }  # fmt: skip
    return Measured(**usual | changes)


@pytest.mark.parametrize(
    ("workers", "loads"),
    [
        (0, "a job without workers loads 22 images/s"),
        (1, "1 worker loads 22 images/s"),
        (2, "2 workers load 44 images/s"),
        (5, None),
    ],
)
def test_notes_say_how_training_was_measured_and_what_is_slow(plan, monkeypatch, workers, loads):
    monkeypatch.setattr(compute, "_current", compute.Compute(precision="bfloat16", accumulate=4))
    params = SimpleNamespace(plan=plan, data={"source": "folders"}, corpus=0)
    text = "\n".join(notes(params, measured(workers=workers)))
    assert "a few seconds on a GPU" in text
    assert "bfloat16 with batches of 8 in 4 parts and used 3.4 GB of memory" in text
    assert ("bottleneck" in text) == bool(loads)
    if loads:
        assert f"{loads}, and training processes 100 images/s" in text
        assert "with --set-threads finetune=6 estimate_cost=6" in text
    assert "at a time" not in text
    assert "measured with 4 images at a time" in "\n".join(notes(params, measured(batch=4)))


def test_notes_of_several_gpus(plan, monkeypatch):
    monkeypatch.setattr(compute, "_current", compute.Compute(gpus=2))
    params = SimpleNamespace(plan=plan, data={"source": "folders"}, corpus=0)
    text = "\n".join(notes(params, measured(batch=4)))
    assert "2 GPUs are assumed to be 2 times as fast as one" in text
    # Each of the two processes of a job has a main thread and five workers.
    assert "--set-threads finetune=12" in text
    assert "at a time" not in text


def test_notes_without_training_do_not_speak_of_it(plan):
    world = {"source": "world", "world": {"shifts": ["v2", "a"]}}
    params = SimpleNamespace(plan=plan, data=world, corpus=100)
    text = "\n".join(notes(params, measured(trained={}, batch=0, load={}), ["More."]))
    assert "Training was measured" not in text
    assert "Pre-training is counted" not in text
    assert "\nMore.\n" in text


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.02)


@pytest.mark.usefixtures("quick")
def test_speeds_are_measured_with_the_real_functions(pretrained, tmp_path):
    model = pretrained.classifier(4)
    images = partial(random_images, side=16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seconds, batch = speeds.training(
        model, ROW | {"mixup": 0.2, "ema": 0.9, "distill": 0.5}, images
    )
    assert seconds > 0
    assert batch == 8
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert speeds.evaluation(model, images) > 0
    pair = speeds.two_models(model, tmp_path)
    assert speeds.mixing(pair) > 0
    assert speeds.mixing(pair, {"rule": "trimmed_mean", "trim": 1}) > 0
    image, byte = speeds.learning(model, pair[0], {"lr": 0.05, "batch_size": 8}, images)
    assert image >= 0 <= byte
    settings = {"lr": 0.01, "batch_size": 8, "weight_decay": 0, "seed": 0}
    assert speeds.probing(model, settings) > 0
    assert speeds.peak_memory() > 10**7


@pytest.mark.usefixtures("quick")
def test_speed_on_a_slow_cpu_is_derived_from_small_batches(pretrained, monkeypatch):
    steps = []

    def step(model, row, batch, inputs, number, seconds):
        steps.append(batch)
        return 2 + 0.5 * batch  # 2 seconds per step, and half a second per image

    monkeypatch.setattr(speeds, "_step", step)
    monkeypatch.setattr(compute, "_current", compute.Compute(device="cpu"))
    seconds, batch = speeds.training(
        pretrained.classifier(4), ROW | {"batch_size": 512}, random_images
    )
    assert seconds == pytest.approx(0.5 + 2 / 512)
    assert batch == max(steps) == speeds.MORE


def test_a_step_that_does_not_fit_into_memory_is_an_error_of_one_sentence(pretrained, monkeypatch):
    def step(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(speeds, "_step", step)
    monkeypatch.setattr(compute, "_current", compute.Compute(device="cpu", accumulate=2))
    with pytest.raises(UserError, match=r"compute.accumulate is 2, .* of 8 images .* such as 4"):
        speeds.training(pretrained.classifier(4), ROW, random_images)


@pytest.mark.usefixtures("quick")
def test_photos_have_realistic_sizes_and_transforms_take_time(tmp_path):
    images = samples.photos(tmp_path / "photos", 24)
    assert Image.open(images.path(0)).size == samples.PHOTO
    # ImageNet's photos have about 110 kB at 500 × 375 pixels.
    assert 20_000 < len(images.read(0)) < 200_000
    small = samples.photos(tmp_path / "small", 24, 256)
    assert min(Image.open(small.path(0)).size) == 256
    assert samples.decoding(images) > 0
    array = np.zeros((4, 24, 24, 3), np.uint8)
    assert samples.loading(array, ROW) == 0
    assert samples.loading(array, ROW | {"flip": 0.5}) > 0
    assert samples.loading(images, ROW) > 0


def test_a_random_model_needs_no_download(architecture):
    made = IMAGES.random_model({"model": {"architecture": architecture}}, ["cat", "dog"])
    assert made.image_size == 16
    assert size_of(made.classifier(2)) < size_of(made.whole)


def test_the_imports_of_a_job_are_timed():
    assert speeds.starting(IMAGES.modules) > 0.1


@pytest.mark.usefixtures("quick")
def test_every_speed_that_an_estimate_needs_is_measured(plan, architecture, tmp_path):
    plan["soups"]["learned"] = soup("learned", plan["base"], batch_size=8)
    params = SimpleNamespace(
        model={"architecture": architecture},
        data={
            "source": "world",
            "folders": None,
            "world": {"seed": 0, "variants": 1, "shifts": ["a"]},
        },
        plan=plan,
        compute={"gpus": 1},
        probe={"lr": 0.01, "batch_size": 8, "weight_decay": 0, "seed": 0},
        tasks={},
        unseen=None,
    )
    classes = ["cat", "dog"]
    made = measurement.Samples.of(params, classes, tmp_path)
    sizes = made.sizes(SIZES.examples)
    assert (sizes.classes, sizes.prepared, sizes.stored) == (2, 3 * 16**2, 3 * 16**2)
    assert "reference network of shift a" in made.examples.notes[0]
    work = estimate.work(counts.completed(params, classes, 0, 1), sizes)
    found = measurement.measure(params, made, estimate.needed(work), 1)
    assert estimate.needed(work) <= found.seconds.keys()
    assert estimate.table(work, found.seconds, found.start, "cpu", "images")[-1]["hours"] > 0

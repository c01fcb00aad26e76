"""`snakemake estimate` in a project that has no results yet."""

import pandas as pd

from tests.workflow.conftest import FEW, TINY

STAGES = ["prepare", "pretrained", "initialize", "finetune", "evaluate", "recipes", "cook"]
STAGES += ["curves", "ensembles", "total"]


def test_the_cost_is_estimated_before_any_job_of_the_experiment(project):
    tiny = project(TINY)
    printed = tiny.run("estimate").stdout
    made = {path.name for path in tiny.results.iterdir()}
    assert made == {"settings.json", "plan.json", "tables", "logs", "benchmarks"}
    table = pd.read_csv(tiny.results / "tables" / "estimate.csv").set_index("stage")
    assert list(table.index) == [*STAGES[:4], "teacher", *STAGES[4:]]
    # Snakemake plans the same numbers of jobs.
    assert table.loc["finetune", "jobs"] == tiny.planned("models")["finetune"]
    planned = tiny.planned()
    assert table.loc["evaluate", "jobs"] == planned["evaluate"]
    assert table.loc["cook", "jobs"] == planned["cook"]
    curves = [rule for rule in planned if rule.startswith(("plan_", "evaluate_"))]
    assert table.loc["curves", "jobs"] == sum(planned[rule] for rule in curves)
    assert (table["hours"] >= 0).all()
    assert table.loc["finetune", "hours"] > 0
    text = (tiny.results / "tables" / "estimate.txt").read_text()
    assert text in printed
    assert "batches of 64" in text
    assert "Pre-training is counted" in text


def test_the_cost_of_image_folders_is_estimated_without_the_pretrained_model(project, write_images):
    data = {
        "source": "folders",
        "heldout": {"per_class": 26},
        "folders": {
            "root": "data", "train": "train", "test": "test", "image_size": 224,
            "training_images": "packed", "shifts": {"art": {"folder": "art"}},
            "expected": {"train": 100_000},
        },
    }  # fmt: skip
    named = {"architecture": "ViT-S-32-alt", "pretrained": "unknown.pt"}
    overlay = {"name": "mine", "data": data, "model": named, **FEW}
    overlay["finetune"] = {"batch_size": 256, "crop": 0.9}
    mine = project(overlay)
    for name in ("train", "test", "art"):
        write_images(mine.folder / "data" / name, {"cat": 30, "dog": 30})
    (mine.folder / "unknown.pt").touch()  # The estimate does not read the file.
    mine.run("estimate")
    table = pd.read_csv(mine.results / "tables" / "estimate.csv").set_index("stage")
    assert table.loc["initialize", "images"] == 100_000
    # Every image is checked once, and then decoded or packed.
    assert table.loc["prepare", "images"] == 2 * (100_000 + 60 + 60)
    assert table.loc["finetune", "images"] > 12 * 0.25 * (100_000 - 52)
    assert table.loc["evaluate", "disk_bytes"] == 16 * 120 * 2 * 4 // 1000 * 1000

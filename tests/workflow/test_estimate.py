"""`snakemake estimate`, before anything was computed."""

import pandas as pd

from tests.workflow.conftest import FEW, TINY

STAGES = ["prepare", "pretrained", "initialize", "finetune", "evaluate", "recipes", "cook"]
STAGES += ["curves", "ensembles", "total"]


def test_the_cost_is_told_before_anything_ran(project):
    tiny = project(TINY)
    printed = tiny.run("estimate").stdout
    made = {path.name for path in tiny.results.iterdir()}
    assert made == {"settings.json", "plan.json", "tables", "logs", "benchmarks"}
    table = pd.read_csv(tiny.results / "tables" / "estimate.csv").set_index("stage")
    assert list(table.index) == [*STAGES[:4], "teacher", *STAGES[4:]]
    # Three models and their variants, as the rules have it.
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


def test_sets_of_files_need_their_folders_alone(project, write_images):
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
    (mine.folder / "unknown.pt").touch()  # nobody reads it
    mine.run("estimate")
    table = pd.read_csv(mine.results / "tables" / "estimate.csv").set_index("stage")
    assert table.loc["initialize", "images"] == 100_000
    # Every image is looked at, and then decoded or packed.
    assert table.loc["prepare", "images"] == 2 * (100_000 + 60 + 60)
    assert table.loc["finetune", "images"] > 12 * 0.25 * (100_000 - 52)
    assert table.loc["evaluate", "disk_bytes"] == 16 * 120 * 2 * 4 // 1000 * 1000

"""Configurations of ready-made models: what is switched off, and what is refused."""

import re

import pytest
import yaml

from soups.errors import UserError
from soups.experiment import settings
from soups.experiment.plan import Plan
from tests.unit.test_overlays import merge

THREE = {
    "name": "mine",
    "model": {"architecture": "timm/test_vit"},
    "sweep": {"kind": "files"},
    "ingredients": {"source": "checkpoints", "checkpoints": {"files": "runs/*.pth"}},
}


@pytest.fixture
def planned(root, tmp_path, monkeypatch):
    """Return a function that works out the plan of an overlay, as a run of Snakemake does."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "start"):
        (tmp_path / "runs").mkdir(exist_ok=True)
        (tmp_path / "runs" / f"{name}.pth").touch()
    (tmp_path / "runs" / "c.pth").touch()
    default = root / "config.yaml"

    def made(overlay: dict) -> Plan:
        (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
        merged = merge(yaml.safe_load(default.read_text(encoding="utf-8")), overlay)
        schema = root / "rules" / "schemas" / "config.schema.yaml"
        notes = settings.validate(merged, schema, ["overlay.yaml", default])
        return Plan.of(merged, notes)

    return made


def test_a_short_overlay_switches_off_what_needs_a_start_or_variants(planned):
    plan = planned(THREE)
    assert plan.ingredients == ["a", "b", "c", "start"]
    assert plan.starts == []
    off = {"greedy_wise_ft", "model_stock", "task_arithmetic", "ties"}
    assert not off & plan.soups.keys()
    assert {"uniform", "greedy", "learned", "trimmed_mean"} <= plan.soups.keys()
    assert plan.curves.tables == ["number_of_models"]
    assert plan.config["model"]["pretrained"] is None
    assert plan.notes[0] == (
        "Ready-made models have no variants and their start is unknown "
        "(ingredients.checkpoints.initialization is null), so this run leaves out the soups "
        "greedy_wise_ft, model_stock, task_arithmetic and ties and the figures of "
        "curves.paths, curves.landscape, curves.wise_ft and curves.pairs."
    )
    assert plan.announced["files"]["a"] == "runs/a.pth"
    # No hyperparameter is known, so none is shown.
    assert plan.sweep.rows["a"] == {}
    assert "sweep" not in plan.figures
    assert plan.notes[1].startswith("The figure sweep is left out")


def test_a_start_by_its_path_makes_the_methods_that_need_one(planned):
    plan = planned(merge(THREE, {"ingredients": {"checkpoints": {
        "files": ["runs/a.pth", "runs/b.pth"], "initialization": "runs/start.pth"}}}))  # fmt: skip
    assert plan.ingredients == ["a", "b"]
    assert plan.starts == ["initialization"]
    assert plan.checkpoints.path(plan.checkpoints.initialization) == "runs/start.pth"
    assert {"model_stock", "ties", "greedy_wise_ft"} <= plan.soups.keys()
    assert {"wise_ft", "pairs"} <= set(plan.curves.tables)
    # Without learning rates, figures by learning rates are left out.
    assert plan.curves.pairs["pairs"] == [
        {"model_1": "a", "model_2": "b", "differ": "unknown", "lr_1": None, "lr_2": None}
    ]
    assert {"angles", "soup_vs_ensemble"}.isdisjoint(plan.figures)
    assert plan.notes == [
        "Ready-made models have no variants, so this run leaves out the figures of "
        "curves.paths and curves.landscape.",
        "The figures angles, soup_vs_ensemble and sweep are left out, because the "
        "hyperparameters that they show are not in sweep.table.",
    ]


def test_a_table_gives_queries_and_figures_their_columns(planned, tmp_path):
    (tmp_path / "t.csv").write_text(
        "model,optimizer,lr\na,adam,1e-4\nb,sgd,2e-4\nc,adam,3e-4\nstart,sgd,1e-4\n"
    )
    adam = {"soups": {"adam": {"method": "uniform", "query": "optimizer == 'adam' and lr > 2e-4"}}}
    plan = planned(merge(merge(THREE, {"sweep": {"table": "t.csv"}}), adam))
    assert plan.soups["adam"]["ingredients"] == ["c"]
    assert "sweep" in plan.figures
    unknown = {"soups": {"x": {"method": "uniform", "query": "weight_decay > 0"}}}
    with pytest.raises(UserError, match=r"expected a condition on model, row, optimizer, lr"):
        planned(merge(merge(THREE, {"sweep": {"table": "t.csv"}}), unknown))
    (tmp_path / "t.csv").write_text("model,test\na,0.5\n")
    with pytest.raises(UserError, match=r"sweep.table has the column 'test', expected another"):
        planned(merge(THREE, {"sweep": {"table": "t.csv"}}))


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"sweep": {"variants": {"ema": {"set": {"ema": 0.5}}}}},
         "sweep.variants.ema is {'set': {'ema': 0.5}}, expected null because ingredients.source"),
        ({"sweep": {"variants": {"small": {"first": 1}}}}, "sweep.variants.small is"),
        ({"soups": {"mine": {"method": "ties"}}},
         "soups.mine has the method 'ties', which needs the start of fine-tuning, but ingredients"),
        ({"soups": {"ties": {"density": 0.5}}}, "soups.ties has the method 'ties'"),
        ({"soups": {"only": ["greedy", "model_stock"]}}, "soups.model_stock has the method"),
        ({"soups": {"x": {"method": "best_of", "of": ["greedy", "ties"]}}},
         "soups.x is made from 'ties', which needs the start"),
        ({"ensembles": {"x": {"method": "members", "of": "model_stock"}}},
         "ensembles.x.of is 'model_stock', which needs the start"),
        ({"curves": {"pairs": 20}}, "curves.pairs is 20, which needs the start of fine-tuning"),
        ({"curves": {"wise_ft": {"of": ["greedy"]}}}, "curves.wise_ft.of is ['greedy'], which nee"),
        ({"curves": {"paths": {"variants": ["base", "small"]}}},
         "curves.paths.variants has 'small', expected no variant"),
        ({"curves": {"landscape": {"variants": ["base"]}}},
         "curves.landscape.variants is ['base'], which needs the start"),
        ({"sweep": {"kind": "random"}}, "sweep.kind is 'random', expected 'files' because"),
        ({"ingredients": {"checkpoints": {"layout": "openai"}}},
         "checkpoints.layout is 'openai', expected no such key because the layout of a file is"),
        ({"ingredients": {"checkpoints": {"files": None}}}, "ingredients.checkpoints has no files"),
        ({"ingredients": {"checkpoints": {"files": []}}}, "checkpoints.files is [], expected at l"),
        ({"ingredients": {"checkpoints": {"folder": "runs"}}}, "has files and folder ('runs')"),
        ({"ingredients": {"checkpoints": {"files": None, "folder": "runs"}}},
         "sweep.kind is 'files' but ingredients.checkpoints.files is null"),
        ({"ingredients": {"checkpoints": {"files": None, "folder": "runs"}},
          "sweep": {"kind": "grid", "grid": {"lr": [1]}}}, "checkpoints.file is null"),
        ({"ingredients": {"checkpoints": {"classes": "no.txt"}}},
         "checkpoints.classes is 'no.txt', expected an existing file"),
        ({"ingredients": {"checkpoints": {"initialization": "gone.pth"}}},
         "initialization is 'gone.pth', expected an existing file or folder"),
        ({"ingredients": {"source": "train"}, "model": {"architecture": "ViT-B-32",
          "pretrained": "openai"}}, "sweep.kind is 'files' but ingredients.source is 'train'"),
    ],
)  # fmt: skip
def test_what_the_user_asks_for_and_cannot_be_is_an_error(planned, overlay, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        planned(merge(THREE, overlay))


def test_names_that_the_user_switches_off_are_no_error(planned):
    plan = planned(merge(THREE, {"soups": {"ties": None}, "curves": {"pairs": 0}}))
    assert "ties" not in plan.notes[0]
    assert "pairs" not in plan.notes[0]


def test_models_in_a_folder_by_a_pattern_need_no_further_key(planned, tmp_path):
    (tmp_path / "t.csv").write_text("model\na\nb\n")
    plan = planned(merge(THREE, {
        "sweep": {"kind": "table", "table": "t.csv"},
        "ingredients": {"checkpoints": {"files": None, "folder": "runs", "file": "{model}.pth",
                                        "initialization": "start"}},
    }))  # fmt: skip
    assert plan.checkpoints.path("a") == "runs/a.pth"
    assert plan.checkpoints.path(plan.checkpoints.initialization) == "runs/start.pth"
    assert plan.checkpoints.pattern("x") == "runs/{x}.pth"
    assert plan.checkpoints.absent == []
    assert plan.starts == ["initialization"]


def test_the_files_of_a_folder_are_inputs_but_not_those_of_file_managers(planned, tmp_path):
    folder = tmp_path / "hf" / "one"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", ".DS_Store", "._model.safetensors", "a.log"):
        (folder / name).touch()
    files = ["hf/*", "runs/a.pth"]
    plan = planned(merge(THREE, {"ingredients": {"checkpoints": {"files": files}}}))
    assert plan.checkpoints.parts("one") == ["hf/one/config.json", "hf/one/model.safetensors"]
    assert plan.checkpoints.parts("a") == []

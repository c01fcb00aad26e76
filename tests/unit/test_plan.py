"""The plan that the rules read, and conventions of the rules."""

import ast
import dataclasses
import re

import pandas as pd
import pytest
import yaml

from soups import roles
from soups.data import set_names
from soups.errors import UserError
from soups.experiment import assignment, figures, registry, settings
from soups.experiment.plan import Plan
from soups.hyperparameters import HYPERPARAMETERS
from tests.unit.test_overlays import merge

MINE = {
    "soups": {
        "greedy": None, "mine": {"method": "greedy"},
        "uniform": None, "mean": {"method": "uniform"},
    }
}  # fmt: skip


@pytest.fixture
def planned(config, root):
    """Return a function that works out the plan of the default with an overlay."""

    def made(overlay: dict) -> Plan:
        merged = merge(config, overlay)
        settings.validate(
            merged, root / "rules" / "schemas" / "config.schema.yaml", [root / "config.yaml"]
        )
        return Plan.of(merged)

    return made


def test_the_default_is_planned(planned):
    plan = planned({})
    assert plan.base == [f"m{i:02d}" for i in range(12)]
    assert plan.evaluated == plan.base  # the variants are only for figures
    assert len(plan.ingredients) == 12 + 7
    assert plan.tests == ["test", "v2", "r", "sketch", "objectnet", "a"]
    assert plan.tables == ["models", "methods", "significance", "calibration", "greedy_trace"]
    assert set(plan.curves.tables) == {
        "wise_ft", "number_of_models", "large_lr", "pairs", "paths",
    }  # fmt: skip
    assert plan.references == ["best_individual", "greedy", "ensemble"]
    assert plan.weights("greedy") == "results/miniature/soups/greedy.safetensors"
    assert plan.weights("m00_small") == "results/miniature/models/m00_small.safetensors"
    shown = [*plan.figures]
    assert shown == sorted(shown, key=[figure.name for figure in figures.FIGURES].index)
    assert {"slices", "tasks", "averaging", "pretraining", "reproduction"}.isdisjoint(shown)


def test_greedy_soups_of_curves_follow_the_rule_of_the_greedy_soup(planned):
    assert "accept" not in planned({}).entry()
    chosen = planned({"soups": {"greedy": {"accept": "better"}}})
    assert chosen.entry()["accept"] == "better"
    assert chosen.soups["greedy_pruned"]["options"] == {}
    mine = planned({"soups": {**MINE["soups"], "mine": {"method": "greedy", "accept": "better"}}})
    assert mine.entry()["accept"] == "better"


def test_a_plan_cannot_be_changed(planned):
    with pytest.raises(dataclasses.FrozenInstanceError):
        planned({}).soups = {}


def test_data_and_starts_may_lie_in_another_experiment(planned):
    plan = dataclasses.replace(planned({}), shared="results/first")
    assert plan.pretrained == "results/first/pretrained/model.safetensors"
    assert plan.weights("initialization") == "results/first/models/initialization.safetensors"
    assert plan.weights("m00") == "results/miniature/models/m00.safetensors"


@pytest.mark.parametrize(
    ("curves", "gone"),
    [
        ({"wise_ft": {"of": []}}, {"wise_ft"}),
        ({"number_of_models": None}, {"number_of_models"}),
        ({"landscape": {"variants": []}}, {"landscape"}),
        ({"paths": {"variants": []}}, {"paths", "loss_gap", "large_lr"}),
        ({"pairs": 0, "paths": {"variants": []}},
         {"paths", "loss_gap", "large_lr", "angles", "soup_vs_ensemble"}),
    ],
)  # fmt: skip
def test_a_figure_without_its_curve_is_not_drawn(planned, curves, gone):
    whole, part = planned({}).figures, planned({"curves": curves}).figures
    assert whole.keys() - part.keys() == gone


def test_every_figure_has_its_tables_as_inputs(planned):
    plan = planned({})
    for name, figure in plan.figures.items():
        tables = plan.figure_inputs(name)
        assert set(figure.tables) <= tables.keys() <= {*figure.tables, *figure.any_of}
    assert plan.figure_inputs("angles") == {
        key: f"results/miniature/tables/{key}.csv" for key in ("effects", "pairs", "paths")
    }


def test_renamed_soups_play_the_same_roles(planned):
    usual, renamed = planned({}), planned(MINE)
    assert renamed.roles == usual.roles | {"greedy": "mine", "uniform": "mean"}
    assert renamed.references == ["best_individual", "mine", "ensemble"]
    assert list(renamed.curves.ends) == ["best_individual", "mean", "mine", "learned_by_layer"]
    assert renamed.soups["greedy_wise_ft"]["of"] == ["mine"]
    assert renamed.ensembles["greedy_soup_ensemble"]["of"] == ["mine"]
    assert renamed.greedy_recipe == ["results/miniature/recipes/mine.json"]
    assert renamed.figures.keys() == usual.figures.keys()


def test_the_configuration_may_give_a_role_to_another_row(planned):
    part = {"part": {"method": "greedy", "query": "row < 6"}}
    assert planned({"soups": part}).roles["greedy"] == "greedy"
    off = {"soups": dict.fromkeys(["greedy", "greedy_pruned", "greedy_wise_ft"])}
    off |= {"ensembles": {"greedy_soup_ensemble": None}}
    assert "greedy" not in planned(merge(off, {"soups": part})).roles
    assert planned({"soups": part, "roles": {"greedy": "part"}}).roles["greedy"] == "part"
    chosen = planned({"soups": part, "roles": {"greedy": "part"}})
    # The role means the row everywhere, though another row has its name.
    assert chosen.references == ["best_individual", "part", "ensemble"]
    assert "part" in chosen.curves.ends
    assert "greedy" not in chosen.curves.ends
    assert chosen.soups["greedy_wise_ft"]["of"] == ["part"]
    assert chosen.roles["greedy_wise_ft"] == "greedy_wise_ft"
    assert chosen.ensembles["greedy_soup_ensemble"]["of"] == ["part"]
    for given, sentence in (
        (
            {"greedy": "greedy_random"},
            "roles.greedy is 'greedy_random', which is not a row of soups "
            "with the method greedy, expected one of greedy",
        ),
        ({"greedi": "part"}, "roles.greedi is unknown; did you mean greedy?"),
        (
            {"greedy": "gone"},
            "roles.greedy is 'gone', which is not a row of soups with the method greedy",
        ),
    ):
        with pytest.raises(UserError, match=re.escape(sentence)):
            planned({"roles": given})


def test_a_row_with_the_name_of_a_role_plays_it_with_any_ingredients():
    """The soups of experiments/large.yaml are made of two variants."""
    sections = {
        "soups": {
            "uniform": {"method": "uniform", "variants": ["base", "high"]},
            "other": {"method": "uniform", "variants": ["high"]},
        },
        "ensembles": {},
    }
    assert assignment.assign(sections, {}) == {"uniform": "uniform"}


@pytest.mark.parametrize("section", ["soups", "ensembles"])
def test_only_leaves_the_named_rows(planned, section, config):
    name = next(iter(config[section]))
    plan = planned({section: {"only": [name]}, "curves": {"wise_ft": {"of": []}}}
                   | ({"ensembles": {"only": []}} if section == "soups" else {}))  # fmt: skip
    rows = {entry["row"] for entry in getattr(plan, section).values()}
    assert rows == {name}
    with pytest.raises(UserError, match=rf"{section}.only has 'unifrom'"):
        planned({section: {"only": ["unifrom"]}})
    # Neither a row that is switched off, nor a misspelled row that is left out.
    with pytest.raises(
        UserError, match=rf"{section}.only has 'off', which is switched off by null"
    ):
        planned({section: {"only": ["off"], "off": None}})
    with pytest.raises(UserError, match=rf"{section}.bad.method is 'gredy', expected one of"):
        planned({section: {"only": [name], "bad": {"method": "gredy"}}})
    # `only` may name a row that the command line defines, and leave another one out.
    more = {"mine": config[section][name], "other": config[section][name]}
    plan = planned({section: {"only": ["mine"], **more}, "curves": {"wise_ft": {"of": []}}}
                   | ({"ensembles": {"only": []}} if section == "soups" else {}))  # fmt: skip
    assert {entry["row"] for entry in getattr(plan, section).values()} == {"mine"}
    with pytest.raises(UserError, match=rf"{section}.only is 'uniform', expected a list"):
        planned({section: {"only": "uniform"}})


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"soups": {"gredy": None}}, "soups.gredy is null, but soups has no such entry to switch "
         "off; did you mean greedy?"),
        ({"ensembles": {"ensembel": None}}, "ensembles.ensembel is null"),
        ({"sweep": {"variants": {"smal": None}}}, "sweep.variants.smal is null"),
        ({"curves": {"slices": {"lr": None}}}, "curves.slices.lr is null"),
    ],
)  # fmt: skip
def test_an_unknown_name_set_to_null_is_an_error(planned, overlay, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        planned(overlay)


def test_trained_batch_statistics_need_whole_batches_on_one_gpu(planned):
    trained = {"finetune": {"batch_norm": "trained"}}
    with pytest.raises(UserError, match=r"compute.gpus is 2 and m00 has batch_norm = 'trained'"):
        planned(trained | {"compute": {"gpus": 2}})
    with pytest.raises(UserError, match=r"expected compute.accumulate: 1, or"):
        planned(trained | {"compute": {"accumulate": 2}})
    with pytest.raises(UserError, match=r"expected compute.checkpoint_activations: false, or"):
        planned(trained | {"compute": {"checkpoint_activations": True}})
    planned({"compute": {"gpus": 2}})


def test_null_may_switch_off_a_row_of_another_overlay(config, root, tmp_path):
    (tmp_path / "other.yaml").write_text("soups: {mine: {method: greedy}}")
    merged = merge(config, {"soups": {"mine": None}})
    files = [root / "config.yaml", tmp_path / "other.yaml"]
    settings.validate(merged, root / "rules" / "schemas" / "config.schema.yaml", files)


def test_the_minimal_overlay_leaves_two_soups(planned, root):
    text = (root / "experiments" / "minimal.yaml").read_text(encoding="utf-8")
    plan = planned(yaml.safe_load(text))
    assert list(plan.soups) == ["uniform", "greedy"]
    assert (plan.ensembles, plan.curves.tables, plan.ingredients) == ({}, [], plan.base)
    # The figures of curves and ensembles are gone.
    assert planned({}).figures.keys() - plan.figures.keys() == {
        "landscape", "paths", "angles", "soup_vs_ensemble", "loss_gap", "number_of_models",
        "large_lr", "wise_ft",
    }  # fmt: skip
    assert {"scatter", "methods", "shifts", "contact_sheet"} <= plan.figures.keys()


def test_every_method_has_a_description():
    for section, methods in registry.SECTIONS.items():
        for name, method in methods.items():
            assert len(method.about.split()) >= 3, (section, name)
            assert name == method.name


def test_every_hyperparameter_is_in_the_default_configuration(root):
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    assert set(config["finetune"]) == set(HYPERPARAMETERS)


def test_no_shift_can_have_the_name_of_a_column(root):
    """All columns of recorded tables with a column per shift are reserved."""
    shifts = {
        "v2",
        "r",
        "sketch",
        "objectnet",
        "a",
        "noise",
        "blur",
        "contrast",
        "jpeg",
        "rotation",
    }
    for path in sorted((root / "results" / "recorded").glob("*/*.csv")):
        columns = set(pd.read_csv(path, nrows=0).columns)
        if not columns & shifts or path.parent.name == "published":
            continue
        if path.parent.name == "evidence":
            columns -= {"design", "sweep_seed"}  # tools/replicate.py adds them to a run's table
        free = {
            name
            for name in columns - shifts - set_names.RESERVED_COLUMNS - set(HYPERPARAMETERS)
            if not set_names.is_reserved(name)
        }
        assert free == set(), path.name


# The rules.


@pytest.fixture
def sources(root) -> dict[str, str]:
    """Return the text of each file of rules and of the Snakefile, by file name."""
    files = [root / "Snakefile", *sorted((root / "rules").glob("*.smk"))]
    return {path.name: path.read_text(encoding="utf-8") for path in files}


def test_a_rule_has_the_name_of_its_script(sources, root):
    scripts = set()
    for text in sources.values():
        for name, body in re.findall(r"(?ms)^ *rule (\w+):\n(.*?)(?=^ *(?:use )?rule |\Z)", text):
            for script in re.findall(r'"\.\./scripts/(\w+)\.py"', body):
                assert script == name
                scripts.add(script)
    assert scripts == {path.stem for path in (root / "scripts").glob("*.py")}


def test_the_first_screen_of_the_snakefile_shows_the_workflow(sources):
    lines = sources["Snakefile"].splitlines()
    assert len(lines) <= 60
    assert any("rule all" in line for line in lines[:40])


def defined(text: str) -> set[str]:
    """Names that a file of rules defines or imports outside its functions."""
    functions = set(re.findall(r"(?m)^ *def (\w+)", text))
    text = re.sub(r"(?ms)^def .*?(?=^\S|\Z)", "", text)
    targets = re.findall(r"(?m)^ *(\w+(?:, *\w+)*) = ", text)
    loops = re.findall(r"(?m)^for (.+?) in ", text)
    lines = "\n".join(re.findall(r"(?m)^(?:from|import) .+$", text))
    imported = {
        alias.asname or alias.name for node in ast.parse(lines).body for alias in node.names
    }
    return functions | imported | {n for part in targets + loops for n in re.findall(r"\w+", part)}


def test_names_of_rules_are_found():
    text = """
from a import b, c as d
try:
    e = 1
except UserError as error:
    pass
F, G = 2, 3
for i, j in []:
    pass
def h(x):
    y = 4
rule k:
    params: z=1
"""
    assert defined(text) == {"b", "d", "e", "F", "G", "i", "j", "h"}


def test_rules_define_few_names(sources):
    names = set.union(*map(defined, sources.values()))
    assert {"R", "S", "plan", "table", "handlers"} <= names
    assert len(names) <= 25, names


def test_roles_have_titles():
    assert len({role.name for role in roles.ROLES}) == len(roles.ROLES)
    assert roles.title("greedy") == "greedy soup"
    assert roles.title("my_soup") == "my soup"

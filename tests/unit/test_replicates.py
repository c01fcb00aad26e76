"""Verdicts over sweeps count distinct models: no model is in two of the sweeps."""

import itertools
import re

import pytest
import yaml

from soups import files
from soups.errors import UserError
from soups.experiment import replicates, search, settings
from soups.experiment.plan import Plan
from soups.jobs import runs
from tests.unit.test_overlays import merge
from tools import replicate


@pytest.fixture
def planned(config, root, tmp_path, monkeypatch):
    """Return a function that plans the default with an overlay, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def made(overlay: dict) -> Plan:
        merged = merge(config, overlay)
        settings.validate(merged, root / "rules" / "schemas" / "config.schema.yaml")
        return Plan.of(merged)

    return made


def finish(plan: Plan, **changes) -> None:
    """Write what a finished run leaves for the verdicts over sweeps."""
    files.write_text(f"{plan.results}/tables/effects.csv", "claim\n")
    files.write_json(f"{plan.results}/plan.json", plan.announced | changes)
    files.write_json(f"{plan.results}/settings.json", plan.sections)


def test_no_model_counts_in_two_sweeps_of_make_seeds(planned):
    """Variants, which have the same settings in every sweep, differ in their seeds."""
    finish(planned({}))
    marks: dict[str, list[str]] = {}
    for world, seed in replicate.REPLICATES:
        overlay = replicate.overlay(world, seed)
        plan = planned(overlay)
        finish(plan)
        marks[plan.config["name"]] = list(plan.announced["fingerprints"].values())
    assert {len(each) for each in marks.values()} == {12 + 7}
    everything = list(itertools.chain(*marks.values()))
    assert len(set(everything)) == len(everything) == 19 * len(replicate.REPLICATES)
    others = [name for name in marks if name != "miniature" and name.startswith("seeds/w0")]
    assert len(planned({"claims": {"replicates": others}}).replicates) == len(others)


def test_a_sweep_with_a_model_of_another_one_is_refused(planned, monkeypatch):
    other = {"name": "other", "sweep": {"random": {"seed": 1}}}
    # All searches once trained with the same seeds, and so with the same variants.
    with monkeypatch.context() as patch:
        patch.setattr(search, "training_seed", lambda seed, i: i)
        finish(planned(other))
    sentence = (
        "claims.replicates has 'other', of which 7 of 19 models are those of another sweep "
        "(m00_small is m00_small of miniature), expected a sweep of other models"
    )
    with pytest.raises(UserError, match=re.escape(sentence)):
        planned({"claims": {"replicates": ["other"]}})
    finish(planned(other))
    assert planned({"claims": {"replicates": ["other"]}}).replicates


def test_two_replicates_with_the_same_models_are_refused(planned):
    for name in ("one", "two"):
        finish(planned({"name": name, "sweep": {"random": {"seed": 1}}}))
    with pytest.raises(UserError, match=r"has 'two', of which 19 of 19 .* m00 of one"):
        planned({"claims": {"replicates": ["one", "two"]}})


def test_models_of_another_world_are_others(planned):
    finish(planned({"name": "other", "data": {"world": {"seed": 1}}}))
    assert planned({"claims": {"replicates": ["other"]}}).replicates


def test_a_run_of_an_older_version_does_not_say_which_models_it_has(planned):
    plan = planned({"name": "old", "sweep": {"random": {"seed": 1}}})
    finish(plan, fingerprints=None)
    with pytest.raises(UserError, match=r"results/old/plan.json does not say which models"):
        planned({"claims": {"replicates": ["old"]}})


def test_ready_made_models_are_told_apart_by_their_files(config):
    marks = []
    for file in ("a.pt", "b.pt"):
        given = merge(config, {"ingredients": {"source": "checkpoints", "checkpoints": {}}})
        models = replicates.Sweep({"m": {}}, {"m": {}}, {}, {}, [], {"m": file})
        marks.append(replicates.fingerprints(given, models)["m"])
    assert len(set(marks)) == 2


def test_the_plan_of_a_run_has_the_name_that_replicates_read():
    assert replicates.PLAN == runs.PLAN


def test_the_limit_of_rows_is_that_of_the_schema(root):
    schema = yaml.safe_load((root / "rules/schemas/config.schema.yaml").read_text("utf-8"))
    limit = schema["properties"]["sweep"]["properties"]["random"]["properties"]["n"]["maximum"]
    assert limit == search.MOST

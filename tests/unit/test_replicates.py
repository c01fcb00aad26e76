"""Verdicts over sweeps count distinct models: no model is in two of the sweeps."""

import re
import shutil
import subprocess
from pathlib import Path

import _findings
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from soups import files
from soups.claims import series
from soups.claims.registry import CLAIMS
from soups.errors import UserError
from soups.evaluation.resampling import half_width
from soups.experiment import replicates, search, settings
from soups.experiment.plan import Plan
from soups.jobs import runs
from soups.models import checkpoints
from soups.models.pretrained import Pretrained
from soups.outcomes import INCONCLUSIVE, SUPPORTED
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


@pytest.fixture
def evidence(root) -> list[replicate.Run]:
    """The runs of the evidence, with overlays of this project."""
    return replicate.runs(designs(root), "evidence", home=root / replicate.OVERLAYS)


class Finished:
    """A run in another folder, which is finished if a test says so."""

    def __init__(self, folder, run: replicate.Run) -> None:
        self.design, self.seed, self.number, self.further = (
            run.design, run.seed, run.number, run.further
        )  # fmt: skip
        self.name, self.settings, self.folder = run.name, "settings", folder / run.name
        self.effects = folder / f"{run.design}-{run.seed}.csv"
        self.done = False

    def finish(self, rows: list[dict]) -> None:
        files.write_text(self.effects, pd.DataFrame(rows).to_csv(index=False))
        mark = {"settings": self.settings, "minutes": 1.0}
        files.write_json(self.folder / replicate.DONE, mark)
        for name in _findings.GATHERED:
            table = f"method,test\n{self.name},0.5\n"
            files.write_text(self.folder / "tables" / f"{name}.csv", table)
        self.done = True


def over_runs(plan: dict, every: list[Finished], recorded=_findings.NONE) -> pd.DataFrame:
    """The tests of a plan over the runs that are finished or recorded."""
    return _findings.evidence(plan, _findings.rows_of(every, recorded))


def designs(root) -> dict:
    path = root / "experiments" / "evidence" / "plan.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def merged(run: replicate.Run) -> dict:
    """The overlays and the settings of a run, without the experiment that it shares data with."""
    overlay = {}
    for path in run.files:
        overlay = merge(overlay, yaml.safe_load(path.read_text(encoding="utf-8")))
    return merge(overlay, {key: value for key, value in run.config.items() if key != "shared"})


def test_no_model_counts_in_two_runs_of_the_evidence(planned, evidence, root):
    """Every configuration of the evidence is valid, and its models are its own."""
    marks: dict[str, str] = {}
    for run in evidence:
        overlay = merged(run)
        if run.design == "supervised":  # another run makes its start
            overlay["model"]["pretrained"] = str(
                root / "results/recorded/pretrained/world0.safetensors"
            )
        plan = planned(overlay)
        own = plan.announced["fingerprints"].values()
        # The supervised start stands in for the usual one here, so its models have other heads.
        assert not marks.keys() & set(own), run.config["name"]
        marks |= dict.fromkeys(own, run.config["name"])
    assert len({run.config["name"] for run in evidence}) == len(evidence)


def test_variants_of_the_evidence_say_all_that_a_variant_of_the_default_says(evidence, config):
    """An overlay is merged into the default, so a name of the default would bring its settings."""
    usual = config["sweep"]["variants"]
    for run in evidence:
        for name, variant in merged(run)["sweep"].get("variants", {}).items():
            if variant and name in usual:
                assert variant.keys() >= usual[name].keys(), (run.design, name)
                own = merged(run)["sweep"]["random"]["parameters"] | variant["set"]
                assert own.items() >= (usual[name]["set"] | variant["set"]).items(), (
                    run.design,
                    name,
                )


def test_every_claim_about_images_is_decided_by_one_design(root):
    claims = [claim for spec in designs(root).values() for claim in spec["claims"]]
    assert sorted(claims) == list(range(1, 19))


def test_the_runs_take_their_data_from_a_run_of_the_same_world(planned, evidence, root):
    first = {run.config["name"]: run for run in evidence}
    for run in evidence:
        if "shared" not in run.config:
            continue
        owner = first[run.config["shared"]]
        assert evidence.index(owner) < evidence.index(run)
        ours, theirs = (
            {key: merged(each).get(key) for key in ("data", "model", "pretrain", "probe")}
            for each in (run, owner)
        )
        assert ours == theirs, run.config["name"]


def test_only_designs_that_leave_a_claim_open_get_further_runs(tmp_path):
    plan = {
        "clear": {"claims": [1], "seeds": [0, 1, 2], "more": [3]},
        "open": {"claims": [4], "seeds": [0, 1, 2], "more": [3]},
        "unfinished": {"claims": [4], "seeds": [0, 1], "more": [3]},
        "final": {"claims": [4], "seeds": [0, 1, 2]},
        "beside": {"claims": [], "seeds": [0, 1, 2]},
        "empty": {"claims": [1], "seeds": [0, 1, 2], "more": [3]},
    }
    plan = {name: spec | {"files": [], "shared": "x", "minutes": 1} for name, spec in plan.items()}
    every = [Finished(tmp_path, run) for run in replicate.runs(plan, "evidence")]
    parts = {part.title(): claim.number for claim in CLAIMS for part in claim.parts}
    for run in every:
        spread = {"open": 0.01, "final": 0.01, "empty": np.nan}.get(run.design, 0.0001)
        rows = [
            {"claim": claim, "part": part, "unit": "accuracy", "rule": "greater", "margin": 0.001,
             "decides": True, "effect": 0.01 + spread * run.number, "lo": 0, "hi": 1, "images": 9,
             "models": 2, "pairs": 0, "verdict": SUPPORTED, "missing": None}
            for part, claim in parts.items() if claim in (1, 4)
        ]  # fmt: skip
        files.write_text(run.effects, pd.DataFrame(rows).to_csv(index=False))
        run.done = not (run.further or (run.design, run.seed) == ("unfinished", 1))
    assert _findings.left_open(plan, every) == {"open"}
    # Finished further runs count in the verdict, and do not change whether they were needed.
    tests = over_runs(plan, every).set_index(["design", "claim"])
    assert tests.loc[("open", 4), "runs"].item() == 3
    for run in every:
        run.done = True
    tests = over_runs(plan, every).set_index(["design", "claim"])
    assert tests.loc[("open", 4), "runs"].item() == 4
    assert _findings.left_open(plan, every) == {"open", "unfinished"}  # two runs are too few


def gain(effect: float, **more) -> dict:
    """A test of a run, with a narrow interval."""
    part = CLAIMS[0].parts[0].title()
    row = {"claim": 1, "part": part, "unit": "accuracy", "rule": "greater", "margin": 0.001}
    row |= {"decides": True, "effect": effect, "lo": 0, "hi": 1, "images": 9, "models": 2}
    return row | {"pairs": 0, "verdict": SUPPORTED, "missing": None} | more


@pytest.fixture
def few(tmp_path) -> tuple[dict, list[Finished]]:
    """A plan with one design, and its runs, of which none is finished."""
    spec = {"files": [], "shared": "x", "minutes": 1, "claims": [1]}
    plan = {"a": spec | {"seeds": [0, 1, 2], "more": [3, 4]}}
    return plan, [Finished(tmp_path, run) for run in replicate.runs(plan, "evidence")]


def read(folder, every) -> _findings.Recorded:
    return _findings.Recorded.read(folder, every)


def test_recorded_runs_count_without_their_folders(few, tmp_path):
    plan, every = few
    effects = [0.01, 0.02, 0.06, 0.03, 0.02]
    for run, effect in zip(every, effects, strict=True):
        run.finish([gain(effect)])
    _findings.record(tmp_path / "whole", plan, every)
    for run in every[3:]:
        run.done = False
    _findings.record(tmp_path / "record", plan, every)
    for run in every:
        run.done = run.number == 3
    recorded = read(tmp_path / "record", every)
    assert sorted(recorded.notes) == ["a-0", "a-1", "a-2"]
    assert _findings.left_open(plan, every, recorded) == {"a"}
    _findings.record(tmp_path / "record", plan, every, recorded)
    for run in every:
        run.done = run.number == 4
    _findings.record(tmp_path / "record", plan, every, read(tmp_path / "record", every))
    for name in ("claims", "effects", "methods", "runs"):
        one, other = (tmp_path / folder / f"{name}.csv" for folder in ("whole", "record"))
        assert one.read_text() == other.read_text(), name
    [row] = pd.read_csv(tmp_path / "record" / "effects.csv", dtype=str).to_dict("records")
    assert (row["claim"], row["runs"], row["images"], row["models"]) == ("1", "5", "9", "10")
    assert sorted(files.read_json(tmp_path / "record" / "record.json")["runs"]) == [
        f"a-{seed}" for seed in range(5)
    ]


def test_a_recorded_run_with_other_settings_or_a_folder_of_its_own_does_not_count(few, tmp_path):
    plan, every = few
    for run in every[:3]:
        run.finish([gain(0.01)])
    _findings.record(tmp_path / "record", plan, every)
    every[0].done, every[1].done, every[1].settings = False, False, "others"
    recorded = read(tmp_path / "record", every)
    assert list(recorded.notes) == ["a-0", "a-2"]
    files.write_text(every[2].effects, pd.DataFrame([gain(0.03)]).to_csv(index=False))
    rows = _findings.rows_of(every, recorded)
    assert list(rows["effect"]) == [0.01, 0.03]
    assert not read(tmp_path / "nowhere", every).notes


def several(table: pd.DataFrame, seeds: str) -> pd.DataFrame:
    """Rows for several runs, from their tests over runs."""
    spread = (table["hi"] - table["lo"]) / 2 / half_width(len(seeds.split()))
    return table.assign(seeds=seeds, spread=spread)


def test_a_row_of_several_runs_counts_as_they_would(few, tmp_path):
    plan, every = few
    effects = [0.01, 0.02, 0.06, 0.03, 0.02]
    for run, effect in zip(every, effects, strict=True):
        run.finish([gain(effect)])
    alone = over_runs(plan, every)
    first = several(over_runs(plan, every[:3]), "0 1 2")
    rows = pd.concat([first, _findings.rows_of(every)[3:]], ignore_index=True)
    together = _findings.evidence(plan, rows)
    pd.testing.assert_frame_equal(together, alone, atol=2e-6, check_dtype=False)
    # Such a row counts only as long as none of its runs is made again.
    _findings.record(tmp_path / "record", plan, every)
    files.write_text(tmp_path / "record" / "runs.csv", rows.to_csv(index=False))
    recorded = read(tmp_path / "record", every)
    for run in every:
        run.done = run.number == 1
    assert len(recorded.notes) == 5
    _findings.record(tmp_path / "record", plan, every, recorded)
    assert sorted(read(tmp_path / "record", every).notes) == ["a-1", "a-3", "a-4"]


def test_runs_from_a_weaker_start_are_compared_with_recorded_ones(tmp_path):
    spec = {"files": [], "shared": "x", "minutes": 1, "claims": [], "seeds": [0, 1, 2]}
    plan = {"a": spec, "b": spec | {"weaker_than": "a", "seeds": [0, 1, 2, 3, 4, 5]}}
    every = [Finished(tmp_path, run) for run in replicate.runs(plan, "evidence")]
    for run in every:
        run.finish([gain(0.02 + run.number / 100, part=series.GAIN)])
    whole = over_runs(plan, every)
    _findings.record(tmp_path / "record", plan, every)
    for run in every:
        run.done = run.design == "b"
    recorded = read(tmp_path / "record", every)
    pd.testing.assert_frame_equal(over_runs(plan, every, recorded), whole)
    # So are those of which only the comparison is known.
    group = several(whole[whole["design"] == "b"], "0 1 2")
    rows = _findings.rows_of(every, recorded)
    rows = pd.concat([rows[rows["design"] == "a"], group], ignore_index=True)
    again = _findings.evidence(plan, rows)
    pd.testing.assert_frame_equal(again, whole, atol=2e-6, check_dtype=False)


def test_a_record_without_runs_says_nothing(few, tmp_path):
    plan, every = few
    assert _findings.left_open(plan, []) == set()
    _findings.record(tmp_path / "record", plan, every)
    assert not read(tmp_path / "record", every).notes


def test_a_run_from_the_start_of_another_one_makes_that_first(evidence, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = []
    files.write_text(tmp_path / "config.yaml", "{}")
    [run] = [run for run in evidence if run.name == "supervised-2"]
    assert run.maker.name == "supervised_start-0"

    def call(command):
        made.append(command[3])
        files.write_text(Path(command[3]), "claim\n")

    monkeypatch.setattr(replicate, "call", call)
    monkeypatch.setattr(replicate, "write_start", lambda _, path: files.write_text(path, "x"))
    before = run.settings, run.fingerprint
    replicate.make(run, evidence, [])
    assert made == [
        "results/evidence/supervised_start-0/tables/effects.csv",
        "results/evidence/supervised-0/models/initialization.safetensors",
        "results/evidence/supervised-2/tables/effects.csv",
    ]
    assert run.done
    assert (run.settings == before[0], run.fingerprint == before[1]) == (True, False)


@pytest.mark.parametrize(
    ("verdict", "options", "further"),
    [
        ("open", [], [3]),
        ("clear", [], []),
        ("open", ["--most", "2"], []),
        ("open", ["--only", "a"], []),
    ],
)
def test_a_run_carries_out_further_runs_of_open_designs_alone(
    tmp_path, monkeypatch, verdict, options, further
):
    monkeypatch.chdir(tmp_path)
    spec = {"files": [], "shared": "x", "minutes": 1, "claims": [1]}
    plan = {"a": spec | {"seeds": [0, 1]}, "b": spec | {"seeds": [0, 1, 2], "more": [3]}}
    files.write_text(tmp_path / replicate.OVERLAYS / "plan.yaml", yaml.safe_dump(plan))
    files.write_text(tmp_path / "config.yaml", "{}")
    called = []
    monkeypatch.setattr(replicate, "unlock", lambda: None)
    monkeypatch.setattr(replicate, "call", lambda command: called.append(command[3]))
    monkeypatch.setattr(replicate, "record", lambda *given: None)
    monkeypatch.setattr(
        replicate, "left_open", lambda *given: {"b"} if verdict == "open" else set()
    )
    replicate.main(options)
    made = [re.search(r"evidence/b-(\d)/", target) for target in called]
    assert [int(found[1]) for found in made if found and found[1] == "3"] == further
    assert [target for target in called if "/a-0/" in target]


def test_a_dry_run_lists_the_runs_that_are_not_finished(calls, capsys):
    replicate.main(["--dry-run", "--most", "2"])
    assert not calls
    assert capsys.readouterr().out.splitlines() == [
        "evidence/a-0: about 60 s",
        "evidence/a-1: about 60 s",
        "2 runs are certain, about 2 min on two cores",
        "Data and starts that they share are made first if they are not here.",
    ]
    replicate.main(["--most", "1"])
    capsys.readouterr()
    replicate.main(["-n", "--most", "2"])
    assert capsys.readouterr().out.startswith("evidence/a-1: about 60 s\n1 run is certain, ")


def test_a_dry_run_says_which_runs_depend_on_a_verdict(evidence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no run is finished here
    barrier = [run for run in evidence if run.design == "barrier"]
    *lines, _ = replicate.listed(barrier).splitlines()
    assert [line.endswith("if its claim is still inconclusive") for line in lines] == [
        *(run.further for run in barrier), False
    ]  # fmt: skip
    assert lines[-1].startswith("3 runs are certain, ")
    assert replicate.listed([]).startswith("There is nothing to make")


@pytest.fixture
def calls(tmp_path, monkeypatch) -> list[str]:
    """The targets of snakemake's calls, in a new folder with a plan of runs that share data."""
    monkeypatch.chdir(tmp_path)
    spec = {"files": [], "shared": "a-0", "minutes": 1, "claims": [1], "seeds": [0, 1, 2]}
    files.write_text(tmp_path / replicate.OVERLAYS / "plan.yaml", yaml.safe_dump({"a": spec}))
    files.write_text(tmp_path / "config.yaml", "{}")
    called = []

    def call(command):
        called.append(command[3])
        files.write_text(Path(command[3]), pd.DataFrame([gain(0.01)]).to_csv(index=False))
        if command[3].startswith("results/evidence/a-0/"):
            files.write_json(tmp_path / "results" / "evidence" / "a-0" / "settings.json", {})

    monkeypatch.setattr(replicate, "unlock", lambda: None)
    monkeypatch.setattr(replicate, "call", call)
    return called


def test_recorded_runs_are_made_again_unless_they_are_kept(calls, tmp_path):
    replicate.main([])
    assert calls == [f"results/evidence/a-{seed}/tables/effects.csv" for seed in range(3)]
    shutil.rmtree(tmp_path / "results" / "evidence")
    note = tmp_path / "results" / "recorded" / "evidence" / "record.json"
    kept = files.read_json(note)
    del kept["runs"]["a-2"]
    files.write_json(note, kept)
    calls.clear()
    replicate.main(["--keep"])
    # The data that the run shares are made first.
    assert calls == [
        "results/evidence/a-0/models/initialization.safetensors",
        "results/evidence/a-2/tables/effects.csv",
    ]
    assert list(files.read_json(note)["runs"]) == ["a-0", "a-1", "a-2"]
    claims = pd.read_csv(note.parent / "claims.csv").set_index("claim")
    assert claims.loc[1, "verdict"] == INCONCLUSIVE  # equal effects count as one run
    calls.clear()
    replicate.main([])
    assert calls == [f"results/evidence/a-{seed}/tables/effects.csv" for seed in (0, 1)]


def test_a_commit_is_dirty_if_settings_differ_from_it_but_not_for_a_new_record(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert replicate.commit() is None
    for path in ("config.yaml", "results/recorded/evidence/runs.csv"):
        files.write_text(tmp_path / path, "before")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "All"]):
        subprocess.run(["git", *command], check=True)
    clean = replicate.commit()
    assert re.fullmatch("[0-9a-f]{40}", clean)
    files.write_text(tmp_path / "results/recorded/evidence/runs.csv", "after")
    assert replicate.commit() == clean
    files.write_text(tmp_path / "experiments/mine.yaml", "a new overlay")
    assert replicate.commit() == f"{clean}-dirty"


def test_every_overlay_of_the_folder_is_in_the_plan(root):
    named = {file for spec in designs(root).values() for file in spec["files"]}
    there = {path.stem for path in (root / "experiments" / "evidence").glob("*.yaml")}
    assert there - named == {"plan", "tiny"}


def test_a_change_of_an_overlay_makes_a_finished_run_unfinished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overlay = tmp_path / "base.yaml"
    for path in ("config.yaml", "base.yaml"):
        files.write_text(tmp_path / path, "probe: {lr: 1}\n")
    run = replicate.Run("sweeps", 0, (overlay,), {"name": "evidence/sweeps-0"}, 5)
    assert not run.done
    files.write_text(run.effects, "claim\n")
    files.write_json(run.folder / replicate.DONE, {"fingerprint": run.fingerprint})
    assert run.done
    files.write_text(overlay, "# a comment\nprobe: {lr: 1}\n")
    assert run.done
    # Only some keys of `compute` change results.
    files.write_text(overlay, "probe: {lr: 1}\ncompute: {device: cpu, channels_last: auto}\n")
    files.write_json(run.folder / replicate.DONE, {"fingerprint": run.fingerprint})
    files.write_text(overlay, "probe: {lr: 1}\ncompute: {device: cuda, channels_last: true}\n")
    assert run.done
    files.write_text(overlay, "probe: {lr: 1}\ncompute: {precision: bfloat16}\n")
    assert not run.done
    files.write_text(overlay, "probe: {lr: 2}\n")
    assert not run.done


def test_the_time_left_follows_the_speed_so_far():
    assert replicate.left(0, 0, 150) == 150 * 60
    assert replicate.left(made=600, expected=5, todo=10) == 20 * 60


def test_an_unknown_design_is_an_error(root):
    with pytest.raises(UserError, match="--only has 'swepes', expected one of sweeps, long"):
        replicate.chosen(designs(root), ["swepes"])
    assert list(replicate.chosen(designs(root), ["long"])) == ["long"]
    assert list(replicate.chosen(designs(root), [])) == list(designs(root))


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


def test_a_fine_tuned_model_becomes_a_start(root, tmp_path):
    source = root / "results" / "recorded" / "pretrained" / "world0.safetensors"
    files.copy(source, tmp_path / "pretrained" / "model.safetensors")
    model = Pretrained.load(source)
    classifier = model.classifier(24)
    with torch.no_grad():
        for weight in classifier.parameters():
            weight.add_(1.0)
    trained = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    checkpoints.save(tmp_path / "models" / "m00.safetensors", trained, {})
    replicate.write_start(tmp_path, tmp_path / "start.safetensors")
    start, before = Pretrained.load(tmp_path / "start.safetensors"), Pretrained.load(source)
    for name, tensor in start.classifier(24).state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(tensor, trained[name]), name
    assert torch.equal(start.clip.token_embedding.weight, before.clip.token_embedding.weight)

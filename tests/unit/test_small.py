"""The small-data study: its table, its rule, and the held-out sets that are drawn again."""

import shutil
import subprocess
import sys
from pathlib import Path

import _snakemake
import _study
import numpy as np
import pandas as pd
import pytest
import small as tool
import yaml

from soups import files
from soups.errors import UserError
from soups.evaluation import gains as measured
from soups.evaluation.resampling import student
from soups.experiment import search
from soups.mixing import heldout_size
from soups.report import small
from soups.roles import (
    BEST,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    INITIALIZATION,
    RECALIBRATED,
    UNIFORM,
)
from tests.unit.kitchens import tiny_kitchen


@pytest.fixture
def kitchen(pretrained, tmp_path, images, labels):
    return tiny_kitchen(pretrained, tmp_path, images, labels)


def methods(greedy: float, uniform: float = 0.5) -> pd.DataFrame:
    rows = {BEST: 0.6, GREEDY: greedy, UNIFORM: uniform, INITIALIZATION: 0.4}
    return pd.DataFrame([{"method": m, "test": a, "shifts_mean": a - 0.1} for m, a in rows.items()])


def test_a_gain_is_the_difference_to_the_best_individual_model_in_points():
    found = measured.gains(methods(0.63)).set_index("method")
    assert found.loc[GREEDY, "test"] == pytest.approx(3)
    assert found.loc[UNIFORM, "shifts_mean"] == pytest.approx(-10)
    assert found.loc[UNIFORM, "over_shifts_mean"] == pytest.approx(50)
    assert found.loc[INITIALIZATION, "test"] == pytest.approx(-20)
    assert BEST not in found.index


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [([3, 3.2, 2.9], "helps"), ([-3, -3.2, -2.9], "hurts"), ([1, -1, 2], "undecided")],
)
def test_a_method_helps_only_if_the_interval_over_sweeps_is_above_0(gains, verdict):
    mean, low, high = student(np.array(gains, float))
    assert low < mean < high
    assert measured.verdict(low, high) == verdict
    # Student's t for three values: 4.3027 standard errors.
    half = 4.3027 * np.std(gains, ddof=1) / np.sqrt(3)
    assert high - mean == pytest.approx(half, rel=1e-4)


def test_one_sweep_has_no_interval_and_no_verdict():
    assert np.isnan(student(np.array([1.0]))[1:]).all()
    assert measured.verdict(np.nan, np.nan) == "undecided"


def test_the_table_and_the_figure_have_every_setting():
    runs = pd.concat(
        measured.gains(methods(0.61 + seed / 1000)).assign(
            axis="training images", value=v, seed=seed, setting=v
        )
        for v in ("2%", "100%")
        for seed in range(3)
    )
    curve = pd.concat(methods(0.62).assign(per_class=5, draw=draw) for draw in range(2))
    again = measured.drawn(curve).assign(setting="100%")
    heldout = pd.concat(again.assign(seed=seed) for seed in range(3))
    each = measured.each(runs, heldout)
    table, trend = measured.summary(each, 3), measured.trend(each, ["2%", "100%"], 3)
    assert len(table) == 3 * 3 * 2
    text = small.markdown(table, trend)
    assert "| training images: 2% | in distribution | 3 | 60.0 | " in text
    assert "held-out images per class: 5" in text
    assert "| +1.1 [+0.9, +1.3] (3 of 3) ▲ |" in text
    assert "initialisation (linear probe) |\n" in text
    assert "greedy soup, in distribution: helps in 2, hurts in 0 and is undecided in 0 of 2" in text
    # A setting on a second axis counts once, and one that lacks a sweep counts not at all.
    second = runs[runs["value"] == "2%"].assign(axis="start", value="ImageNet")
    both = measured.each(pd.concat([runs, second]), heldout)
    both = small.markdown(measured.summary(both, 3), trend)
    assert text.splitlines()[-6:] == both.splitlines()[-6:]
    few = measured.each(runs[(runs["value"] == "2%") | (runs["seed"] < 2)], None)
    few = measured.summary(few, 3)
    assert "is undecided in 0 of 1 setting." in small.markdown(few, trend)
    assert "▲" not in small.markdown(few[few["value"] == "100%"], trend)
    panels = small.figure(table, each).axes
    assert len(panels) == 4
    lines = [line.get_ydata() for line in panels[0].lines if len(line.get_xdata()) == 2]
    assert any(np.allclose(y, 1.1) for y in lines)


def test_the_trend_is_the_mean_slope_of_the_sweeps_per_tenfold_number_of_images():
    slopes = [-2, -1, -3]
    rows = [
        {"axis": "training images", "value": f"{share}%", "seed": seed, "setting": f"images{share}",
         "method": GREEDY, "measure": "test", "gain": 5 + slope * np.log10(share), "over": 80}
        for seed, slope in enumerate(slopes) for share in (1, 10, 100)
    ]  # fmt: skip
    each = pd.DataFrame(rows)
    other = each.assign(axis="start", gain=100)
    values = ["1%", "10%", "100%"]
    found = measured.trend(pd.concat([each, other]), values, 3)
    [row] = found.to_dict("records")
    expected = student(np.array(slopes, float))
    assert [row["slope"], row["lo"], row["hi"]] == pytest.approx(expected, abs=1e-3)
    assert small.trends(found) == [
        "- With ten times as many training images, the gains in distribution change by these "
        "points: greedy soup -2.0 [-4.5, +0.5]."
    ]
    # A study that lacks a sweep or a number of images has no trend.
    last = (each["seed"] == 2) & (each["value"] == "1%")
    for few in (each[~last], each[each["seed"] < 2], each[each["value"] != "1%"], each[:0]):
        assert small.trends(measured.trend(few, values, 3)) == []


def test_every_run_has_a_split_and_a_sweep_of_its_own(root):
    for study in _study.SETTINGS:
        for run in _study.runs(study):
            made = run.overlay
            assert made["name"] == f"{study}/{run.setting}-{run.seed}"
            assert made["data"]["heldout"] == {"seed": run.seed}
            assert made["sweep"]["random"]["seed"] == run.seed
            assert yaml.safe_load(yaml.safe_dump(made)) == made
        for base in _study.BASES[study]:
            assert (root / base).is_file()
    with pytest.raises(UserError, match="--only has 'images3', expected one of images2, "):
        tool.main("small", ["images3"], [])


def test_the_weak_start_of_a_run_is_the_model_that_its_own_run_makes():
    for seed in _study.SEEDS:
        run = _study.Run(_study.IMAGES, "tenth", seed)
        drawn = run.weak["sweep"]["random"]
        [(name, row)] = search.rows({"choices": {}, **drawn}).items()
        start = Path("results", run.weak["name"], "models", f"{name}.safetensors")
        assert Path(run.overlay["model"]["pretrained"]) == start
        assert (row["lr"], row["epochs"], row["augment"]) == (0.002, 60, 1)
        # No image that the start was trained on is held out.
        assert run.weak["data"] == {"train_fraction": 0.1, "heldout": {"seed": seed}}
    assert _study.Run(_study.IMAGES, "slow", 0).weak is None


def test_rows_of_an_axis_stand_together():
    shown = tool.shown(_study.IMAGES, {"images20", "random"})
    axes = [axis for axis, _, _ in shown]
    assert axes == sorted(axes, key=list(dict.fromkeys(axes)).index)
    assert ("start", "ImageNet", _study.USUAL) in shown
    # No setting with other rates has a run, so there is nothing to compare the usual rates with.
    assert "usual" not in [value for _, value, _ in shown]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--gather", "--keep"], "--gather makes no run, so it cannot stand beside --keep"),
        (
            ["--dry-run", "--", "-p"],
            "--dry-run makes no run, so it cannot stand beside options aft",
        ),
    ],
)
def test_options_without_an_effect_are_refused(root, options, sentence):
    command = [sys.executable, str(root / "tools" / "small.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_every_sweep_draws_held_out_sets_of_its_own():
    overlays = [_study.Run(_study.WORLD, _study.FULL, seed).overlay for seed in _study.SEEDS]
    assert [o["curves"]["heldout_size"]["seed"] for o in overlays] == [0, 1, 2]


def test_all_gains_are_over_the_best_model_as_it_was_trained():
    rows = {RECALIBRATED: 0.62, ENSEMBLE: 0.65}
    more = [{"method": m, "test": a, "shifts_mean": a} for m, a in rows.items()]
    found = measured.gains(pd.concat([methods(0.63), pd.DataFrame(more)])).set_index("method")
    assert found.loc[[GREEDY, ENSEMBLE, RECALIBRATED], "test"].tolist() == pytest.approx([3, 5, 2])
    assert set(found["over_test"]) == {60}


def test_recorded_runs_of_the_study_can_be_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []

    def make(overlay, targets, study, options):
        made.append(targets[0].removeprefix(f"results/{study}/"))
        folder = tmp_path / "results" / overlay["name"]
        files.write_json(folder / "settings.json", {})
        table = methods(0.61 + overlay["sweep"]["random"]["seed"] / 1000)
        drawn = table.assign(per_class=5, draw=0)
        for each in ("methods", "effects"):
            files.write_text(folder / "tables" / f"{each}.csv", table.to_csv(index=False))
        files.write_text(folder / "tables" / "heldout_size.csv", drawn.to_csv(index=False))

    monkeypatch.setattr(tool, "make", make)
    for path in ("config.yaml", *_study.BASES[_study.WORLD]):
        files.write_text(tmp_path / path, "probe: {lr: 1}\ncompute: {threads: 2}\n")
    study, name, record = _study.WORLD, "images100", tmp_path / "results" / "recorded"
    tool.main(study, [name], [])
    tables = [f"images100-{seed}/tables/effects.csv" for seed in range(3)]
    assert made == tables
    whole = {path.name: path.read_text() for path in (record / study).glob("*.csv")}
    assert sorted(whole) == ["drawn.csv", "gains.csv", "summary.csv", "trend.csv"]
    made.clear()
    tool.main(study, [name], [])
    assert not made
    shutil.rmtree(tmp_path / "results" / study)
    for table in ("gains", "drawn"):  # the record of two runs
        rows = pd.read_csv(record / study / f"{table}.csv")
        rows[rows["seed"] < 2].to_csv(record / study / f"{table}.csv", index=False)
    note = files.read_json(record / study / "record.json")
    del note["runs"]["images100-2"]
    files.write_json(record / study / "record.json", note)
    made.clear()
    kept = _study.Kept.read(study).notes
    assert [run.name for run in tool.asked(study, [name], kept)] == ["images100-2"]
    assert len(tool.asked(study, [], kept)) == len(_study.runs(study)) - 2
    assert not made
    tool.main(study, [name], [], keep=True)
    assert made == tables[2:]
    assert {path.name: path.read_text() for path in (record / study).glob("*.csv")} == whole
    # The number of threads decides no result. A run with other settings counts no more.
    files.write_text(tmp_path / "config.yaml", "probe: {lr: 1}\ncompute: {threads: 4}\n")
    assert len(_study.Kept.read(study).notes) == 3
    files.write_text(tmp_path / "config.yaml", "probe: {lr: 2}\n")
    left = _study.Kept.read(study)
    assert not left.notes
    assert left.others == ("images100-0", "images100-1", "images100-2")


def test_a_run_that_fails_with_new_settings_does_not_count_as_finished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = _study.Run(_study.WORLD, "images2", 0)
    for path in ("config.yaml", *_study.BASES[_study.WORLD]):
        files.write_text(tmp_path / path, "probe: {lr: 1}\n")
    for target in run.targets:
        files.write_text(tmp_path / target, "method\n")
    files.write_json(tmp_path / run.note, {"settings": run.settings})
    assert run.done
    files.write_text(tmp_path / "config.yaml", "probe: {lr: 2}\n")
    monkeypatch.setattr(tool, "CLI", ["false"])
    with pytest.raises(SystemExit):
        tool.main(_study.WORLD, ["images2"], [])
    assert not run.note.exists()


def test_a_dry_run_lists_the_start_that_a_run_needs(tmp_path, monkeypatch):
    run = _study.Run(_study.IMAGES, "tenth", 1)
    files.write_text(tmp_path / "config.yaml", "{}")
    for path in _study.BASES[_study.IMAGES]:
        files.write_text(tmp_path / path, "{}")
    monkeypatch.chdir(tmp_path)
    assert tool.listed([run]).splitlines() == ["small/start-1", "small/tenth-1", "2 runs"]
    files.write_text(tmp_path / _study.WEAK.format(seed=1), "weights")
    assert tool.listed([run]).splitlines() == ["small/tenth-1", "1 run"]


@pytest.mark.parametrize(
    "option",
    [
        "-n",
        "-np",
        "-pn",
        "--dry-run",
        "--dry",
        "--touch",
        "--until=cook",
        "--config",
        "--batch",
        "--executor=dryrun",
        "--rerun-triggers",
        "--version",
        "-F",
    ],
)
def test_options_that_make_no_file_or_change_settings_are_refused(option):
    with pytest.raises(UserError, match=f"{option} stands after --, expected options about how"):
        _snakemake.split(["--keep", "--", "--cores", "2", option, "x"])


def test_options_about_how_jobs_run_go_to_snakemake():
    options = ["--cores", "8", "-kp", "-pc4", "--rerun-incomplete", "--profile=slurm", "-j", "2"]
    assert _snakemake.split(["--keep", "--", *options]) == (["--keep"], options)
    assert _snakemake.split(["--keep"]) == (["--keep"], [])


def test_a_drawn_held_out_set_has_the_same_number_of_every_class_and_grows_with_its_size():
    labels = np.repeat([0, 1, 2], [9, 5, 7])
    few, more = (heldout_size.drawn(labels, size, 0, 3) for size in (2, 4))
    assert np.bincount(labels[few]).tolist() == [2, 2, 2]
    assert set(few) <= set(more)
    assert set(few) != set(heldout_size.drawn(labels, 2, 0, 4))


def test_each_drawn_set_chooses_as_a_held_out_set_of_its_own_would(kitchen):
    fewest = int(np.bincount(kitchen.labels).min())
    plan = heldout_size.plan(kitchen, [2, fewest], draws=2, seed=0)
    labels = [(p["labels"]["per_class"], p["labels"]["draw"]) for p in plan]
    assert {size for size, _ in labels} == {2, fewest}
    assert {p["labels"]["method"] for p in plan} == {
        BEST, UNIFORM, GREEDY, ENSEMBLE, GREEDY_ENSEMBLE,
    }  # fmt: skip
    rows = heldout_size.drawn(np.asarray(kitchen.labels), 2, 0, 1)
    part = heldout_size.part(kitchen, rows)
    want = part.usual(kitchen.ingredients)
    found = {p["labels"]["method"]: p for p in plan if p["labels"]["per_class"] == 2
             and p["labels"]["draw"] == 1}  # fmt: skip
    assert found[GREEDY]["recipe"] == want[GREEDY]
    assert found[BEST]["recipe"] == want[BEST]
    scores = {m: (kitchen.logits(m)[rows].argmax(1) == kitchen.labels[rows]).mean()
              for m in kitchen.ingredients}  # fmt: skip
    best = next(iter(want[BEST]["coefficients"]))
    assert scores[best] == max(scores.values())
    # The greedy ensemble, computed from the logits and labels of the drawn images alone.
    logits, answers = {m: kitchen.logits(m)[rows] for m in scores}, kitchen.labels[rows]
    members, reached = [], 0
    for name in sorted(scores, key=lambda m: -scores[m]):
        mean = np.mean([logits[m] for m in (*members, name)], axis=0)
        if (accuracy := (mean.argmax(1) == answers).mean()) >= reached:
            members, reached = [*members, name], accuracy
    assert found[GREEDY_ENSEMBLE]["ensemble"] == members
    assert len(members) < len(scores)
    with pytest.raises(UserError, match=r"per_class has 1000, but a class has"):
        heldout_size.plan(kitchen, [1000], draws=1, seed=0)

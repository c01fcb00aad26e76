"""Run the small-data study, and gather its table and its figure.

python tools/small.py [--only SETTING ...] [--world] [--keep] [--dry-run] [-- OPTIONS]

The settings are those of `_study.SETTINGS`, each with three sweeps, and every sweep has a split of
its own. The rules of the workflow do all the work. A run is an experiment
results/small/<setting>-<seed>, and finished runs are not repeated. The options after -- go to
snakemake. With --world the miniature answers the same question, and with --gather nothing is run.
The table and the figure go to results/recorded/small or small_world, and hold the runs that exist.
Runs that the record has with the same settings stay in it until they are made again, and with
--keep they are not made again. With --dry-run the tool lists the runs that it would make, and makes
none.
"""

import argparse
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml
from _study import (
    BASES,
    FULL,
    IMAGES,
    NOTE,
    RECORDED,
    SEEDS,
    SETTINGS,
    USUAL,
    WORLD,
    Kept,
    Run,
    runs,
)
from record import hardware

import _library  # noqa: F401
from soups import files
from soups.errors import UserError
from soups.evaluation import gains
from soups.report import small, style

CORES = {"--cores", "-c", "--jobs", "-j"}  # options of snakemake that say how many jobs may run
# Options that make no run, and those that would have no effect beside them.
SILENT = {"gather": ["only", "keep", "dry_run", "options"], "dry_run": ["options"]}
FLAGS = {"dry_run": "--dry-run", "options": "options after --"}


def asked(study: str, only: Sequence[str], without: Collection[str] = ()) -> list[Run]:
    """The runs of a study that a call asks for, finished ones too.

    Args:
        study: one of `SETTINGS`.
        only: its settings to run, by default all.
        without: names of runs that are not repeated.

    Raises:
        UserError: for an unknown setting.
    """
    settings = SETTINGS[study]
    if unknown := [name for name in only if name not in settings]:
        raise UserError(f"--only has {unknown[0]!r}, expected one of {', '.join(settings)}")
    return [
        run for run in runs(study)
        if run.setting in (only or settings) and run.name not in without
    ]  # fmt: skip


def main(study: str, only: Sequence[str], options: Sequence[str], keep: bool = False) -> None:
    """Run the settings of a study, and write its table and figure after each run.

    Args:
        study, only: see `asked`.
        options: further options of snakemake.
        keep: whether runs that the record has are not repeated.

    Raises:
        UserError: for an unknown setting, and if a run fails.
    """
    kept = Kept.read(study)
    todo = [run for run in asked(study, only, kept.notes if keep else ()) if not run.done]
    for run in todo:
        note = {"settings": run.settings, "hardware": hardware()}
        if weak := run.weak:
            call(weak, [run.overlay["model"]["pretrained"]], study, options)
        call(run.overlay, run.targets, study, options)
        files.write_json(run.note, note)
        print(gather(study, kept))
    if not todo:
        print(gather(study, kept))


def call(overlay: Mapping, targets: Sequence[str], study: str, options: Sequence[str]) -> None:
    """Make some files of an experiment, unless they are there.

    Args:
        overlay: what the experiment adds to the base of the study.
        targets: the files.
        study: one of `SETTINGS`.
        options: further options of snakemake.

    Raises:
        UserError: if that fails.
    """
    name = overlay["name"]
    path = Path(f"results/{name}.yaml")
    files.write_text(path, yaml.safe_dump(dict(overlay), sort_keys=False))
    command = [sys.executable, "-m", "snakemake", *targets, "--quiet", "rules", *options]
    if subprocess.run([*command, "--configfile", *BASES[study], str(path)]).returncode:
        raise UserError(f"the run {name} failed, see results/{name}/logs")


def shown(study: str, made: Collection[str]) -> list[tuple[str, str, str]]:
    """Axis, value and setting of every row, by axis.

    The setting `USUAL` also stands on each other axis on which a setting has a run.

    Args:
        study: one of `SETTINGS`.
        made: its settings that have runs.
    """
    axes = {name: axis for name, (axis, _, _) in SETTINGS[study].items()}
    rows = [(axis, value, name) for name, (axis, value, _) in SETTINGS[study].items()]
    with_runs = {axes[name] for name in made}
    if study == IMAGES:
        usual = {"start": "ImageNet", "learning rates": "usual"}
        rows += [(axis, value, USUAL) for axis, value in usual.items() if axis in with_runs]
    order = list(dict.fromkeys(axis for axis, _, _ in rows))
    return sorted(rows, key=lambda row: order.index(row[0]))


def gather(study: str, kept: Kept) -> str:
    """Write the record of the runs that are finished or kept, and return its table in Markdown."""
    parts, drawn, notes = [], [], kept.notes.copy()
    for run in runs(study):
        if not run.done:
            parts.append(kept.of("gains", run))
            drawn.append(kept.of("drawn", run))
            continue
        where = {"setting": run.setting, "seed": run.seed}
        methods = pd.read_csv(run.folder / "tables" / "methods.csv")
        parts.append(gains.gains(methods).assign(**where))
        if run.setting == FULL:
            curve = pd.read_csv(run.folder / "tables" / "heldout_size.csv")
            drawn.append(gains.drawn(curve).assign(**where))
        notes[run.name] = files.read_json(run.note)
    whole, sizes = (pd.concat([pd.DataFrame(), *tables]) for tables in (parts, drawn))
    target = RECORDED / study
    if whole.empty:
        raise UserError(f"there is no run of {study} yet, expected a finished one in results")
    rows = [whole[whole["setting"] == name].assign(axis=axis, value=value)
            for axis, value, name in shown(study, set(whole["setting"]))]  # fmt: skip
    each = gains.each(pd.concat(rows), sizes if len(sizes) else None)
    table, trend = gains.summary(each, len(SEEDS)), gains.trend(each)
    files.write_text(target / "gains.csv", whole.to_csv(index=False))
    (target / "drawn.csv").unlink(missing_ok=True)
    if len(sizes):
        files.write_text(target / "drawn.csv", sizes.to_csv(index=False))
    files.write_text(target / "summary.csv", table.to_csv(index=False))
    files.write_text(target / "trend.csv", trend.to_csv(index=False))
    command = "make small" if study == IMAGES else "python tools/small.py --world"
    ordered = {run.name: notes[run.name] for run in runs(study) if run.name in notes}
    files.write_json(target / NOTE, {"command": command, "runs": ordered})
    style.save(small.figure(table, each), [target / "small.png"])
    return small.markdown(table, trend)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="settings to run")
    parser.add_argument("--world", action="store_true", help="the miniature in place of PACS")
    parser.add_argument("--gather", action="store_true", help="run nothing")
    parser.add_argument("--keep", action="store_true", help="do not repeat runs of the record")
    parser.add_argument("-n", "--dry-run", action="store_true", help="list the runs, make none")
    parser.add_argument("options", nargs="*", help="options of snakemake, after --")
    given = parser.parse_args()
    for one, others in SILENT.items():
        unused = [name for name in others if getattr(given, name)]
        if getattr(given, one) and unused:
            flag, other = (FLAGS.get(name, f"--{name}") for name in (one, unused[0]))
            parser.error(f"{flag} makes no run, so it cannot stand beside {other}")
    chosen = WORLD if given.world else IMAGES
    try:
        if given.gather:
            print(gather(chosen, Kept.read(chosen)))
        elif given.dry_run:
            without = Kept.read(chosen).notes if given.keep else ()
            todo = [run for run in asked(chosen, given.only, without) if not run.done]
            print("\n".join([*(f"{chosen}/{run.name}" for run in todo), f"{len(todo)} runs"]))
        else:
            named = CORES.intersection(option.split("=")[0] for option in given.options)
            cores = [] if named else ["--cores", "2"]
            main(chosen, given.only, [*cores, *given.options], given.keep)
    except UserError as error:
        sys.exit(f"error: {error}")

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
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml
from _snakemake import CLI, call, commit, split, unlock
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
from soups.outcomes import IMAGES_AXIS
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
        UserError: for an unknown setting, or if another run lives here.
        SystemExit: with snakemake's status, if a run fails.
    """
    kept = Kept.read(study)
    todo = [run for run in asked(study, only, kept.notes if keep else ()) if not run.done]
    if todo and "--nolock" not in options:
        unlock()
    for run in todo:
        begun, now = time.monotonic(), commit()
        run.note.unlink(missing_ok=True)
        if weak := run.weak:
            make(weak, [run.overlay["model"]["pretrained"]], study, options)
        make(run.overlay, run.targets, study, options)
        minutes = round((time.monotonic() - begun) / 60, 2)
        note = {"settings": run.settings, "minutes": minutes, "hardware": hardware(), "commit": now}
        files.write_json(run.note, note)
        print(gather(study, kept))
    if not todo:
        print(gather(study, kept))


def make(overlay: Mapping, targets: Sequence[str], study: str, options: Sequence[str]) -> None:
    """Make some files of an experiment, unless they are there.

    Args:
        overlay: what the experiment adds to the base of the study.
        targets: the files.
        study: one of `SETTINGS`.
        options: further options of snakemake.

    Raises:
        SystemExit: with snakemake's status, if that fails.
    """
    path = Path(f"results/{overlay['name']}.yaml")
    files.write_text(path, yaml.safe_dump(dict(overlay), sort_keys=False))
    base = [*BASES[study], str(path)]
    call([*CLI, *targets, "--quiet", "rules", *options, "--configfile", *base])


def listed(runs: Sequence[Run]) -> str:
    """The runs that are not finished, and before each the run that makes its start."""
    names = []
    for run in (run for run in runs if not run.done):
        if run.weak and not Path(run.overlay["model"]["pretrained"]).is_file():
            names.append(run.weak["name"])
        names.append(run.overlay["name"])
    count = "1 run" if len(names) == 1 else f"{len(names)} runs"
    return "\n".join([*names, count])


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
    if lost := [name for name in kept.others if name not in notes]:
        print(f"The record loses runs with other settings: {', '.join(lost)}", file=sys.stderr)
    rows = [whole[whole["setting"] == name].assign(axis=axis, value=value)
            for axis, value, name in shown(study, set(whole["setting"]))]  # fmt: skip
    each = gains.each(pd.concat(rows), sizes if len(sizes) else None)
    numbers = [value for axis, value, _ in SETTINGS[study].values() if axis == IMAGES_AXIS]
    table, trend = gains.summary(each, len(SEEDS)), gains.trend(each, numbers, len(SEEDS))
    files.write_text(target / "gains.csv", whole.to_csv(index=False))
    if len(sizes):
        files.write_text(target / "drawn.csv", sizes.to_csv(index=False))
    else:
        (target / "drawn.csv").unlink(missing_ok=True)
    files.write_text(target / "summary.csv", table.to_csv(index=False))
    files.write_text(target / "trend.csv", trend.to_csv(index=False))
    command = "make small" if study == IMAGES else "python tools/small.py --world"
    ordered = {run.name: notes[run.name] for run in runs(study) if run.name in notes}
    files.write_json(target / NOTE, {"command": command, "runs": ordered})
    style.save(small.figure(table, each), [target / "small.png"])
    return small.markdown(table, trend)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of a call.

    Raises:
        UserError: see `_snakemake.split`.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="SETTING", help="these settings")
    parser.add_argument("--world", action="store_true", help="the miniature in place of PACS")
    parser.add_argument("--gather", action="store_true", help="run nothing")
    parser.add_argument("--keep", action="store_true", help="do not repeat runs of the record")
    parser.add_argument("-n", "--dry-run", action="store_true", help="list the runs, make none")
    own, options = split(arguments)
    given = parser.parse_args(own)
    given.options = options
    for one, others in SILENT.items():
        unused = [name for name in others if getattr(given, name)]
        if getattr(given, one) and unused:
            flag, other = (FLAGS.get(name, f"--{name}") for name in (one, unused[0]))
            parser.error(f"{flag} makes no run, so it cannot stand beside {other}")
    return given


def carry_out(given: argparse.Namespace) -> None:
    """What a call asks for."""
    study = WORLD if given.world else IMAGES
    if given.gather:
        print(gather(study, Kept.read(study)))
    elif given.dry_run:
        without = Kept.read(study).notes if given.keep else ()
        print(listed(asked(study, given.only, without)))
    else:
        named = CORES.intersection(option.split("=")[0] for option in given.options)
        cores = [] if named else ["--cores", "2"]
        main(study, given.only, [*cores, *given.options], given.keep)


if __name__ == "__main__":
    try:
        carry_out(parsed(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")

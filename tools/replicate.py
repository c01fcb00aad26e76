"""Repeat the miniature over seeds of the sweep and of the world, and summarise the gains.

python tools/replicate.py [extra arguments of snakemake]

Each replicate is an experiment results/seeds/w<world>s<sweep>. Replicates of one world share
its data and initialisation. Another world has other shapes and images, both in training and in
the tests, but the same pre-trained model. Existing replicates are not run again. After each
replicate, the claims of the miniature are judged again, with the effects of the replicates of
its world beside its own.
"""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

import _library  # noqa: F401
from soups import files
from soups.roles import BEST, title

REPLICATES = [(0, 0), (0, 1), (0, 2), (1, 0), (0, 3), (0, 4)]  # (world, sweep)
MEASURE_TITLES = {"test": "test", "shifts_mean": "mean of shifts"}
RECORD = Path("results/recorded/seeds.csv")


def main(arguments: list[str]) -> None:
    """Run all replicates, and print the summary of their gains."""
    parts: list[pd.DataFrame] = []
    for count, (world, seed) in enumerate(REPLICATES, start=1):
        parts.append(replicate(world, seed, arguments))
        # Written after each replicate, so that an interrupted series leaves a record.
        files.write_text(RECORD, pd.concat(parts).to_csv(index=False))
        judge([(w, s) for w, s in REPLICATES[1:count] if w == 0], arguments)
    print(summary(pd.read_csv(RECORD)))


def replicate(world: int, seed: int, arguments: list[str]) -> pd.DataFrame:
    """Run one replicate, and return its methods table with the world and the sweep's seed."""
    name, path = experiment(world, seed), Path(f"results/seeds/w{world}s{seed}.yaml")
    files.write_text(path, yaml.safe_dump(overlay(world, seed), sort_keys=False))
    command = ["snakemake", f"results/{name}/tables/effects.csv", *arguments]
    subprocess.run([*command, "--quiet", "rules", "--configfile", str(path)], check=True)
    table = pd.read_csv(f"results/{name}/tables/methods.csv")
    return table.assign(world=world, sweep_seed=seed).drop(columns="members")


def overlay(world: int, seed: int) -> dict:
    """The configuration of a replicate, as far as it differs from the default."""
    return {
        "name": experiment(world, seed),
        "shared": None if seed == 0 else experiment(world, 0),
        "data": {"world": {"seed": world}},
        "sweep": {"random": {"seed": seed}},
    }


def experiment(world: int, seed: int) -> str:
    """Name of the experiment of a replicate. The first replicate is the miniature itself."""
    return f"seeds/w{world}s{seed}" if world or seed else "miniature"


def judge(others: list[tuple[int, int]], arguments: list[str]) -> None:
    """Remake the claims and the report of the miniature with the effects of other replicates."""
    names = ", ".join(experiment(world, seed) for world, seed in others)
    command = ["snakemake", "report", *arguments, "--quiet", "rules"]
    subprocess.run([*command, "--config", f"claims={{replicates: [{names}]}}"], check=True)


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Each method minus the best individual in points, with a row per replicate and method."""
    keys = ["world", "sweep_seed"]
    theirs = table[table["method"] == BEST].set_index(keys)[list(MEASURE_TITLES)]
    rows = table[table["method"] != BEST].set_index(keys)
    difference = 100 * (rows[list(MEASURE_TITLES)] - theirs.loc[rows.index])
    difference.insert(0, "method", rows["method"])
    return difference.reset_index()


def summary(table: pd.DataFrame) -> str:
    """A Markdown table of each method's gain over the best individual, by world.

    A cell has the mean and the standard deviation over the sweeps of a world, and the number of
    positive gains.
    """
    rows = gains(table)
    worlds = sorted(rows["world"].unique())
    counts = {w: rows[rows["world"] == w]["sweep_seed"].nunique() for w in worlds}
    header = ["minus the best individual, points"]
    for world in worlds:
        sweeps = f"{counts[world]} sweep{'s' if counts[world] > 1 else ''}"
        header += [f"{label}, world {world}, {sweeps}" for label in MEASURE_TITLES.values()]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for method in rows["method"].unique():
        cells = [title(method)]
        for world in worlds:
            mine = rows[(rows["method"] == method) & (rows["world"] == world)]
            for measure in MEASURE_TITLES:
                spread = f" ± {mine[measure].std():.2f}" if len(mine) > 1 else ""
                above = f" ({(mine[measure] > 0).sum()} of {len(mine)})" if len(mine) > 1 else ""
                cells.append(f"{mine[measure].mean():+.2f}{spread}{above}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])

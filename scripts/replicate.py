"""Repeat the miniature over seeds of the sweep and of the world, and summarise the gains.

python scripts/replicate.py [extra arguments of snakemake]

Each replicate is an experiment results/seeds/w<world>s<sweep>; replicates of one world
share its data and initialisation. Another world has other shapes and images in training
and in the tests; the pre-trained model is the same. What exists is not run again.
"""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from soups import files

REPLICATES = [(0, 0), (1, 0), (0, 1), (0, 2), (0, 3), (0, 4)]  # (world, sweep)
METHODS = ("uniform", "greedy")
COLUMNS = ("heldout", "test", "shifts_mean")
FOLDER = Path("results/seeds")
RECORD = Path("results/recorded/seeds.csv")


def main(arguments: list[str]) -> None:
    tables = []
    for world, seed in REPLICATES:
        name = f"seeds/w{world}s{seed}"
        first = "miniature" if world == 0 else f"seeds/w{world}s0"
        overlay = {
            "name": "miniature" if (world, seed) == (0, 0) else name,
            "shared": None if seed == 0 else first,
            "data": {"world": {"seed": world}},
            "sweep": {"random": {"seed": seed}},
        }
        path = FOLDER / f"w{world}s{seed}.yaml"
        files.write_text(path, yaml.safe_dump(overlay, sort_keys=False))
        command = ["snakemake", "tables", *arguments, "--quiet", "rules", "--configfile", str(path)]
        subprocess.run(command, check=True)
        table = pd.read_csv(f"results/{overlay['name']}/tables/methods.csv")
        table.insert(0, "world", world)
        table.insert(1, "sweep_seed", seed)
        tables.append(table)
        # Kept as it grows: an interrupted series is a shorter one.
        files.write_text(RECORD, pd.concat(tables, ignore_index=True).to_csv(index=False))
    print(summary(pd.read_csv(RECORD)))


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Each soup minus the best individual model, in points, a row per replicate and method."""
    keys = ["world", "sweep_seed"]
    best = table[table["method"] == "best_individual"].set_index(keys)
    rows = table[table["method"].isin(METHODS)].set_index(keys)
    difference = 100 * (rows[list(COLUMNS)] - best[list(COLUMNS)].loc[rows.index])
    difference.insert(0, "method", rows["method"])
    return difference.reset_index()


def summary(table: pd.DataFrame) -> str:
    """Markdown: mean, standard deviation and every replicate's gain."""
    difference = gains(table)
    lines = [
        "| gain over the best individual model (points) | test | mean of shifts |",
        "|---|---|---|",
    ]
    for world, group in difference.groupby("world"):
        for method in METHODS:
            rows = group[group["method"] == method]
            cells = []
            for column in ("test", "shifts_mean"):
                each = ", ".join(f"{value:+.2f}" for value in rows[column])
                spread = f" ± {rows[column].std():.2f}" if len(rows) > 1 else ""
                cells.append(f"{rows[column].mean():+.2f}{spread} ({each})")
            lines.append(f"| {method}, world {world}, {len(rows)} sweeps | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])

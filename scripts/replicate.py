"""Repeat the miniature over seeds of the sweep and of the world, and summarise the gains.

python scripts/replicate.py [extra arguments of snakemake]

Each replicate is an experiment results/seeds/w<world>s<sweep>; replicates of one world
share its data and initialisation. Another world has other shapes and images in training
and in the tests; the pre-trained model is the same. What exists is not run again. Only the
best individual model (on the held-out set) and the soups are evaluated.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from soups import files, tables
from soups.images import PreparedSet
from soups.metrics import correct

REPLICATES = [(0, 0), (1, 0), (0, 1), (0, 2), (0, 3), (0, 4)]  # (world, sweep)
SHIFTS = ["v2", "r", "sketch", "objectnet", "a"]
SOUPS = ("uniform", "greedy")
COLUMNS = ("test", "shifts_mean")
RECORD = Path("results/recorded/seeds.csv")


def main(arguments: list[str]) -> None:
    parts = []
    for world, seed in REPLICATES:
        parts += replicate(world, seed, arguments)
        # Kept as it grows: an interrupted series is a shorter one.
        files.write_text(RECORD, pd.DataFrame(parts).to_csv(index=False))
    print(summary(pd.read_csv(RECORD)))


def replicate(world: int, seed: int, arguments: list[str]) -> list[dict]:
    """Run one replicate; a row for the best individual model and one for each soup."""
    first = "miniature" if world == 0 else f"seeds/w{world}s0"
    name = first if seed == 0 else f"seeds/w{world}s{seed}"
    overlay = {
        "name": name,
        "shared": None if seed == 0 else first,
        "data": {"world": {"seed": world}},
        "sweep": {"random": {"seed": seed}},
    }
    path = Path(f"results/seeds/w{world}s{seed}.yaml")
    files.write_text(path, yaml.safe_dump(overlay, sort_keys=False))

    def run(*targets: str) -> None:
        command = ["snakemake", *targets, *arguments, "--quiet", "rules", "--configfile", str(path)]
        subprocess.run(command, check=True)

    run("soups")
    results, data = Path("results", name), Path("results", first)
    recipes = {soup: files.read_json(results / "recipes" / f"{soup}.json") for soup in SOUPS}
    best = recipes["greedy"]["selection"]["trace"][0]["candidate"]
    models = {"best_individual": best} | dict(zip(SOUPS, SOUPS, strict=True))
    run(*(str(results / "logits" / model / "test.npy") for model in models.values()))

    heldout = np.load(data / "splits" / "heldout.npy")
    labels = np.load(data / "prepared" / "train.labels.npy")[heldout]
    rows = []
    for method, model in models.items():
        folder = results / ("soups" if method in SOUPS else "models")
        guesses = np.load(folder / f"{model}.heldout.npy").argmax(1)
        right = {"heldout": guesses == labels}
        for test in ["test", *SHIFTS]:
            images = PreparedSet(data / "prepared" / f"{test}.npy")
            logits = np.load(results / "logits" / model / f"{test}.npy")
            right[test] = correct(logits, images.labels, images.members)
        used = recipes[method]["coefficients"] if method in SOUPS else {model: 1}
        row = {"world": world, "sweep_seed": seed, "method": method, "ingredients": len(used)}
        rows.append(row | tables.accuracy_row(right, SHIFTS))
    return rows


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Each soup minus the best individual model, in points, a row per replicate and method."""
    keys = ["world", "sweep_seed"]
    best = table[table["method"] == "best_individual"].set_index(keys)
    rows = table[table["method"].isin(SOUPS)].set_index(keys)
    difference = 100 * (rows[list(COLUMNS)] - best[list(COLUMNS)].loc[rows.index])
    difference.insert(0, "method", rows["method"])
    return difference.reset_index()


def summary(table: pd.DataFrame) -> str:
    """Markdown: mean, standard deviation and every replicate's gain."""
    lines = ["| minus the best individual, points | test | mean of shifts |", "|---|---|---|"]
    for world, group in gains(table).groupby("world"):
        for method in SOUPS:
            rows = group[group["method"] == method]
            cells = []
            for column in COLUMNS:
                each = ", ".join(f"{value:+.2f}" for value in rows[column])
                spread = f" ± {rows[column].std():.2f} ({each})" if len(rows) > 1 else ""
                cells.append(f"{rows[column].mean():+.2f}{spread}")
            sweeps = f"{len(rows)} sweep{'s' if len(rows) > 1 else ''}"
            lines.append(f"| {method} soup, world {world}, {sweeps} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])

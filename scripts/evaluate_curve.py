"""Evaluate a series of recipes and ensembles on a part of every test set; no soup is written."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from soups import ensembles, files, optim, recipes, tables
from soups.evaluate import forward
from soups.images import PreparedSet
from soups.job import log, run
from soups.metrics import correct, sample
from soups.mixing import growing, mix
from soups.model import load_classifier


def main(job) -> None:
    p = job.params
    sets = [PreparedSet(path) for path in job.input.sets]
    rows = {data.name: sample(len(data.labels), p.images) for data in sets}
    shifts = [data.name for data in sets if data.name != "test"]
    derived = {data.name: data.meta["derived"] for data in sets if data.meta["derived"]}
    counts = {"n_test": len(rows["test"]), "n_shifts": sum(len(rows[name]) for name in shifts)}
    weights = dict(zip(p.models, job.input.weights, strict=True))
    logits = {(Path(path).parent.name, Path(path).stem): path for path in job.input.logits}
    model = load_classifier(job.input.pretrained, job.input.weights[0]).to(optim.device())

    first = growing(weights)

    def of_recipe(recipe: dict) -> dict[str, np.ndarray]:
        names = recipes.used(recipe)
        if recipe["method"] == "uniform":  # of the first n: one more ingredient each time
            first.of(tuple(names)).write(model, 1 / len(names))
        else:
            model.load_state_dict(mix(recipe, weights))
        return {data.name: forward(model, data.images, rows[data.name]).numpy() for data in sets}

    def of_ensemble(members: list[str]) -> dict[str, np.ndarray]:
        def read(member: str, name: str) -> np.ndarray:
            return np.load(logits[member, name], mmap_mode="r")[rows[name]]

        return {n: ensembles.combine(members, lambda m, n=n: read(m, n)) for n in rows}

    known: dict[str, dict] = {}
    plan = files.read_json(job.input.plan)
    out: list[dict] = [{}] * len(plan)
    # Method by method, so that what grows is not begun anew.
    for i, point in sorted(enumerate(plan), key=lambda entry: entry[1]["labels"]["method"]):
        recipe, members = point.get("recipe"), point.get("ensemble")
        # Lines share their start, and neighbouring points of a curve are often the same soup.
        amounts = members or {name: recipe["coefficients"][name] for name in recipes.used(recipe)}
        key = json.dumps(amounts, sort_keys=True)
        if key not in known:
            outputs = of_recipe(recipe) if recipe else of_ensemble(members)
            right = {
                data.name: correct(outputs[data.name], data.labels[rows[data.name]], data.members)
                for data in sets
            }
            known[key] = tables.accuracy_row(right, shifts, derived) | counts
        out[i] = point["labels"] | known[key]
    log.info("%d points, %d different", len(out), len(known))
    files.write_text(job.output[0], pd.DataFrame(out).to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)

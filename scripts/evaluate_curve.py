"""Evaluate a series of recipes and ensembles on a part of every test set; no soup is written."""

import json

import pandas as pd

from soups import files
from soups.data.images import PreparedSet
from soups.evaluation.samples import Outputs, Samples, by_model, save_points, stacked
from soups.evaluation.significance import compare
from soups.evaluation.tables import DECIMALS
from soups.jobs import devices
from soups.jobs.job import log, run
from soups.mixing import ensembles, recipes
from soups.mixing.mix import growing, mix
from soups.models.batch_norm import settler
from soups.models.classifier import load_classifier


def main(job) -> None:
    p = job.params
    known_classes = PreparedSet(job.input.train).classes
    classes = [known_classes.index(name) for name in p.classes] if p.classes else None
    samples = Samples(job.input.sets, p.images or {"test": None, "shift": None}, classes)
    weights = dict(zip(p.models, job.input.weights, strict=True))
    logits = by_model(job.input.logits)
    model = load_classifier(job.input.pretrained, job.input.weights[0]).to(devices.device())

    settle = settler(PreparedSet(job.input.heldout[0]).images, p.recalibrate)
    first = growing(weights)

    def of_recipe(recipe: dict) -> Outputs:
        names = recipes.used(recipe)
        if recipe["method"] == "uniform":  # of the first n: one more ingredient each time
            first.of(tuple(names)).write(model, 1 / len(names))
        else:
            model.load_state_dict(mix(recipe, weights))
        settle(model)
        return samples.logits(model)

    def of_ensemble(members: list[str]) -> Outputs:
        read = {member: samples.cached(logits[member]) for member in members}
        return {n: ensembles.combine(members, lambda m, n=n: read[m][n]) for n in samples.names}

    known: dict[str, tuple[dict, Outputs]] = {}
    plan = files.read_json(job.input.plan)
    keys = []
    for point in plan:
        # Lines share their start, and neighbouring points of a curve are often the same soup.
        recipe, members = point.get("recipe"), point.get("ensemble")
        amounts = members or {name: recipe["coefficients"][name] for name in recipes.used(recipe)}
        keys.append(json.dumps(amounts, sort_keys=True))
    # Method by method, so that what grows is not begun anew.
    for i in sorted(range(len(plan)), key=lambda i: plan[i]["labels"]["method"]):
        point, key = plan[i], keys[i]
        if key not in known:
            recipe = point.get("recipe")
            made = of_recipe(recipe) if recipe else of_ensemble(point["ensemble"])
            right = samples.right(made)
            known[key] = samples.row(right), right
    log.info("%d points, %d different", len(plan), len(known))

    def gain(point: dict, key: str) -> dict:
        """How much better than another point on the same images, if the plan names one."""
        if "against" not in point:
            return {}
        theirs = known[keys[point["against"]]][1]
        rows = compare(known[key][1], theirs, samples.shifts, samples.derived)
        names = {"difference": "gain", "lo": "gain_lo", "hi": "gain_hi"}
        return {
            f"{row['measure']}_{title}": round(row[name], DECIMALS)
            for row in rows
            for name, title in names.items()
        }

    table = [
        point["labels"] | known[key][0] | gain(point, key)
        for point, key in zip(plan, keys, strict=True)
    ]
    files.write_text(job.output.table, pd.DataFrame(table).to_csv(index=False))
    save_points(job.output.points, stacked([known[key][1] for key in keys]), samples.derived)


if __name__ == "__main__":
    run(main, snakemake)

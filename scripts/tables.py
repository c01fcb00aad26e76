"""models.csv and methods.csv, from cached logits."""

import numpy as np

from soups import files, tables
from soups.images import PreparedSet
from soups.job import run
from soups.metrics import correct
from soups.select import by_score


def main(job) -> None:
    p = job.params
    heldout = files.read_array(job.input.heldout)
    heldout_labels = np.load(job.input.train_labels)[heldout]
    models = [*p.starts, *p.sweep, *p.soups]
    right = {
        model: {"heldout": np.load(path).argmax(1) == heldout_labels}
        for model, path in zip(models, job.input.heldout_logits, strict=True)
    }
    sets = [PreparedSet(path) for path in job.input.sets]
    logits = iter(job.input.test_logits)
    for model in models:
        for data in sets:
            right[model][data.name] = correct(np.load(next(logits)), data.labels, data.members)

    shifts = [name for name in p.tests if name != "test"]
    derived = {data.name: data.meta["derived"] for data in sets if data.meta["derived"]}
    rows = {m: tables.accuracy_row(right[m], shifts, derived) for m in models}
    counts = {name: len(hits) for name, hits in right[models[0]].items()}
    recipes = {s: files.read_json(f) for s, f in zip(p.soups, job.input.recipes, strict=True)}
    ranking = by_score({m: rows[m]["heldout"] for m in p.sweep})
    out = {
        "models": tables.models_table(p.sweep, rows, p.starts),
        "methods": tables.methods_table(ranking, rows, recipes, p.starts, counts),
    }
    for name, table in out.items():
        files.write_text(job.output[name], table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)

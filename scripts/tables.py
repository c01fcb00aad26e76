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
    accuracy = {
        model: {"heldout": float((np.load(path).argmax(1) == heldout_labels).mean())}
        for model, path in zip(models, job.input.heldout_logits, strict=True)
    }
    counts = {"heldout": len(heldout)}
    sets = [PreparedSet(path) for path in job.input.sets]
    logits = iter(job.input.test_logits)
    for model in models:
        for data in sets:
            right = correct(np.load(next(logits)), data.labels, data.members)
            accuracy[model][data.name] = float(right.mean())
            counts[data.name] = len(right)

    shifts = [name for name in p.tests if name != "test"]
    rows = {m: tables.accuracy_row(accuracy[m], counts, shifts) for m in models}
    recipes = {s: files.read_json(f) for s, f in zip(p.soups, job.input.recipes, strict=True)}
    ranking = by_score({m: accuracy[m]["heldout"] for m in p.sweep})
    out = {
        "models": tables.models_table(p.sweep, rows, p.starts),
        "methods": tables.methods_table(ranking, rows, recipes, p.starts, counts),
    }
    for name, table in out.items():
        files.write_text(job.output[name], table.to_csv(index=False, float_format="%.6f"))


if __name__ == "__main__":
    run(main, snakemake)

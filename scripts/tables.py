"""models.csv, methods.csv and significance.csv, from cached logits."""

from pathlib import Path

from soups import files, recipes, tables, variants
from soups.job import run
from soups.metrics import correct
from soups.outputs import Outputs
from soups.select import by_score


def main(job) -> None:
    p, outputs = job.params, Outputs(job)
    right = {
        model: {"heldout": outputs.heldout(model).argmax(1) == outputs.heldout_labels}
        | {
            data.name: correct(logits, data.labels, data.members)
            for data, logits in outputs.tests(model)
        }
        for model in outputs.models
    }
    shifts = [name for name in p.tests if name != "test"]
    derived = {d.name: d.meta["derived"] for d in outputs.sets if d.meta["derived"]}
    rows = {m: tables.accuracy_row(right[m], shifts, derived) for m in [*p.starts, *p.sweep]}

    made = {Path(path).stem: files.read_json(path) for path in job.input.recipes}
    soups = {
        name: {"row": entry["row"], "members": recipes.members(made[name])}
        for name, entry in p.soups.items()
    }
    ensembles = {Path(path).stem: files.read_json(path)["members"] for path in job.input.ensembles}
    base = [name for name in p.sweep if p.origin[name][1] == variants.BASE]
    ranking = by_score({name: rows[name]["heldout"] for name in base})
    listed = tables.method_list(ranking, soups, ensembles, p.starts)
    methods, significance = tables.methods_table(listed, right, shifts, derived, p.references)

    out = {"methods": methods, "significance": significance}
    out["models"] = tables.models_table(p.sweep, p.origin, rows, p.starts)
    for name, table in out.items():
        files.write_text(job.output[name], table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)

"""Write models.csv, methods.csv and significance.csv from cached logits."""

from pathlib import Path

from soups import files
from soups.evaluation import tables
from soups.evaluation.logits import CachedLogits
from soups.jobs.job import run
from soups.mixing import recipes
from soups.mixing.select import by_score
from soups.roles import BASE


def main(job) -> None:
    p, logits = job.params, CachedLogits(job)
    metric, found = logits.metric, {model: logits.outcomes(model) for model in logits.models}
    shifts = [name for name in p.tests if name != "test"]
    derived, kept = logits.derived, [*p.starts, *logits.usable(p.sweep)]
    rows = {model: tables.score_row(found[model], shifts, derived, metric) for model in kept}

    made = {Path(path).stem: files.read_json(path) for path in job.input.recipes}
    soups = {
        name: {"row": entry["row"], "members": recipes.members(made[name])}
        for name, entry in p.soups.items()
    }
    ensembles = {Path(path).stem: files.read_json(path)["members"] for path in job.input.ensembles}
    own = [model for model in p.sweep if model in rows and p.origin[model][1] == BASE]
    ranking = by_score({model: rows[model]["heldout"] for model in own})
    listed = tables.method_list(ranking, soups, ensembles, p.starts)
    compared = found, shifts, derived, p.references, metric
    methods, significance = tables.methods_table(listed, *compared)
    models = tables.models_table(p.sweep, p.origin, rows, p.starts)
    files.write_text(job.output.models, models.to_csv(index=False))
    files.write_text(job.output.methods, methods.to_csv(index=False))
    files.write_text(job.output.significance, significance.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)

"""Write the paper's released results as the tables of a run."""

from soups import files
from soups.claims import published
from soups.jobs.job import log, run


def main(job) -> None:
    table = published.load(job.input[0])
    models = published.models_table(table)
    tables = {
        "models": models,
        "methods": published.methods_table(table),
        "differences": published.differences_table(table),
        "greedy_order": published.greedy_order(models),
        "rank_correlations": published.rank_correlations(models),
    }
    for name, made in tables.items():
        files.write_text(job.output[name], made.to_csv(index=False))
        log.info("%s: %d rows", name, len(made))


if __name__ == "__main__":
    run(main, snakemake)

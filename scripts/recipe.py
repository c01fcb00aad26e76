"""Make one recipe by the method that the configuration names."""

from soups import files
from soups.jobs.job import log, run
from soups.mixing import methods
from soups.mixing.kitchen import Kitchen
from soups.mixing.recipes import members


def main(job) -> None:
    entry = job.params.entry
    kitchen = Kitchen.of_job(job, made=job.input.made)
    of = {"of": entry["of"]} if entry["of"] else {}
    recipe = getattr(methods, entry["method"])(kitchen, **entry["options"], **of)
    names = members(recipe)
    log.info("%d of %d ingredients: %s", len(names), len(kitchen.ingredients), ", ".join(names))
    files.write_json(job.output[0], recipe)


if __name__ == "__main__":
    run(main, snakemake)

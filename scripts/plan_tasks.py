"""Plan soups of models fine-tuned on different tasks, for every number of tasks."""

from soups import files
from soups.jobs.job import run
from soups.mixing import plans
from soups.models import usable


def main(job) -> None:
    tasks = job.params.tasks
    kept = usable.by_weights(dict(zip(tasks, job.input.weights, strict=True)), some=False)
    of_model = {model: tasks[model] for model in kept}
    plan = plans.tasks(of_model, job.params.start[0], **job.params.options)
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)

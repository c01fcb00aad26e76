"""Soups of models fine-tuned on different tasks, for every choice of some of the tasks."""

from itertools import combinations, islice

from soups import files
from soups.jobs.job import run
from soups.mixing import recipes

MOST = 20  # choices of as many tasks


def main(job) -> None:
    of_task: dict[str, list[str]] = {}
    for model, task in job.params.tasks.items():
        of_task.setdefault(task, []).append(model)
    start = recipes.recipe({job.params.start[0]: 1.0}, "start")
    plan = [{"labels": {"method": "start", "tasks": 0, "of": "", "models": 0}, "recipe": start}]
    for count in range(1, len(of_task) + 1):
        for tasks in islice(combinations(of_task, count), MOST):
            models = [model for task in tasks for model in of_task[task]]
            labels = {"method": "soup", "tasks": count, "of": " ".join(tasks)}
            recipe = recipes.uniform(models, "tasks")
            labels["models"] = len(models)
            plan.append({"labels": labels, "recipe": recipe, "against": 0})
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)

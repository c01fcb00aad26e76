"""The parameters of the rule that estimates the cost of an experiment."""

from soups.experiment import settings
from soups.hyperparameters import ALL


def estimated(plan) -> dict:
    """Work out the parameters from the plan.

    Args:
        plan: see `plan.Plan`.

    Returns:
        sections of the configuration; and under ``plan``, the numbers that `cost.estimate.work`
        counts.
    """
    config, curves = plan.config, plan.curves
    tasks = {plan.sweep.rows[model].get("task", ALL) for model in curves.tasks}
    counted = {
        "source": config["data"]["source"],
        "store": plan.store,
        **plan.reduced,
        "shared": bool(config["shared"]),
        "ready_made": plan.checkpoints is not None,
        "pretrain_epochs": config["pretrain"]["epochs"],
        "probe_epochs": config["probe"]["epochs"],
        "recalibrate": config["model"]["recalibrate_batch_norm"],
        "rows": plan.sweep.rows,
        "base": plan.base,
        "starts": plan.starts,
        "evaluated": len(plan.evaluated),
        "soups": plan.soups,
        "ensembles": plan.ensembles,
        "curves": config["curves"],
        "ends": len(curves.ends),
        "large": len(curves.large),
        "slices": [len(models) for models in curves.slices.values()],
        # The start, and the average for every choice of tasks, see mixing/plans.py.
        "task_points": 2 ** len(tasks) if tasks else 0,
        "pairs": {
            name: {
                "pairs": len(pairs),
                "inner": len(curves.alphas[name]) - 2,
                "gap": curves.has_gap(name),
                "not_evaluated": len(set(curves.paired(name)).difference(plan.evaluated)),
            }
            for name, pairs in curves.pairs.items()
        },
        "panels": len(curves.panels),
    }
    return {
        "data": config["data"],
        "model": config["model"],
        "probe": config["probe"],
        "compute": config["compute"],
        "tasks": plan.tasks,
        "unseen": curves.unseen,
        "corpus": config["pretrain"]["images"] if settings.uses_corpus(config) else 0,
        "plan": counted,
    }

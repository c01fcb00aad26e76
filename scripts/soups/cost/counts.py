"""Numbers of classes and examples of an experiment, before any of its data is prepared."""

from collections.abc import Sequence

from soups import files, problems


def numbers(data: dict, classes: Sequence[str], corpus: int) -> tuple[dict[str, int], int]:
    """Number of examples of each set.

    Args:
        data: the ``data`` section.
        classes: names of the training classes.
        corpus: number of images of the world for pre-training.

    Returns:
        set to its number of examples, where ``train`` is counted without ``heldout``; and the
        number of examples for pre-training.
    """
    found, corpus = problems.of_source(data["source"]).numbers(data, corpus)
    heldout = data["heldout"]
    if heldout["indices"]:
        found["heldout"] = int(files.read_array(heldout["indices"]).astype(bool).sum())
    elif heldout["per_class"] is not None:
        found["heldout"] = heldout["per_class"] * len(classes)
    else:
        found["heldout"] = round(heldout["fraction"] * found["train"])
    found["train"] -= found["heldout"]
    return found, corpus


def completed(params, classes: Sequence[str], corpus: int, threads: int) -> dict:
    """The plan that `estimate.work` counts, with the numbers that need the class names.

    Args:
        params: see `experiment.estimated.estimated`.
        classes: names of the training classes.
        corpus: number of examples for pre-training.
        threads: threads of a job that trains.
    """
    shares = {task: len(members) / len(classes) for task, members in params.tasks.items()}
    return params.plan | {
        "corpus": corpus,
        "task_share": shares,
        "unseen_share": shares.get(params.unseen, 0),
        "threads": threads,
    }

"""Numbers of classes and images of an experiment, before any of its data is prepared."""

from collections.abc import Sequence

from soups import files
from soups.data import folders
from soups.world.shapes import CLASSES


def class_names(data: dict) -> list[str]:
    """Names of the training classes.

    Args:
        data: the ``data`` section.
    """
    if data["source"] == "world":
        return [shape.name for shape in CLASSES]
    return folders.training_classes(folders.settings_of(data["folders"]))


def image_counts(data: dict, classes: Sequence[str], corpus: int) -> tuple[dict[str, int], int]:
    """Number of images of each set.

    For image folders, ``data.folders.expected`` gives the number. Sets without an entry there
    are listed and counted.

    Args:
        data: the ``data`` section.
        classes: names of the training classes.
        corpus: number of images of the world for pre-training.

    Returns:
        set to its number of images, where ``train`` is counted without ``heldout``; and the
        number of images for pre-training.
    """
    if data["source"] == "world":
        world = data["world"]
        images = {"train": world["train"], "test": world["test"]}
        images |= dict.fromkeys(world["shifts"], world["shift"])
    else:
        settings, images = folders.settings_of(data["folders"]), {}
        for name, spec in folders.sources(settings).items():
            if name in settings["expected"]:
                images[name] = settings["expected"][name]
            elif "corruption" in spec:
                images[name] = images["test"]
            else:
                images[name] = len(folders.listing(settings, name).paths)
        corpus = round(settings["pretrain_fraction"] * images["train"])
        images["train"] -= corpus
    heldout = data["heldout"]
    if heldout["indices"]:
        images["heldout"] = int(files.read_array(heldout["indices"]).astype(bool).sum())
    elif heldout["per_class"] is not None:
        images["heldout"] = heldout["per_class"] * len(classes)
    else:
        images["heldout"] = round(heldout["fraction"] * images["train"])
    images["train"] -= images["heldout"]
    return images, corpus


def completed(params, classes: Sequence[str], corpus: int, threads: int) -> dict:
    """The plan that `estimate.work` counts, with the numbers that need the class names.

    Args:
        params: see `experiment.estimated.estimated`.
        classes: names of the training classes.
        corpus: number of images for pre-training.
        threads: threads of a job that trains.
    """
    shares = {task: len(members) / len(classes) for task, members in params.tasks.items()}
    return params.plan | {
        "corpus": corpus,
        "task_share": shares,
        "unseen_share": shares.get(params.unseen, 0),
        "threads": threads,
    }

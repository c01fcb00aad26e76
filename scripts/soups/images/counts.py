"""Numbers and bytes of images, before any of them is prepared."""

from collections.abc import Iterable, Mapping

from soups.data import folders
from soups.experiment import settings
from soups.images.settings import store


def known(config: Mapping, shifts: Iterable[str]) -> dict[str, int]:
    """Number of images of the sets whose number the configuration has.

    Args:
        config: the configuration.
        shifts: names of the shifts.
    """
    if config["data"]["source"] == "folders":
        return dict(config["data"]["folders"].get("expected") or {})
    world = config["data"]["world"]
    numbers = {"train": world["train"], "test": world["test"]}
    numbers |= dict.fromkeys(shifts, world["shift"])
    if settings.uses_corpus(config):
        numbers["corpus"] = config["pretrain"]["images"]
    return numbers


def numbers(data: Mapping, corpus: int) -> tuple[dict[str, int], int]:
    """Number of images of each set, see `problems.Problem.numbers`.

    For image folders, ``data.folders.expected`` gives the number. Sets without an entry there
    are listed and counted.
    """
    if data["source"] == "world":
        world = data["world"]
        images = {"train": world["train"], "test": world["test"]}
        return images | dict.fromkeys(world["shifts"], world["shift"]), corpus
    chosen, images = folders.settings_of(data["folders"]), {}
    for name, spec in folders.sources(chosen).items():
        if name in chosen["expected"]:
            images[name] = chosen["expected"][name]
        elif "corruption" in spec:
            images[name] = images["test"]
        else:
            images[name] = len(folders.listing(chosen, name).paths)
    corpus = round(chosen["pretrain_fraction"] * images["train"])
    images["train"] -= corpus
    return images, corpus


def preparation(plan: Mapping, numbers: Mapping[str, int]) -> tuple[int, dict[str, float]]:
    """Jobs and images of the preparation, see `problems.Problem.preparation`."""
    everything = sum(numbers.values())
    if plan["source"] == "world":
        return len(numbers) + 1, {"draw": everything + plan["corpus"]}
    # Every image is decoded once by check_set. Most are decoded again by prepare_folder.
    again = everything - (numbers["train"] if plan["store"] == "folder" else 0)
    return 2 * len(numbers), {"decode": everything + again + plan["corpus"]}


def prepared_bytes(config: Mapping) -> int:
    """Bytes of a decoded image, or 0 if the size is unknown or images stay in their files."""
    side = _side(config)
    return 3 * side**2 if side and store(config["data"]) == "array" else 0


def _side(config: Mapping) -> int:
    """Pixels per side of a decoded image, or 0 if unknown."""
    if config["data"]["source"] == "folders":
        return config["data"]["folders"]["image_size"]
    architecture = config["model"]["architecture"]
    return architecture["vision_cfg"]["image_size"] if isinstance(architecture, dict) else 0

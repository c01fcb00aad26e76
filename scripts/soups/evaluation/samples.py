"""A part of every test set, on which recipes are tried without being written."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from torch import nn

from soups.data.images import PreparedSet
from soups.data.sampling import sample
from soups.evaluation.metrics import restrict
from soups.evaluation.tables import accuracy_row
from soups.files import replacing

Outputs = dict[str, np.ndarray]  # set name: logits of its sampled images, or right and wrong


class Samples:
    """The same random images of every set for every recipe, so that differences are paired.

    Args:
        paths: of the prepared sets; ``test`` and the shifts.
        images: most images of the ``test`` set and of each ``shift``; None for all.
        classes: training classes; with these, only images of classes that stand for some of
            them are taken, and told apart from each other only.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        images: Mapping[str, int | None],
        classes: Sequence[int] | None = None,
    ) -> None:
        self.sets = {data.name: data for data in map(PreparedSet, paths)}
        self.shifts = [name for name in self.sets if name != "test"]
        self.derived = {n: d.meta["derived"] for n, d in self.sets.items() if d.meta["derived"]}
        self.members, self.labels, self.rows = {}, {}, {}
        for name, data in self.sets.items():
            allowed = [classes is None or set(m) <= set(classes) for m in data.members]
            known = np.flatnonzero(np.array(allowed)[data.labels])
            count = images["test" if name == "test" else "shift"]
            self.rows[name] = known[sample(len(known), len(known) if count is None else count)]
            self.members[name] = [m for m, ok in zip(data.members, allowed, strict=True) if ok]
            self.labels[name] = (np.cumsum(allowed) - 1)[data.labels[self.rows[name]]]
        for name in [name for name in self.shifts if not len(self.rows[name])]:
            self.shifts.remove(name)  # it has none of these classes

    @property
    def names(self) -> list[str]:
        return ["test", *self.shifts]

    def row(self, right: Outputs) -> dict[str, float]:
        """Accuracies and their bounds, and the number of images, as columns of a table."""
        return accuracy_row(right, self.shifts, self.derived) | self.counts

    @property
    def counts(self) -> dict[str, int]:
        """Images, as columns of a table."""
        shifts = sum(len(self.rows[name]) for name in self.shifts)
        return {"n_test": len(self.rows["test"]), "n_shifts": shifts}

    def logits(self, model: nn.Module) -> Outputs:
        """A model's logits, shape (n, training classes) for each set."""
        from soups.models.forward import forward  # seconds that reading cached logits does without

        return {n: forward(model, self.sets[n].images, self.rows[n]).numpy() for n in self.names}

    def cached(self, paths: Mapping[str, str | Path]) -> Outputs:
        """The same from files that hold the logits of whole sets."""
        return {n: np.load(paths[n], mmap_mode="r")[self.rows[n]] for n in self.names}

    def right(self, outputs: Outputs) -> Outputs:
        """bool, shape (n,) for each set: is the largest logit the label's?"""
        return {
            n: restrict(outputs[n], self.members[n]).argmax(1) == self.labels[n] for n in self.names
        }


def by_model(paths: Iterable[str | Path]) -> dict[str, dict[str, str]]:
    """Files ``<model>/<set>.npy`` by model and set, for `Samples.cached`."""
    out: dict[str, dict[str, str]] = {}
    for path in map(Path, paths):
        out.setdefault(path.parent.name, {})[path.stem] = str(path)
    return out


def save_points(
    path: str | Path, arrays: Mapping[str, np.ndarray], derived: Mapping[str, str]
) -> None:
    """Write what is known of every point and image: arrays of shape (points, n).

    Args:
        arrays: set name, or ``<kind>/<set>``, to right and wrong or any number.
        derived: set to the set its images were derived from.
    """
    names = {_DERIVED + name: np.frombuffer(of.encode(), np.uint8) for name, of in derived.items()}
    with replacing(path) as aside:
        save_file(dict(arrays) | names, aside)


def load_points(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What `save_points` wrote: the arrays, and which set was derived from which."""
    arrays = load_file(path)
    names = [name for name in arrays if name.startswith(_DERIVED)]
    derived = {name.removeprefix(_DERIVED): bytes(arrays.pop(name)).decode() for name in names}
    return arrays, derived


def stacked(points: Sequence[Outputs]) -> Outputs:
    """Arrays of several points, one above the other."""
    return {name: np.stack([point[name] for point in points]) for name in points[0]}


_DERIVED = "derived:"

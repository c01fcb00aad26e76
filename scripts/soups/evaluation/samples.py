"""Fixed samples of every test set, on which soups are evaluated without being written to disk."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from soups.data.prepared import PreparedSet
from soups.data.sampling import sample
from soups.evaluation.metric import ACCURACY, Metric
from soups.evaluation.tables import score_row
from soups.files import replacing

if TYPE_CHECKING:
    from torch import nn

# Set name to an array with a row for each sampled image: its logits, or its outcome.
BySet = dict[str, np.ndarray]


class Samples:
    """The same random images of every set for every recipe, so that differences are paired.

    Args:
        paths: prepared sets: ``test`` and the shifts.
        images: the largest number of images of the ``test`` set and of each ``shift``, None
            for all images.
        classes: training classes to which the evaluation is restricted. Only images of classes
            that stand for nothing but these are sampled, and only these classes compete.
            A shift without such a class is left out. None for no restriction.
        metric: the metric of tables.

    Attributes:
        metric: the metric of tables.
        sets: set name to prepared set.
        shifts: names of the shifts.
        derived: name of a derived set to the set that its images were derived from.
        rows: set name to the indices of the sampled images.
        labels: set name to the labels of the sampled images.
        members: set name to the training classes of each class of the set.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        images: Mapping[str, int | None],
        classes: Sequence[int] | None = None,
        metric: Metric = ACCURACY,
    ) -> None:
        self.metric = metric
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
            self.shifts.remove(name)

    @property
    def names(self) -> list[str]:
        """The test set and the shifts."""
        return ["test", *self.shifts]

    def row(self, outcomes: BySet) -> dict[str, float]:
        """The metric of every set, bounds and the numbers of images, as columns of a table."""
        return score_row(outcomes, self.shifts, self.derived, self.metric) | self.counts

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of sampled images, as columns of a table."""
        shifts = sum(len(self.rows[name]) for name in self.shifts)
        return {"n_test": len(self.rows["test"]), "n_shifts": shifts}

    def logits(self, model: "nn.Module") -> BySet:
        """Logits of a model, shape (n, training classes) for each set."""
        from soups.models.forward import forward  # an import of seconds, which few callers need

        return {n: forward(model, self.sets[n].inputs, self.rows[n]).numpy() for n in self.names}

    def cached(self, paths: Mapping[str, str | Path]) -> BySet:
        """Logits as from `logits`, read from files that hold the logits of whole sets."""
        return {n: np.load(paths[n], mmap_mode="r")[self.rows[n]] for n in self.names}

    def outcomes(self, logits: BySet) -> BySet:
        """Outcomes by the metric, shape (n,) for each set."""
        return {
            n: self.metric.outcomes(logits[n], self.labels[n], self.members[n]) for n in self.names
        }


def table_of(rows: Sequence[Mapping], samples: Samples) -> pd.DataFrame:
    """Make a table of rows with the columns of `Samples.row` and others.

    Without rows, the table has only the names of the sets as columns, so it can still be read.
    """
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=samples.names)


def by_model(paths: Iterable[str | Path]) -> dict[str, dict[str, str]]:
    """Group files ``<model>/<set>.npy`` by model and set, for `Samples.cached`."""
    out: dict[str, dict[str, str]] = {}
    for path in map(Path, paths):
        out.setdefault(path.parent.name, {})[path.stem] = str(path)
    return out


def save_points(
    path: str | Path, arrays: Mapping[str, np.ndarray], derived: Mapping[str, str]
) -> None:
    """Write arrays of shape (points, n), which hold a value for every point and image.

    Args:
        path: the safetensors file to write.
        arrays: set name, or ``<kind>/<set>``, to an array of outcomes or numbers.
        derived: name of a derived set to the set that its images were derived from.
    """
    names = {_DERIVED + name: np.frombuffer(of.encode(), np.uint8) for name, of in derived.items()}
    with replacing(path) as aside:
        save_file(dict(arrays) | names, aside)


def load_points(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the ``arrays`` and the ``derived`` sets that `save_points` wrote."""
    arrays = load_file(path)
    names = [name for name in arrays if name.startswith(_DERIVED)]
    derived = {name.removeprefix(_DERIVED): bytes(arrays.pop(name)).decode() for name in names}
    return arrays, derived


def stacked(points: Sequence[BySet]) -> BySet:
    """Stack the arrays of several points along a new first axis. No points give no arrays."""
    names = points[0] if points else ()
    return {name: np.stack([point[name] for point in points]) for name in names}


_DERIVED = "derived:"

"""The texts of the configuration, as the rules see them: sets, files, and classes."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from soups.errors import UserError
from soups.files import fingerprint, stamp
from soups.text import formats, hub
from soups.text.settings import sets, settings_of

# MB of training files whose labels are read while the workflow is parsed, before every job.
LARGEST = 20


@dataclass(frozen=True)
class Texts:
    """Texts of the user or of GLUE.

    Attributes:
        settings: the section ``data.text`` with its defaults and its classes.
    """

    settings: Mapping

    @classmethod
    def of(cls, data: Mapping) -> "Texts":
        """From the section ``data``, which `soups.text.checks` has accepted."""
        settings = settings_of(data)
        return cls(settings | {"classes": classes_of(settings)})

    @property
    def classes(self) -> list[str]:
        """Names of the training classes, in the order of their labels."""
        return names_of(self.settings)

    @property
    def found(self) -> list[str]:
        """Names of the sets that are read from files or from the hub."""
        return [name for name, spec in sets(self.settings).items() if "perturbation" not in spec]

    @property
    def perturbed(self) -> list[str]:
        """Names of the sets that are derived from the test set."""
        return [name for name, spec in sets(self.settings).items() if "perturbation" in spec]

    def origin(self, name: str) -> dict:
        """Where the texts of a set are, and how they are read.

        Returns:
            the settings of the set, and the keys root, classes, seed and limit (a number or None).
        """
        shared = {key: self.settings[key] for key in ("root", "classes", "seed")}
        limit = self.settings["limit"].get(name)
        return sets(self.settings)[name] | shared | {"limit": limit}

    def perturbation(self, name: str) -> Mapping:
        """Perturbation and severity of a derived set."""
        return self.settings["shifts"][name]

    def inputs(self, name: str) -> list[str]:
        """Files of a set; none if it comes from the hub."""
        return [str(path) for path in files_of(self.settings, sets(self.settings)[name])]

    def state(self, name: str) -> str:
        """A hash of the sizes and times of a set's files. It shows an older file in place of one.

        Raises:
            SystemExit: with a sentence, if a file is gone. Snakemake calls this as a function of a
                rule, and would print a traceback below another error.
        """
        spec = sets(self.settings)[name]
        try:
            if "hub" in spec:
                return fingerprint([hub.name_of(spec), hub.stamps(spec)])
            return fingerprint([stamp(path) for path in self.inputs(name)])
        except OSError as error:
            sys.exit(f"error: {error.filename}: {error.strerror}, expected the texts of {name}")


def files_of(settings: Mapping, spec: Mapping) -> list[Path]:
    """The files of a set below the root; none if it has no files of its own."""
    return [Path(settings["root"], file).expanduser() for file in spec.get("files", [])]


def names_of(settings: Mapping) -> list[str]:
    """Names of the classes in the order of their labels."""
    return list(dict.fromkeys(classes_of(settings).values()))


def classes_of(settings: Mapping) -> dict[str, str]:
    """Return value in a file to name of its class. By default, the training labels are the names.

    Raises:
        UserError: if the classes are not named and the training set is too large to read, or if
            it has only one class.
    """
    if settings["classes"] is not None:
        return settings["classes"]
    spec = settings["train"]
    paths = files_of(settings, spec)
    size = sum(path.stat().st_size for path in paths) / 1e6
    if not paths or size > LARGEST:
        why = f"are in {size:,.0f} MB of files" if paths else "are not in files"
        raise UserError(
            f"data.text.classes is null, expected the names of the classes because the training "
            f"texts {why}"
        )
    how = spec["columns"]["label"], spec["quotes"], spec["header"]
    values = {v for path in paths for v in _labels(path, tuple(stamp(path)), *how)}
    if len(values) < 2:
        found = f"every label is {next(iter(values))!r}" if values else "there is no label"
        raise UserError(f"{', '.join(map(str, paths))}: {found}, expected at least two classes")
    return {value: value for value in _sorted(values)}


@lru_cache(maxsize=64)
def _labels(path: Path, time: Sequence[int], column, quotes, header) -> frozenset[str]:
    """The labels of a file. An empty label is an error of the job that reads the texts."""
    rows = formats.rows(path, [column], quotes, header)
    return frozenset((row.cells[0] or "").strip() for row in rows) - {""}


def _sorted(values: set[str]) -> list[str]:
    """Sort labels as numbers if all are numbers, otherwise as text."""
    try:
        return sorted(values, key=lambda value: (int(value), value))
    except ValueError:
        return sorted(values)

"""Sources of images and models that the experiment does not make: folders and checkpoints."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soups import files
from soups.data import folders
from soups.errors import UserError
from soups.experiment import ready_made
from soups.experiment.found import ENDINGS
from soups.experiment.variants import Sweep


@dataclass(frozen=True)
class Folders:
    """Image folders of the user, or ImageNet's sets in their released layouts.

    Attributes:
        settings: the section ``data.folders`` with its defaults.
        sources: set to its folder, or to a corruption of the test set.
        fingerprint: hash of the names of the training classes, which decide all labels.
        states: set to the hash of its images, as far as known.
    """

    settings: Mapping
    sources: Mapping[str, Mapping]
    fingerprint: str
    states: dict[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, data: Mapping) -> "Folders":
        """From the ``data`` section."""
        settings = folders.settings_of(data["folders"])
        classes = folders.training_classes(settings)
        return cls(settings, folders.sources(settings), files.fingerprint(classes))

    @property
    def classes(self) -> list[str]:
        """The training classes, in the order of their labels."""
        return folders.training_classes(self.settings)

    @property
    def found(self) -> list[str]:
        """Names of the sets in folders."""
        return [name for name, spec in self.sources.items() if "folder" in spec]

    @property
    def corrupted(self) -> list[str]:
        """Names of the sets that are corruptions of the test set."""
        return [name for name, spec in self.sources.items() if "corruption" in spec]

    @property
    def real(self) -> str | None:
        """The file of ImageNet's reassessed labels, if the configuration names one."""
        name = self.settings["real"]
        return f"{self.settings['root']}/{name}" if name else None

    def only(self, name: str) -> dict:
        """The settings of one set, see `data.folders.only`."""
        return folders.only(dict(self.settings), name)

    def inputs(self, name: str) -> tuple[str, list[str]]:
        """Inputs of a rule that reads a set, see `data.folders.inputs`."""
        return folders.inputs(self.settings, name)

    def state(self, name: str) -> str:
        """A hash of the images of a set, see `data.folders.state`. It is computed once.

        Raises:
            SystemExit: with a sentence, if a folder cannot be read. Snakemake calls this as a
                function of a rule, and would print a traceback below another error.
        """
        if name not in self.states:
            try:
                self.states[name] = folders.state(self.settings, name)
            except UserError as error:
                sys.exit(f"error: {error}")
        return self.states[name]


@dataclass(frozen=True)
class Checkpoints:
    """Models that were fine-tuned elsewhere, such as the paper's 72 released ones.

    Attributes:
        settings: the section ``ingredients.checkpoints`` with its defaults.
        initialization: the model that they were fine-tuned from, or None if it is unknown. It is
            the name of a model, or the path of a file or folder.
        names: model to the name of its file, in the folder and at the URL; or to its path.
        paths: model to its file or folder.
    """

    settings: Mapping
    initialization: str | None
    names: Mapping[str, str]
    paths: Mapping[str, str]

    @classmethod
    def of(cls, settings: Mapping, sweep: Sweep) -> "Checkpoints":
        """From the section ``ingredients.checkpoints`` and the models of the sweep.

        Raises:
            UserError: if the initialization is neither a model nor an existing file.
        """
        settings = ready_made.complete(settings)
        start = settings["initialization"]
        if settings["files"]:
            paths = dict(sweep.files)
            names = dict(paths)
        else:
            names = {model: settings["file"].replace("{model}", model) for model in sweep.rows}
            paths = {model: f"{settings['folder']}/{name}" for model, name in names.items()}
        if start and start not in names:
            given = Path(start).expanduser()
            if settings["file"] and not given.exists() and "/" not in start:
                names[start] = settings["file"].replace("{model}", start)
                paths[start] = f"{settings['folder']}/{names[start]}"
            elif given.exists():
                names[start] = paths[start] = str(given)
            else:
                raise UserError(
                    f"{ready_made.SECTION}.initialization is {start!r}, expected an existing file "
                    "or folder, or the name of a model"
                )
        return cls(settings, start, names, paths)

    def path(self, model: str) -> str:
        """The file or folder of a model."""
        return self.paths[model]

    def parts(self, model: str) -> list[str]:
        """The files in the folder of a model that its import may read; none for a single file."""
        folder = Path(self.path(model))
        if not folder.is_dir():
            return []
        ends = (*ENDINGS, ".json")
        return [
            str(path)
            for path in sorted(folder.iterdir())
            if path.is_file() and path.name.lower().endswith(ends) and path.name[0] != "."
        ]

    def pattern(self, wildcard: str) -> str:
        """Pattern of the files of all models, with a Snakemake wildcard for the model's name.

        Files that are found need no pattern, because none of them is downloaded.
        """
        if self.settings["files"]:
            return f"{{{wildcard}}}"
        name = self.settings["file"].replace("{model}", f"{{{wildcard}}}")
        return f"{self.settings['folder']}/{name}"

    @property
    def absent(self) -> list[str]:
        """Models whose files have to be downloaded.

        No rule makes an existing file. Therefore Snakemake never deletes or repeats a download
        that took hours.
        """
        if not self.settings["url"]:
            return []
        return [model for model in self.names if not Path(self.path(model)).is_file()]

"""Sources of images and models that the experiment does not make: folders and checkpoints."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soups import files
from soups.data import folders
from soups.errors import UserError
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
        settings: the section ``ingredients.checkpoints``.
        initialization: the model that they were fine-tuned from, or None if it is unknown.
        names: model to the name of its file, in the folder and at the URL.
    """

    settings: Mapping
    initialization: str | None
    names: Mapping[str, str]

    @classmethod
    def of(cls, settings: Mapping, sweep: Sweep) -> "Checkpoints":
        """From the section ``ingredients.checkpoints`` and the models of the sweep."""
        start = settings["initialization"]
        models = dict.fromkeys([*sweep.rows, *([start] if start else [])])
        names = {model: settings["file"].replace("{model}", model) for model in models}
        return cls(settings, start, names)

    def path(self, model: str) -> str:
        """The file of a model."""
        return f"{self.settings['folder']}/{self.names[model]}"

    def pattern(self, wildcard: str) -> str:
        """Pattern of the files of all models, with a Snakemake wildcard for the model's name."""
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

"""Where images and models come from, if they are not made here: folders and checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from soups import files
from soups.data import folders
from soups.experiment.variants import Sweep


@dataclass(frozen=True)
class Folders:
    """Image folders of the user, or ImageNet's sets as they are released.

    Attributes:
        settings: the section ``data.folders`` with its defaults.
        sources: set to its folder, or to the corruption of the test set that it is.
        fingerprint: of the training classes, which shifts count in.
    """

    settings: Mapping
    sources: Mapping[str, Mapping]
    fingerprint: str

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
        """Sets that lie in folders."""
        return [name for name, spec in self.sources.items() if "folder" in spec]

    @property
    def corrupted(self) -> list[str]:
        """Sets that are corruptions of the test set."""
        return [name for name, spec in self.sources.items() if "corruption" in spec]

    @property
    def real(self) -> str | None:
        """The file of ImageNet's reassessed labels, if the configuration names one."""
        name = self.settings["real"]
        return f"{self.settings['root']}/{name}" if name else None

    def inputs(self, name: str) -> list[str]:
        """What the files of a set depend on, see `data.folders.inputs`."""
        return folders.inputs(self.settings, name)


@dataclass(frozen=True)
class Checkpoints:
    """Models that were fine-tuned elsewhere, such as the paper's 72 released ones.

    Attributes:
        settings: the section ``ingredients.checkpoints``.
        initialization: the model they were fine-tuned from, if it is known.
        names: model to its file, in the folder and after the address.
    """

    settings: Mapping
    initialization: str | None
    names: Mapping[str, str]

    @classmethod
    def of(cls, settings: Mapping, sweep: Sweep) -> "Checkpoints":
        """From the section and the models it has files for."""
        start = settings["initialization"]
        models = dict.fromkeys([*sweep.rows, *([start] if start else [])])
        names = {model: settings["file"].replace("{model}", model) for model in models}
        return cls(settings, start, names)

    def path(self, model: str) -> str:
        """The file of a model."""
        return f"{self.settings['folder']}/{self.names[model]}"

    def pattern(self, wildcard: str) -> str:
        """The file of any model, with a wildcard of Snakemake for its name."""
        name = self.settings["file"].replace("{model}", f"{{{wildcard}}}")
        return f"{self.settings['folder']}/{name}"

    @property
    def absent(self) -> list[str]:
        """Models whose files have to be downloaded.

        A file that is there is an input like any other: no rule makes it. So nothing that
        Snakemake does to outputs, such as deleting them, touches what took hours to download.
        """
        if not self.settings["url"]:
            return []
        return [model for model in self.names if not Path(self.path(model)).is_file()]

"""Parameters of rules: the parts of the configuration that change what a rule computes."""

from collections.abc import Mapping
from dataclasses import dataclass

from soups import problems
from soups.experiment import settings
from soups.models import architectures
from soups.report.words import USUAL, Words


@dataclass(frozen=True)
class Parameters:
    """The part of the plan that reads parameters from the configuration.

    Attributes:
        config: the configuration.
    """

    config: Mapping

    @property
    def training(self) -> dict:
        """Settings of training that change its results by rounding errors."""
        return {key: self.config["compute"][key] for key in ("precision", "accumulate", "gpus")}

    @property
    def reduced(self) -> dict:
        """The share of the training examples that is used; empty if it is all of them."""
        share = self.config["data"].get("train_fraction", 1)
        return {} if share == 1 else {"train_fraction": share}

    @property
    def metric(self) -> str:
        """Name of the metric by which models are chosen and compared."""
        return self.config["metric"] or problems.of(self.config).metric(self.config["data"])

    @property
    def scored(self) -> dict:
        """The metric as a parameter of a rule; empty for accuracy, the default."""
        return {} if self.metric == "accuracy" else {"metric": self.metric}

    @property
    def words(self) -> dict:
        """The words of tables and figures; empty for the accuracy on images, the default."""
        words = {"metric": self.metric, "problem": problems.of(self.config).name}
        return {} if Words(**words) == USUAL else words

    @property
    def worded(self) -> dict:
        """The words as a parameter of a rule; empty if they are."""
        return {"words": self.words} if self.words else {}

    @property
    def said(self) -> dict:
        """The words as a parameter for the caption of a table; empty if they are."""
        return {"say": Words.of(self.words).placeholders} if self.words else {}

    @property
    def uses_corpus(self) -> bool:
        """Whether this experiment pre-trains its model."""
        return settings.uses_corpus(self.config)

    @property
    def pretraining(self) -> dict:
        """The ``pretrain`` section without the keys that decide the corpus."""
        section = self.config["pretrain"]
        return {key: section[key] for key in section if key not in ("images", "caption_noise")}

    @property
    def weights_file(self) -> list[str]:
        """Files of the pre-trained model, if the configuration names a file or a folder."""
        return architectures.files_of(self.config["model"])

    @property
    def averaged(self) -> dict:
        """The kind of weights of a training file; empty for plain ones, the default."""
        kind = self.config["model"]["weights"]
        return {} if kind == "plain" else {"weights": kind}

    @property
    def model_settings(self) -> dict:
        """Settings of the model that only its problem has; empty if there are none."""
        found = problems.of(self.config).model_settings(self.config)
        return {"settings": found} if found else {}

    @property
    def pixels(self) -> dict:
        """Mean and standard deviation of pixels, or null for those of the architecture."""
        return {key: self.config["model"][key] for key in ("mean", "std")}

    @property
    def image_size(self) -> int | None:
        """Pixels per side of the images, or None if the images are drawn."""
        return (self.config["data"]["folders"] or {}).get("image_size")

    @property
    def drawn(self) -> dict:
        """Settings that decide the shapes of the procedural world."""
        return {key: self.config["data"]["world"][key] for key in ("seed", "variants")}

    def drawn_images(self, name: str) -> int:
        """Number of images in a set of the procedural world."""
        return self.config["data"]["world"][name if name in ("train", "test") else "shift"]

    @property
    def published(self) -> list[str]:
        """The file of published accuracies of the same models, if the configuration names one."""
        return [self.config["published"]] if self.config["published"] else []

    @property
    def sections(self) -> dict:
        """Settings that must be the same in an experiment that shares this one."""
        return settings.sections(self.config)

"""The files of an experiment: where models, logits, sets and tables are, as inputs of rules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from soups import files
from soups.data.prepared import set_paths, train_paths
from soups.errors import UserError
from soups.hyperparameters import START
from soups.roles import BEST, GREEDY


@dataclass(frozen=True)
class Places:
    """The part of the plan that names files.

    Attributes:
        results: folder of the experiment.
        shared: folder of the data, the splits, the pre-trained model and the starts, which may
            be that of another experiment.
        shifts: names of the shifts.
        store: how training images are stored, see `data.prepared.train_paths`.
        starts: starting points that are evaluated like other models.
        soups, ensembles: id to its entry, see `catalog.soups`.
        roles: role to the row that plays it, see `assignment`.
        evaluated: fine-tuned models with logits on every set. The others are only for figures.
        weaker: tables of the experiment ``claims.weaker``, by name. Its models come from a weaker
            pre-trained model.
        weaker_roles: the same as ``roles`` of that experiment, or None.
    """

    results: str
    shared: str
    shifts: list[str]
    store: str
    starts: list[str]
    soups: dict[str, dict]
    ensembles: dict[str, dict]
    roles: dict[str, str]
    evaluated: list[str]
    weaker: dict[str, str]
    weaker_roles: dict[str, str] | None

    @property
    def tests(self) -> list[str]:
        """The test set and the shifts."""
        return ["test", *self.shifts]

    @property
    def models(self) -> list[str]:
        """Every model whose logits the tables are made from."""
        return [*self.starts, *self.evaluated, *self.soups, *self.ensembles]

    def home(self, model: str) -> str:
        """Folder of the experiment that makes a model. A start may come from a shared one."""
        return self.shared if model in START.values() else self.results

    def weights(self, model: str) -> str:
        """The weights of a start, a soup or an ingredient."""
        folder = "soups" if model in self.soups else "models"
        return f"{self.home(model)}/{folder}/{model}.safetensors"

    def heldout_logits(self, model: str) -> str:
        """Held-out logits of a model, which the job that makes the model writes."""
        if model in self.ensembles:
            return f"{self.results}/ensembles/{model}.heldout.npy"
        return self.weights(model).replace(".safetensors", ".heldout.npy")

    def test_logits(self, models: Iterable[str]) -> list[str]:
        """Logits of some models on the test set and every shift."""
        return [
            f"{self.home(model)}/logits/{model}/{name}.npy"
            for model in models
            for name in self.tests
        ]

    def recipes_of(self, entry: Mapping) -> list[str]:
        """Recipes of the soups that a soup or an ensemble is made from."""
        return [f"{self.results}/recipes/{name}.json" for name in entry["of"] if name != BEST]

    def table(self, name: str) -> str:
        """The file of a table of this run, or of the weaker experiment."""
        if name == "weaker_methods":
            return self.weaker["methods"]
        return f"{self.results}/tables/{name}.csv"

    @property
    def pretrained(self) -> str:
        return f"{self.shared}/pretrained/model.safetensors"

    @property
    def train(self) -> dict[str, str]:
        """Files of the training images, their labels and their class names."""
        return train_paths(f"{self.shared}/prepared", self.store)

    @property
    def heldout(self) -> dict:
        """Inputs of a rule that chooses models: the held-out set, and the pre-trained model."""
        return {
            "pretrained": self.pretrained,
            "heldout": self.set_files("heldout"),
        }

    def set_files(self, name: str = "{set}") -> list[str]:
        """The files of a prepared set; by default with its name as a wildcard."""
        return set_paths(f"{self.shared}/prepared", name)

    @property
    def test_sets(self) -> dict[str, list[str]]:
        """The prepared test set and shifts, as inputs of a rule."""
        home = f"{self.shared}/prepared"
        return {
            "sets": [f"{home}/{name}.npy" for name in self.tests],
            "labels": [f"{home}/{name}.labels.npy" for name in self.tests],
            "meta": [f"{home}/{name}.json" for name in self.tests],
        }

    @property
    def all_logits(self) -> dict:
        """Inputs of a rule that makes tables: labels, and the logits and recipes of all models."""
        results, sets = self.results, self.test_sets
        return {
            "sets": sets["meta"],
            "labels": sets["labels"],
            "heldout_labels": f"{self.shared}/prepared/heldout.labels.npy",
            "heldout_logits": [self.heldout_logits(model) for model in self.models],
            "test_logits": self.test_logits(self.models),
            "recipes": [f"{results}/recipes/{soup}.json" for soup in self.soups],
            "ensembles": [f"{results}/ensembles/{name}.json" for name in self.ensembles],
        }

    @property
    def initialized(self) -> dict[str, str]:
        """Outputs of the linear probe's rule: the starts, and a model with a head of zeros."""
        made = {}
        for start in self.starts:
            made |= {start: self.weights(start), f"{start}_heldout": self.heldout_logits(start)}
        return made | {"newhead": self.weights("newhead")}

    def start_of(self, soup: str) -> list[str]:
        """Weights of the common start of a soup's ingredients, or nothing if they differ."""
        start = self.soups[soup]["start"]
        return [self.weights(start)] if start else []

    @property
    def greedy_recipe(self) -> list[str]:
        """Recipe of the soup that plays the role of the greedy soup, if there is one."""
        return [f"{self.results}/recipes/{row}.json" for row in self._greedy]

    @property
    def greedy_weights(self) -> list[str]:
        """Weights of the same soup."""
        return [self.weights(row) for row in self._greedy]

    @property
    def _greedy(self) -> list[str]:
        return [self.roles[GREEDY]] if GREEDY in self.roles else []


def roles_of(other: str) -> dict[str, str] | None:
    """Role to row of another experiment, or None if its last run did not say."""
    announced = Path("results", other, "plan.json")
    return files.read_json(announced).get("roles") if announced.is_file() else None


def of_experiment(key: str, other: str, name: str, tables: Iterable[str]) -> list[str]:
    """Files of tables of another experiment, which has to be finished.

    Args:
        key: config key that names the other experiment, for messages.
        other: name of the other experiment.
        name: name of this experiment.
        tables: names of the tables.

    Raises:
        UserError: if both names are equal, or if a file does not exist.
    """
    if other == name:
        raise UserError(f"{key} has {other!r}, expected the name of another experiment")
    paths = [f"results/{other}/tables/{table}.csv" for table in tables]
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise UserError(
            f"{key} has {other!r} but there is no {missing[0]}, expected a finished experiment"
        )
    return paths

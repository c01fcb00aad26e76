"""The plan: everything that the rules need to know, worked out once from the configuration.

`Plan.of` is called while the workflow is parsed, before every job, so it imports neither torch
nor pandas and opens no image. The rules read the plan and compute nothing themselves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from soups.data.images import set_paths, train_paths
from soups.errors import UserError
from soups.experiment import catalog, figures, settings, sweep, variants
from soups.experiment.assignment import assign, row_of, with_rows
from soups.experiment.curves import Curves, curves
from soups.experiment.estimated import estimated
from soups.experiment.sources import Checkpoints, Folders
from soups.experiment.stages import STAGE
from soups.experiment.variants import Sweep
from soups.hyperparameters import ALL, START
from soups.models import architectures
from soups.roles import BEST, GREEDY, SECOND_BEST

NOTHING = "(?!)"  # the pattern that matches no name


@dataclass(frozen=True)
class Plan:
    """What an experiment makes, and where it puts it.

    Attributes:
        results: the experiment's folder.
        shared: the folder of data, splits, pre-trained model and starts; may be another's.
        shifts: names of the shifts; ``tests`` are these after the test set.
        store: how training images are kept, see `data.images.train_paths`.
        folders: image folders, or None if images are drawn.
        checkpoints: models brought in ready-made, or None if they are fine-tuned here.
        sweep: all fine-tuned models.
        starts: starting points that are evaluated themselves.
        tasks: task to its classes.
        soups, ensembles: id to how it is made, see `catalog`.
        roles: role to the row that plays it, see `assignment`.
        references: rows that every method is compared with.
        evaluated: fine-tuned models with logits on every set; others serve figures only.
        curves: see `Curves`.
        tables: tables of the report, each with a caption of its name.
        figures: figures that are drawn, in the order of the report.
        available: all tables that figures may be drawn from.
        weaker: tables of the same experiment from a weaker pre-trained model, by name.
        replicates: tables of effects of other sweeps.
        gpus: GPUs of a job that runs models: 0 where the configuration asks for none.
        readers: threads of a job that reads training images.
        stage: name of a stage to its number.
    """

    config: Mapping
    results: str
    shared: str
    shifts: list[str]
    store: str
    folders: Folders | None
    checkpoints: Checkpoints | None
    sweep: Sweep
    starts: list[str]
    tasks: dict[str, list[str]]
    soups: dict[str, dict]
    ensembles: dict[str, dict]
    roles: dict[str, str]
    references: list[str]
    evaluated: list[str]
    curves: Curves
    tables: list[str]
    figures: dict[str, figures.Figure]
    available: list[str]
    weaker: dict[str, str]
    replicates: list[str]
    gpus: int
    readers: int
    stage: Mapping[str, int]

    @classmethod
    def of(cls, config: Mapping) -> "Plan":
        """Work out a configuration that `settings.validate` has found good.

        Raises:
            UserError: for names that nothing has, or parts that exclude each other.
        """
        name = config["name"]
        results, shared = f"results/{name}", f"results/{config['shared'] or name}"
        starts = settings.starts(config)
        given = config["ingredients"]
        ready_made = given["source"] == "checkpoints"
        models = Sweep.of(config["sweep"], config["finetune"], starts, ready_made)
        tasks = {task: classes for task, classes in config["tasks"].items() if classes}
        _check_tasks(models, tasks)

        sections = {key: config[key] for key in ("soups", "ensembles")}
        roles = assign(sections, config["roles"])
        asked = {key: with_rows(part, sections["soups"], roles) for key, part in sections.items()}
        soups = catalog.soups(asked["soups"], models.pool, models.origins)
        ensembles = catalog.ensembles(asked["ensembles"], soups, models.pool)
        reserved = [*models.rows, *sweep.RESERVED]
        catalog.check_names(reserved, soups=soups, ensembles=ensembles)

        made = {**sections["ensembles"], **sections["soups"]}
        ends = catalog.curve_ends(
            _rows(config["curves"]["wise_ft"]["of"], made, roles),
            sections["soups"],
            soups,
            {models.origins[model] for model in models.base},
        )
        planned = curves(config["curves"], models, soups, tasks, ends)
        rows = [BEST, SECOND_BEST][: len(models.base)]
        rows += [entry["row"] for entry in [*soups.values(), *ensembles.values()]] + starts
        compared = _rows(config["compare_with"], made, roles)
        references = catalog.references(compared, sections.values(), rows)

        claims = config["claims"]
        weaker = {}
        if claims["weaker"]:
            paths = of_experiment("claims.weaker", claims["weaker"], name, _OF_WEAKER)
            weaker = dict(zip(_OF_WEAKER, paths, strict=True))
        replicates = [
            of_experiment("claims.replicates", other, name, ["effects"])[0]
            for other in claims["replicates"]
        ]
        folders = Folders.of(config["data"]) if config["data"]["source"] == "folders" else None
        tables = _tables(roles, folders, config["published"])
        others = ["reliability", "effects", *planned.tables]
        others += ["rejection"] if planned.large else []
        others += ["landscape"] if planned.panels else []
        others += ["weaker_methods"] if weaker else []
        store = settings.store(config)
        return cls(
            config=config,
            results=results,
            shared=shared,
            shifts=settings.shifts(config),
            store=store,
            folders=folders,
            checkpoints=Checkpoints.of(given["checkpoints"], models) if ready_made else None,
            sweep=models,
            starts=starts,
            tasks=tasks,
            soups=soups,
            ensembles=ensembles,
            roles=roles,
            references=references,
            evaluated=_evaluated(models, [*soups.values(), *ensembles.values()], config["curves"]),
            curves=planned,
            tables=tables,
            figures=figures.drawn(
                [*tables, *others], [role for role, row in roles.items() if row in references]
            ),
            available=[*tables, *others],
            weaker=weaker,
            replicates=replicates,
            gpus=0 if config["compute"]["device"] in ("cpu", "mps") else 1,
            # Packed or folder images are decoded in every epoch, by worker processes.
            readers=1 if store == "array" else 8,
            stage=STAGE,
        )

    # Models, and where their files lie.

    @property
    def ingredients(self) -> list[str]:
        """All fine-tuned models, variants included."""
        return list(self.sweep.rows)

    @property
    def base(self) -> list[str]:
        """The fine-tuned models of the sweep itself."""
        return list(self.sweep.base)

    @property
    def tests(self) -> list[str]:
        """The test set and the shifts."""
        return ["test", *self.shifts]

    @property
    def models(self) -> list[str]:
        """Every model whose logits the tables are made from."""
        return [*self.starts, *self.evaluated, *self.soups, *self.ensembles]

    def home(self, model: str) -> str:
        """The folder of the experiment a model belongs to: starts may be another's."""
        return self.shared if model in START.values() else self.results

    def weights(self, model: str) -> str:
        """The weights of a start, a soup or an ingredient."""
        folder = "soups" if model in self.soups else "models"
        return f"{self.home(model)}/{folder}/{model}.safetensors"

    def heldout_logits(self, model: str) -> str:
        """Held-out logits, written by the job that made the model: choosing needs no other job."""
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

    # Inputs and parameters that several rules have.

    @property
    def pretrained(self) -> str:
        return f"{self.shared}/pretrained/model.safetensors"

    @property
    def train(self) -> dict[str, str]:
        """Files of the training images, their labels, and what the labels mean."""
        return train_paths(f"{self.shared}/prepared", self.store)

    @property
    def heldout(self) -> dict:
        """What choosing may see of the data, as inputs of a rule."""
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
        """What is known of every model, as inputs of a rule that makes tables."""
        results, home = self.results, f"{self.shared}/prepared"
        return {
            "sets": [f"{home}/{name}.json" for name in self.tests],
            "labels": [f"{home}/{name}.labels.npy" for name in self.tests],
            "heldout_labels": f"{home}/heldout.labels.npy",
            "heldout_logits": [self.heldout_logits(model) for model in self.models],
            "test_logits": self.test_logits(self.models),
            "recipes": [f"{results}/recipes/{soup}.json" for soup in self.soups],
            "ensembles": [f"{results}/ensembles/{name}.json" for name in self.ensembles],
        }

    @property
    def initialized(self) -> dict[str, str]:
        """What the linear probe leaves, as outputs of a rule: the starts, and a head of zeros."""
        made = {}
        for start in self.starts:
            made |= {start: self.weights(start), f"{start}_heldout": self.heldout_logits(start)}
        return made | {"newhead": self.weights("newhead")}

    def start_of(self, soup: str) -> list[str]:
        """The weights that all ingredients of a soup were fine-tuned from, if they are the same."""
        start = self.soups[soup]["start"]
        return [self.weights(start)] if start else []

    @property
    def greedy_recipe(self) -> list[str]:
        """The recipe of the soup that plays the role of the greedy one, if any does."""
        return [f"{self.results}/recipes/{self.roles[r]}.json" for r in [GREEDY] if r in self.roles]

    def entry(self, ingredients: Iterable[str] | None = None) -> dict:
        """What a planned curve chooses among: some models; the sweep's own are its pool."""
        chosen = self.base if ingredients is None else list(ingredients)
        return {"ingredients": chosen, "pool": self.base, "start": None}

    @property
    def evidence(self) -> list[str]:
        """Tables that claims are tested with."""
        tables = ["methods", "significance", "calibration", *self.curves.tables]
        return tables + (["rejection"] if self.curves.large else [])

    @property
    def all_tables(self) -> list[str]:
        """Tables that the target `tables` makes."""
        return [*self.tables, *self.curves.tables, "claims"]

    def drawn_by(self, script: str) -> list[str]:
        """Names of the figures that a script draws."""
        return [name for name, figure in self.figures.items() if figure.script == script]

    def figure_inputs(self, name: str) -> dict[str, str]:
        """The tables of a figure, by the name that its function has for them."""
        tables = self.figures[name].inputs(self.available)
        return {key: self.table(table) for key, table in tables.items()}

    # Parameters: parts of the configuration that change what a rule computes.

    @property
    def training(self) -> dict:
        """How training is computed, which changes what comes out a little."""
        return {key: self.config["compute"][key] for key in ("precision", "accumulate", "gpus")}

    @property
    def uses_corpus(self) -> bool:
        """Whether the model is pre-trained here."""
        return settings.uses_corpus(self.config)

    @property
    def pretraining(self) -> dict:
        """How the model is pre-trained, without what makes its corpus."""
        section = self.config["pretrain"]
        return {key: section[key] for key in section if key not in ("images", "caption_noise")}

    @property
    def weights_file(self) -> list[str]:
        """The file of pre-trained weights, if the configuration names a file."""
        given = self.config["model"]["pretrained"]
        return [given] if given and given.endswith(architectures.WEIGHTS) else []

    @property
    def pixels(self) -> dict:
        """Mean and standard deviation of pixels, if the configuration gives them."""
        return {key: self.config["model"][key] for key in ("mean", "std")}

    @property
    def image_size(self) -> int | None:
        """Pixels of the images, where they come from folders."""
        return (self.config["data"]["folders"] or {}).get("image_size")

    @property
    def drawn(self) -> dict:
        """What decides the shapes of the procedural world."""
        return {key: self.config["data"]["world"][key] for key in ("seed", "variants")}

    def drawn_images(self, name: str) -> int:
        """Images of a set of the procedural world."""
        return self.config["data"]["world"][name if name in ("train", "test") else "shift"]

    @property
    def prepared_folders(self) -> list[str]:
        """Image folders that are decoded into one array each."""
        return [n for n in self.folders.found if n != "train" or self.store == "array"]

    @property
    def sections(self) -> dict:
        """What an experiment that shares this one has to have in common with it."""
        return settings.sections(self.config)

    @property
    def announced(self) -> dict:
        """What a run is going to make, see `jobs.runs.begin`."""
        return {
            "shared": self.config["shared"],
            "rule": "import_checkpoint" if self.checkpoints else "finetune",
            "ingredients": self.ingredients,
            "starts": self.starts,
            "soups": list(self.soups),
            "ensembles": list(self.ensembles),
            "evaluated": self.models,
            "tests": self.tests,
            "tables": self.all_tables,
            "figures": list(self.figures),
        }

    @property
    def estimated(self) -> dict:
        """What the estimate of costs is made from."""
        return estimated(self)


_OF_WEAKER = ["methods", "significance"]


def _rows(names: Iterable[str], made: Mapping, roles: Mapping[str, str]) -> list[str]:
    """Names of rows or roles as rows, each once."""
    return list(dict.fromkeys(row_of(name, made, roles) for name in names))


def _check_tasks(models: Sweep, tasks: Mapping) -> None:
    for name, row in models.rows.items():
        if row["task"] not in (ALL, *tasks):
            known = ", ".join([ALL, *tasks])
            raise UserError(f"sweep: {name} has task = {row['task']!r}, expected one of {known}")


def _evaluated(models: Sweep, entries: Iterable[Mapping], section: Mapping) -> list[str]:
    """Models in a soup or an ensemble, and those that no figure asks for."""
    used = {model for entry in entries for model in entry["ingredients"]}
    for_curves = variants.for_curves(section)
    return [m for m in models.rows if m in used or models.origin[m][1] not in for_curves]


def _tables(roles: Mapping[str, str], folders: Folders | None, published: str | None) -> list[str]:
    tables = ["models", "methods", "significance", "calibration"]
    tables += ["greedy_trace"] if GREEDY in roles else []
    tables += ["data"] if folders else []
    tables += ["real"] if folders and folders.real else []
    tables += ["reproduction"] if published else []
    return tables


def of_experiment(key: str, other: str, name: str, tables: Iterable[str]) -> list[str]:
    """Tables of another experiment, which has to have been run before.

    Args:
        key: the config key that names it, for messages.
        other: its name.
        name: of this experiment.

    Raises:
        UserError: if it is this one, or has not been run.
    """
    if other == name:
        raise UserError(f"{key} has {other!r}, this experiment itself, expected another one")
    paths = [f"results/{other}/tables/{table}.csv" for table in tables]
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise UserError(f"{key} has {other!r}: no {missing[0]}, expected a finished experiment")
    return paths

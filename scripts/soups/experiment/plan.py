"""The plan: everything that the rules need to know, worked out from the configuration.

Snakemake calls `Plan.of` while it parses the workflow, and again before every job. Therefore this
module imports neither torch nor pandas and opens no image. The rules compute nothing themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soups import problems
from soups.errors import UserError
from soups.experiment import catalog, figures, ready_made, replicates, settings, variants
from soups.experiment.assignment import assign, rows_of, with_rows
from soups.experiment.curves import Curves, curves
from soups.experiment.estimated import estimated
from soups.experiment.given import RESERVED
from soups.experiment.parameters import Parameters
from soups.experiment.places import Places, of_experiment, roles_of
from soups.experiment.registry import ACCEPT
from soups.experiment.sources import Checkpoints, Folders
from soups.experiment.stages import STAGE
from soups.experiment.variants import Sweep
from soups.hyperparameters import ALL, START
from soups.problems import Problem
from soups.report.words import Words
from soups.roles import BEST, GREEDY, LEARNED, SECOND_BEST

EVIDENCE = "evidence"  # folder of the evidence run, see tools/replicate.py
NOTHING = "(?!)"  # the pattern that matches no name


@dataclass(frozen=True)
class Plan(Places, Parameters):
    """The models, tables and figures of an experiment.

    `Places` has the files of all of these, and `Parameters` has the parameters of rules.

    Attributes:
        problem: the problem, such as image classification.
        source: what the rules of the problem need to know about its files, or None.
        checkpoints: ready-made models, or None if the models are fine-tuned here.
        sweep: all fine-tuned models.
        tasks: task to its classes.
        references: rows that every method is compared with.
        curves: see `Curves`.
        tables: tables in the report. Each has a caption in a file of its name.
        figures: name of a figure to the figure, in the order of the report.
        available: all tables that figures may be drawn from.
        replicates: tables of effects of the experiments in ``claims.replicates``.
        gpus: GPUs of a job that runs models; 0 if the configuration asks for another device.
        readers: threads of a job that reads training images.
        stage: name of a stage to its number, see `stages`.
        notes: sentences about parts that are left out, for the start of a run.
    """

    problem: Problem
    source: Any
    checkpoints: Checkpoints | None
    sweep: Sweep
    tasks: dict[str, list[str]]
    references: list[str]
    curves: Curves
    tables: list[str]
    figures: dict[str, figures.Figure]
    available: list[str]
    replicates: list[str]
    gpus: int
    readers: int
    stage: Mapping[str, int]
    notes: list[str]

    @classmethod
    def of(cls, config: Mapping, notes: Sequence[str] = ()) -> "Plan":
        """Work out the plan of a configuration.

        Args:
            config: a configuration that `settings.validate` accepts.
            notes: what `settings.validate` returned.

        Raises:
            UserError: for unknown names, or parts that exclude each other.
        """
        name = config["name"]
        results, shared = f"results/{name}", f"results/{config['shared'] or name}"
        starts = settings.starts(config)
        given = config["ingredients"]
        elsewhere = given["source"] == "checkpoints"
        tasks = {task: classes for task, classes in config["tasks"].items() if classes}
        if elsewhere:
            models = Sweep.given(config["sweep"], starts, given["checkpoints"]["files"])
            _check_columns(models, settings.shifts(config))
        else:
            models = Sweep.of(config["sweep"], config["finetune"], starts)
            _check_batch_norm(models, config["compute"])
            _check_tasks(models, tasks)
            _check_meaning(models, problems.of(config))

        sections = {key: config[key] for key in ("soups", "ensembles")}
        chosen = config["roles"]
        roles = assign(sections, chosen)
        asked = {
            key: with_rows(part, sections["soups"], roles, chosen) for key, part in sections.items()
        }
        soups = catalog.soups(asked["soups"], models.pool, models.origins)
        ensembles = catalog.ensembles(asked["ensembles"], soups, models.pool)
        reserved = [*models.rows, *RESERVED]
        catalog.check_names(reserved, soups=soups, ensembles=ensembles)

        made = {**sections["ensembles"], **sections["soups"]}
        ends = catalog.curve_ends(
            rows_of(config["curves"]["wise_ft"]["of"], made, roles, chosen),
            sections["soups"],
            soups,
            {models.origins[model] for model in models.base},
        )
        planned = curves(config["curves"], models, soups, tasks, ends)
        rows = [BEST, SECOND_BEST][: len(models.base)]
        rows += [entry["row"] for entry in [*soups.values(), *ensembles.values()]] + starts
        compared = rows_of(config["compare_with"], made, roles, chosen)
        references = catalog.references(compared, sections.values(), rows)

        claims = config["claims"]
        weaker, weaker_roles = {}, None
        if claims["weaker"]:
            paths = of_experiment("claims.weaker", claims["weaker"], name, _OF_WEAKER)
            weaker = dict(zip(_OF_WEAKER, paths, strict=True))
            weaker_roles = roles_of(claims["weaker"])
        others = claims["replicates"]
        marks = replicates.fingerprints(config, models) if others else {}
        problem = problems.of(config)
        source = problem.source(config["data"])
        tables = _tables(roles, problem.tables(source), config["published"])
        tables += ["doctor"] if elsewhere else []
        further = ["reliability", "effects", "claims", *planned.tables]
        further += ["rejection"] if planned.large else []
        further += ["landscape"] if planned.panels else []
        further += ["weaker_methods"] if weaker else []
        store = settings.store(config)
        drawn = figures.drawn(
            [*tables, *further],
            [role for role, row in roles.items() if row in references],
            Words.of(Parameters(config).words),
        )
        drawn, left_out = _without(drawn, models, planned) if elsewhere else (drawn, [])
        return cls(
            config=config,
            results=results,
            shared=shared,
            shifts=settings.shifts(config),
            store=store,
            problem=problem,
            source=source,
            checkpoints=Checkpoints.of(given["checkpoints"], models) if elsewhere else None,
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
            figures=drawn,
            available=[*tables, *further],
            weaker=weaker,
            weaker_roles=weaker_roles,
            replicates=replicates.effects(others, name, marks),
            gpus=0 if config["compute"]["device"] in ("cpu", "mps") else 1,
            # Packed or folder images are decoded in every epoch, by worker processes.
            readers=1 if store == "array" else 8,
            stage=STAGE,
            notes=[*notes, *left_out],
        )

    @property
    def folders(self) -> Folders | None:
        """Image folders, or None if the images are drawn or the examples are no images."""
        return self.source if isinstance(self.source, Folders) else None

    @property
    def ingredients(self) -> list[str]:
        """All fine-tuned models, variants included."""
        return list(self.sweep.rows)

    @property
    def base(self) -> list[str]:
        """The fine-tuned models of the sweep itself."""
        return list(self.sweep.base)

    @property
    def examined_start(self) -> list[str]:
        """The start of the sweep's models, if it is known and they share it."""
        found = {self.sweep.origins[model] for model in self.base}
        return sorted(found) if len(found) == 1 and found <= set(START.values()) else []

    def recalibrated(self, soup: str) -> int:
        """Held-out images on which the batch statistics of a soup are measured again; 0: none."""
        usual = self.config["model"]["recalibrate_batch_norm"]
        return self.soups[soup].get("recalibrate", usual)

    @property
    def learned(self) -> dict | None:
        """Options of the learned soup of the whole sweep, or None if there is no such soup."""
        made = self.soups.get(self.roles.get(LEARNED))
        return dict(made["options"]) if made else None

    def entry(self, ingredients: Iterable[str] | None = None) -> dict:
        """An entry like those of ``soups`` for a rule that plans a curve.

        Args:
            ingredients: models that the curve may use; None for those of the sweep itself.
        """
        chosen = self.base if ingredients is None else list(ingredients)
        # The greedy soups of curves follow the rule of the row that is the greedy soup.
        greedy = self.soups.get(self.roles.get(GREEDY), {"options": {}})
        accept = {key: greedy["options"][key] for key in ACCEPT if key in greedy["options"]}
        return {"ingredients": chosen, "pool": self.base, "start": None, **accept}

    @property
    def figure_options(self) -> dict:
        """Options of figures. Each function of a figure takes those that it has arguments for."""
        return {
            "large_lr": self.config["curves"]["large_lr"],
            "weaker_roles": self.weaker_roles,
            **self.worded,
        }

    @property
    def real_labels(self) -> list[str]:
        """The file of ImageNet's reassessed labels, if the configuration names one."""
        return [self.folders.real] if self.folders and self.folders.real else []

    @property
    def evidence(self) -> list[str]:
        """Names of the tables that claims are tested with."""
        return ["methods", "significance", "calibration", *self.curves.tables]

    def recorded_evidence(self, home: str) -> list[str]:
        """The verdicts of the evidence run that are kept with the project, if there are any.

        Args:
            home: folder of the project.
        """
        path = Path(home, "results", "recorded", EVIDENCE, "claims.csv")
        makes_it = self.config["name"].split("/")[0] == EVIDENCE
        return [str(path)] if path.is_file() and not makes_it else []

    @property
    def all_tables(self) -> list[str]:
        """Names of the tables that the target `tables` makes."""
        return [*self.tables, *self.curves.tables, "claims"]

    def drawn_by(self, script: str) -> list[str]:
        """Names of the figures that a script draws."""
        return [name for name, figure in self.figures.items() if figure.script == script]

    def figure_inputs(self, name: str) -> dict[str, str]:
        """Argument of a figure's function to the file of its table."""
        tables = self.figures[name].inputs(self.available)
        return {key: self.table(table) for key, table in tables.items()}

    @property
    def prepared_folders(self) -> list[str]:
        """Names of the sets in folders that are decoded into one array each."""
        return [n for n in self.folders.found if n != "train" or self.store == "array"]

    @property
    def announced(self) -> dict:
        """The results that a run makes, for its status, see `jobs.runs.begin`."""
        return {
            "shared": self.config["shared"],
            "rule": "import_checkpoint" if self.checkpoints else "finetune",
            "ingredients": self.ingredients,
            "fingerprints": replicates.fingerprints(self.config, self.sweep),
            "starts": self.starts,
            "soups": list(self.soups),
            "ensembles": list(self.ensembles),
            "evaluated": self.models,
            "tests": self.tests,
            "tables": self.all_tables,
            "figures": list(self.figures),
            "roles": self.roles,
            **self.worded,
        } | ({"files": dict(self.sweep.files)} if self.sweep.files else {})

    @property
    def estimated(self) -> dict:
        """Parameters of the rule that estimates the cost."""
        return estimated(self)


_OF_WEAKER = ["methods", "significance"]


def _check_tasks(models: Sweep, tasks: Mapping) -> None:
    for name, row in models.rows.items():
        if row["task"] not in (ALL, *tasks):
            known = ", ".join([ALL, *tasks])
            raise UserError(f"sweep: {name} has task = {row['task']!r}, expected one of {known}")


def _check_meaning(models: Sweep, problem: Problem) -> None:
    """Check that no model has a hyperparameter that means nothing for the problem."""
    for name, row in models.rows.items():
        for key, wanted in problem.off.items():
            if row.get(key, wanted) != wanted:
                raise UserError(
                    f"sweep: {name} has {key} = {row[key]!r}, expected {wanted!r} because "
                    f"{problem.examples} have no {key}"
                )


# Columns of tables/models.csv that the run itself makes.
_OF_THE_RUN = {
    "model", "variant", "heldout", "test", "shifts_mean", "test_lo", "test_hi", "shifts_mean_lo",
    "shifts_mean_hi",
}  # fmt: skip


def _check_batch_norm(models: Sweep, compute: Mapping) -> None:
    """Refuse settings with which trained batch statistics would not be those of one whole batch."""
    trained = [name for name, row in models.rows.items() if row.get("batch_norm") == "trained"]
    for key, wanted in (("gpus", 1), ("accumulate", 1), ("checkpoint_activations", False)):
        if trained and compute[key] != wanted:
            raise UserError(
                f"compute.{key} is {compute[key]!r} and {trained[0]} has batch_norm = 'trained', "
                f"expected compute.{key}: {str(wanted).lower()}, or finetune.batch_norm: frozen"
            )


def _check_columns(models: Sweep, shifts: Iterable[str]) -> None:
    """Check that the table of ready-made models has no column of the table of results."""
    taken = _OF_THE_RUN.union(shifts)
    for name in next(iter(models.base.values()), {}):
        if not name or name in taken:
            raise UserError(
                f"sweep.table has the column {name!r}, expected another name because "
                "tables/models.csv has a column of this name"
            )


_WORDS = [("figure", "is", "it shows"), ("figures", "are", "they show")]


def _without(
    drawn: dict[str, figures.Figure], models: Sweep, planned: Curves
) -> tuple[dict[str, figures.Figure], list[str]]:
    """Leave out figures that show hyperparameters which are unknown for ready-made models.

    Returns:
        the other figures, and a sentence that names those that are left out, if there are any.
    """
    off = [name for name, each in drawn.items() if each.by_rates and not planned.knows_rates]
    off += ["sweep"] if "sweep" in drawn and not models.varies else []
    if not off:
        return drawn, []
    names, form = ready_made.listed(off), _WORDS[len(off) > 1]
    rest = {name: figure for name, figure in drawn.items() if name not in off}
    return rest, [
        f"The {form[0]} {names} {form[1]} left out, because the hyperparameters that {form[2]} "
        "are not in sweep.table."
    ]


def _evaluated(models: Sweep, entries: Iterable[Mapping], section: Mapping) -> list[str]:
    """Models in a soup or an ensemble, and models of variants that no curve uses."""
    used = {model for entry in entries for model in entry["ingredients"]}
    for_curves = variants.for_curves(section)
    return [m for m in models.rows if m in used or models.origin[m][1] not in for_curves]


def _tables(roles: Mapping[str, str], own: Sequence[str], published: str | None) -> list[str]:
    tables = ["models", "methods", "significance", "calibration"]
    tables += ["greedy_trace"] if GREEDY in roles else []
    tables += own
    tables += ["reproduction"] if published else []
    return tables

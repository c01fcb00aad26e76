"""Checks of the configuration before any job starts, and values that are derived from it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from soups import problems
from soups.errors import UserError, near
from soups.experiment import ready_made, search
from soups.experiment.registry import SECTIONS
from soups.experiment.schema import check, hint, read_yaml
from soups.files import fingerprint
from soups.problems import Problem
from soups.roles import INITIALIZATION, ZEROSHOT

# Metrics of two classes. A test compares them with those of soups/evaluation/metric.py.
OF_TWO_CLASSES = ("f1", "accuracy_and_f1")
# Folders of results/ that no experiment may have.
TAKEN = {
    "recorded": "the results that are kept with the project",
    "published": "the paper's released results",
}

# In the name of an experiment: the preset of texts, and the training domains of images.
PRESET, DOMAINS = "{preset}", "{train}"


def validate(config: dict, schema: str | Path, configfiles: Sequence[str | Path] = ()) -> list[str]:
    """Check the configuration as far as possible without opening an image.

    Text from ``--config 'sweep={random: {n: 20}}'`` that should be a number becomes a number.
    ``only`` in the sections ``soups`` and ``ensembles`` switches off all their other entries.

    Args:
        config: the merged configuration. It is changed in place.
        schema: file of the JSON schema, see `schema.check`.
        configfiles: the files that were merged.

    Returns:
        sentences about parts of the default configuration that are switched off by themselves.

    Raises:
        UserError: one sentence with the key, its value and what was expected.
    """
    _check_keys(config, "")
    fill_in_name(config)
    ready_made.refuse_layout(config)
    only = {section: _take_only(config, section) for section in SECTIONS}
    # The check comes first, so that a misspelled entry is an error even if `only` leaves it out.
    check(config, schema)
    others = {name: _keep_only(config[name], names, name) for name, names in only.items()}
    _check_nulls(config, configfiles, others)
    if (top := config["name"].split("/")[0]) in TAKEN:
        raise UserError(
            f"name is {config['name']!r}, expected another name, because results/{top} holds "
            f"{TAKEN[top]}"
        )
    _check_shared(config)
    _check_sweep(config["sweep"])
    asked = ready_made.Asked(config, Path(schema).parents[2] / "config.yaml", configfiles, only)
    notes = []
    if config["ingredients"]["source"] == "checkpoints":
        given = ready_made.complete(config["ingredients"]["checkpoints"])
        config["ingredients"]["checkpoints"] = given
        ready_made.check(config)
        notes = ready_made.adapt(config, asked)
    _check_source(config["data"])
    problem = problems.of(config)
    notes += _without(config, problem, asked)
    _check_ingredients(config)
    _check_sizes(config)
    names = problem.check(config)
    _check_pretrain(config["pretrain"])
    _check_tasks(config["tasks"], names)
    _check_metric(config, names)
    return notes


def fill_in_name(config: dict) -> None:
    """Replace ``{preset}`` and ``{train}`` in the name of the experiment.

    They stand for ``data.text.preset`` and for ``data.folders.domains.train``, joined by hyphens.

    Raises:
        UserError: if there is no preset, or no training domain.
    """
    name = config.get("name")
    if not isinstance(name, str):
        return
    if DOMAINS in name:
        chosen = _at(config, ("data", "folders", "domains")).get("train")
        names = isinstance(chosen, list) and all(isinstance(each, str) for each in chosen)
        if not (names and chosen):
            raise UserError(
                f"name is {name!r} but data.folders.domains.train is {chosen!r}, expected a list "
                "of domains: --config 'data={folders: {domains: {train: [photo]}}}'"
            )
        name = config["name"] = name.replace(DOMAINS, "-".join(map(_in_name, chosen)))
    if PRESET not in name:
        return
    preset = _at(config, ("data", "text")).get("preset")
    if not isinstance(preset, str):
        raise UserError(
            f"name is {name!r} but data.text.preset is {preset!r}, expected the name of a preset: "
            "--config 'data={text: {preset: rte}}'"
        )
    config["name"] = name.replace(PRESET, preset)


def _in_name(domain: str) -> str:
    """The name of a domain for the name of an experiment.

    Characters that the latter cannot have are replaced, and a hash keeps such names apart.
    """
    made = re.sub(r"[^A-Za-z0-9_-]+|^-", "_", domain)
    return made if made == domain else f"{made.strip('_')}_{fingerprint(domain)[:6]}".lstrip("_")


def _check_keys(value, path: str) -> None:
    """Refuse keys that YAML reads as a number, a truth value or null, because names are text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise UserError(f"config has the key {path}{key!r}, expected text in quotes")
            _check_keys(inner, f"{path}{key}.")


def _take_only(config: dict, section: str) -> list[str] | None:
    """Remove ``only`` from a section, which then holds entries alone, and return its names."""
    entries = config.get(section)
    only = entries.pop("only", None) if isinstance(entries, dict) else None
    names = only is None or (isinstance(only, list) and all(isinstance(n, str) for n in only))
    if not names:
        raise UserError(f"{section}.only is {only!r}, expected a list of names from {section}")
    return only


def _keep_only(entries: dict, only: list[str] | None, section: str) -> list[str]:
    """Switch off all entries of a section, except for those that its ``only`` names.

    Returns:
        the entries that this switches off.
    """
    if only is None:
        return []
    known = [name for name, spec in entries.items() if spec is not None]
    for name in only:
        if name in entries and name not in known:
            raise UserError(
                f"{section}.only has {name!r}, which is switched off by null, expected one of "
                f"{', '.join(known)}"
            )
        if name not in known:
            raise UserError(f"{section}.only has {name!r}{hint(str(name), known)}")
    others = [name for name in known if name not in only]
    entries.update(dict.fromkeys(others))
    return others


# Sections whose entries an overlay may switch off with null.
_OPTIONAL = (
    ("soups",),
    ("ensembles",),
    ("data", "folders", "shifts"),
    ("data", "text", "shifts"),
    ("sweep", "variants"),
    ("tasks",),
    ("curves", "slices"),
)


def _check_nulls(
    config: dict, configfiles: Iterable[str | Path], others: Mapping[str, Sequence[str]]
) -> None:
    """Refuse a name that is set to null, if no configuration file gives it a value.

    Otherwise a misspelled name would silently switch off nothing.

    Args:
        config, configfiles: see `validate`.
        others: section to the entries that its ``only`` switches off.

    Raises:
        UserError: with the name.
    """
    off = {
        path: [n for n, value in _at(config, path).items() if value is None] for path in _OPTIONAL
    }
    if not any(off.values()):
        return
    given = [read_yaml(path) for path in configfiles]
    for path, names in off.items():
        known = {n for part in given for n, value in _at(part, path).items() if value is not None}
        known |= {n for n, value in _at(config, path).items() if value is not None}
        key = ".".join(path)
        known |= set(others.get(key, []))
        if path[0] == "data":
            known |= set(problems.of(config).offered_shifts(config["data"]))
        for name in names if given else ():
            if name not in known:
                end = hint(name, sorted(known)) if known else ""
                raise UserError(
                    f"config key {key}.{name} is null, but {key} has no such entry to switch off"
                    f"{end}"
                )


def _at(config, path: Sequence[str]) -> dict:
    """The section at a path of keys, or an empty one."""
    for key in path:
        config = config.get(key) if isinstance(config, dict) else None
    return config if isinstance(config, dict) else {}


def shifts(config: dict) -> list[str]:
    """Names of the shifts in the order of the configuration, without those set to null."""
    return problems.of(config).shifts(config["data"])


def store(config: dict) -> str:
    """How training examples are stored, see `data.prepared.train_paths`."""
    return problems.of(config).store(config["data"])


def starts(config: dict) -> list[str]:
    """Names of the starting points that are evaluated like other models."""
    if config["ingredients"]["source"] == "checkpoints":
        given = ready_made.complete(config["ingredients"]["checkpoints"])
        return [INITIALIZATION] if given["initialization"] else []
    has = problems.of(config).has_zeroshot(config["model"])
    return ([ZEROSHOT] if has else []) + [INITIALIZATION]


def uses_corpus(config: dict) -> bool:
    """Whether this experiment pre-trains its model."""
    return config["model"]["pretrained"] == "train"


# Keys that experiments of older versions lack, with the values that their data have.
NEW = {"data": {"train_fraction": 1}}


def sections(config: dict) -> dict:
    """The sections that decide the data, the splits, the pre-trained model and the starts."""
    return {key: config[key] for key in ("data", "model", "pretrain", "probe")}


def _check_shared(config: dict) -> None:
    """Check that the shared experiment has the same data and starts as this one.

    Raises:
        UserError: if it does not exist, or if a setting differs.
    """
    if config["shared"] is None:
        return
    made = Path("results") / config["shared"] / "settings.json"
    if not made.is_file():
        raise UserError(
            f"shared is {config['shared']!r} but there is no {made}, expected the name of an "
            "experiment that was run before"
        )
    theirs = json.loads(made.read_text(encoding="utf-8"))
    for section, ours in sections(config).items():
        # An experiment of an older version lacks keys that are new. Its data and starts have their
        # defaults.
        given = NEW.get(section, {}) | theirs[section]
        key = next((k for k, value in given.items() if ours.get(k) != value), None)
        if key:
            raise UserError(
                f"{section}.{key} differs from that of the shared experiment "
                f"{config['shared']!r}, expected the same value, or shared: null"
            )


def _check_ingredients(config: dict) -> None:
    """Check settings that depend on whether models are fine-tuned here."""
    if config["ingredients"]["source"] == "checkpoints":
        return
    if config["model"]["pretrained"] is None:
        raise UserError(
            "model.pretrained is null, expected pre-trained weights because "
            "ingredients.source is 'train'"
        )
    if config["sweep"]["kind"] == "files":
        raise UserError(
            "sweep.kind is 'files' but ingredients.source is 'train', expected 'checkpoints'"
        )
    heldout = config["data"]["heldout"]
    if heldout["fraction"] == 1 and not heldout["per_class"] and not heldout["indices"]:
        raise UserError(
            "data.heldout.fraction is 1, expected less than 1 because ingredients.source is 'train'"
        )


def _check_sizes(config: dict) -> None:
    """Check the numbers of examples that other settings decide."""
    data, drawn = config["data"], config["curves"].get("heldout_size")
    most = data["heldout"]["per_class"]
    if drawn and most and max(drawn["per_class"]) > most:
        raise UserError(
            f"curves.heldout_size.per_class has {max(drawn['per_class'])}, expected at most "
            f"data.heldout.per_class, which is {most}"
        )
    if config["ingredients"]["source"] == "checkpoints" and data.get("train_fraction", 1) != 1:
        raise UserError(
            f"data.train_fraction is {data['train_fraction']}, expected 1 because nothing is "
            "trained with ingredients.source 'checkpoints'"
        )


def _check_source(data: Mapping) -> None:
    """Refuse a section that the source of the data does not read."""
    for key in ("folders", "text"):
        if data[key] and data["source"] != key:
            raise UserError(
                f"data.source is {data['source']!r}, expected {key!r} because there are settings "
                f"in data.{key}, or data.{key}: null"
            )


def _without(config: dict, problem: Problem, asked: ready_made.Asked) -> list[str]:
    """Leave out hyperparameters of the default sweep that mean nothing for this problem.

    `experiment.plan` refuses all others that a row of the sweep has.

    Args:
        config: the merged configuration. It is changed in place.
        problem: the problem.
        asked: tells the user's own settings from the default ones.

    Returns:
        one sentence that names them, or nothing.
    """
    parameters = config["sweep"]["random"]["parameters"]
    off = [
        name
        for name in problem.off
        if parameters.get(name) is not None and not asked("sweep", "random", "parameters", name)
    ]
    parameters |= dict.fromkeys(off)
    if not off or config["sweep"]["kind"] != "random":
        return []
    return [f"The sweep leaves out {ready_made.listed(off)}, which {problem.examples} do not have."]


def _check_sweep(sweep: dict) -> None:
    kind = sweep["kind"]
    if kind != "files" and not sweep[kind]:
        raise UserError(f"sweep.kind is {kind!r} but sweep.{kind} is empty")
    search.check(sweep["random"])


def _check_pretrain(pretrain: dict) -> None:
    epochs, horizon, cooldown = (pretrain[key] for key in ("epochs", "horizon", "cooldown"))
    if not cooldown <= epochs <= horizon:
        raise UserError(
            f"pretrain has cooldown {cooldown}, epochs {epochs} and horizon {horizon}, "
            "expected cooldown <= epochs <= horizon"
        )
    if pretrain["warmup"] * horizon > epochs - cooldown:
        raise UserError(
            f"pretrain.warmup is {pretrain['warmup']} of {horizon} epochs, expected the warmup to "
            f"end before the cooldown begins after {epochs - cooldown} epochs"
        )


def _check_tasks(tasks: dict, classes: Sequence[str]) -> None:
    for task, members in tasks.items():
        for name in members or []:
            if name not in classes:
                raise UserError(
                    f"tasks.{task} has {name!r}, expected the name of a class{near(name, classes)}"
                )
    if "all" in tasks:
        raise UserError(
            "tasks has the name 'all', expected another one because the task of all classes has "
            "this name"
        )


def _check_metric(config: dict, classes: Sequence[str]) -> None:
    """Check the metric against the classes and against published accuracies.

    Args:
        config: the configuration.
        classes: names of the training classes.
    """
    metric = config["metric"] or problems.of(config).metric(config["data"])
    if metric != "accuracy" and config["published"]:
        raise UserError(
            f"metric is {metric!r} but published is {config['published']!r}, expected the metric "
            "accuracy, because the file holds accuracies"
        )
    if metric not in OF_TWO_CLASSES:
        return
    if len(classes) != 2:
        raise UserError(
            f"metric is {metric!r}, which needs two classes, but the training set has "
            f"{len(classes)}, expected macro_f1, matthews or accuracy"
        )
    if tasks := [name for name, members in config["tasks"].items() if members]:
        raise UserError(
            f"metric is {metric!r}, which needs two classes, but tasks.{tasks[0]} is a part of "
            "them, expected macro_f1, matthews or accuracy, or no tasks"
        )

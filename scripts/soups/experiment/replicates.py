"""Replicates: other experiments whose effects are averaged with those of this one.

An interval over sweeps takes the sweeps for independent. It would be far too narrow if a model
counted in two of them, so replicates with equal models are refused. The plan of every run names
its models and their fingerprints, see `jobs.runs`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from soups import files
from soups.errors import UserError
from soups.experiment import settings
from soups.experiment.places import of_experiment
from soups.experiment.variants import Sweep

KEY = "claims.replicates"
PLAN = "plan.json"  # of a run, see `jobs.runs`


def fingerprints(config: Mapping, sweep: Sweep) -> dict[str, str]:
    """Model to a fingerprint of everything that decides its weights, apart from ``compute``.

    Args:
        config: the configuration.
        sweep: its models.
    """
    given = config["ingredients"]
    made = {"starts": settings.sections(config), "source": given["source"]}
    if given["source"] == "checkpoints":
        made |= {"checkpoints": given["checkpoints"]}
    shared = files.fingerprint(made)
    rows = {name: {"shared": shared, **sweep.trained(name)} for name in sweep.rows}
    if given["source"] == "checkpoints":  # their rows may be empty
        rows = {name: row | {"file": sweep.files.get(name, name)} for name, row in rows.items()}
    return {name: files.fingerprint(row)[:16] for name, row in rows.items()}


def effects(names: Sequence[str], name: str, ours: Mapping[str, str]) -> list[str]:
    """The tables of effects of all replicates.

    Args:
        names: the replicates.
        name: name of this experiment.
        ours: the fingerprints of its models.

    Raises:
        UserError: if a replicate is not finished, or if two experiments have equal models.
    """
    paths = [of_experiment(KEY, other, name, ["effects"])[0] for other in names]
    known = {mark: (name, model) for model, mark in ours.items()}
    for other in names:
        theirs = _fingerprints_of(other)
        copies = [model for model, mark in theirs.items() if mark in known]
        if copies:
            first, model = known[theirs[copies[0]]]
            raise UserError(
                f"{KEY} has {other!r}, of which {len(copies)} of {len(theirs)} models are those of "
                f"another sweep ({copies[0]} is {model} of {first}), expected a sweep of other "
                "models (another sweep.random.seed)"
            )
        known |= {mark: (other, model) for model, mark in theirs.items()}
    return paths


def _fingerprints_of(other: str) -> dict[str, str]:
    path = Path("results") / other / PLAN
    found = files.read_json(path).get("fingerprints") if path.is_file() else None
    if found is None:
        raise UserError(
            f"{KEY} has {other!r} but {path} does not say which models it has, expected a run of "
            "this version (--forcerun claims repeats the last step)"
        )
    return found

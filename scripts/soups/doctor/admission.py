"""Which models can be averaged at all, as their files and held-out logits say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from soups.data.prepared import PreparedSet
from soups.doctor import verdicts
from soups.doctor.verdicts import Verdict
from soups.errors import UserError
from soups.mixing.mix import check_compatible
from soups.models.batch_norm import Settle, settler
from soups.models.checkpoints import Checkpoint


@dataclass
class Patients:
    """The models and the held-out examples.

    Attributes:
        paths: id to the file of weights, in the order of the sweep.
        logits: reads the held-out logits of a model, shape (n, classes).
        labels: labels of the held-out examples, shape (n,).
        inputs: the held-out examples, as the model takes them; may be a memory map.
        make_model: builds a classifier from the file of one model.
        settle: gives a mixed model its batch statistics, see `batch_norm`.
        start: the file of θ₀, or None if it is unknown.
        start_logits: held-out logits of θ₀, or None.
        examples: the word for held-out examples.
    """

    paths: Mapping[str, str | Path]
    logits: Callable[[str], np.ndarray]
    labels: np.ndarray
    inputs: np.ndarray
    make_model: Callable[[str | Path], nn.Module]
    settle: Settle
    start: str | Path | None = None
    start_logits: np.ndarray | None = None
    examples: str = "images"

    @classmethod
    def of_job(cls, job) -> "Patients":
        """From a job of the rule `diagnose`."""
        from soups.models.classifier import load_classifier  # The import takes seconds.

        heldout, models = PreparedSet(job.input.heldout[0]), job.params.models
        logits = dict(zip(models, job.input.logits, strict=True))
        return cls(
            paths=dict(zip(models, job.input.weights, strict=True)),
            logits=lambda model: np.load(logits[model]),
            labels=heldout.labels,
            inputs=heldout.inputs,
            make_model=lambda weights: load_classifier(job.input.pretrained, weights),
            settle=settler(heldout.inputs, job.params.recalibrate),
            start=next(iter(job.input.start), None),
            start_logits=np.load(job.input.start_logits[0]) if job.input.start_logits else None,
            examples=heldout.problem.examples,
        )


def mixable(patients: Patients, found: dict[str, Verdict]) -> list[str]:
    """Models whose tensors and starts agree. The verdicts on the others go to ``found``."""
    checkpoints = {}
    for name, path in patients.paths.items():
        checkpoint = Checkpoint(path)
        why = checkpoint.left_out
        if why is None and not np.isfinite(patients.logits(name)).all():
            reason = "Its held-out logits are not all finite."
            why = {"verdict": verdicts.DIVERGED, "reason": reason}
        if why:
            reason = _sentence(why["reason"])
            found[name] = verdicts.left_out(name, why["verdict"], reason, patients.examples)
        else:
            checkpoints[name] = checkpoint
    if not checkpoints:
        return []
    kinds = [(c.shapes(), c.note.get("pretrained")) for c in checkpoints.values()]
    first = list(checkpoints.values())[max(range(len(kinds)), key=lambda i: kinds.count(kinds[i]))]
    for name, checkpoint in checkpoints.items():
        try:
            check_compatible(first, checkpoint)
        except UserError as error:
            verdict = _mismatch(first, checkpoint)
            found[name] = verdicts.left_out(name, verdict, f"{error}.", patients.examples)
    return [name for name in checkpoints if name not in found]


def _mismatch(first: Checkpoint, other: Checkpoint) -> str:
    ours, theirs = first.shapes(), other.shapes()
    wrong = {name for name in ours | theirs if ours.get(name) != theirs.get(name)}
    if not wrong:
        return verdicts.OTHER_INITIALISATION
    heads = all(name.startswith("head.") for name in wrong)
    return verdicts.OTHER_CLASSES if heads else verdicts.OTHER_ARCHITECTURE


def _sentence(reason: str) -> str:
    """A reason with a capital letter, unless it begins with a file, and with a full stop."""
    if reason.split(" ", 1)[0].isalpha():
        reason = reason[0].upper() + reason[1:]
    return reason if reason.endswith(".") else f"{reason}."

"""Training that survives being killed: state kept beside the results, keyed by the recipe.

Snakemake deletes a job's outputs before it runs again, so the state lives in a folder
of its own and is removed once the job has written its outputs.
"""

import logging
from pathlib import Path
from pickle import UnpicklingError

import torch

from soups.files import fingerprint, replacing

log = logging.getLogger("soups")


class Resumable:
    """The saved state of one training run.

    Args:
        folder: where states lie, e.g. ``results/miniature/.state``.
        identity: everything the result depends on; another identity never resumes from this one.
    """

    def __init__(self, folder: str | Path, identity: dict) -> None:
        key = fingerprint(identity | {"torch": torch.__version__})
        self.path = Path(folder) / f"{key[:32]}.pt"

    def restore(self, **parts) -> int:
        """Load the saved state into ``parts``; returns how many epochs are done (0 if none)."""
        if not self.path.exists():
            return 0
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, UnpicklingError) as error:
            log.info("%s is unreadable (%s): starting from the beginning", self.path, error)
            return 0
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        torch.set_rng_state(saved["rng"])
        log.info("resumed after epoch %d from %s", saved["epoch"], self.path)
        return saved["epoch"]

    def keep(self, epoch: int, **parts) -> None:
        """Save after an epoch."""
        saved = {name: part.state_dict() for name, part in parts.items()}
        with replacing(self.path) as aside:
            torch.save(saved | {"epoch": epoch, "rng": torch.get_rng_state()}, aside)

    def remove(self) -> None:
        """Called when the outputs are safe."""
        self.path.unlink(missing_ok=True)


class GeneratorState:
    """A generator with the two methods a checkpoint wants."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def state_dict(self) -> dict:
        return {"state": self._generator.get_state()}

    def load_state_dict(self, saved: dict) -> None:
        self._generator.set_state(saved["state"])

"""Training that survives being killed: state kept beside the results, keyed by the recipe.

Snakemake deletes a job's outputs before it runs again, so the state lives in a folder
of its own and is removed once the job has written its outputs.
"""

import logging
from pathlib import Path
from pickle import UnpicklingError

import torch

from soups import devices, distributed
from soups.errors import UserError
from soups.files import fingerprint, replacing

log = logging.getLogger("soups")
FORMAT = 2  # of the files; those of another are left alone


class Resumable:
    """The saved state of one training run.

    Of several processes all restore it and the first one writes it, with the state of every
    process's random numbers.

    Args:
        folder: where states lie, e.g. ``results/miniature/.state``.
        identity: everything the result depends on; another identity never resumes from this one.
    """

    def __init__(self, folder: str | Path, identity: dict) -> None:
        key = fingerprint(identity | {"torch": torch.__version__, "format": FORMAT})
        self.path = Path(folder) / f"{key[:32]}.pt"

    def restore(self, **parts) -> int:
        """Load the saved state into ``parts``; returns how many epochs are done (0 if none)."""
        saved = self._read()
        # A process that cannot read what the others can must not train on from elsewhere.
        epochs = distributed.gather(saved["epoch"] if saved else 0)
        if len(set(epochs)) > 1:
            raise UserError(f"{self.path}: read by some processes only, expected by all or none")
        if not saved:
            return 0
        own = saved["own"][distributed.rank()]
        for name, part in parts.items():
            part.load_state_dict((own if name in own else saved)[name])
        torch.set_rng_state(own["rng"])
        if own["cuda"] is not None:
            torch.cuda.set_rng_state(own["cuda"], devices.device())
        log.info("resumed after epoch %d from %s", saved["epoch"], self.path)
        return saved["epoch"]

    def _read(self) -> dict | None:
        if not self.path.exists():
            return None
        try:
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, UnpicklingError) as error:
            log.info("%s is unreadable (%s): starting from the beginning", self.path, error)
            return None

    def keep(self, epoch: int, **parts) -> None:
        """Save after an epoch."""
        own = {
            n: part.state_dict() for n, part in parts.items() if isinstance(part, GeneratorState)
        }
        gpu = devices.kind() == "cuda"
        cuda = torch.cuda.get_rng_state(devices.device()) if gpu else None
        each = distributed.gather(own | {"rng": torch.get_rng_state(), "cuda": cuda})
        if distributed.rank():
            return
        saved = {name: part.state_dict() for name, part in parts.items() if name not in own}
        with replacing(self.path) as aside:
            torch.save(saved | {"epoch": epoch, "own": each}, aside)

    def remove(self) -> None:
        """Called when the outputs are safe."""
        self.path.unlink(missing_ok=True)


class GeneratorState:
    """A process's own generator with the two methods a checkpoint wants."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def state_dict(self) -> dict:
        return {"state": self._generator.get_state()}

    def load_state_dict(self, saved: dict) -> None:
        self._generator.set_state(saved["state"])

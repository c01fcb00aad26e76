"""Training that survives being killed: state kept beside the results, keyed by the recipe.

Snakemake deletes a job's outputs before it runs again, so the state lives in a folder
of its own and is removed once the job has written its outputs.
"""

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch

from soups.errors import UserError
from soups.files import fingerprint, replacing
from soups.jobs import devices, distributed, runs

log = logging.getLogger("soups")
FORMAT = 4  # of the files; those of another are left alone

# How a cluster says that it takes the machine away; Ctrl-C; a terminal that is closed.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


class Own:
    """A part of the state that every process has for itself; other parts are alike in all."""


class Resumable:
    """The saved state of one training run.

    Of several processes all restore it and the first one writes it, with the state of every
    process's random numbers.

    Args:
        folder: where states lie, e.g. ``results/miniature/.state``.
        identity: everything the result depends on; another identity never resumes from this one.
        name: of what is trained, in that folder. It has one state: where the identity has changed,
            the one that nobody will ask for again goes when the new one is written.
    """

    def __init__(self, folder: str | Path, identity: dict, name: str = "run") -> None:
        self._key = fingerprint(identity | {"torch": torch.__version__, "format": FORMAT})
        self._name = name
        self.path = Path(folder) / runs.state_name(name, self._key[:32])
        self._told = False

    def restore(self, /, **parts) -> int:
        """Load the saved state into ``parts``.

        Args:
            parts: objects with a ``state_dict``, by the names that `keep` gives them.

        Returns:
            how many steps are done, 0 if there is no state that can be used.

        Raises:
            UserError: if not all processes read the same.
        """
        saved = self._read()
        # A process that cannot read what the others can must not train on from elsewhere.
        done = distributed.gather(saved["done"] if saved else 0)
        if len(set(done)) > 1:
            raise UserError(f"{self.path}: read by some processes only, expected by all or none")
        if not saved:
            return 0
        own = saved["own"][distributed.rank()]
        for name, part in parts.items():
            part.load_state_dict((own if isinstance(part, Own) else saved)[name])
        torch.set_rng_state(own["rng"])
        if own["cuda"] is not None and devices.kind() == "cuda":
            torch.cuda.set_rng_state(own["cuda"], devices.device())
        log.info("resumed after step %d from %s", saved["done"], self.path)
        return saved["done"]

    def _read(self) -> dict | None:
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, MemoryError):
            raise  # the file may be sound: it must not be replaced
        except Exception as error:  # of a torn or a foreign file: zip's, pickle's, torch's, ...
            reason = str(error).partition("\n")[0]
            log.info("%s is unreadable (%s): starting from the beginning", self.path, reason)
            return None
        ours = isinstance(saved, dict) and saved.get("key") == self._key
        if not ours or len(saved["own"]) != distributed.world():
            log.info("%s is not a state of this run: starting from the beginning", self.path)
            return None
        return saved

    def keep(self, done: int, /, **parts) -> None:
        """Save after so many steps; to be called by all processes."""
        begin = time.monotonic()
        own = {name: p.state_dict() for name, p in parts.items() if isinstance(p, Own)}
        gpu = devices.kind() == "cuda"
        cuda = torch.cuda.get_rng_state(devices.device()) if gpu else None
        each = distributed.gather(own | {"rng": torch.get_rng_state(), "cuda": cuda})
        if distributed.rank():
            return
        saved = {name: part.state_dict() for name, part in parts.items() if name not in own}
        with replacing(self.path) as aside:
            torch.save(saved | {"key": self._key, "done": done, "own": each}, aside)
        for other in set(runs.states(self.path.parent, self._name)) - {self.path}:
            other.unlink(missing_ok=True)
        if not self._told:
            self._told = True
            size, seconds = self.path.stat().st_size / 1e6, time.monotonic() - begin
            log.info("state of %.1f MB saved in %.1f s", size, seconds)

    def remove(self) -> None:
        """Called when the outputs are safe."""
        self.path.unlink(missing_ok=True)


class Keeper:
    """Saves the state of a training run from time to time, and when it is told to go.

    As a context: inside, `SIGNALS` end the process only after the step at hand, with its state
    saved and the exit status `distributed.STOPPED`. One that comes after the last step has its
    usual effect when the context ends. One that was ignored before (`nohup`) stays so.

    Args:
        state: where it is saved.
        minutes: between two times, at least; but always at the end of an epoch.
        parts: what `Resumable.keep` saves.
        clock: seconds, from anywhere on.
    """

    def __init__(
        self,
        state: Resumable,
        minutes: float,
        parts: dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._seconds, self._parts, self._clock = state, 60 * minutes, parts, clock
        self._saved, self._signal = clock(), 0

    def __enter__(self) -> "Keeper":
        heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, kind, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        if kind is None and self._signal:
            signal.raise_signal(self._signal)

    def _note(self, number: int, _) -> None:
        self._signal = max(self._signal, number)

    def after(self, done: int, epoch: bool = False) -> None:
        """Save if it is time to; to be called by all processes after every step.

        Args:
            done: steps.
            epoch: whether the step was the last one of an epoch.

        Raises:
            SystemExit: if one of the processes got a signal.
        """
        # Processes look at clocks of their own, and perhaps only one of them got the signal.
        late = self._clock() - self._saved >= self._seconds
        wish = distributed.highest(2 * self._signal + late)
        if not (wish or epoch):
            return
        self._state.keep(done, **self._parts)
        self._saved = self._clock()
        if number := wish // 2:
            distributed.gather(None)  # the first one writes: the others must not end it by going
            name = signal.Signals(number).name
            log.info("stopped by %s after step %d: run again, the job goes on here", name, done)
            raise SystemExit(distributed.STOPPED)


class Losses(list, Own):
    """A process's losses of an epoch's steps so far: 0-dimensional tensors."""

    def state_dict(self) -> dict:
        return {"losses": torch.stack(self).cpu() if self else torch.zeros(0)}

    def load_state_dict(self, saved: dict) -> None:
        self[:] = saved["losses"].to(devices.device())


class GeneratorState(Own):
    """A process's own generator with the two methods a checkpoint wants."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def state_dict(self) -> dict:
        return {"state": self._generator.get_state()}

    def load_state_dict(self, saved: dict) -> None:
        self._generator.set_state(saved["state"])

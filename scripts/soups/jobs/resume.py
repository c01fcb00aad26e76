"""Training that survives being killed: its state is saved beside the results.

Snakemake deletes the outputs of a job before it runs the job again. The state therefore lies in a
folder of its own, and the job removes it once the outputs are written.

Training waits only until the state is copied in memory. A thread writes the copy to the disk.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from soups.errors import UserError
from soups.files import fingerprint, replacing
from soups.jobs import devices, distributed, events, runs
from soups.jobs.background import Background, copied

log = logging.getLogger("soups")
FORMAT = 4  # of the files; a state of another format is never loaded

# Clusters send SIGTERM or SIGUSR1 before they take a machine away. Ctrl-C sends SIGINT, and a
# terminal that closes sends SIGHUP.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


class Own:
    """Base of the parts of a state that differ between processes; all other parts are equal."""


class Resumable:
    """The saved state of one training run.

    All processes of a run restore the state. The first process writes it, with the random states
    of every process.

    Args:
        folder: of the states, e.g. ``results/miniature/.state``.
        identity: everything that the result depends on. A run resumes only from a state with an
            equal identity.
        name: of the model, unique in the folder. A model has one state: writing the state of a
            changed identity removes the old one, which no run can use any more.
    """

    def __init__(self, folder: str | Path, identity: dict, name: str = "run") -> None:
        self._key = fingerprint(identity | {"torch": torch.__version__, "format": FORMAT})
        self._name = name
        self.path = Path(folder) / runs.state_name(name, self._key[:32])
        self._logged = False
        self._writing = Background()

    def restore(self, /, **parts) -> int:
        """Load the saved state into ``parts``.

        Args:
            parts: objects with a ``state_dict``, by the names that `keep` gives them.

        Returns:
            the number of steps that are done, 0 if no usable state exists.

        Raises:
            UserError: if some processes can read the state and others cannot.
        """
        self.wait()
        saved = self._read()
        # All processes must begin at the same step.
        done = distributed.gather(saved["done"] if saved else 0)
        if len(set(done)) > 1:
            raise UserError(
                f"{self.path}: only some processes can read this file, expected all or none"
            )
        if not saved:
            return 0
        own = saved["own"][distributed.rank()]
        for name, part in parts.items():
            part.load_state_dict((own if isinstance(part, Own) else saved)[name])
        torch.set_rng_state(own["rng"])
        if own["cuda"] is not None and devices.kind() == "cuda":
            torch.cuda.set_rng_state(own["cuda"], devices.device())
        log.info("resumed after step %d from %s", saved["done"], self.path)
        events.emit("resumed", step=saved["done"])
        return saved["done"]

    def _read(self) -> dict | None:
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, MemoryError):
            raise  # the file may be intact, so it must not be replaced
        except Exception as error:  # zip, pickle and torch raise many types for a broken file
            reason = str(error).partition("\n")[0]
            log.info("%s is unreadable (%s): starting from the beginning", self.path, reason)
            return None
        ours = isinstance(saved, dict) and saved.get("key") == self._key
        if not ours or len(saved["own"]) != distributed.world():
            log.info("%s is not a state of this run: starting from the beginning", self.path)
            return None
        return saved

    def keep(self, done: int, /, **parts) -> None:
        """Copy the state and begin to write it. All processes must call this.

        The state file is replaced when its successor is complete. `wait` returns after that.

        Args:
            done: number of steps that are done.
            parts: objects with a ``state_dict``, by name.

        Raises:
            UserError: if the state before could not be written.
        """
        self.wait()
        begin = time.monotonic()
        own = {name: p.state_dict() for name, p in parts.items() if isinstance(p, Own)}
        gpu = devices.kind() == "cuda"
        cuda = torch.cuda.get_rng_state(devices.device()) if gpu else None
        each = distributed.gather(own | {"rng": torch.get_rng_state(), "cuda": cuda})
        if distributed.rank():
            return
        saved = {name: part.state_dict() for name, part in parts.items() if name not in own}
        saved = copied(saved) | {"key": self._key, "done": done, "own": each}
        self._writing.start(self._write, saved, time.monotonic() - begin)

    @property
    def busy(self) -> bool:
        """Whether a state is being written."""
        return self._writing.busy

    def wait(self) -> None:
        """Wait until the latest state is on the disk.

        Raises:
            UserError: if it could not be written.
        """
        self._writing.wait()

    def _write(self, saved: dict, copying: float) -> None:
        """Write a state, and remove the states of other identities.

        Args:
            saved: the state, which nothing changes any more.
            copying: seconds for which training waited.
        """
        begin = time.monotonic()
        try:
            with replacing(self.path) as aside:
                torch.save(saved, aside)
                with aside.open("rb") as file:
                    os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            raise UserError(f"{self.path}: the state cannot be written ({error})") from error
        for other in set(runs.states(self.path.parent, self._name)) - {self.path}:
            other.unlink(missing_ok=True)
        megabytes = self.path.stat().st_size / 1e6
        events.emit("saved", step=saved["done"], megabytes=megabytes)
        if not self._logged:  # one line in the log is enough for people
            self._logged = True
            seconds = time.monotonic() - begin
            log.info(
                "state of %.1f MB copied in %.2f s, written in %.1f s while training goes on",
                *(megabytes, copying, seconds),
            )

    def remove(self) -> None:
        """Remove the state. Call this after the outputs are written."""
        with suppress(UserError):  # the outputs are there, so nothing is lost
            self.wait()
        self.path.unlink(missing_ok=True)


class Keeper:
    """Saves the state of a training run at intervals, and when a signal asks the run to end.

    Inside the context, a signal of `SIGNALS` ends the process after the current step, with its
    state saved and the exit status `distributed.STOPPED`. A signal after the last step has its
    usual effect when the context ends. The context does not change signals that the process
    ignores (`nohup`).

    Args:
        state: the saved state.
        minutes: least interval between two saves. The end of an epoch saves as well. If the state
            before is still being written, training goes on, and the first step that finds it
            written saves.
        parts: what `Resumable.keep` saves.
        clock: seconds since any fixed moment.
    """

    def __init__(
        self,
        state: Resumable,
        minutes: float,
        parts: dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._seconds, self._parts, self._clock = state, 60 * minutes, parts, clock
        self._saved, self._signal, self._due = clock(), 0, False

    def __enter__(self) -> "Keeper":
        heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            self._state.wait()
        except UserError as error:
            if kind is None:
                raise
            log.info("%s", error)  # the error that ends the training says more
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler or signal.SIG_DFL)
        if kind is None and self._signal:
            signal.raise_signal(self._signal)

    def _note(self, number: int, _) -> None:
        self._signal = max(self._signal, number)

    def after(self, done: int, epoch: bool = False, last: bool = False) -> None:
        """Save the state if it is time to. All processes must call this after every step.

        Args:
            done: number of steps that are done.
            epoch: whether the step was the last one of an epoch.
            last: whether the step was the last one of the run, whose state is always saved.

        Raises:
            SystemExit: if one of the processes got a signal.
            UserError: if the state before could not be written.
        """
        self._due = self._due or epoch or self._clock() - self._saved >= self._seconds
        # The first process writes, so it alone knows whether the state before is written. A signal
        # may reach only one process.
        now = self._due and not distributed.rank() and not self._state.busy
        wish = distributed.highest(2 * self._signal + now)
        if not (wish or last):
            return
        self._state.keep(done, **self._parts)
        self._saved, self._due = self._clock(), False
        if number := wish // 2:
            self._state.wait()
            # The first process writes the state, and the launcher ends it if another one exits.
            distributed.gather(None)
            name = signal.Signals(number).name
            log.info("stopped by %s after step %d: the next run resumes here", name, done)
            events.emit("stopped", signal=name, step=done)
            raise SystemExit(distributed.STOPPED)


class Losses(list, Own):
    """The losses of the current epoch's steps in this process, as 0-dimensional tensors."""

    def state_dict(self) -> dict:
        return {"losses": torch.stack(self).cpu() if self else torch.zeros(0)}

    def load_state_dict(self, saved: dict) -> None:
        self[:] = saved["losses"].to(devices.device())


class GeneratorState(Own):
    """A process's own random generator, with the two methods that a state needs."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def state_dict(self) -> dict:
        return {"state": self._generator.get_state()}

    def load_state_dict(self, saved: dict) -> None:
        self._generator.set_state(saved["state"])

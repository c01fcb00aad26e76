"""One fine-tune on several GPUs of one machine: a process each, gradients averaged by torch's DDP.

Every process does the same to its part of each batch; the first one alone logs, saves and
writes. Random changes of whole batches (`augment`, `mixup`) are drawn by each process for
its part, so that they are as random as one process's, but not the same.
"""

import json
import logging
import os
import signal
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from soups import files
from soups.errors import UserError
from soups.jobs import compute, devices, job, slots

# Gloo for what lies in memory: asking whether to save must not wait for a GPU.
BACKENDS = {"cuda": "cpu:gloo,cuda:nccl", "cpu": "gloo"}

GRACE = 300  # seconds that processes have to save their state once the job has to go
STOPPED = 128 + signal.SIGTERM  # exit status of a job that is to be run again


def rank() -> int:
    """Which of the processes this is; 0 if it is alone."""
    return dist.get_rank() if _together() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _together() else 1


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def part(batch: np.ndarray) -> np.ndarray:
    """What this process takes of a batch."""
    return batch if world() == 1 else np.array_split(batch, world())[rank()]


def gather(value) -> list:
    """Every process's value, by rank; to be called by all of them."""
    if world() == 1:
        return [value]
    values = [None] * world()
    dist.all_gather_object(values, value)
    return values


def total(value: Tensor) -> Tensor:
    """The sum over all processes; to be called by all of them."""
    if world() > 1:
        dist.all_reduce(value := value.clone())
    return value


def highest(number: int) -> int:
    """The largest of all processes' numbers; to be called by all of them."""
    if world() > 1:
        dist.all_reduce(value := torch.tensor(number), dist.ReduceOp.MAX)
        return int(value)
    return number


def averaging(model: nn.Module) -> nn.Module:
    """The model, such that gradients are averaged over the processes when it goes backward."""
    if world() == 1:
        return model
    device = devices.device()
    ids = [device.index] if device.type == "cuda" else None
    # Buffers do not change: statistics of batch normalisation are frozen.
    return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)


def spread(main: Callable, task) -> None:
    """Call ``main(task)`` in as many processes as `compute.gpus` says; in this one if that is 1.

    Started by torch's elastic launcher, as torchrun does: if one process fails, it ends the
    others; a signal that this process gets, it hands on to them.

    Args:
        main: a function of a module that can be imported.
        task: the `snakemake` object.

    Raises:
        UserError: if there are not so many GPUs, or a process raised one.
        RuntimeError: if a process failed otherwise.
        SystemExit: if a signal ended them.
    """
    count = compute.current().gpus
    if count == 1:
        main(task)
        return
    if 0 < (given := slots.asked(task)) < count:
        raise UserError(
            f"compute.gpus is {count}, but snakemake gives the job {given} (--resources gpu), "
            f"expected at least {count}"
        )
    check()
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GRACE))
    # Not needed by a single process, and slow to import.
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What failed is told once, below.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        local_addr="localhost",
        max_restarts=0,
        start_method="spawn",
        signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    )
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "failure.json"
        try:
            elastic_launch(config, _work)(main, plain(task, count), said)
        except SignalException as error:
            job.log.info("ended by %s", error.sigval.name)
            raise SystemExit(STOPPED) from None
        except ChildFailedError as error:
            number, failure = error.get_first_failure()
            if failure.exitcode == STOPPED:
                raise SystemExit(STOPPED) from None
            # SIGTERM is how the launcher ends the others.
            killed = failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
            if killed or not said.exists():
                raise RuntimeError(
                    f"process {number} of the fine-tune failed: {failure.message}"
                ) from None
            failed = files.read_json(said)
            kind = UserError if failed["user"] else RuntimeError
            raise kind(failed["text"]) from None


def check() -> None:
    """Whether this machine has the devices that the configuration names; takes no memory of them.

    Raises:
        UserError: if not.
    """
    kind, chosen, count = devices.kind(), compute.current().device, compute.current().gpus
    if kind == "cuda":
        devices.cuda_number()
    if count == 1:
        return
    if (kind, chosen) == ("cpu", "auto"):
        raise UserError(
            f"compute.gpus is {count}, but torch sees no GPU; expected 1, "
            "or compute.device: cpu for processes without GPUs"
        )
    if kind not in BACKENDS:
        raise UserError(f"compute.gpus is {count}, but a device {kind!r} is one, expected 1")
    if ":" in chosen:
        raise UserError(f"compute.gpus is {count}, but compute.device is {chosen!r}, expected cuda")
    if kind == "cuda" and torch.cuda.device_count() < count:
        here = torch.cuda.device_count()
        raise UserError(f"compute.gpus is {count}, but torch sees {here} CUDA devices")


def _work(main: Callable, task: SimpleNamespace, said: Path) -> None:
    """One process of a fine-tune; if it fails, it says why in a file."""
    try:
        compute.configure(task.config.get("compute", {}))
        dist.init_process_group(BACKENDS[devices.kind()])
        devices.device()  # now that it has a number, this process knows its GPU
        job.limit_threads(task.threads)
        if rank() == 0:
            job.log_to(task.log[0])
        main(task)
    except Exception as error:
        _say(said, error)
        raise
    dist.destroy_process_group()


def _say(said: Path, error: Exception) -> None:
    """Leave the reason of the first failure; what others see is its consequence."""
    user = isinstance(error, UserError)
    text = f"process {rank()} of the fine-tune failed: {traceback.format_exc()}"
    with suppress(FileExistsError), said.open("x", encoding="utf-8") as file:
        json.dump({"user": user, "text": str(error) if user else text}, file)
    if not user:
        time.sleep(2)  # if another process was killed, the launcher is to see that first


class Named(dict):
    """Files or parameters of a job by name, as items or as attributes."""

    __getattr__ = dict.__getitem__


def plain(task, count: int) -> SimpleNamespace:
    """What `snakemake` says of a job, in types that any process can unpickle.

    Args:
        task: the `snakemake` object; files and parameters without a name are left out.
        count: processes that share its threads.
    """

    def named(part) -> Named:
        return Named((name, _builtin(value)) for name, value in part.items())

    return SimpleNamespace(
        input=named(task.input),
        output=named(task.output),
        params=named(task.params),
        log=[str(path) for path in task.log],
        threads=max(1, task.threads // count),
        config=_builtin(task.config),
    )


def _builtin(value):
    if isinstance(value, dict):
        return {key: _builtin(item) for key, item in value.items()}
    if isinstance(value, str | Path):
        return str(value)
    return [_builtin(item) for item in value] if isinstance(value, list | tuple) else value

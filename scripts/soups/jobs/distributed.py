"""One fine-tune on several GPUs of one machine: a process per GPU, gradients averaged by DDP.

Every process trains on its part of each batch. Only the first process logs, saves states and
writes outputs. Each process draws the random changes of whole batches (`augment`, `mixup`) for its
part. These changes are as random as those of a single process, but not equal to them.
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
from soups.jobs import compute, devices, events, job, slots

# Gloo exchanges values in main memory, so the decision whether to save does not wait for a GPU.
BACKENDS = {"cuda": "cpu:gloo,cuda:nccl", "cpu": "gloo"}

GRACE = 300  # seconds that processes have to save their state after a signal
STOPPED = 128 + signal.SIGTERM  # exit status of a job that a signal stopped


def rank() -> int:
    """Return the number of this process, 0 if it is alone."""
    return dist.get_rank() if _together() else 0


def world() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if _together() else 1


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def part(batch: np.ndarray) -> np.ndarray:
    """Return the part of a batch that this process trains on."""
    return batch if world() == 1 else np.array_split(batch, world())[rank()]


def gather(value) -> list:
    """Return the values of all processes, by rank. All processes must call this."""
    if world() == 1:
        return [value]
    values = [None] * world()
    dist.all_gather_object(values, value)
    return values


def total(value: Tensor) -> Tensor:
    """Return the sum over all processes. All processes must call this."""
    if world() > 1:
        dist.all_reduce(value := value.clone())
    return value


def highest(number: int) -> int:
    """Return the largest number of all processes. All processes must call this."""
    if world() > 1:
        dist.all_reduce(value := torch.tensor(number), dist.ReduceOp.MAX)
        return int(value)
    return number


def averaging(model: nn.Module) -> nn.Module:
    """Wrap the model so that its backward pass averages gradients over the processes."""
    if world() == 1:
        return model
    device = devices.device()
    ids = [device.index] if device.type == "cuda" else None
    # Buffers do not change: statistics of batch normalisation are frozen if there are several GPUs.
    return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)


def spread(main: Callable, task) -> None:
    """Call ``main(task)`` in `compute.gpus` processes, or in this one if `compute.gpus` is 1.

    Torch's elastic launcher starts the processes, as torchrun does. If one process fails, the
    launcher ends the others. It passes signals that this process gets on to them.

    Args:
        main: a function of a module that can be imported.
        task: the `snakemake` object.

    Raises:
        UserError: if the job has fewer GPUs, or if a process raised a `UserError`.
        RuntimeError: if a process failed for any other reason.
        SystemExit: if a signal ended the processes.
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
    _launch(main, task, count)


def _launch(main: Callable, task, count: int) -> None:
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GRACE))
    # These imports are slow, and a single process does not need them.
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The launcher would log each failure as well; the errors below report it once.
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
        report = Path(folder) / "failure.json"
        try:
            elastic_launch(config, _work)(main, plain(task, count), report)
        except SignalException as error:
            job.log.info("ended by %s", error.sigval.name)
            events.emit("stopped", signal=error.sigval.name)
            raise SystemExit(STOPPED) from None
        except ChildFailedError as error:
            raise _cause(error, report) from None


def _cause(error, report: Path) -> BaseException:
    """Return the exception that tells why a process ended.

    Args:
        error: the launcher's `ChildFailedError`.
        report: the file that `_report` writes.
    """
    number, failure = error.get_first_failure()
    if failure.exitcode == STOPPED:
        return SystemExit(STOPPED)
    # The launcher itself sends SIGTERM to end the other processes.
    killed = failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
    if killed or not report.exists():
        return RuntimeError(f"process {number} of the fine-tune failed: {failure.message}")
    failed = files.read_json(report)
    return (UserError if failed["user"] else RuntimeError)(failed["text"])


def check() -> None:
    """Check that this machine has the devices of the `compute` section; uses no memory of them.

    Raises:
        UserError: if a device is missing.
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
        raise UserError(
            f"compute.gpus is {count}, but a machine has one {kind!r} device, expected 1"
        )
    if ":" in chosen:
        raise UserError(f"compute.gpus is {count}, but compute.device is {chosen!r}, expected cuda")
    if kind == "cuda" and torch.cuda.device_count() < count:
        here = torch.cuda.device_count()
        raise UserError(
            f"compute.gpus is {count}, but torch sees {here} CUDA devices, expected at most {here}"
        )


def _work(main: Callable, task: SimpleNamespace, report: Path) -> None:
    """Run ``main(task)`` in one process of a fine-tune; report why it fails."""
    try:
        compute.configure(task.config.get("compute", {}))
        dist.init_process_group(BACKENDS[devices.kind()])
        devices.device()  # this process has its rank by now, and with it its GPU
        job.limit_threads(task.threads)
        if rank() == 0:
            job.log_to(task.log[0])
            job.say_warnings(task.log[0])
        main(task)
    except Exception as error:
        _report(report, error)
        raise
    dist.destroy_process_group()


def _report(path: Path, error: Exception) -> None:
    """Write the reason of the first failure; later failures are consequences of it."""
    user = isinstance(error, UserError)
    text = f"process {rank()} of the fine-tune failed: {traceback.format_exc()}"
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        json.dump({"user": user, "text": str(error) if user else text}, file)
    if not user:
        time.sleep(2)  # if another process was killed, the launcher should see that one first


class Named(dict):
    """Files or parameters of a job by name, as items or as attributes."""

    __getattr__ = dict.__getitem__


def plain(task, count: int) -> SimpleNamespace:
    """Copy the `snakemake` object of a job into types that any process can unpickle.

    Args:
        task: the `snakemake` object. The copy leaves out files and parameters without a name.
        count: number of processes that share the job's threads.
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

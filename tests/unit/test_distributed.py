"""Two processes on the CPU, joined by gloo, stand for two GPUs that are joined by NCCL."""

import copy
import multiprocessing
import os
import pickle
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from snakemake.iocontainers import Namedlist

from soups.errors import UserError
from soups.jobs import compute, distributed, events, job
from soups.jobs.distributed import Named, plain, spread
from soups.jobs.resume import Resumable
from soups.training.finetune import finetune
from tests.unit.training import NOISY, PLAIN, ROWS, apart, convolutional, distance, same

EVEN = PLAIN | {"lr": 0.001, "epochs": 2}
CASES = {
    "plain": EVEN,
    "unequal parts": EVEN | {"batch_size": 15},
    "ema": EVEN | {"ema": 0.5},
    "swa": EVEN | {"swa": 0.5, "swa_lr": 0.5},
    "sam": EVEN | {"sam": 0.05},
    "distilled": EVEN | {"distill": 0.5},
    "transforms": EVEN | {"crop": 0.5, "flip": 0.5},
    "accumulated": EVEN,
    "noisy": NOISY,
}
LONG = NOISY | {"epochs": 100, "ema": 0.9}  # 300 steps
SETTINGS = {"accumulated": {"accumulate": 2}}


class Killed(Resumable):
    def keep(self, epoch: int, **parts) -> None:
        super().keep(epoch, **parts)
        raise KeyboardInterrupt


def tune(data: dict, hyperparameters: dict, state: Resumable) -> dict:
    model = finetune(
        convolutional(),
        data["images"],
        data["labels"],
        ROWS,
        hyperparameters,
        state,
        data["teacher"],
    )
    return copy.deepcopy(model.state_dict())


class Signalled(Resumable):
    """The second process gets a signal after its first state, at 3 of 8 steps."""

    def keep(self, done: int, /, **parts) -> None:
        super().keep(done, **parts)
        if done == 3 and distributed.rank() == 1:
            signal.raise_signal(signal.SIGTERM)


def train_all(task) -> None:
    """Train every case together with the other processes."""
    data, folder = np.load(task.input.data), task.params.folder
    out, alike = {}, {}
    for name, hyperparameters in CASES.items():
        compute.configure(task.config["compute"] | SETTINGS.get(name, {}))
        out[name] = tune(data, hyperparameters, Resumable(folder, {"case": name}))
        everywhere = distributed.gather({k: v.numpy() for k, v in out[name].items()})
        alike[name] = all(
            np.array_equal(value, everywhere[0][k]) for w in everywhere for k, value in w.items()
        )
    compute.configure(task.config["compute"])
    try:
        tune(data, NOISY, Killed(folder, {"case": "killed"}))
        interrupted = False
    except KeyboardInterrupt:
        interrupted = True
    state = Resumable(folder, {"case": "killed"})
    out["resumed"] = tune(data, NOISY, state)

    try:
        tune(data, NOISY, Signalled(folder, {"case": "stopped"}))
        stopped = None
    except SystemExit as end:
        stopped = end.code
    state = Resumable(folder, {"case": "stopped"})
    stops = distributed.gather(stopped), torch.load(state.path, weights_only=True)["done"]
    distributed.gather(None)  # both have read it
    out["stopped"] = tune(data, NOISY, state)
    out["long"] = tune(data, LONG, Resumable(folder, {"case": "long"}))
    if distributed.rank() == 0:
        shares = [len(distributed.part(np.arange(7)))]
        note = {"alike": alike, "interrupted": interrupted, "shares": shares, "stops": stops}
        torch.save(out | note | {"threads": task.threads}, task.output.result)


def train_long(task) -> None:
    """Train long enough for a signal to come, with a saved state after every step."""
    data = np.load(task.input.data)
    weights = tune(data, LONG, Resumable(task.params.folder, {"case": "long"}))
    if distributed.rank() == 0:
        torch.save(weights, task.output.result)


def launch(folder) -> None:
    """Run a job in a session of its own."""
    os.setsid()
    task = task_of(folder)
    task.config["compute"] |= {"save_minutes": 1e-9}
    compute.configure(task.config["compute"])
    job.log_to(task.log[0])
    job.limit_threads(1)
    spread(train_long, task)


def fail(task) -> None:
    """Let the second process fail while the first one waits for it."""
    if distributed.rank() == 1:
        if task.params.how == "sentence":
            raise UserError("data.root is 'nowhere', expected a folder")
        if task.params.how == "error":
            raise KeyError("missing")
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.gather("never")


def task_of(folder, **params) -> SimpleNamespace:
    """Return an object like the `snakemake` object of a rule."""
    return SimpleNamespace(
        input=Named(data=folder / "data.npz"),
        output=Named(result=folder / "result.pt"),
        params=Named(folder=str(folder / "states"), **params),
        log=[folder / "job.log"],
        threads=2,
        config={"compute": {"device": "cpu", "gpus": 2}},
    )


@pytest.fixture
def two():
    compute.configure({"device": "cpu", "gpus": 2})
    yield
    compute.configure({})


@pytest.fixture(scope="module")
def data() -> dict:
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (60, 16, 16, 3), np.uint8),
        "labels": rng.integers(0, 4, 60),
        "teacher": rng.normal(size=(len(ROWS), 4)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def together(tmp_path_factory, data) -> dict:
    """The weights that two processes trained, by case, and what they reported."""
    folder = tmp_path_factory.mktemp("together")
    np.savez(folder / "data.npz", **data)
    compute.configure({"device": "cpu", "gpus": 2})
    try:
        spread(train_all, task_of(folder))
    finally:
        compute.configure({})
    log = (folder / "job.log").read_text().splitlines()
    return torch.load(folder / "result.pt") | {"log": log}


@pytest.fixture
def alone(data, tmp_path, configured):
    """A function that trains a case in this process."""

    def train(name: str) -> dict:
        configured(device="cpu")
        return tune(data, CASES[name], Resumable(tmp_path, {"case": name}))

    return train


@pytest.mark.parametrize("name", [name for name in CASES if name != "noisy"])
def test_two_processes_train_the_same_weights_as_one(together, alone, name):
    one = alone(name)
    assert distance(together[name], one) < 1e-5
    assert apart(one, convolutional().state_dict()) > 1e-2


def test_all_processes_end_with_the_same_weights(together):
    assert together["alike"] == dict.fromkeys(CASES, True)


def test_each_process_draws_its_own_random_changes(together, alone):
    """They are as random as those of one process, but not equal."""
    assert not same(together["noisy"], alone("noisy"))


def test_an_interrupted_run_of_two_ends_with_the_same_bits(together):
    assert together["interrupted"]
    assert same(together["resumed"], together["noisy"])


def test_processes_stop_at_the_same_step_and_go_on_with_the_same_bits(together):
    codes, done = together["stops"]
    assert codes == [143, 143]
    assert done == 4  # in the middle of the second epoch
    assert same(together["stopped"], together["noisy"])


def test_the_first_process_alone_logs(together):
    epochs = [line for line in together["log"] if "epoch 1," in line]
    assert len(epochs) == len(CASES) + 3
    assert sum("resumed after step 3" in line for line in together["log"]) == 1
    assert sum("stopped by SIGTERM after step" in line for line in together["log"]) == 1


def test_processes_share_batches_and_threads(together):
    assert together["shares"] == [4]  # of 7
    assert together["threads"] == 1  # of 2


def test_a_job_of_one_gpu_runs_in_this_process(configured, tmp_path):
    configured(gpus=1)
    seen = []
    spread(seen.append, "task")
    assert seen == ["task"]
    assert (distributed.rank(), distributed.world()) == (0, 1)
    assert distributed.gather("x") == ["x"]


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("sentence", UserError, r"^data.root is 'nowhere', expected a folder$"),
        ("error", RuntimeError, r"(?s)process 1 of the fine-tune failed: .*KeyError: 'missing'"),
        ("signal", RuntimeError, r"process 1 of the fine-tune failed: .*SIGKILL"),
    ],
)
def test_a_process_that_fails_ends_the_others(two, tmp_path, how, kind, message):
    with pytest.raises(kind, match=message) as error:
        spread(fail, task_of(tmp_path, how=how))
    assert type(error.value) is kind


def launched(folder, send) -> int:
    """Run a job of two processes and send a signal once it has saved a state.

    Args:
        folder: of the job.
        send: a function of the job's process id that sends the signal, or None.

    Returns:
        the exit status.
    """
    state = folder / "states" / Resumable("", {"case": "long"}).path.name
    before = state.stat().st_mtime_ns if state.exists() else 0
    process = multiprocessing.get_context("spawn").Process(target=launch, args=[folder])
    process.start()
    deadline = time.monotonic() + 180
    while send and (state.stat().st_mtime_ns if state.exists() else 0) == before:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if send:
        send(process.pid)
    process.join(180)
    return process.exitcode


def test_signals_to_the_launcher_and_to_all_change_nothing(together, data, tmp_path):
    np.savez(tmp_path / "data.npz", **data)
    log = tmp_path / "job.log"
    assert launched(tmp_path, lambda pid: os.kill(pid, signal.SIGUSR1)) == distributed.STOPPED
    assert launched(tmp_path, lambda pid: os.killpg(pid, signal.SIGTERM)) == distributed.STOPPED
    assert launched(tmp_path, None) == 0
    told = events.read(events.beside(log))
    stops = [event for event in told if event["event"] == "stopped"]
    assert {event["signal"] for event in stops} == {"SIGUSR1", "SIGTERM"}
    done = [event["step"] for event in stops if "step" in event]  # others are of the launcher
    assert [event["step"] for event in told if event["event"] == "resumed"] == done
    for name, step in zip(["SIGUSR1", "SIGTERM"], done, strict=True):
        assert f"stopped by {name} after step {step}:" in log.read_text()
    assert 0 < done[0] < done[1] < 300
    assert same(torch.load(tmp_path / "result.pt"), together["long"])


def test_missing_gpus_are_refused(configured):
    configured(device="cuda", gpus=2)
    with pytest.raises(UserError, match=r"compute.device is 'cuda', but torch sees no CUDA device"):
        spread(train_all, None)
    configured(gpus=2)
    with pytest.raises(UserError, match=r"compute.gpus is 2, but torch sees no GPU"):
        spread(train_all, None)


def test_fewer_gpus_than_processes_are_refused(two, tmp_path):
    """Snakemake lowers a rule's resource to the total that --resources allows."""
    task = task_of(tmp_path)
    task.resources = {"gpu": 1}
    message = r"compute.gpus is 2, but snakemake gives the job 1 \(--resources gpu\), expected at"
    with pytest.raises(UserError, match=message):
        spread(train_all, task)


def test_a_plain_job_can_be_sent_to_other_processes(tmp_path):
    files = Namedlist(fromdict={"weights": "w", "images": Namedlist(["a", "b"]), "none": []})
    job = SimpleNamespace(
        input=files, output=files, params=files, log=Namedlist(["x.log"]), threads=7,
        config={"compute": {"gpus": 2}},
    )  # fmt: skip
    sent = pickle.loads(pickle.dumps(plain(job, 2)))
    assert sent.input.images == sent.input["images"] == ["a", "b"]
    assert type(sent.input.images) is list
    assert sent.input.weights == "w"
    assert sent.input.none == []
    assert (sent.threads, sent.log, sent.config) == (3, ["x.log"], {"compute": {"gpus": 2}})

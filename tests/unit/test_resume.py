import copy
import itertools
import logging
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import soups.training.finetune as training
from soups.errors import UserError
from soups.jobs import compute, distributed, job, resume
from soups.jobs.background import copied
from soups.jobs.resume import Keeper, Losses, Resumable
from soups.training.finetune import finetune
from tests.unit.training import NOISY, PLAIN, ROWS, convolutional, same

LONG = NOISY | {"epochs": 2.5}  # 8 steps: 3, 3 and 2
TRANSFORMS = {"crop": 0.5, "flip": 0.5, "rand_augment_ops": 2, "rand_augment_magnitude": 9}
KINDS = {
    "plain": LONG | {"mixup": 0, "augment": 0},
    "noisy": LONG,
    "ema": LONG | {"ema": 0.7},
    "swa": LONG | {"swa": 0.6, "swa_lr": 0.5},
    "sam": LONG | {"sam": 0.05},
    "distilled": LONG | {"mixup": 0, "distill": 0.5},
    "transforms": LONG | TRANSFORMS,
    "layers": LONG | {"layer_decay": 0.5, "ema": 0.7, "sam": 0.05},
}


@pytest.fixture
def whole(tuned, teacher):
    """A function that fine-tunes a kind without interruption, once per kind."""
    known = {}

    def weights(kind: str, workers: int = 0) -> dict:
        if kind not in known:
            known[kind] = tuned(KINDS[kind], teacher=teacher, workers=workers)
        return known[kind]

    return weights


@pytest.fixture
def at_step(monkeypatch):
    """A function that calls another one right after the nth step from now on."""

    def arrange(number: int, happens) -> None:
        class Disturbed(train_step):
            taken = 0

            def __call__(self, *args):
                loss = super().__call__(*args)
                Disturbed.taken += 1
                if Disturbed.taken == number:
                    happens()
                return loss

        monkeypatch.setattr(training, "Step", Disturbed)

    train_step = training.Step
    return arrange


@pytest.fixture
def slowly(monkeypatch):
    """Training that waits for the writing of each state, so that the test knows which exist."""
    monkeypatch.setattr(Resumable, "busy", property(lambda self: bool(self.wait())))


def crash() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_finetune_ends_with_the_same_bits(tuned, killed, tmp_path):
    whole = tuned(NOISY)
    with pytest.raises(KeyboardInterrupt):
        tuned(NOISY, killed(tmp_path, NOISY))
    state = Resumable(tmp_path, NOISY)
    assert state.path.exists()
    assert same(tuned(NOISY, state), whole)


def test_a_finished_run_is_not_run_again(tuned, images, tmp_path):
    state = Resumable(tmp_path, PLAIN)
    whole = tuned(PLAIN, state)
    # If all steps are done, the images are not read.
    assert same(tuned(PLAIN, state, images=np.zeros_like(images)), whole)
    state.remove()
    assert not same(tuned(PLAIN, state, images=np.zeros_like(images)), whole)


def test_another_recipe_starts_from_the_beginning(tuned, killed, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tuned(PLAIN | {"lr": 0.5}, killed(tmp_path, {"lr": 0.5}))
    assert same(tuned(PLAIN, Resumable(tmp_path, {"lr": 0.01})), tuned(PLAIN))


def test_a_changed_recipe_leaves_no_state_behind(tmp_path):
    model = torch.nn.Linear(2, 2)
    states = [Resumable(tmp_path, {"lr": lr}, name) for lr in (1, 2) for name in ("m0", "m0-1")]
    for state in states[:3]:
        state.keep(1, model=model)
        state.wait()
    assert set(tmp_path.iterdir()) == {states[1].path, states[2].path}
    assert states[2].restore(model=model) == states[1].restore(model=model) == 1


def test_an_ignored_signal_stays_ignored(tuned, at_step, tmp_path):
    """A run that `nohup` or a shell's `&` started ignores signals."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        at_step(2, lambda: signal.raise_signal(signal.SIGINT))
        tuned(PLAIN, Resumable(tmp_path, PLAIN))
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("key", ["ema", "swa"])
def test_averages_survive_a_kill(tuned, killed, tmp_path, key):
    hyperparameters = PLAIN | {"epochs": 2.5, key: 0.7}
    whole = tuned(hyperparameters)
    with pytest.raises(KeyboardInterrupt):
        tuned(hyperparameters, killed(tmp_path, hyperparameters))
    assert same(tuned(hyperparameters, Resumable(tmp_path, hyperparameters)), whole)


# Within an epoch


@settings(max_examples=30)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    steps=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    number=st.sampled_from(resume.SIGNALS),
)
def test_a_signal_at_any_step_changes_nothing(
    tuned, whole, teacher, at_step, tmp_path_factory, kind, steps, number
):
    """The signals also come one after another, within epochs and at their ends."""
    hyperparameters, folder = KINDS[kind], tmp_path_factory.mktemp("state")
    expected = whole(kind)  # before any step is disturbed
    for step in steps:
        at_step(step, lambda: signal.raise_signal(number))
        with pytest.raises(SystemExit) as end:
            tuned(hyperparameters, Resumable(folder, hyperparameters), teacher=teacher)
        assert end.value.code == 143
    at_step(0, None)
    state = Resumable(folder, hyperparameters)
    saved = torch.load(state.path, weights_only=True)
    assert saved["done"] == sum(steps)
    assert same(tuned(hyperparameters, state, teacher=teacher), expected)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(("minutes", "step", "done"), [(1e-9, 5, 4), (60, 5, 3), (60, 2, None)])
def test_a_state_that_was_saved_before_a_crash_is_not_lost(
    tuned, whole, teacher, at_step, tmp_path, configured, slowly, kind, minutes, step, done
):
    hyperparameters, expected = KINDS[kind], whole(kind)
    state = Resumable(tmp_path, hyperparameters)
    configured(save_minutes=minutes)
    at_step(step, crash)
    with pytest.raises(KeyboardInterrupt):
        tuned(hyperparameters, state, teacher=teacher)
    assert state.path.exists() == (done is not None)
    if done:
        assert torch.load(state.path, weights_only=True)["done"] == done
    at_step(0, None)
    assert same(
        tuned(hyperparameters, Resumable(tmp_path, hyperparameters), teacher=teacher), expected
    )


def test_workers_do_not_matter_to_a_resumed_run(tuned, whole, at_step, tmp_path):
    hyperparameters, expected = KINDS["transforms"], whole("transforms", workers=2)
    for step, workers in ((2, 2), (2, 0)):
        at_step(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            tuned(hyperparameters, Resumable(tmp_path, hyperparameters), workers=workers)
    at_step(0, None)
    assert same(tuned(hyperparameters, Resumable(tmp_path, hyperparameters), workers=2), expected)


def test_a_stopped_run_logs_its_step_and_its_state(tuned, at_step, tmp_path, caplog):
    caplog.set_level(logging.INFO, "soups")
    at_step(2, lambda: signal.raise_signal(signal.SIGUSR1))
    with pytest.raises(SystemExit):
        tuned(LONG, Resumable(tmp_path, LONG))
    assert caplog.messages[-1] == "stopped by SIGUSR1 after step 2: the next run resumes here"
    at_step(0, None)
    tuned(LONG, Resumable(tmp_path, LONG))
    assert any(line.startswith("resumed after step 2 from") for line in caplog.messages)
    sizes = [line for line in caplog.messages if line.startswith("state of ")]
    assert len(sizes) == 2  # once per run, although each run saves several states


def test_the_loss_of_an_epoch_is_that_of_all_its_steps(tuned, at_step, tmp_path, caplog):
    """The mean includes the steps before the interruption."""
    caplog.set_level(logging.INFO, "soups")

    def losses() -> list[str]:
        lines = [line for line in caplog.messages if line.startswith("epoch ")]
        caplog.clear()
        return [line.split("loss ")[1].split(",")[0] for line in lines]

    tuned(LONG)
    expected = losses()
    at_step(2, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        tuned(LONG, Resumable(tmp_path, LONG))
    at_step(0, None)
    tuned(LONG, Resumable(tmp_path, LONG))
    assert losses() == expected


# Files that hold no state of the run


def stopped(tuned, at_step, folder, hyperparameters: dict, step: int = 2) -> Resumable:
    at_step(step, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        tuned(hyperparameters, Resumable(folder, hyperparameters))
    at_step(0, None)
    return Resumable(folder, hyperparameters)


def test_a_torn_state_starts_from_the_beginning(tuned, at_step, tmp_path, caplog):
    caplog.set_level(logging.INFO, "soups")
    whole = tuned(LONG)
    state = stopped(tuned, at_step, tmp_path, LONG)
    content = state.path.read_bytes()
    for share in (0, 0.01, 0.5, 0.9, 0.999):
        state.path.write_bytes(content[: int(share * len(content))])
        caplog.clear()
        assert same(tuned(LONG, state), whole)
        assert any("is unreadable" in m and m.endswith("beginning") for m in caplog.messages)
        assert not any("resumed" in m for m in caplog.messages)


def test_a_foreign_file_starts_from_the_beginning(tuned, at_step, tmp_path, caplog):
    caplog.set_level(logging.INFO, "soups")
    whole = tuned(LONG)
    state = stopped(tuned, at_step, tmp_path / "state", LONG)
    other = stopped(tuned, at_step, tmp_path / "other", LONG | {"seed": 9})
    saved = torch.load(state.path, weights_only=True)
    foreign = [[1, 2], {"model": 1}, torch.zeros(3), saved | {"own": saved["own"] * 2}]
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pickled.pt")  # may not be loaded
    for number, content in enumerate([*foreign, other.path, tmp_path / "pickled.pt", b"zip?"]):
        if isinstance(content, bytes):
            state.path.write_bytes(content)
        elif hasattr(content, "read_bytes"):
            state.path.write_bytes(content.read_bytes())
        else:
            torch.save(content, state.path)
        caplog.clear()
        assert same(tuned(LONG, state), whole), number
        assert any(m.endswith("starting from the beginning") for m in caplog.messages), number


# When a state is saved


class Counted:
    """A state that a `Keeper` saves: it notes the steps and writes nothing."""

    def __init__(self) -> None:
        self.kept, self.busy = [], False

    def wait(self) -> None:
        self.busy = False

    def keep(self, done: int, /, **parts) -> None:
        self.kept.append(done)


def test_states_are_saved_by_the_clock_and_after_epochs():
    state, clock = Counted(), itertools.count()  # a second per look
    keeper = Keeper(state, minutes=10 / 60, parts={}, clock=lambda: next(clock))
    for step in range(1, 31):
        keeper.after(step)
    assert state.kept == [10, 20, 30]
    keeper.after(31, epoch=True)
    for step in range(32, 42):  # an epoch's state counts too
        keeper.after(step)
    assert state.kept == [10, 20, 30, 31, 41]


def test_a_state_that_is_due_waits_for_the_one_before():
    state = Counted()
    keeper = Keeper(state, minutes=60, parts={})
    keeper.after(1, epoch=True)
    state.busy = True
    keeper.after(2, epoch=True)
    keeper.after(3)
    state.busy = False
    keeper.after(4)
    keeper.after(5)
    assert state.kept == [1, 4]
    state.busy = True  # the state of a finished run is always saved
    keeper.after(6, epoch=True, last=True)
    assert state.kept == [1, 4, 6]


def test_a_state_is_copied_before_training_goes_on(tmp_path, monkeypatch):
    model, may_write, writing = torch.nn.Linear(2, 2), threading.Event(), torch.save
    monkeypatch.setattr(torch, "save", lambda *a: may_write.wait(60) and writing(*a))
    state, before = Resumable(tmp_path, {}), copy.deepcopy(model.state_dict())
    state.keep(1, model=model)
    assert state.busy
    assert not state.path.exists()
    with torch.no_grad():
        model.weight.add_(1)
    may_write.set()
    state.wait()
    assert not state.busy
    assert state.restore(model=model) == 1
    assert same(model.state_dict(), before)


def test_the_error_of_a_state_that_cannot_be_written_is_one_sentence(tmp_path, caplog):
    caplog.set_level(logging.INFO, "soups")
    (tmp_path / "file").touch()
    state, model = Resumable(tmp_path / "file" / "folder", {}), torch.nn.Linear(2, 2)
    expected = r"folder/run-\w+.pt: the state cannot be written \("
    with pytest.raises(UserError, match=expected), Keeper(state, 1, {"model": model}) as keeper:
        keeper.after(1, epoch=True)
    # An error that ends the training is not replaced.
    keeper = Keeper(state, 1, {"model": model})
    with suppress(KeyboardInterrupt), keeper:
        keeper.after(1, epoch=True)
        raise KeyboardInterrupt
    assert "the state cannot be written" in caplog.messages[-1]
    state.keep(1, model=model)
    with pytest.raises(UserError, match=expected):
        state.keep(2, model=model)
    state.keep(3, model=model)
    with suppress(NotADirectoryError):  # of the missing file, not of its writing
        state.remove()


def test_a_copied_state_is_written_to_the_same_bytes(tmp_path):
    whole = torch.arange(12.0)
    module = torch.nn.BatchNorm1d(3)
    state = {
        "module": module.state_dict(),
        "views": [whole[2:5], whole[::2], whole.view(3, 4).T],
        "empty": (torch.zeros(0), torch.zeros(0, dtype=torch.int64)),
        "half": torch.ones(2, 3, 4, 4, dtype=torch.bfloat16).to(memory_format=torch.channels_last),
        "number": torch.tensor(3),
        "plain": {"lr": 0.1, "betas": (0.9, 0.999), "name": None},
    }
    ours = copied(state)
    torch.save(state, tmp_path / "state.pt")
    expected = (tmp_path / "state.pt").read_bytes()
    torch.save(ours, tmp_path / "state.pt")
    assert (tmp_path / "state.pt").read_bytes() == expected
    assert ours["module"]._metadata == state["module"]._metadata
    whole.zero_()
    assert ours["views"][0].tolist() == [2, 3, 4]


def test_a_signal_after_the_last_step_has_its_usual_effect():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append("usual"))
    try:
        with Keeper(Counted(), 10, {}) as keeper:
            keeper.after(1, epoch=True)
            signal.raise_signal(signal.SIGUSR1)
            assert seen == []
        assert seen == ["usual"]
        signal.raise_signal(signal.SIGUSR1)
        assert seen == ["usual", "usual"]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_losses_come_back():
    losses = Losses([torch.tensor(0.25), torch.tensor(1.5)])
    back = Losses()
    back.load_state_dict(losses.state_dict())
    assert [float(loss) for loss in back] == [0.25, 1.5]
    back.load_state_dict(Losses().state_dict())
    assert back == []


# Jobs in processes of their own

DATA = np.random.default_rng(0)
PIXELS, TRUTH = DATA.integers(0, 256, (60, 16, 16, 3), np.uint8), DATA.integers(0, 4, 60)
LASTING = KINDS["transforms"] | {"ema": 0.9, "epochs": 40}  # 120 steps


def run_alone(folder, workers: int, minutes: float) -> dict:
    job.limit_threads(1)
    compute.configure({"device": "cpu", "save_minutes": minutes})
    state = Resumable(folder, LASTING)
    model = finetune(convolutional(), PIXELS, TRUTH, ROWS, LASTING, state, workers=workers)
    return dict(model.state_dict())


def run_in_a_session(folder, workers: int) -> None:
    os.setsid()
    folder.mkdir()
    job.log_to(folder / "log")
    run_alone(folder, workers, 1e-9)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_signal_to_all_processes_of_a_job(tmp_path, configured, number, status):
    """Clusters signal all processes of a job, including the workers that read images."""
    folder = tmp_path / "state"
    process = multiprocessing.get_context("spawn").Process(
        target=run_in_a_session, args=[folder, 2], daemon=False
    )
    process.start()
    deadline = time.monotonic() + 120
    while not list(folder.glob("[!.]*.pt")):
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, number)
    process.join(60)
    assert process.exitcode == status

    state = Resumable(folder, LASTING)
    done = torch.load(state.path, weights_only=True)["done"]
    assert 0 < done < 120
    said = f"stopped by {signal.Signals(number).name} after step {done}:"
    assert (said in (folder / "log").read_text()) == (status == distributed.STOPPED)
    try:
        whole = run_alone(tmp_path / "whole", 0, 10)
        assert same(run_alone(folder, 0, 10), whole)
    finally:
        configured()


def test_only_the_process_that_started_a_worker_can_end_it():
    """SIGTERM of other processes has no effect. That of its own does, or the job would not end."""
    from soups.data.loading import _ignore_signals

    context = multiprocessing.get_context("fork")
    ready, outside = context.Event(), context.Event()

    def work() -> None:
        _ignore_signals(0)
        ready.set()
        time.sleep(60)

    def send(pid: int) -> None:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGUSR1)
        outside.set()

    worker = context.Process(target=work, daemon=True)
    worker.start()
    assert ready.wait(30)
    sender = context.Process(target=send, args=[worker.pid])
    sender.start()
    assert outside.wait(30)
    sender.join(30)
    worker.join(0.5)
    assert worker.is_alive()
    worker.terminate()
    worker.join(30)
    assert worker.exitcode == 0

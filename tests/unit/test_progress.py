import logging

import pytest
import torch

from soups.progress import Progress


@pytest.fixture
def told(caplog):
    """A function that returns what was logged since it was last called."""
    caplog.set_level(logging.INFO, logger="soups")

    def lines() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return lines


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_epoch_tells_speed_and_waiting(told):
    clock = Clock()
    progress = Progress(0, 20, clock)

    def slow():
        for _ in range(4):
            clock.now += 0.5
            yield "batch"

    for batch in progress.waiting(slow()):
        assert batch == "batch"
        clock.now += 1.5
        progress.step(16, torch.tensor(3.0))
    assert told() == []  # it took less than half a minute
    progress.epoch(1, torch.tensor(2.5))
    assert told() == ["epoch 1, step 4 of 20: loss 2.5000, 8 images/s, 25% waiting for data"]


def test_a_long_epoch_says_when_it_will_end(told):
    clock = Clock()
    progress = Progress(100, 1000, clock)  # resumed
    said = []
    for _ in range(50):
        clock.now += 10
        progress.step(32, torch.tensor(1.0))
        said += told()
    # 10 seconds a step, a line every third.
    assert len(said) == 16
    assert said[0] == (
        "step 103 of 1000: loss 1.0000, 3 images/s, 0% waiting for data, 2 h 30 min left"
    )
    assert said[-1].startswith("step 148 of 1000")
    assert said[-1].endswith("2 h 22 min left")


def test_the_last_step_is_left_to_the_epoch(told):
    clock = Clock()
    progress = Progress(0, 1, clock)
    clock.now += 1000
    progress.step(1, torch.tensor(1.0))
    assert told() == []

"""Schedules of fine-tuning and pre-training against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soups.training.schedule import Schedule, warmup_cosine, warmup_steps
from tests.unit.training import PLAIN

PRETRAIN = {"epochs": 3, "horizon": 4, "cooldown": 1, "warmup": 0.1}


def cosine(step: int, total: int, warmup: int) -> float:
    """The formula of the paper's appendix J, without the warm-up."""
    return (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


# The curve


@given(st.integers(2, 300), st.floats(0, 0.9))
def test_the_factor_rises_to_one_and_falls(total, share):
    warmup = int(share * total)
    factors = [warmup_cosine(step, total, warmup) for step in range(total)]
    assert factors[warmup] == 1
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: warmup + 1] == sorted(factors[: warmup + 1])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


def test_a_short_curve_has_the_factors_worked_out_by_hand():
    factors = [warmup_cosine(step, 6, 2) for step in range(7)]
    half = math.sqrt(0.5) / 2
    assert factors == pytest.approx([1 / 3, 2 / 3, 1, 0.5 + half, 0.5, 0.5 - half, 0], abs=1e-12)


def test_the_peak_is_the_last_step_of_the_warmup_or_the_first_after_it():
    after = [warmup_cosine(step, 8, 4) for step in range(8)]
    last = [warmup_cosine(step, 8, 4, "last") for step in range(8)]
    assert after[:5] == [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1]
    assert last[:5] == [1 / 4, 2 / 4, 3 / 4, 1, 1]
    assert last[4:] == after[4:]
    row = {"epochs": 1, "warmup": 4, "warmup_peak": "last", "swa": 0, "swa_lr": 0}
    assert [Schedule.finetuning(row, 8).factor(step) for step in range(8)] == last
    del row["warmup_peak"]
    assert [Schedule.finetuning(row, 8).factor(step) for step in range(8)] == after


def test_warmup_is_a_share_of_the_steps_or_their_number():
    assert warmup_steps(0.1, 250) == 25
    assert warmup_steps(0.999, 100) == 99
    assert warmup_steps(1, 100) == 1
    assert warmup_steps(500, 10_000) == warmup_steps(500.0, 10_000) == 500
    assert warmup_steps(500, 200) == 200  # all steps of a short run


# Fine-tuning


@pytest.mark.parametrize(
    ("changes", "per_epoch", "total", "warmup", "averaged_from"),
    [
        ({}, 3, 4, 0, 0),  # 1.5 epochs of 3 steps, rounded to even; 0.2 of 4 steps, rounded down
        ({"epochs": 2.5}, 3, 8, 1, 0),
        ({"epochs": 10, "warmup": 500}, 2500, 25_000, 500, 0),  # the paper's, in steps
        ({"epochs": 1, "warmup": 500}, 3, 3, 3, 0),
        ({"epochs": 0.01}, 3, 1, 0, 0),  # never less than one step
        ({"epochs": 0}, 3, 0, 0, 0),
        ({"epochs": 4, "swa": 0.25}, 5, 20, 4, 15),
        ({"epochs": 4, "swa": 0.01}, 5, 20, 4, 19),  # never less than the last step
    ],
)
def test_a_fine_tune_has_the_steps_worked_out_by_hand(
    changes, per_epoch, total, warmup, averaged_from
):
    schedule = Schedule.finetuning(PLAIN | changes, per_epoch)
    found = schedule.total, schedule.warmup, schedule.averaged_from
    assert found == (total, warmup, averaged_from)
    assert (schedule.per_epoch, schedule.horizon, schedule.cooldown) == (per_epoch, total, 0)


def test_a_fine_tune_follows_the_formula_of_the_paper():
    schedule = Schedule.finetuning(PLAIN | {"epochs": 4, "warmup": 0.2}, 5)
    factors = [schedule.factor(step) for step in range(20)]
    assert factors[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert factors[4:] == pytest.approx([cosine(step, 20, 4) for step in range(4, 20)])
    assert factors[4] == 1
    assert factors[12] == pytest.approx(0.5)  # half of the way down
    assert factors[19] == pytest.approx(math.sin(math.pi / 32) ** 2)  # one step before 0
    assert schedule.factor(20) == 0


def test_averaged_steps_follow_the_cosine_or_a_constant():
    row = PLAIN | {"epochs": 4, "warmup": 0.2, "swa": 0.25}
    cosine_to_the_end = Schedule.finetuning(row, 5)
    constant = Schedule.finetuning(row | {"swa_lr": 0.3}, 5)
    before, averaged = range(15), range(15, 20)
    assert [constant.factor(step) for step in averaged] == [0.3] * 5
    assert [constant.factor(step) for step in before] == [
        cosine_to_the_end.factor(step) for step in before
    ]
    assert cosine_to_the_end.factor(19) == pytest.approx(cosine(19, 20, 4))


# Pre-training


def test_pretraining_has_the_steps_worked_out_by_hand():
    schedule = Schedule.pretraining(PRETRAIN, 10)
    assert (schedule.total, schedule.horizon, schedule.warmup) == (30, 40, 4)
    assert (schedule.cooldown, schedule.averaged_from, schedule.averaged_factor) == (10, 0, 0)


def test_pretraining_cools_down_from_the_cosine_to_zero():
    schedule = Schedule.pretraining(PRETRAIN, 10)
    factors = [schedule.factor(step) for step in range(31)]
    assert factors[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert factors[4:21] == pytest.approx([cosine(step, 40, 4) for step in range(4, 21)])
    line = [cosine(20, 40, 4) * (30 - step) / 10 for step in range(20, 31)]
    assert factors[20:] == pytest.approx(line)
    assert factors[30] == 0


def test_pretraining_without_a_cooldown_stays_on_the_cosine():
    schedule = Schedule.pretraining(PRETRAIN | {"cooldown": 0}, 10)
    assert schedule.factor(29) == pytest.approx(cosine(29, 40, 4))


# Epochs


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (0, [(0, [0, 1, 2]), (1, [3, 4, 5]), (2, [6, 7])]),
        (2, [(0, [2]), (1, [3, 4, 5]), (2, [6, 7])]),
        (3, [(1, [3, 4, 5]), (2, [6, 7])]),
        (7, [(2, [7])]),
        (8, []),
    ],
)
def test_the_remaining_epochs_have_the_remaining_steps(done, expected):
    schedule = Schedule.finetuning(PLAIN | {"epochs": 2.5}, 3)
    assert [(epoch, list(steps)) for epoch, steps in schedule.epochs(done)] == expected


def test_a_run_without_epochs_has_no_steps():
    assert list(Schedule.finetuning(PLAIN | {"epochs": 0, "swa": 0.5}, 3).epochs()) == []

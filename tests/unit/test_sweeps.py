"""The tables of docs/results.md about the sweeps of the recorded evidence."""

import _sweeps
import pandas as pd

from soups.roles import BEST, GREEDY, INITIALIZATION, UNIFORM, ZEROSHOT


def test_gains_and_differences_are_means_over_sweeps_in_points():
    rows = []
    for seed, gain in enumerate((0.01, 0.02, 0.03)):
        for method, test in ((BEST, 0.5), (UNIFORM, 0.5 - gain), (GREEDY, 0.5 + gain)):
            rows.append({"method": method, "test": test, "shifts_mean": 0.4, "sweep_seed": seed})
    table = pd.DataFrame(rows)
    # Student's t for three values: 4.3027 standard errors of 1 / sqrt(3).
    assert _sweeps.gains(table).splitlines()[2:] == [
        "| uniform soup | -2.00 [-4.48, +0.48] (0 of 3) | +0.00 [+0.00, +0.00] (0 of 3) |",
        "| greedy soup | +2.00 [-0.48, +4.48] (3 of 3) | +0.00 [+0.00, +0.00] (0 of 3) |",
    ]
    more = [row | {"method": name} for row in rows for name in {n for pair in _sweeps.COMPARED
            for n in pair} - {UNIFORM, GREEDY} if row["method"] == BEST]  # fmt: skip
    lines = _sweeps.compared(pd.DataFrame(rows + more), _sweeps.COMPARED).splitlines()
    assert "| greedy soup − uniform soup | +4.00 [-0.97, +8.97] | +0.00 [+0.00, +0.00] |" in lines


def test_gains_of_midpoints_are_means_over_thirds_of_the_pairs_by_learning_rate():
    rows = []
    for i, rate in enumerate((1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4)):
        middle = 0.5 + 0.01 * i
        for alpha, test in ((0, 0.4), (0.5, middle), (1, 0.6)):
            rows.append({
                "model_1": "m0", "model_2": f"m{i + 1}", "lr_1": rate, "lr_2": rate, "alpha": alpha,
                "test": test, "shifts_mean": test - 0.1, "ensemble_test": 0.55,
                "ensemble_shifts_mean": 0.4,
            })  # fmt: skip
    lines = _sweeps.by_rate(pd.DataFrame(rows)).splitlines()
    assert lines[2:] == [
        "| 0.0001 to 0.0002 | 2 | +0.5 | +0.5 | +5.0 | +0.0 |",
        "| 0.0003 to 0.0004 | 2 | +2.5 | +2.5 | +5.0 | +0.0 |",
        "| 0.0005 to 0.0006 | 2 | +4.5 | +4.5 | +5.0 | +0.0 |",
    ]


def test_choices_of_small_heldout_sets_have_means_and_ranges_over_draws():
    accuracies = {  # per_class, draw: best, greedy, learned
        (5, 0): (0.80, 0.82, 0.79), (5, 1): (0.84, 0.84, 0.84), (500, 0): (0.85, 0.87, 0.88),
    }  # fmt: skip
    rows = [
        {"method": name, "per_class": size, "draw": draw, "test": value, "shifts_mean": value / 2}
        for (size, draw), values in accuracies.items()
        for name, value in zip(("best_individual", "greedy", "learned"), values, strict=True)
    ]
    _, _, *lines = _sweeps.by_heldout_size(pd.DataFrame(rows)).splitlines()
    few, whole = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert few[:5] == [
        "5", "2", "82.0 (80.0 to 84.0)", "+1.0 (+0.0 to +2.0)", "-0.5 (-1.0 to +0.0)",
    ]  # fmt: skip
    assert whole == ["500", "1", "85.0", "+2.0", "+3.0", "42.5", "+1.0", "+1.5"]


def test_learned_soups_are_compared_by_their_number_of_steps():
    names = ("best_individual", "learned", "learned_by_layer")
    tables = [
        pd.DataFrame(
            {"method": name, "sweep_seed": 0, "test": 0.5 + gain * i, "shifts_mean": 0.4}
            for i, name in enumerate(names)
        )
        for gain in (-0.1, 0.02)
    ]
    assert _sweeps.by_steps(zip((15, 480), tables, strict=True)).splitlines()[2:] == [
        "| learned soup | 15 | -10.00 | +0.00 |",
        "| learned soup | 480 | +2.00 | +0.00 |",
        "| learned soup, by layer | 15 | -20.00 | +0.00 |",
        "| learned soup, by layer | 480 | +4.00 | +0.00 |",
    ]


def test_starts_are_compared_over_the_shifts_that_all_have():
    gains = {"sweeps": (0.01, 0.02, 0.03, 0.02), "weak": (0.0, 0.01, 0.02), "long": (0.5,)}
    rows = []
    for design, values in gains.items():
        for seed, gain in enumerate(values):
            of = {BEST: 0.5, UNIFORM: 0.5, GREEDY: 0.5 + gain, ZEROSHOT: 0.25,
                  INITIALIZATION: 0.3}  # fmt: skip
            for name, test in of.items():
                row = {"design": design, "sweep_seed": seed, "method": name, "test": test}
                # Only one start has the other shift.
                other = 0.9 * (name == GREEDY) if design == "sweeps" else None
                rows.append(row | {"v2": test - 0.1, "r": other, "shifts_mean": 0.4})
    header, _, *lines = _sweeps.starts(pd.DataFrame(rows)).splitlines()
    assert "greedy soup, V2 | sweeps |" in header
    assert [line.split(" | ")[:4] for line in lines] == [
        ["| the default's", "25.0", "30.0", "50.0"],
        ["| pre-trained on half of the images", "25.0", "30.0", "50.0"],
    ]
    for line, gain in zip(lines, ("+2.00 [+0.70, +3.30]", "+1.00 [-1.48, +3.48]"), strict=True):
        assert line.split(" | ")[5] == line.split(" | ")[7] == gain
    assert [line.split(" | ")[-1] for line in lines] == ["4 |", "3 |"]


def test_the_gain_of_n_models_is_over_one_model_and_averages_orders():
    rows = [
        {"method": method, "n": n, "order": order, "sweep_seed": seed, "test": n / 100 + order}
        for method in (BEST, UNIFORM, GREEDY)
        for n in (1, *_sweeps.SIZES)
        for order in (0, 1)
        for seed in (0, 1)
    ]
    lines = _sweeps.numbers(pd.DataFrame(rows)).splitlines()
    assert lines[2] == "| 2 " + 3 * "| +1.00 [+1.00, +1.00] " + "|"
    assert lines[-1] == "| 12 " + 3 * "| +11.00 [+11.00, +11.00] " + "|"


def test_what_the_gain_of_midpoints_goes_with_is_a_mean_over_sweeps():
    rows = []
    for seed, signs in enumerate(((1, 1), (1, -1), (1, 1))):
        for at, (angle, norm) in enumerate([(1, 3), (2, 1), (3, 4), (4, 2), (5, 5)]):
            row = {"angle": angle * signs[1], "norm": norm, "disagreement": at * signs[0]}
            rows.append(row | {"gain": at, "sweep_seed": seed})
    lines = _sweeps.gains_of_midpoints(pd.DataFrame(rows)).splitlines()
    assert lines[2].startswith("| angle between the two models | +0.33 [-2.54, +3.20] |")
    assert lines[4].startswith("| share of test images on which they disagree | +1.00 [+1.00, +1.0")


def test_ranks_leave_out_models_that_were_not_fine_tuned():
    held, test, shifts = (0.1, 0.2, 0.3), (0.4, 0.6, 0.5), (0.3, 0.2, 0.1)
    rows = [
        {"lr": 1, "heldout": h, "test": t, "shifts_mean": s, "sweep_seed": seed}
        for seed in (0, 1)
        for h, t, s in zip(held, test, shifts, strict=True)
    ]
    start = [
        {"lr": None, "heldout": 0.9, "test": 0.9, "shifts_mean": 0.9, "sweep_seed": s}
        for s in (0, 1)
    ]
    assert _sweeps.ranks(pd.DataFrame(rows + start)).splitlines()[2:] == [
        "| rank correlation with the test set | +0.50 [+0.50, +0.50] |",
        "| rank correlation with the mean of shifts | -1.00 [-1.00, -1.00] |",
        "| best test accuracy − that of the chosen model, points | +10.00 [+10.00, +10.00] |",
    ]

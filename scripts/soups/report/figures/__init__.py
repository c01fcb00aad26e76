"""The figures, each drawn from tables alone; `plot.py` calls them by name."""

from soups.report.figures.calibration import reliability
from soups.report.figures.curves import large_lr, number_of_models, slices, tasks, wise_ft
from soups.report.figures.landscape import landscape
from soups.report.figures.methods import greedy_trace, methods, scatter, shifts
from soups.report.figures.pairs import angles, loss_gap, paths, soup_vs_ensemble
from soups.report.figures.published import (
    published_greedy_order,
    published_scatter,
    published_shifts,
    published_sweep,
)
from soups.report.figures.reproduction import reproduction
from soups.report.figures.sheet import contact_sheet
from soups.report.figures.sweeps import averaging, pretraining, sweep

__all__ = [
    "angles", "averaging", "contact_sheet", "greedy_trace", "landscape", "large_lr", "loss_gap",
    "methods", "number_of_models", "paths", "pretraining", "published_greedy_order",
    "published_scatter", "published_shifts", "published_sweep", "reliability", "reproduction",
    "scatter", "shifts", "slices", "soup_vs_ensemble", "sweep", "tasks", "wise_ft",
]  # fmt: skip

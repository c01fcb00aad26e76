"""Every figure shows the numbers of its tables, as read back from matplotlib's axes."""

import inspect
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plot
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from soups.claims import series, verdicts
from soups.claims.registry import CLAIMS
from soups.claims.rules import verdict
from soups.experiment import figures as registry
from soups.images import examples
from soups.outcomes import CONTRADICTED, FINE, FROM_START, NOT_TESTED
from soups.report import figures, presentation, style
from soups.report.figures.claims import LOOKS, MOST, in_margins
from soups.roles import (
    BASE,
    BEST,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    INITIALIZATION,
    PLAIN,
    TITLES,
    TRAINED_OTHERWISE,
    UNIFORM,
    ZEROSHOT,
)
from tests.unit.plotted import (
    bars,
    centres,
    draw,
    legend,
    percent,
    points,
    same_points,
    scatters,
    texts,
    xy,
)

REGISTERED = {figure.name: figure for figure in [*registry.FIGURES, *registry.PUBLISHED]}
LARGE_LR = 0.005
CHECKS = {}  # figure: its check


def shows(name: str):
    """Register a check of what a figure shows."""

    def register(check):
        CHECKS[name] = check
        return check

    return register


@pytest.fixture(autouse=True)
def closed():
    """Set the style of the figures before each test, and close all figures after it."""
    style.use()
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def recorded(root):
    """A function that reads a recorded table."""
    return lambda path: pd.read_csv(root / "results" / "recorded" / f"{path}.csv")


@pytest.mark.parametrize("name", REGISTERED)
def test_a_figure_shows_the_numbers_of_its_tables(name, recorded):
    assert name in CHECKS, f"figure {name} has no check in this file"
    CHECKS[name](recorded)


def test_every_check_in_this_file_has_a_registered_figure():
    assert CHECKS.keys() <= REGISTERED.keys()


@pytest.mark.parametrize("name", [row.name for row in REGISTERED.values() if row.script == "plot"])
def test_a_figure_s_row_and_its_function_have_the_same_tables(name):
    row, function = REGISTERED[name], figures.function(name)
    parameters = inspect.signature(function).parameters
    assert {*row.tables, *row.any_of} <= parameters.keys()
    optional = {key for key, value in parameters.items() if value.default is not value.empty}
    assert parameters.keys() - optional - row.tables.keys() <= {"roles", "large_lr"}
    assert row.any_of.keys() <= optional


def test_an_unknown_figure_is_a_clear_error():
    with pytest.raises(LookupError, match=r"figure 'scater' has no function .*, expected one of "):
        figures.function("scater")
    with pytest.raises(LookupError, match="'_scatter'"):
        figures.function("_scatter")


def test_a_figure_is_found_in_the_module_that_defines_it():
    assert figures.function("scatter").__module__ == "soups.report.figures.methods"
    assert figures.functions().keys() >= REGISTERED.keys()


class Job:
    """A job of `scripts/plot.py`, as Snakemake passes it to the script."""

    def __init__(self, name: str, inputs: dict, output, roles, **options) -> None:
        self.input, self.output = inputs, [output]
        self.params = SimpleNamespace(figure=name, options=options, roles=roles)


@pytest.mark.parametrize("roles", [None, {GREEDY: GREEDY, UNIFORM: UNIFORM}])
def test_the_script_passes_each_figure_only_the_options_that_it_takes(root, tmp_path, roles):
    folder = root / "results" / "recorded" / "miniature"
    figures_and_tables = {
        "scatter": {"models": "models", "methods": "methods"},
        "paths": {"paths": "paths"},
        "wise_ft": {"curve": "wise_ft"},
    }
    for name, tables in figures_and_tables.items():
        inputs = {key: folder / f"{table}.csv" for key, table in tables.items()}
        plot.main(Job(name, inputs, tmp_path / f"{name}.png", roles, large_lr=LARGE_LR))
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def ranges(table: pd.DataFrame, column: str) -> np.ndarray:
    """Bounds of a column in percent, shape (rows, 2)."""
    return percent(table, f"{column}_lo", f"{column}_hi")


HIGHLIGHTED = [ZEROSHOT, INITIALIZATION, BEST, UNIFORM, GREEDY]


def examined() -> pd.DataFrame:
    """A table of the doctor with a far model and one that was left out."""
    nan = np.nan
    columns = ["model", "verdict", "is_best", "distance", "angle", "barrier"]
    rows = [
        ("m0", FINE, False, 1.0, 60.0, -0.01),
        ("m1", FINE, True, 2.0, 0.0, nan),
        ("m2", "left the basin", False, 1.5, 90.0, 0.2),
        ("m3", "other initialisation", False, 50.0, 80.0, 0.5),
        ("m4", "diverged", False, nan, nan, nan),
    ]
    table = pd.DataFrame(rows, columns=columns)
    bounds = {"barrier_lo": table["barrier"] - 0.02, "barrier_hi": table["barrier"] + 0.03}
    origin = [None if verdict == "diverged" else FROM_START for verdict in table["verdict"]]
    return table.assign(
        **bounds,
        n_barrier=[300, 0, 300, 300, nan],
        origin=origin,
        heldout=[0.7, 0.8, 0.6, 0.75, nan],
        cluster=[1, 1, nan, nan, nan],
    )


@shows("doctor")
def _doctor(recorded):
    figure = draw("doctor", {"doctor": examined()})
    left, right = figure.axes[:2]
    # Every model is at its distance and angle. The one far away is at three times the median.
    rim = 3 * 1.75
    places = {"m0": (1.0, 60), "m2": (1.5, 90), "m3": (rim, 80), "m1": (2.0, 0)}
    polar = np.array([*places.values(), (0, 0)])
    angles = np.deg2rad(polar[:, 1])
    wanted = polar[:, :1] * np.column_stack([np.cos(angles), np.sin(angles)])
    same_points(points(*scatters(left)), wanted)
    assert {text.get_text() for text in left.texts} == {"m0", "m2", "m3 ↑"}
    ends = np.concatenate([xy(line)[1:] for line in left.lines])
    same_points(ends, wanted[:3])
    assert all(np.allclose(xy(line)[0], wanted[3]) for line in left.lines)
    # The barriers, from the smallest to the largest. The model that was left out has none.
    drawn = points(*scatters(right))
    np.testing.assert_allclose(drawn, [(-1, 1), (20, 2), (50, 3)])
    names = ["m4, diverged", "m0", "m2, left the basin", "m3, other initialisation"]
    assert texts(right.get_yticklabels()) == names
    [intervals] = [part for part in right.collections if isinstance(part, LineCollection)]
    segments = np.array([part[:, 0] for part in intervals.get_segments()])
    np.testing.assert_allclose(segments, [(-3, 2), (18, 23), (48, 53)])
    assert [line.get_xdata()[0] for line in right.lines] == [0, 2]
    assert right.get_xlabel() == "Barrier (points), n = 300 held-out"
    assert legend(figure) == [
        FINE, "left the basin", "other initialisation", "best model (m1)", "start (θ₀)",
    ]  # fmt: skip


def test_the_figure_of_the_doctor_has_rings_around_clusters():
    nan = np.nan
    verdicts = [FINE, FINE, "other cluster", "other initialisation", "diverged"]
    table = examined().assign(verdict=verdicts, cluster=[1, 1, 2, 2, nan])
    figure = draw("doctor", {"doctor": table})
    for ax, places in zip(
        figure.axes[:2], ([(0, 1.5), (0.912, 5.17)], [(20, 2), (50, 3)]), strict=False
    ):
        [rings] = [part for part in scatters(ax) if not len(part.get_facecolors())]
        np.testing.assert_allclose(rings.get_offsets(), places, atol=0.01)
    assert "cluster 2 (2 models)" in legend(figure)


@shows("scatter")
def _scatter(recorded):
    models, methods = recorded("miniature/models"), recorded("miniature/methods")
    [ax] = draw("scatter", {"models": models, "methods": methods}).axes
    own, *others = scatters(ax)
    base = models[models["variant"] == BASE]
    np.testing.assert_allclose(points(own), percent(base, "test", "shifts_mean"))
    rows = methods.set_index("method").loc[HIGHLIGHTED]
    np.testing.assert_allclose(points(*others), percent(rows, "test", "shifts_mean"))
    np.testing.assert_allclose(bars(ax, "x"), ranges(rows, "test"))
    np.testing.assert_allclose(bars(ax, "y"), ranges(rows, "shifts_mean"))
    assert [to_hex(part.get_facecolor()[0]) for part in others] == [
        style.COLOURS[role].lower() for role in HIGHLIGHTED
    ]
    assert ax.get_xlabel() == "Test accuracy (%), n = 5,000"
    assert ax.get_ylabel() == "Mean accuracy over shifts (%), n = 15,000"
    assert legend(ax.figure) == ["fine-tuned model", *(TITLES[role] for role in HIGHLIGHTED)]


@shows("methods")
def _methods(recorded):
    methods = recorded("ablations/methods")
    figure = draw("methods", {"methods": methods})
    for ax, column, n in zip(
        figure.axes, ("test", "shifts_mean"), ("5,000", "15,000"), strict=True
    ):
        wanted = np.column_stack([percent(methods, column), np.arange(len(methods))])
        np.testing.assert_allclose(centres(ax), wanted)
        np.testing.assert_allclose(bars(ax, "x"), ranges(methods, column))
        best = methods.set_index("method").loc[BEST, column]
        assert ax.lines[0].get_xdata() == pytest.approx([100 * best] * 2)
        assert ax.get_xlabel().endswith(f"(%), n = {n}")
        hollow = [container[0].get_markerfacecolor() == "white" for container in ax.containers]
        assert hollow == list(methods["inference_cost"] > 1)
    assert texts(figure.axes[0].get_yticklabels()) == [
        TITLES.get(row, row.replace("_", " ")) for row in methods["method"]
    ]


@shows("shifts")
def _shifts(recorded):
    models, methods = recorded("miniature/models"), recorded("miniature/methods")
    figure = draw("shifts", {"models": models, "methods": methods})
    names = ["v2", "r", "sketch", "objectnet", "a"]
    assert [ax.get_title() for ax in figure.axes] == ["V2", "R", "Sketch", "ObjectNet", "A", ""]
    base, rows = models[models["variant"] == BASE], methods.set_index("method").loc[HIGHLIGHTED]
    for ax, name in zip(figure.axes, names, strict=False):
        wanted = [percent(table, "test", name) for table in (base, rows)]
        np.testing.assert_allclose(points(*scatters(ax)), np.concatenate(wanted))
    assert figure.get_supxlabel() == "Test accuracy (%), n = 5,000"
    assert legend(figure.axes[-1]) == ["fine-tuned model", *(TITLES[role] for role in HIGHLIGHTED)]


@shows("reliability")
def _reliability(recorded):
    bins, calibration = recorded("miniature/reliability"), recorded("miniature/calibration")
    figure = draw("reliability", {"bins": bins, "calibration": calibration})
    left, right = figure.axes
    roles = [BEST, UNIFORM, GREEDY, ENSEMBLE, GREEDY_ENSEMBLE, INITIALIZATION]
    for role, line in zip(roles, left.lines, strict=False):
        wanted = bins[bins["method"] == role][["confidence", "accuracy"]]
        np.testing.assert_allclose(xy(line), wanted)
        assert line.get_color() == style.COLOURS[role]
    assert xy(left.lines[-1]).tolist() == [[0, 0], [1, 1]]
    assert legend(figure) == [TITLES[role] for role in roles]
    test = calibration[calibration["set"] == "test"][::-1]
    np.testing.assert_allclose(centres(right)[:, :1], percent(test, "ece_gain"))
    np.testing.assert_allclose(bars(right, "x"), ranges(test, "ece_gain"), atol=1e-12)
    assert texts(right.get_yticklabels()) == [
        f"{TITLES[row]}, {100 * ece:.1f}"
        for row, ece in zip(test["method"], test["ece"], strict=True)
    ]
    assert right.get_xlabel().endswith("n = 5,000")


@shows("sweep")
def _sweep(recorded):
    models, methods = recorded("miniature/models"), recorded("miniature/methods")
    figure = draw("sweep", {"models": models, "methods": methods})
    varying = ["lr", "weight_decay", "epochs", "label_smoothing", "mixup", "augment"]
    panels = np.array(figure.axes).reshape(2, len(varying))
    rows = models[models["variant"] == BASE]
    greedy = methods.set_index("method").loc[GREEDY, "members"].split()
    for line, column, n in zip(panels, ("test", "shifts_mean"), ("5,000", "15,000"), strict=True):
        assert line[0].get_ylabel().endswith(f"(%)\nn = {n}")
        for ax, name in zip(line, varying, strict=True):
            for part, kept in zip(scatters(ax), (False, True), strict=True):
                mine = rows[rows["model"].isin(greedy) == kept]
                wanted = np.column_stack([mine[name], 100 * mine[column]])
                np.testing.assert_allclose(points(part), wanted)
    words = [style.hyperparameter(name) for name in varying]
    assert [ax.get_xlabel().replace("\n", " ") for ax in panels[1]] == words
    assert panels[1][0].get_xscale() == "log"
    assert legend(figure) == ["fine-tuned model", "ingredient of the greedy soup"]


@shows("greedy_trace")
def _greedy_trace(recorded):
    trace, methods = recorded("miniature/greedy_trace"), recorded("miniature/methods")
    figure = draw("greedy_trace", {"trace": trace, "methods": methods})
    [ax] = figure.axes
    added, left_out = scatters(ax)
    early = "at_most" in trace  # Traces of earlier versions have no bounds.
    for part, accepted in ((added, True), (left_out, False)):
        mine = trace[trace["accepted"] == accepted]
        value = "at_most" if early and not accepted else "with"
        np.testing.assert_allclose(
            points(part), np.column_stack([mine["step"], percent(mine, value)])
        )
    # The line has the accuracy of the soup before each step, and at its end the recorded accuracy.
    soup = xy(ax.lines[0])[:, 1]
    np.testing.assert_allclose(soup[:-1], percent(trace[1:], "without")[:, 0])
    heldout = methods.set_index("method").loc[GREEDY, "heldout"]
    assert soup[-1] == pytest.approx(100 * heldout)
    assert texts(ax.get_xticklabels()) == list(trace["candidate"])
    assert ax.get_ylabel() == "Held-out accuracy (%)\nn = 1,000"
    left = ["left out early"] if early else ["left out"]
    assert [text.split(":")[0] for text in legend(figure)] == ["added", *left]


def test_a_greedy_trace_shows_bounds_as_bounds(recorded):
    methods = recorded("miniature/methods")
    trace = pd.DataFrame(
        {
            "step": [1, 2, 3, 4],
            "candidate": ["m3", "m1", "m0", "m2"],
            "without": [np.nan, 0.7, 0.71, 0.71],
            "with": [0.7, 0.71, 0.69, np.nan],
            "at_most": [np.nan, np.nan, np.nan, 0.705],
            "evaluated": [0, 1000, 1000, 320],
            "accepted": [True, True, False, False],
        }
    )
    figure = draw("greedy_trace", {"trace": trace, "methods": methods})
    added, exact, bound = scatters(figure.axes[0])
    np.testing.assert_allclose(points(added), [[1, 70], [2, 71]])
    np.testing.assert_allclose(points(exact), [[3, 69]])
    np.testing.assert_allclose(points(bound), [[4, 70.5]])
    assert [text.split(":")[0] for text in legend(figure)] == [
        "added", "left out", "left out early",
    ]  # fmt: skip


@shows("landscape")
def _landscape(recorded):
    table = recorded("miniature/landscape")
    figure = draw("landscape", {"points": table})
    names = list(dict.fromkeys(table["panel"]))
    panels = np.array(figure.axes[: 2 * len(names)]).reshape(2, len(names))
    for name, column in zip(names, panels.T, strict=True):
        mine = table[table["panel"] == name]
        quantities = (mine["heldout_loss"], 100 * (1 - mine["test"]))
        unit = mine.loc[mine["kind"] == "one", "x"].iloc[0]
        for ax, values in zip(column, quantities, strict=True):
            filled = next(part for part in ax.collections if getattr(part, "filled", False))
            levels = np.unique(np.quantile(values, np.linspace(0, 1, 10)).round(4))
            np.testing.assert_allclose(filled.levels, levels)
            assert (filled.levels[0], filled.levels[-1]) == (
                pytest.approx(values.min(), abs=1e-4), pytest.approx(values.max(), abs=1e-4)
            )  # fmt: skip
            marks = ("start", "one", "two", "average")
            wanted = mine.set_index("kind").loc[list(marks), ["x", "y"]] / unit
            np.testing.assert_allclose(points(*scatters(ax)), wanted)
            assert texts(ax.texts) == ["θ₀", "θ₁", "θ₂", "average"]
            # Each point of the grid lies in the colour band that contains its value.
            for _, point in mine[mine["kind"] == "grid"].iloc[::9].iterrows():
                value = values[point.name]
                at = filled.get_transform().transform((point["x"] / unit, point["y"] / unit))
                bands = [
                    i for i, path in enumerate(filled.get_paths())
                    if path.transformed(filled.get_transform()).contains_point(at, radius=2)
                ]  # fmt: skip
                assert any(levels[i] - 1e-3 <= value <= levels[i + 1] + 1e-3 for i in bands)
        assert column[0].get_title() == f"{name}: learning rate {mine['lr'].iloc[0]:g}"
    assert panels[0][0].get_ylabel() == "Held-out loss (nats), n = 300"
    assert panels[1][0].get_ylabel() == "Test error (%), n = 300"


@shows("paths")
def _paths(recorded):
    table = recorded("miniature/paths")
    figure = draw("paths", {"paths": table}, large_lr=LARGE_LR)
    large = table["lr_2"] >= LARGE_LR
    panels = {ax.get_title(): ax for ax in figure.axes}
    wanted = {
        f"differ in {style.hyperparameter(name)}": rows
        for name, rows in table[~large].groupby("differ", sort=False)
    }
    wanted["with a large learning rate"] = table[large]
    assert list(panels) == list(wanted)
    for title, rows in wanted.items():
        ax, pairs = panels[title], rows.groupby(["model_1", "model_2"], sort=False)
        labels = []
        for (_, pair), line in zip(pairs, ax.lines, strict=True):
            values = percent(pair, "test")[:, 0]
            np.testing.assert_allclose(xy(line), np.column_stack([pair["alpha"], values]))
            chord = values[0] + (values[-1] - values[0]) * pair["alpha"]
            rates = dict.fromkeys([f"{pair['lr_1'].iloc[0]:g}", f"{pair['lr_2'].iloc[0]:g}"])
            labels.append(f"{' – '.join(rates)}: {(chord - values).max():.1f}")
        assert legend(ax) == labels
    assert figure.axes[0].get_ylabel() == "Test accuracy (%)\nn = 1,000"


def midpoints(*tables: pd.DataFrame) -> pd.DataFrame:
    """The midpoint of every pair, with the mean accuracy of its ends."""
    rows = []
    for table in tables:
        for _, pair in table.groupby(["model_1", "model_2"], sort=False):
            ends = pair.set_index("alpha")["test"]
            middle = pair[(pair["alpha"] - 0.5).abs() < 1e-6].iloc[0]
            rows.append({**middle, "ends": (ends.loc[0] + ends.loc[1]) / 2})
    return pd.DataFrame(rows)


def mean_lr(table: pd.DataFrame) -> np.ndarray:
    """The geometric mean of the two learning rates of each pair."""
    return np.sqrt(table["lr_1"] * table["lr_2"]).to_numpy()


@shows("angles")
def _angles(recorded):
    tables = {name: recorded(f"miniature/{name}") for name in ("pairs", "paths", "effects")}
    figure = draw("angles", tables, large_lr=LARGE_LR)
    ax = figure.axes[0]
    middle = midpoints(tables["pairs"], tables["paths"])
    middle = middle[middle["lr_2"] < LARGE_LR]
    wanted = np.column_stack([middle["angle"], 100 * (middle["test"] - middle["ends"])])
    found = np.column_stack(
        [points(*scatters(ax)), np.concatenate([part.get_array() for part in scatters(ax)])]
    )
    same_points(found, np.column_stack([wanted, mean_lr(middle)]))
    claim = tables["effects"].set_index("claim").loc[8]
    assert ax.get_title() == (
        f"rank correlation {claim['effect']:+.2f} [{claim['lo']:.2f}, {claim['hi']:.2f}], "
        f"{len(middle)} pairs"
    )
    assert ax.get_ylabel().endswith("n = 1,000")
    assert legend(figure) == ["several hyperparameters", "seed", "learning rate", "augmentation"]
    # The table of pairs is optional, so the figure may show paths alone.
    figure = draw("angles", {k: tables[k] for k in ("paths", "effects")}, large_lr=LARGE_LR)
    assert len(points(*scatters(figure.axes[0]))) == 5


@shows("soup_vs_ensemble")
def _soup_vs_ensemble(recorded):
    tables = {name: recorded(f"miniature/{name}") for name in ("pairs", "paths")}
    figure = draw("soup_vs_ensemble", tables, large_lr=LARGE_LR)
    middle = midpoints(tables["pairs"], tables["paths"])
    usual = middle[middle["lr_2"] < LARGE_LR]
    panels = [ax for ax in figure.axes if ax.get_title()]
    wanted = [
        (f"{label}, {title} ({len(rows)})", rows, column)
        for title, rows in (("all pairs", middle), ("without large learning rates", usual))
        for label, column in (("test", "test"), ("mean of shifts", "shifts_mean"))
    ]
    for ax, (title, rows, column) in zip(panels, wanted, strict=True):
        assert ax.get_title() == title
        same_points(points(*scatters(ax)), percent(rows, f"ensemble_{column}", column))
        assert ax.get_xlabel().endswith("(%), n = 1,000")
        # The first line is the diagonal of equality, over the range of all points.
        both = percent(rows, f"ensemble_{column}", column)
        assert xy(ax.lines[0]).tolist() == pytest.approx(
            np.array([[both.min()] * 2, [both.max()] * 2])
        )
    assert legend(figure) == ["several hyperparameters", "seed", "learning rate", "augmentation"]


@shows("loss_gap")
def _loss_gap(recorded):
    table = recorded("miniature/paths")
    figure = draw("loss_gap", {"paths": table}, large_lr=LARGE_LR)
    rows = table[table["gap_approximation"].notna()]
    large = rows["lr_2"] >= LARGE_LR
    titles = ("small and medium learning rates", "with a large learning rate")
    for ax, title, part in zip(figure.axes, titles, (rows[~large], rows[large]), strict=True):
        assert ax.get_title() == title
        drawn = scatters(ax)
        filled = [
            to_hex(colour) != "#ffffff" for found in drawn for colour in found.get_facecolor()
        ]
        checked = (part["curvature_wide"] - part["curvature"]).abs() <= 0.5 * part[
            "curvature"
        ].abs()
        same_points(
            np.column_stack([points(*drawn), filled]),
            np.column_stack([part["gap"], part["gap_approximation"], checked]),
        )
        rates = sorted({(a, b) for a, b in zip(part["lr_1"], part["lr_2"], strict=True)})
        assert legend(ax) == [f"lr {' – '.join(dict.fromkeys(f'{x:g}' for x in r))}" for r in rates]
        assert ax.get_xlabel().endswith("test n = 1,000")


@shows("number_of_models")
def _number_of_models(recorded):
    curve = recorded("miniature/number_of_models")
    figure = draw("number_of_models", {"curve": curve})
    roles = [BEST, UNIFORM, GREEDY, ENSEMBLE, GREEDY_ENSEMBLE]
    for ax, column in zip(figure.axes, ("test", "shifts_mean"), strict=True):
        bands = list(ax.collections)
        for role, line, band in zip(roles, ax.lines, bands, strict=True):
            rows = curve[curve["method"] == role]
            orders = rows.pivot(index="n", columns="order", values=column) * 100
            mean, spread = orders.mean(axis=1), orders.std(axis=1)
            np.testing.assert_allclose(xy(line), np.column_stack([orders.index, mean]))
            edge = band.get_paths()[0].vertices
            for n in orders.index:
                at = edge[edge[:, 0] == n, 1]
                assert (at.min(), at.max()) == (
                    pytest.approx(mean[n] - spread[n]), pytest.approx(mean[n] + spread[n])
                )  # fmt: skip
            assert line.get_color() == style.COLOURS[role]
        assert ax.get_ylabel().endswith("n = 1,000")
    assert legend(figure) == [TITLES[role] for role in roles]


@shows("slices")
def _slices(recorded):
    curve = recorded("ablations/slices")
    figure = draw("slices", {"curve": curve})
    names = list(dict.fromkeys(curve["slice"]))
    for ax, column, n in zip(
        figure.axes, ("test", "shifts_mean"), ("5,000", "15,000"), strict=True
    ):
        rows = [curve[curve["method"] == role] for role in (UNIFORM, GREEDY)]
        for part, mine in zip(scatters(ax), rows, strict=True):
            np.testing.assert_allclose(points(part)[:, :1], percent(mine, f"{column}_gain"))
        np.testing.assert_allclose(
            bars(ax, "x"), np.concatenate([ranges(mine, f"{column}_gain") for mine in rows])
        )
        assert ax.get_xlabel().endswith(f"(points), n = {n}")
    models = curve.groupby("slice")["models"].first()
    assert texts(figure.axes[0].get_yticklabels()) == [
        f"{style.hyperparameter(name)} ({models[name]} models)" for name in names
    ]
    assert legend(figure) == [TITLES[UNIFORM], TITLES[GREEDY]]


@shows("large_lr")
def _large_lr(recorded):
    curve, rejection = recorded("miniature/large_lr"), recorded("miniature/rejection")
    left, right = draw("large_lr", {"curve": curve, "rejection": rejection}).axes
    roles = list(dict.fromkeys(curve["method"]))
    found = centres(left).reshape(len(roles), -1, 2)
    for role, line in zip(roles, found, strict=True):
        mine = curve[curve["method"] == role]
        assert line[:, 0].round().tolist() == mine["large"].tolist()
        np.testing.assert_allclose(line[:, 1:], percent(mine, "test"))
    grouped = pd.concat([curve[curve["method"] == role] for role in roles])
    np.testing.assert_allclose(bars(left, "y"), ranges(grouped, "test"))
    assert left.get_ylabel() == "Test accuracy (%)\nn = 1,000"
    assert left.get_xlabel().endswith(f"among {len(rejection) - curve['large'].max()} others")
    assert legend(left) == [TITLES[role] for role in roles]
    for part, accepted in zip(scatters(right), (True, False), strict=True):
        mine = rejection[rejection["accepted"] == accepted]
        wanted = np.column_stack([mine["distance"], percent(mine, "heldout")])
        np.testing.assert_allclose(points(part), wanted)
    assert legend(right) == ["taken by greedy", "rejected"]
    assert right.get_xscale() == "log"


@shows("wise_ft")
def _wise_ft(recorded):
    curve = recorded("miniature/wise_ft")
    figure = draw("wise_ft", {"curve": curve})
    [ax] = figure.axes
    rows = list(dict.fromkeys(curve["method"]))
    for row, line in zip(rows, ax.lines, strict=True):
        mine = curve[curve["method"] == row]
        np.testing.assert_allclose(xy(line), percent(mine, "test", "shifts_mean"))
    ends = curve[curve["alpha"] == 1]
    *models, start = scatters(ax)
    np.testing.assert_allclose(points(*models), percent(ends, "test", "shifts_mean"))
    first = curve[curve["alpha"] == 0].iloc[[0]]
    np.testing.assert_allclose(points(start), percent(first, "test", "shifts_mean"))
    assert ax.get_xlabel() == "Test accuracy (%), n = 1,000"
    assert ax.get_ylabel() == "Mean accuracy over shifts (%), n = 1,000"
    assert legend(figure) == [*(TITLES[row] for row in rows), TITLES[INITIALIZATION]]


@shows("averaging")
def _averaging(recorded):
    table = recorded("ablations/significance")
    figure = draw("averaging", {"significance": table})
    table = table[(table["reference"] == PLAIN) & (table["as"] == PLAIN)]
    for ax, measure, n in zip(
        figure.axes, ("test", "shifts_mean"), ("5,000", "15,000"), strict=True
    ):
        rows = table[table["measure"] == measure].set_index("method").loc[list(TRAINED_OTHERWISE)]
        np.testing.assert_allclose(centres(ax)[:, :1], percent(rows, "difference"))
        np.testing.assert_allclose(bars(ax, "x"), percent(rows, "lo", "hi"))
        assert ax.get_xlabel().endswith(f"(points), n = {n}")
    labels = texts(figure.axes[0].get_yticklabels())
    assert labels == [TITLES[role] for role in TRAINED_OTHERWISE]


@shows("tasks")
def _tasks(recorded):
    curve = recorded("ablations/tasks")
    [ax] = draw("tasks", {"curve": curve}).axes
    start, rows = curve[curve["tasks"] == 0], curve[curve["tasks"] > 0]
    assert ax.lines[0].get_ydata() == pytest.approx([100 * start["test"].item()] * 2)
    [drawn] = scatters(ax)
    np.testing.assert_allclose(points(drawn)[:, 1:], percent(rows, "test"))
    assert points(drawn)[:, 0].round().tolist() == rows["tasks"].tolist()
    # The error bars are intervals of the differences from the dashed line.
    wanted = percent(start, "test") + ranges(rows, "test_gain")
    np.testing.assert_allclose(bars(ax, "y"), wanted, atol=1e-3)
    mean = 100 * rows.groupby("tasks")["test"].mean()
    np.testing.assert_allclose(xy(ax.lines[-1]), np.column_stack([mean.index, mean]))
    assert ax.get_ylabel() == "Accuracy on the unseen task (%)\nn = 1,248"
    assert texts(ax.texts) == ["zero-shot"]


@shows("pretraining")
def _pretraining(_):
    roles = [ZEROSHOT, BEST, GREEDY]
    tables = {
        start: pd.DataFrame({
            "method": roles, "test": values, "shifts_mean": [v - 0.1 for v in values],
            "test_lo": [v - 0.02 for v in values], "test_hi": [v + 0.01 for v in values],
            "shifts_mean_lo": [v - 0.13 for v in values],
            "shifts_mean_hi": [v - 0.06 for v in values], "n_test": 1200, "n_shifts": 3400,
        })
        for start, values in (("methods", [0.5, 0.6, 0.7]), ("weaker", [0.3, 0.55, 0.58]))
    }  # fmt: skip
    # The figure leaves out a row that only one of the two tables has.
    extra = tables["weaker"][:1].assign(method=UNIFORM)
    tables["weaker"] = pd.concat([tables["weaker"], extra], ignore_index=True)
    figure = draw("pretraining", tables)
    rows = pd.concat([tables["methods"], tables["weaker"][:3]])
    for ax, column, n in zip(figure.axes, ("test", "shifts_mean"), ("1,200", "3,400"), strict=True):
        np.testing.assert_allclose(centres(ax)[:, :1], percent(rows, column))
        assert centres(ax)[:, 1].round().tolist() == [0, 1, 2] * 2
        np.testing.assert_allclose(bars(ax, "x"), ranges(rows, column))
        assert ax.get_xlabel().endswith(f"(%), n = {n}")
    assert texts(figure.axes[0].get_yticklabels()) == [TITLES[role] for role in roles]
    assert legend(figure) == ["usual pre-training", "weaker pre-training"]


@shows("reproduction")
def _reproduction(_):
    rows = pd.DataFrame(
        [
            ("model_1", "model", "test", 0.51, 0.5), ("model_1", "model", "v2", 0.4, 0.42),
            ("model_1", "model", "shifts_mean", 0.3, 0.31), ("mine", "soup", "test", 0.62, 0.6),
            ("mine", "soup", "v2", 0.5, 0.49), ("mine", "soup", "shifts_mean", 0.4, 0.4),
            ("all", "ensemble", "test", 0.63, 0.6), ("all", "ensemble", "v2", 0.5, 0.48),
            ("all", "ensemble", "shifts_mean", 0.4, 0.41),
        ],
        columns=["model", "kind", "measure", "ours", "published"],
    )  # fmt: skip
    rows["difference"] = rows["ours"] - rows["published"]
    figure = draw("reproduction", {"compared": rows})
    *pair, last = figure.axes
    for ax, measure, label in zip(
        pair, ("test", "shifts_mean"), ("test", "mean of shifts"), strict=True
    ):
        mine = rows[rows["measure"] == measure]
        np.testing.assert_allclose(points(*scatters(ax)), percent(mine, "published", "ours"))
        assert ax.get_xlabel() == f"Published accuracy (%), {label}"
    np.testing.assert_allclose(points(*scatters(last))[:, :1], percent(rows, "difference"))
    measures = ["test", "v2", "shifts_mean"]
    assert points(*scatters(last))[:, 1].round().tolist() == [
        measures.index(name) for name in rows["measure"]
    ]
    assert texts(last.get_yticklabels()) == ["test", "V2", "mean of shifts"]
    assert legend(figure) == ["released model", "uniform and greedy soup", "ensemble"]


@shows("contact_sheet")
def _contact_sheet(_):
    rng = np.random.default_rng(0)
    columns = {
        title: rng.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8) for title in ("test", "V2", "R")
    }
    columns["V2"][1] = 255  # as for a class without an image
    [ax] = figures.function("contact_sheet")(columns, ["cat", "dog"]).axes
    sheet = np.asarray(ax.images[0].get_array())
    x, y = ([int(at + 0.5) for at in axis.get_ticklocs()] for axis in (ax.xaxis, ax.yaxis))
    shown = np.zeros(sheet.shape[:2], bool)
    for images, right in zip(columns.values(), x, strict=True):
        for image, down in zip(images, y, strict=True):
            cell = (slice(down - 4, down + 4), slice(right - 4, right + 4))
            np.testing.assert_array_equal(sheet[cell], image)
            shown[cell] = True
    assert (sheet[~shown] == 255).all()  # between the images
    assert texts(ax.get_xticklabels()) == ["test", "V2", "R"]
    assert texts(ax.get_yticklabels()) == ["cat", "dog"]


def test_the_contact_sheet_shows_the_first_image_of_each_class_that_a_set_has():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 2, 3), np.uint8)
    # The second class of the set stands for the training classes 0 and 2. Its image is shown for
    # class 0 alone.
    data = SimpleNamespace(
        inputs=images, labels=np.array([0, 1, 0, 2, 2]), members=[[1], [0, 2], [3]]
    )
    found = examples.first_of_classes(data, np.array([2, 0, 1, 3, 4]), 4)
    assert [image[0, 0, 0] for image in found] == [1, 2, 255, 3]


def test_the_figure_of_the_doctor_says_if_all_models_are_left_out():
    rows = [{"model": name, "verdict": "diverged", "is_best": False} for name in "ab"]
    figure = draw("doctor", {"doctor": pd.DataFrame(rows)})
    assert texts(figure.axes[0].texts) == ["There is nothing to draw.\nAll models are left out."]


def test_images_of_several_styles_are_told_apart():
    paths = ["poster/0", "neon/1", "poster/2"]
    data = SimpleNamespace(labels=np.zeros(3, int), meta={"paths": paths})
    rows = {style: rows.tolist() for style, rows in examples.by_style(data).items()}
    assert rows == {"neon": [1], "poster": [0, 2]}
    data.meta["paths"] = ["photo/0", "photo/1", "photo/2"]
    assert {style: rows.tolist() for style, rows in examples.by_style(data).items()} == {
        "": [0, 1, 2]
    }


SETS = {"v2": "V2", "r": "R", "sketch": "Sketch", "objectnet": "ObjectNet", "a": "A"}
RELEASED = [INITIALIZATION, BEST, UNIFORM, GREEDY]


@shows("published_scatter")
def _published_scatter(recorded):
    models, methods = recorded("published/models"), recorded("published/methods")
    figure = draw("published_scatter", {"models": models, "methods": methods})
    [ax] = figure.axes
    own, *others = scatters(ax)
    base, rows = models[models["variant"] == BASE], methods.set_index("method").loc[RELEASED]
    assert len(points(own)) == 71
    np.testing.assert_allclose(points(own), percent(base, "test", "shifts_mean"))
    np.testing.assert_allclose(points(*others), percent(rows, "test", "shifts_mean"))
    np.testing.assert_allclose(bars(ax, "x"), ranges(rows, "test"))
    np.testing.assert_allclose(bars(ax, "y"), ranges(rows, "shifts_mean"))
    assert ax.get_xlabel() == "ImageNet accuracy (%), n = 50,000"
    assert ax.get_ylabel() == "Mean accuracy of five shifts (%)\nn = 116,963"
    assert legend(figure) == ["fine-tuned model", *(TITLES[role] for role in RELEASED)]


@shows("published_shifts")
def _published_shifts(recorded):
    models, methods = recorded("published/models"), recorded("published/methods")
    figure = draw("published_shifts", {"models": models, "methods": methods})
    base, rows = models[models["variant"] == BASE], methods.set_index("method").loc[RELEASED]
    shifts = presentation.shift_names(methods)
    assert shifts == list(SETS)
    assert len(figure.axes) >= len(shifts)
    for ax, name in zip(figure.axes, shifts, strict=False):
        wanted = [percent(table, "test", name) for table in (base, rows)]
        np.testing.assert_allclose(points(*scatters(ax)), np.concatenate(wanted))
        assert ax.get_title().endswith(f"n = {methods[f'n_{name}'][0]:,}")
        assert SETS[name] in ax.get_title()
    assert figure.get_supxlabel() == "ImageNet accuracy (%), n = 50,000"


@shows("published_sweep")
def _published_sweep(recorded):
    names = {"models": "models", "correlations": "rank_correlations", "methods": "methods"}
    tables = {key: recorded(f"published/{name}") for key, name in names.items()}
    figure = draw("published_sweep", tables)
    models = tables["models"][tables["models"]["variant"] == BASE]
    columns = list(models.columns[2 : models.columns.get_loc("heldout")])
    correlation = tables["correlations"].set_index(["of", "with"])["correlation"]
    panels = np.array([ax for ax in figure.axes if ax.get_title()]).reshape(2, len(columns))
    for line, measure, n in zip(
        panels, ("test", "shifts_mean"), ("50,000", "116,963"), strict=True
    ):
        assert line[0].get_ylabel().endswith(f"\nn = {n}")
        for ax, name in zip(line, columns, strict=True):
            [part] = scatters(ax)
            np.testing.assert_allclose(part.get_array(), models["lr"])
            np.testing.assert_allclose(points(part)[:, 1:], percent(models, measure))
            given = models[name].notna().to_numpy()
            np.testing.assert_allclose(points(part)[given, 0], models[name][given])
            assert (points(part)[~given, 0] < models[name].min()).all()
            rho = f"{correlation[name, measure]:+.2f}".replace("-", "−")
            assert ax.get_title() == f"ρ = {rho}"


@shows("published_greedy_order")
def _published_greedy_order(recorded):
    names = {"order": "greedy_order", "correlations": "rank_correlations", "methods": "methods"}
    tables = {key: recorded(f"published/{name}") for key, name in names.items()}
    figure = draw("published_greedy_order", tables)
    order, rows = tables["order"], tables["methods"].set_index("method")
    sizes = {"heldout": "26,000", "test": "50,000", "shifts_mean": "116,963"}
    for ax, (measure, n) in zip(figure.axes, sizes.items(), strict=True):
        wanted = np.column_stack([order["rank"], percent(order, measure)])
        kept = order["kept"].to_numpy()  # these are marked twice
        same_points(points(*scatters(ax)), np.concatenate([wanted, wanted[kept]]))
        soups = [line.get_ydata()[0] for line in ax.lines]
        np.testing.assert_allclose(soups, percent(rows.loc[[UNIFORM, GREEDY]], measure)[:, 0])
        assert f"n = {n}" in ax.get_title()
    labels = ["fine-tuned model", *(TITLES[role] for role in (BEST, INITIALIZATION))]
    labels += ["kept by the greedy soup"]
    assert legend(figure) == [*labels, TITLES[UNIFORM], TITLES[GREEDY]]


def test_the_best_model_shows_above_a_greedy_soup_of_one_model():
    assert style.marker(BEST)["zorder"] > style.marker(GREEDY)["zorder"]
    assert style.marker(BEST)["s"] < style.marker(GREEDY)["s"]


@shows("forest")
def _forest(recorded):
    table = forested(recorded)
    figure = draw("forest", {"claims": table})
    ax = figure.axes[0]
    seen = table[table["verdict"].isin(LOOKS) & (table["margin"] > 0)]
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 1.5]
    ends = np.array([line.get_xdata() for line in lines])
    wanted = np.array([in_margins(row)[1:] for _, row in seen.iterrows()])
    np.testing.assert_allclose(ends, wanted.clip(-MOST, MOST))
    greater = seen[seen["rule"] == "greater"].iloc[0]
    assert in_margins(greater)[0] == pytest.approx(greater["effect"] / greater["margin"])
    marks = [line for line in ax.lines if line.get_marker() in {m for _, m in LOOKS.values()}]
    values = np.array([in_margins(row)[0] for _, row in seen.iterrows()])
    np.testing.assert_allclose([line.get_xdata()[0] for line in marks], values.clip(-MOST, MOST))
    assert [(to_hex(line.get_color()), line.get_marker()) for line in marks] == [
        (colour.lower(), mark) for colour, mark in map(LOOKS.get, seen["verdict"])
    ]
    numbers = [label.get_text().split(".")[0] for label in ax.get_yticklabels()]
    assert numbers == list(map(str, seen["claim"]))
    assert texts(ax.texts) == [
        presentation.effect(row).replace("-", "−") for _, row in seen.iterrows()
    ]


def test_recorded_evidence_stands_below_the_run_with_marks_of_its_own(recorded, tmp_path):
    table = forested(recorded)
    several = table.assign(runs=8, design="sweeps", effect=table["effect"] / 2)
    several.to_csv(tmp_path / "claims.csv", index=False)
    beside = series.beside(table, [tmp_path / "claims.csv"])
    ax = draw("forest", {"claims": beside}).axes[0]
    hollow = [line for line in ax.lines if to_hex(line.get_markerfacecolor()) == "#ffffff"]
    seen = table[table["verdict"].isin(LOOKS) & (table["margin"] > 0)]
    assert "within" not in set(seen["rule"])
    halves = [in_margins(row)[0] / 2 for _, row in seen.iterrows()]
    np.testing.assert_allclose(
        [line.get_xdata()[0] for line in hollow], np.clip(halves, -MOST, MOST), atol=1e-9
    )
    np.testing.assert_allclose([line.get_ydata()[0] for line in hollow], np.arange(len(seen)) + 0.2)


def forested(recorded) -> pd.DataFrame:
    """The recorded claims, with today's rules and margins where a test has kept its name."""
    known = {(claim.number, part.title()): part for claim in CLAIMS for part in claim.parts}
    rows = []
    for row in recorded("ablations/effects").to_dict("records"):
        part = known.get((row["claim"], row["part"]))
        if part is None or np.isnan(row["effect"]):
            continue
        bounded = row["effect"], row["lo"], row["hi"]
        row |= {"rule": part.rule, "margin": part.margin.value, "decides": part.decides}
        rows.append(row | {"verdict": verdict(part.rule, part.margin.value, *bounded)})
    return verdicts.claims_table(pd.DataFrame(rows))


def test_a_slope_is_drawn_on_a_logarithmic_axis_and_a_long_interval_has_an_arrow():
    row = {"claim": 16, "text": "A ratio.", "verdict": CONTRADICTED, "rule": "within"}
    row |= {"margin": 2.0, "effect": 4.0, "lo": 2.0, "hi": 2.0**40, "unit": "slope"}
    assert in_margins(pd.Series(row)) == pytest.approx((2, 1, 40))
    ax = draw("forest", {"claims": pd.DataFrame([row])}).axes[0]
    [arrow] = [line for line in ax.lines if line.get_marker() == ">"]
    assert arrow.get_xdata()[0] == MOST
    empty = draw("forest", {"claims": pd.DataFrame([row | {"verdict": NOT_TESTED}])})
    assert "No claim has an effect" in empty.axes[0].texts[0].get_text()

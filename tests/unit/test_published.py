"""Tables and figures of the results that the paper's authors released."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from scipy.stats import binomtest, spearmanr

from soups import outcomes
from soups.claims import published, released_tables, verdicts
from soups.claims.evidence import Evidence
from soups.errors import UserError
from soups.experiment.figures import PUBLISHED_TABLES
from soups.report import figures, presentation
from soups.roles import BEST, Roles

ROLES = Roles.named()
MEMBERS = ["model_43", "model_44", "model_32", "model_47", "model_50"]
# Timm's transforms without operations minus CLIP's own preprocessing, in points.
PIPELINES = {"test": 1.38, "v2": 1.08, "sketch": 0.94, "objectnet": -2.43, "a": -4.10, "r": -0.10}


@pytest.fixture(scope="module")
def path(root):
    return root / "experiments" / "published" / "clip-vitb32-72.csv"


@pytest.fixture(scope="module")
def table(path):
    return published.load(path)


@pytest.fixture(scope="module")
def paper(path):
    return published.load_paper(path.with_name("paper.csv"))


@pytest.fixture(scope="module")
def tables(table, tmp_path_factory):
    """The tables, read from CSV files as the figures read them."""
    folder = tmp_path_factory.mktemp("tables")
    for name in PUBLISHED_TABLES:
        getattr(released_tables, name)(table).to_csv(folder / f"{name}.csv", index=False)
    return {name: pd.read_csv(folder / f"{name}.csv") for name in PUBLISHED_TABLES}


def test_every_accuracy_is_a_whole_number_of_images(table):
    assert len(table) == 72 + 3 + 1
    for name, n in published.IMAGES.items():
        images = table[name].astype(float) * n
        assert (images - images.round()).abs().max() < 1e-6


def test_the_table_has_the_numbers_that_the_paper_states(table):
    assert table.index[table["ImageNet2p"] == table["ImageNet2p"][:72].max()][0] == "model_43"
    assert table.loc["best_individual", "ImageNet"] == pytest.approx(0.80386)
    assert table.loc["greedy_soup", "shifts_mean"] == pytest.approx(0.5086, abs=1e-4)


def test_the_interval_of_one_set_is_that_of_two_binomials(table):
    value, low, high = published.difference(table, "greedy_soup", "best_individual", ["ImageNet"])
    assert value == pytest.approx(0.0064, abs=1e-5)
    one, two = 0.81026, 0.80386
    half = 1.959964 * ((one * (1 - one) + two * (1 - two)) / 50_000) ** 0.5
    assert (high - value, value - low) == (pytest.approx(half), pytest.approx(half))


def test_the_ensemble_has_the_numbers_of_the_authors_file(table):
    assert 100 * table.loc["ensemble", "ImageNet2p"] == pytest.approx(83.81, abs=0.005)
    assert 100 * table.loc["ensemble", "ImageNet"] == pytest.approx(81.188)
    assert 100 * table.loc["ensemble", "shifts_mean"] == pytest.approx(50.875, abs=0.0005)


@pytest.mark.parametrize(
    ("better", "worse", "sets", "bounds"),
    [
        ("ensemble", "uniform_soup", ["ImageNet"], (1.22, 0.73, 1.71)),
        ("uniform_soup", "ensemble", published.RELEASED_SHIFTS, (0.70, 0.22, 1.18)),
    ],
)
def test_released_numbers_decide_between_ensemble_and_uniform_soup(
    table, better, worse, sets, bounds
):
    found = 100 * np.array(published.difference(table, better, worse, sets))
    assert found == pytest.approx(bounds, abs=0.006)


def test_the_paper_s_table_agrees_with_the_released_files_within_their_rounding(table, paper):
    rows = {role: name for name, role in published.ROLES_OF_SOUPS.items()} | {BEST: BEST}
    for role, name in rows.items():
        assert paper.loc[role, "ImageNet"] == pytest.approx(table.loc[name, "ImageNet"], abs=1e-4)
        # The paper's means of shifts are slightly other numbers.
        assert paper.loc[role, "shifts_mean"] == pytest.approx(
            table.loc[name, "shifts_mean"], abs=2e-3
        )


def test_the_interval_of_a_mean_of_shifts_in_the_paper_is_at_least_the_exact_one(table, paper):
    found = published.difference_in_paper(paper, "ensemble", "uniform", "shifts_mean")
    exact = published.difference(table, "ensemble", "uniform_soup", published.RELEASED_SHIFTS)
    assert found[2] - found[1] > exact[2] - exact[1]
    assert found[2] - found[1] < 1.15 * (exact[2] - exact[1])


def test_published_numbers_decide_all_parts_of_the_claim_about_ensembles(table, paper):
    parts = verdicts.effects(Evidence({}, {}, 1.0, ROLES))
    columns = published.columns(parts, table, paper)
    of_ensembles = columns[parts["claim"] == 6]
    assert of_ensembles["published_part"].tolist() == [
        "ensemble − uniform soup, ImageNet",
        "uniform soup − ensemble, mean of shifts",
        "greedy ensemble − greedy soup, ImageNet, paper's table",
        "greedy soup − greedy ensemble, mean of shifts, paper's table",
    ]
    assert set(of_ensembles["published_verdict"]) == {outcomes.SUPPORTED}


def test_the_published_parts_compare_what_the_claims_compare(table, paper):
    """A claim whose parts change order must not get another part's published numbers."""
    parts = verdicts.effects(Evidence({}, {}, 1.0, ROLES))
    columns = published.columns(parts, table, paper)
    for claim in (1, 2, 4, 5, 6):
        rows = columns["published_part"][parts["claim"] == claim]
        for ours, theirs in zip(parts["part"][parts["claim"] == claim], rows, strict=True):
            words = [text.split(",")[0].split(" − ") for text in (ours, theirs)]
            plain = [[word.replace(" soup", "").replace(",", "") for word in w] for w in words]
            assert plain[0][0][:6] == plain[1][0][:6], (ours, theirs)
            assert ("shifts" in ours) == ("shifts" in theirs)


def test_the_published_verdicts_follow_the_numbers(table, paper):
    parts = verdicts.effects(Evidence({}, {}, 1.0, ROLES))
    columns = published.columns(parts, table, paper)
    judged = columns[columns["published_verdict"] != outcomes.NOT_TESTED]
    assert set(parts.loc[judged.index, "claim"]) == {1, 2, 3, 4, 5, 6}
    assert (judged["published_verdict"].iloc[:2] == outcomes.SUPPORTED).all()

    worse = table.copy()
    worse.loc["greedy_soup", list(published.IMAGES)] -= 0.1
    flipped = published.columns(parts, worse.assign(
        shifts_mean=worse[published.RELEASED_SHIFTS].mean(axis=1)
    ), paper)  # fmt: skip
    assert (flipped["published_verdict"].iloc[:2] == outcomes.CONTRADICTED).all()


@pytest.mark.parametrize(
    ("method", "test", "shifts"),
    [
        ("best_individual", 80.386, 47.97),
        ("uniform", 79.972, 51.58),
        ("greedy", 81.026, 50.86),
        ("second_best", 79.888, 43.99),
        ("ensemble", 81.188, 50.875),
    ],
)
def test_methods_have_the_published_numbers(tables, method, test, shifts):
    row = tables["methods"].set_index("method").loc[method]
    assert 100 * row["test"] == pytest.approx(test, abs=1e-6)
    assert 100 * row["shifts_mean"] == pytest.approx(shifts, abs=0.006)
    assert (row["n_test"], row["n_shifts"]) == (50_000, 116_963)


def test_the_table_of_methods_names_members_and_marks_the_best(tables):
    methods = tables["methods"].set_index("method")
    assert methods.loc["best_individual", "members"] == "model_43"
    assert methods.loc["uniform", "members"].split() == [f"model_{i}" for i in range(72)]
    assert methods.loc["greedy", "ingredients"] == 5
    assert methods.loc["greedy", "members"].split() == MEMBERS
    assert methods.loc["ensemble", ["ingredients", "inference_cost"]].tolist() == [72, 72]
    assert methods.loc["greedy", "inference_cost"] == 1
    assert list(methods.index[methods["test_top"]]) == ["greedy", "ensemble"]
    assert list(methods.index[methods["shifts_mean_top"]]) == ["uniform"]


def test_the_oracle_takes_the_best_fine_tuned_model_of_each_set(tables):
    oracle = tables["methods"].set_index("method").loc["oracle"]
    models = tables["models"]
    for name in [*presentation.shift_names(tables["methods"]), "test"]:
        # The oracle leaves the initialisation out, but that model is the best on no set.
        assert oracle[name] == models[name].max()
    assert pd.isna(oracle["heldout"])
    assert "oracle" not in set(tables["differences"]["method"])


@pytest.mark.parametrize(
    "measure", [name for name in published.SETS_OF_MEASURES if name != "shifts_mean"]
)
def test_the_interval_on_one_set_is_nearly_the_exact_binomial_one(tables, measure):
    row = tables["methods"].set_index("method").loc["greedy"]
    n = int(row[f"n_{measure}"])
    exact = binomtest(round(row[measure] * n), n).proportion_ci(0.95, "exact")
    assert (row[f"{measure}_lo"], row[f"{measure}_hi"]) == (
        pytest.approx(exact.low, abs=2e-4),
        pytest.approx(exact.high, abs=2e-4),
    )


def test_the_interval_of_the_mean_of_shifts_equals_that_of_simulated_sets(table, tables):
    row = tables["methods"].set_index("method").loc["uniform"]
    rng = np.random.default_rng(0)
    draws = [
        rng.binomial(published.IMAGES[name], table.loc["uniform_soup", name], 40_000)
        / published.IMAGES[name]
        for name in published.RELEASED_SHIFTS
    ]
    low, high = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
    assert row["shifts_mean_lo"] == pytest.approx(low, abs=1e-4)
    assert row["shifts_mean_hi"] == pytest.approx(high, abs=1e-4)


def test_differences_are_those_between_accuracies_of_methods(tables):
    methods = tables["methods"].set_index("method")
    differences = tables["differences"]
    assert len(differences) == 5 * len(published.SETS_OF_MEASURES)
    for _, row in differences.iterrows():
        apart = methods[row["measure"]][row["method"]] - methods[row["measure"]]["best_individual"]
        assert row["difference"] == pytest.approx(apart, abs=2e-6)
        size = "shifts" if row["measure"] == "shifts_mean" else row["measure"]
        assert row["n"] == methods[f"n_{size}"].iloc[0]
        # The interval is wider than that of each method, and narrower than both together.
        width = [methods[f"{row['measure']}_hi"][m] - methods[f"{row['measure']}_lo"][m]
                 for m in (row["method"], "best_individual")]  # fmt: skip
        assert max(width) < row["hi"] - row["lo"] < sum(width)


def test_models_keep_every_released_number(path, tables):
    released = pd.read_csv(path, comment="#").iloc[:72]
    models = tables["models"]
    assert list(models["model"]) == list(released["model"])
    for name in published.HYPERPARAMETERS:
        pd.testing.assert_series_equal(models[name], released[name], check_dtype=False)
    for name, sets in published.SETS_OF_MEASURES.items():
        np.testing.assert_allclose(models[name], released[sets].mean(axis=1), atol=1e-6)
    assert list(models["model"][models["variant"].isna()]) == ["model_0"]
    again = [
        None if pd.isna(m) else f"rand-m{m:.0f}-n{n:.0f}"
        for m, n in zip(models["rand_augment_magnitude"], models["rand_augment_operations"],
                        strict=True)
    ]  # fmt: skip
    assert again == [None if pd.isna(text) else text for text in released["rand_augment"]]
    assert again.count(None) == 28


def test_greedy_order_is_by_falling_held_out_accuracy(path, tables):
    order = tables["greedy_order"]
    released = pd.read_csv(path, comment="#").iloc[:72]
    expected = released.sort_values("ImageNet2p", ascending=False, kind="stable")["model"]
    assert list(order["model"]) == list(expected)
    assert list(order["rank"]) == list(range(1, 73))
    assert (order["model"].iloc[0], order["model"].iloc[-1]) == ("model_43", "model_0")
    # These two models have the same configuration and the same accuracies.
    assert order["model"].tolist().index("model_5") == order["model"].tolist().index("model_4") + 1


def test_the_greedy_soup_keeps_five_models_in_the_order_of_their_ranks(tables):
    order = tables["greedy_order"]
    kept = order[order["kept"]]
    assert kept["model"].tolist() == MEMBERS
    assert kept["rank"].tolist() == [1, 2, 11, 17, 18]
    assert kept["ingredients"].tolist() == [1, 2, 3, 4, 5]
    assert order["ingredients"].iloc[-1] == 5


def test_the_two_augmentation_pipelines_differ_and_operations_add_nothing(tables):
    """Both pipelines stand in the published sweep without operations, and must stay told apart."""
    found = tables["pipelines"].set_index(["operations", "measure"])
    for measure, difference in PIPELINES.items():
        row = 100 * found.loc[(0, measure), ["difference", "lo", "hi"]]
        assert row["difference"] == pytest.approx(difference, abs=0.006)
        assert (row["lo"] > 0 or row["hi"] < 0) == (measure != "r")
        for operations in (1, 2):  # their intervals hold the difference without operations
            lo, hi = 100 * found.loc[(operations, measure), ["lo", "hi"]]
            assert lo < row["difference"] < hi
    assert found["models"].groupby("operations").first().tolist() == [21, 18, 5]
    assert set(found["plain"]) == {27}


def test_rank_correlations_equal_spearman_s(tables):
    models, found = tables["models"], tables["rank_correlations"].set_index(["of", "with"])
    for (of, measure), row in found.iterrows():
        known = models[models[of].notna()]
        assert row["models"] == len(known)
        expected = spearmanr(known[of], known[measure]).statistic
        assert row["correlation"] == pytest.approx(expected, abs=1e-6)
        assert row["lo"] < row["correlation"] < row["hi"]
    assert found.loc[("heldout", "test"), "lo"] > 0.95
    assert found.loc[("heldout", "shifts_mean"), "lo"] < 0 < found.loc[
        ("heldout", "shifts_mean"), "hi"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="mixup"), "no column 'mixup'"),
        (lambda rows: rows[rows["model"] != "greedy_soup"], "no row 'greedy_soup'"),
        (lambda rows: rows.assign(ImageNet=100 * rows["ImageNet"]), "model_0 has ImageNet = 75.57"),
        (lambda rows: rows.assign(ImageNetA=np.nan), "model_0 has ImageNetA = nan"),
    ],
)
def test_a_table_with_missing_or_impossible_entries_is_refused(path, tmp_path, change, message):
    broken = tmp_path / "broken.csv"
    change(pd.read_csv(path, comment="#")).to_csv(broken, index=False)
    with pytest.raises(UserError, match=message) as error:
        published.load(broken)
    assert str(broken) in str(error.value)


def test_an_unknown_augmentation_is_refused():
    assert published.rand_augment("rand-m12-n1") == (12, 1)
    with pytest.raises(UserError, match="'auto-m1'"):
        published.rand_augment("auto-m1")


def drawn(ax) -> np.ndarray:
    """The points that an axes shows, shape (n, 2)."""
    points = [part for part in ax.collections if isinstance(part, PathCollection)]
    return np.concatenate([part.get_offsets() for part in points])


def test_figures_show_every_model_and_both_soups(tables):
    models, methods = tables["models"], tables["methods"]
    for figure, panels in (
        (figures.function("published_scatter")(models, methods, ROLES), ["shifts_mean"]),
        (
            figures.function("published_shifts")(models, methods, ROLES),
            presentation.shift_names(methods),
        ),
    ):
        assert len(figure.axes) >= len(panels)
        for ax, name in zip(figure.axes, panels, strict=False):
            offsets = {tuple(point) for point in drawn(ax).round(4)}
            rows = pd.concat([models, methods[methods["kind"] == "soup"]])
            assert offsets == {tuple(p) for p in (100 * rows[["test", name]]).to_numpy().round(4)}
        plt.close(figure)

    draw = figures.function("published_greedy_order")
    figure = draw(tables["greedy_order"], tables["rank_correlations"], methods, ROLES)
    for ax, name in zip(figure.axes, ("heldout", "test", "shifts_mean"), strict=True):
        points = np.unique(drawn(ax), axis=0)  # those that the soup kept are marked twice
        np.testing.assert_allclose(points[:, 1], 100 * tables["greedy_order"][name])
        lines = {round(float(line.get_ydata()[0]), 4) for line in ax.lines}
        assert lines == set((100 * methods[name][methods["kind"] == "soup"]).round(4))
        ranks, times = np.unique(drawn(ax)[:, 0], return_counts=True)
        assert ranks[times == 2].tolist() == [1, 2, 11, 17, 18]
    plt.close(figure)


def test_the_sweep_shows_models_without_a_hyperparameter_apart(tables):
    models = tables["models"]
    draw = figures.function("published_sweep")
    figure = draw(models, tables["rank_correlations"], tables["methods"])
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert len(panels) == 2 * 7
    for ax in panels:
        assert len(drawn(ax)) == 71
    operations = drawn(panels[6])[:, 0]
    assert (operations < 0).sum() == 27
    assert [tick.get_text() for tick in panels[13].get_xticklabels()] == ["off", "0", "1", "2"]
    plt.close(figure)


def test_printed_tables_have_aligned_lines_and_intervals(tables):
    text = presentation.text(*presentation.methods(tables["methods"], digits=2))
    assert "81.03 [80.68, 81.37] •" in text
    assert len({len(line) for line in text.splitlines()}) == 1
    text = presentation.text(*presentation.differences(tables["differences"]))
    assert "+0.64 [+0.15, +1.13]" in text
    assert "minus the best individual model" in text

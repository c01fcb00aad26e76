"""The user names the soups. Other names give the same verdicts and the same figures."""

import shutil

import pandas as pd
import pytest

from tests.unit.test_overlays import merge
from tests.unit.test_plan import MINE
from tests.workflow.conftest import TINY, Project

NAMES = {"mine": "greedy", "mean": "uniform"}
# Figures that show the name of a row. All others must be the same to the byte.
NAMED = {"scatter", "methods", "shifts", "reliability", "wise_ft"}


@pytest.fixture(scope="module")
def renamed(finished, tmp_path_factory) -> Project:
    """The finished run, continued with other names of the uniform and the greedy soup."""
    copy = Project(tmp_path_factory.mktemp("renamed") / "project", merge(TINY, MINE))
    for part in ("results", ".snakemake"):
        shutil.rmtree(copy.folder / part, ignore_errors=True)
        shutil.copytree(finished.folder / part, copy.folder / part)
    copy.run()
    return copy


@pytest.mark.parametrize("table", ["effects", "claims", "greedy_trace", "number_of_models"])
def test_verdicts_and_curves_do_not_depend_on_names(finished, renamed, table):
    one, two = (run.results / "tables" / f"{table}.csv" for run in (finished, renamed))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("table", ["methods", "significance", "calibration", "wise_ft"])
def test_tables_with_row_names_differ_only_in_these(finished, renamed, table):
    one, two = (pd.read_csv(run.results / "tables" / f"{table}.csv") for run in (finished, renamed))
    names = [name for name in ("method", "reference", "as") if name in two]
    two[names] = two[names].replace(NAMES)
    pd.testing.assert_frame_equal(one, two)


def test_figures_without_row_names_are_the_same_to_the_byte(finished, renamed):
    one, two = (run.results / "figures" for run in (finished, renamed))
    drawn = {path.stem for path in one.glob("*.png")}
    assert drawn == {path.stem for path in two.glob("*.png")}
    assert len(drawn - NAMED) >= 10
    for name in drawn - NAMED:
        assert (one / f"{name}.png").read_bytes() == (two / f"{name}.png").read_bytes(), name
    # The others differ in their labels alone (tests/unit/test_roles.py).
    for name in NAMED - {"shifts"}:
        assert (one / f"{name}.png").read_bytes() != (two / f"{name}.png").read_bytes(), name

"""`snakemake published`, which needs no data, no model and no earlier run."""

import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from soups.experiment.figures import PUBLISHED_FIGURES, PUBLISHED_TABLES
from tests.workflow.conftest import TINY, Project


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A project in which only `snakemake published` was run."""
    project = Project(tmp_path_factory.mktemp("published") / "project", TINY)
    project.run("published")
    return project


def test_all_tables_and_figures_exist_and_no_other_results(done):
    folder = done.folder / "results" / "published"
    assert {path.stem for path in (folder / "tables").iterdir()} == set(PUBLISHED_TABLES)
    names = {f"{figure}.{ending}" for figure in PUBLISHED_FIGURES for ending in ("png", "pdf")}
    assert "greedy_order.png" in names
    assert {path.name for path in (folder / "figures").iterdir()} == names
    for figure in PUBLISHED_FIGURES:
        width, height = Image.open(folder / "figures" / f"{figure}.png").size
        assert width > 1000
        assert height > 500
    methods = pd.read_csv(folder / "tables" / "methods.csv").set_index("method")
    assert methods.loc["greedy", "test"] == pytest.approx(0.81026)
    assert not done.results.exists()  # the results of the experiment itself


def test_a_second_run_does_nothing_even_with_another_experiment(done):
    again = done.run("published", "--config", "name=other", "sweep={random: {n: 5}}")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_figures_are_drawn_from_tables_alone(done):
    (done.folder / "results" / "published" / "figures" / "scatter.png").unlink()
    jobs = done.planned("published")
    assert jobs == {"plot_published": 1, "published": 1}
    done.run("published")


def test_the_tool_prints_the_tables(done):
    printed = subprocess.run(
        [sys.executable, "tools/print_methods.py", "results/published"],
        cwd=done.folder, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "81.03 [80.68, 81.37] •" in printed
    assert "n = 26,000 held out, 50,000 test, 116,963 over all shifts" in printed
    assert "report.html" not in printed


def test_an_experiment_may_not_be_named_published(project):
    done = project(TINY | {"name": "published"}).run("published", check=False)
    assert done.returncode != 0
    assert "because results/published holds the paper's released results" in done.stderr

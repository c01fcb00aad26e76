"""The target `doctor` of a finished run."""

import shutil

import pandas as pd
import pytest

from tests.workflow.conftest import Project


@pytest.mark.workflow
def test_the_doctor_examines_a_finished_run_and_trains_nothing(finished, tmp_path):
    copy = Project.__new__(Project)
    copy.__dict__ |= finished.__dict__ | {"folder": tmp_path / "project"}
    shutil.copytree(finished.folder, copy.folder, symlinks=True)
    assert copy.planned("doctor") == {"diagnose": 1, "plot_doctor": 1, "doctor": 1}
    copy.run("doctor")
    table = pd.read_csv(copy.results / "tables" / "doctor.csv")
    assert len(table) == 3
    assert table["is_best"].sum() == 1
    assert table["reason"].str.endswith(".").all()
    # The models have one start, one head and one order of classes.
    impossible = {"other initialisation", "other head", "other class order", "duplicate"}
    assert not impossible & set(table["verdict"])
    summary = pd.read_csv(copy.results / "tables" / "doctor_summary.csv")
    assert summary["text"][0].startswith("The doctor examined 3 models: ")
    assert (copy.results / "figures" / "doctor.png").stat().st_size > 10_000
    assert copy.planned("doctor") == {}

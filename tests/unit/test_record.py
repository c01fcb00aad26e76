"""The tool that records tables and figures of a finished experiment."""

import sys

import pytest
import record

from soups import files


@pytest.fixture
def finished(root, tmp_path, monkeypatch):
    """A finished experiment in results/own, and the folder of its record."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "own"
    for name in ("methods", "claims", "effects"):  # of a real run
        table = root / "results" / "recorded" / "miniature" / f"{name}.csv"
        files.copy(table, folder / "tables" / table.name)
    for name in ("scatter", "contact_sheet"):
        files.write_text(folder / "figures" / f"{name}.png", name)
    return tmp_path / "results" / "recorded" / "own"


def call(monkeypatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["record.py", "results/own", "make own", *options])
    record.main()


def test_a_record_has_the_command_the_hardware_and_all_figures(finished, monkeypatch):
    call(monkeypatch)
    note = files.read_json(finished / "record.json")
    assert note["command"] == "make own"
    assert "cores" in note["hardware"]
    assert "licence" not in note
    assert {path.stem for path in finished.glob("*.png")} == {"scatter", "contact_sheet"}
    assert (finished / "methods.csv").is_file()


def test_a_model_without_a_zero_shot_head_is_not_recorded_as_pretrained(
    finished, monkeypatch, capsys
):
    path = finished.parents[1] / "own" / "tables" / "methods.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("zeroshot,")))
    with pytest.raises(SystemExit):
        call(monkeypatch, "--pretrained", "mine")
    assert "own has no zero-shot row, expected an experiment whose model" in capsys.readouterr().err


def test_images_that_may_not_be_passed_on_stay_out_of_a_record(finished, monkeypatch):
    call(monkeypatch)
    call(monkeypatch, "--without", "contact_sheet", "--licence", "for research")
    assert [path.stem for path in finished.glob("*.png")] == ["scatter"]
    assert files.read_json(finished / "record.json")["licence"] == "for research"


@pytest.mark.parametrize("option", ["--without", "--figures"])
def test_a_figure_that_does_not_exist_is_refused(finished, monkeypatch, capsys, option):
    with pytest.raises(SystemExit):
        call(monkeypatch, option, "contact")
    said = capsys.readouterr().err
    assert "no figure contact in results/own/figures, expected one of contact_sheet, sc" in said
    assert not finished.exists()

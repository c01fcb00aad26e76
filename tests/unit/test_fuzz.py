"""A short form of `make fuzz`, and the mutations themselves."""

import json
import pickle
from random import Random

import fuzz
import fuzz_cases
import mutations
import pytest
import ready

from soups.errors import UserError
from soups.jobs import living

COUNTS = {"configs": 60, "checkpoints": 300, "images": 100}


def test_broken_inputs_end_in_one_sentence():
    reports = fuzz.run(1, COUNTS)
    assert [report.kind for report in reports] == list(COUNTS)
    for report in reports:
        assert report.failed == {}, report.lines()
        assert report.accepted + report.refused == COUNTS[report.kind]
        assert report.accepted > 0
        assert report.refused > 0


def test_equal_seeds_give_equal_cases():
    def case(number: int) -> tuple:
        random = Random(number)
        tree = {"a": {"b": [1, "x"]}, "c": 0.5}
        mutations.change(tree, random)
        return repr(tree), mutations.corrupt(b"0123456789" * 30, random)

    assert [case(i) for i in range(50)] == [case(i) for i in range(50)]
    assert len({case(i) for i in range(50)}) > 40


def test_the_canary_would_be_seen(tmp_path):
    """The payload works: unpickling it writes its file, which the report counts."""
    for name, data in fuzz_cases.checkpoint_files(tmp_path / "executed").items():
        assert ("pickle" in name) == (b"touch" in data), name
    pickle.loads(fuzz_cases.checkpoint_files(tmp_path / "executed")["bare_pickle.ckpt"])
    assert (tmp_path / "executed").exists()


def test_failures_are_reported_with_their_first_case(tmp_path):
    def make(random: Random):
        def call() -> None:
            if random.random() < 0.5:
                raise KeyError("x")

        return call, lambda: None

    report = fuzz.attempt("images", 0, range(20), make, tmp_path)
    ((reason, (_, count)),) = report.failed.items()
    assert reason == "KeyError at ?: 'x'"
    assert count + report.accepted == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"sweep: {random: {n: 3}\nname: x\n", "is not valid YAML at line 2, column 1: expected"),
        (b"a:\n\tb: 1\n", "is not valid YAML at line 2, column 1: found character"),
        (b"# a comment\n", "is empty, expected keys"),
        (b"- one\n", "is a list, expected keys"),
        (b"name: \xff\n", "is not text in UTF-8"),
        (b"name: \x00\n", "is not valid YAML"),
    ],
)
def test_a_broken_overlay_is_named_with_its_line(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"mine\.yaml ") as told:
        ready.refuse_broken([path])
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_make_is_told_that_a_run_lives(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ready.py"])
    ready.main()
    run = living.Run("results/one", "snakemake", 7, "here", 0)
    monkeypatch.setattr(living, "runs", lambda: [run])
    with pytest.raises(SystemExit) as end:
        ready.main()
    assert end.value.code == 75
    assert capsys.readouterr().err == f"error: {run.refusal()}\n"
    assert json.loads(json.dumps(vars(run)))["process"] == 7

"""A short form of `make torture`."""

import pytest
import torture


@pytest.mark.workflow
def test_a_run_that_is_killed_at_random_moments_gives_the_same_bytes(tmp_path, capsys):
    project = torture.Project(tmp_path / "project", ["soups"], cores=1)
    with open(tmp_path / "log.txt", "w+") as log:
        tally = torture.torture(project, kills=3, seed=0, log=log)
        log.seek(0)
        assert "Traceback" not in log.read()
    assert tally.wrong == []
    assert tally.kills == sum(tally.during.values()) == 3
    assert tally.rounds >= 1
    assert "end of round 1: " in capsys.readouterr().out
    assert not project.results.exists()

"""What Snakemake's process checks before a run."""

import pytest

from soups.errors import UserError
from soups.jobs import handlers, runs


def test_a_living_run_keeps_its_lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handlers.refuse_unlock(["snakemake", "--unlock"])  # no run lives
    monkeypatch.setattr(runs, "living", lambda path: path == handlers.ALIVE)
    handlers.refuse_unlock(["snakemake", "-n"])
    with pytest.raises(UserError, match="--unlock: another snakemake is running here"):
        handlers.refuse_unlock(["snakemake", "--unlock"])

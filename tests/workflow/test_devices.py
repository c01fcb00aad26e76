"""A run reports a missing device before its first job."""

import re

import pytest

from tests.workflow.conftest import SMALL

pytestmark = pytest.mark.workflow


def test_jobs_that_need_a_gpu_are_refused_with_zero_gpus(project):
    done = project(SMALL).run("models", "--resources", "gpu=0", check=False)
    assert done.returncode == 1
    assert "--resources gpu is 0, expected 1 or more, or compute.device: cpu" in done.stderr


def test_jobs_that_need_a_gpu_wait_for_it(project):
    """With one GPU and two cores, a fine-tune begins after the previous one has ended."""
    copy = project(SMALL)
    copy.cores = 2
    done = copy.run("models", "--resources", "gpu=1")
    events = re.findall(r"rule (finetune):|Finished jobid: \d+ \(Rule: (finetune)\)", done.stderr)
    assert events == [("finetune", ""), ("", "finetune")] * 2


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"device": "cuda"}, "compute.device is 'cuda', but torch sees no CUDA device"),
        ({"gpus": 2}, "compute.gpus is 2, but torch sees no GPU; expected 1"),
    ],
)
def test_a_missing_gpu_is_reported_before_the_first_job(project, asked, sentence):
    copy = project(SMALL | {"compute": asked})
    done = copy.run("models", check=False)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not copy.results.exists()


def test_rules_that_need_no_gpu_run_without_one(project):
    copy = project(SMALL | {"compute": {"device": "cuda"}})
    copy.run("splits")
    assert (copy.results / "splits" / "manifest.json").is_file()

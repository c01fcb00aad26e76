"""A device that is not there is missed before anything is computed."""

import pytest
import torch

from tests.workflow.conftest import FEW, TINY

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"device": "cuda"}, "compute.device is 'cuda', but torch sees no CUDA device"),
        ({"gpus": 2}, "compute.gpus is 2, but torch sees no GPU; expected 1"),
    ],
)
def test_a_missing_gpu_is_told_before_the_first_job(project, asked, sentence):
    copy = project(TINY | FEW | {"compute": asked})
    done = copy.run("models", check=False)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not copy.results.exists()


def test_what_needs_no_gpu_runs_without(project):
    copy = project(TINY | FEW | {"compute": {"device": "cuda"}})
    copy.run("splits")
    assert (copy.results / "splits" / "manifest.json").is_file()

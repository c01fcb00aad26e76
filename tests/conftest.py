"""Fixtures for all tests: fixed randomness, a tiny model, a small configuration, image folders."""

import functools
import os
import re
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from soups.jobs.resume import Resumable
from soups.models.pretrained import Pretrained

ROOT = Path(__file__).resolve().parents[1]

# The number of threads changes the rounding of sums. Hypothesis would draw new examples in
# every run.
torch.set_num_threads(1)
hypothesis.settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    database=None,
    # The time of an example depends on the machine more than on the test. A test that
    # overwrites its files in every example may use one folder for all of them.
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
)
hypothesis.settings.load_profile("fixed")


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPUs of this machine from all tests but those of ``pytest -m cuda``.

    All other tests compare numbers of the CPU to the bit, and some run models in forked processes,
    where CUDA fails. CUDA reads the variable once in each process, so both kinds of tests need
    processes of their own.
    """
    if config.option.markexpr == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as in jobs
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give tests that share a run to one process, so that the run happens once.

    These are the tests of one file, and all files with the fixture `finished`. Files start in the
    order of `testpaths`, whose first folder has the long ones, so that short ones come last.
    (The marks of `--dist loadgroup` have no effect with xdist 3.8 and pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False

    @functools.cache
    def run_of(file: str) -> str:
        text = Path(config.rootpath, file).read_text(encoding="utf-8")
        uses = re.search(r"def \w+\([^)]*\bfinished\b", text)
        own = "def finished(" in text  # a run of the file's own
        return "finished" if uses and not own else file

    class Shared(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return run_of(nodeid.split("::")[0])

    return Shared(config, log)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture
def config() -> dict:
    """The default configuration, with a model that is trained, so that no file is needed."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["pretrained"] = "train"
    return config


@pytest.fixture
def architecture() -> dict:
    """A minimal CLIP with an image tower and a text tower."""
    return {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16,
        },
        "text_cfg": {"context_length": 6, "width": 32, "heads": 2, "layers": 1},
    }  # fmt: skip


@pytest.fixture
def pretrained(architecture) -> Pretrained:
    """A `Pretrained` with random weights and a vocabulary of five words."""
    torch.manual_seed(0)
    model = Pretrained(architecture, ["a", "cat", "dog", "of", "photo"])
    model.clip.eval()
    return model


@pytest.fixture
def images() -> np.ndarray:
    """60 random images of the tiny model's size."""
    return np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    """Labels of `images`, 4 classes."""
    return np.random.default_rng(1).integers(0, 4, 60)


@pytest.fixture(scope="session")
def killed() -> type[Resumable]:
    """A `Resumable` that saves its state and then raises, as if killed after the first epoch."""

    class Killed(Resumable):
        def keep(self, epoch: int, **parts) -> None:
            super().keep(epoch, **parts)
            self.wait()
            raise KeyboardInterrupt

    return Killed


@pytest.fixture(scope="session")
def write_images():
    """A function that writes a folder of random images, one subfolder per class."""

    def write(folder: Path, counts: dict[str, int], size: tuple[int, int] = (8, 8)) -> None:
        rng = np.random.default_rng(0)
        for name, count in counts.items():
            (folder / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (*size[::-1], 3), np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{i:03d}.png")

    return write

"""One SLURM for the tests of this folder, and projects whose profile is set up for it."""

import re

import pytest

from tests.slurm import cluster as slurm
from tests.workflow.conftest import Project

# Keys of the site, for jobs that fit on the machine of the tests.
SITE = {
    "cpus": "2", "short": "5", "evaluation": "5", "long": "5", "training": "10", "quick": "5",
    "longest": "12", "cpu_memory": "1500", "gpu_memory": "1500", "recipe_memory": "1500",
    "evaluations": "4",
}  # fmt: skip
PRETRAINED = "results/recorded/pretrained/world0.safetensors"  # a copy has it
FASTER = {"latency-wait": "15", "slurm-init-seconds-before-status-checks": "2"}


@pytest.fixture(scope="session")
def cluster():
    """A running `Cluster`. Tests are skipped if none can be started."""
    if reason := slurm.why_not():
        pytest.skip(reason)
    with slurm.running() as running:
        yield running


@pytest.fixture(autouse=True)
def node(cluster):
    """Wait for the node. If it never runs jobs, tests fail at once and not at their time limits."""
    cluster.wait_for_node()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add SLURM's own account to a test that fails."""
    report = yield
    cluster = item.funcargs.get("cluster")
    if report.failed and cluster:
        report.sections.append(("SLURM", cluster.report()))
    return report


class SlurmProject(Project):
    """A working copy whose `run` sends every job to the cluster, with the shipped profile."""

    profile = "slurm"

    def __init__(self, folder, overlay, cluster) -> None:
        super().__init__(folder, overlay)
        self.cluster = cluster
        self.warm = False  # jobs of the cluster start interpreters of their own
        path = self.folder / "profiles" / "slurm" / "config.yaml"
        text = path.read_text()
        for key, value in (SITE | FASTER).items():
            text, found = re.subn(rf"(?m)^( *{key}: )\d+", rf"\g<1>{value}", text)
            assert found == 1, f"the profile has {found} keys {key}"
        path.write_text(text)

    def command(self, *arguments: str) -> list[str]:
        snakemake, *others = super().command(*arguments)
        at = others.index("--cores")  # of one machine
        del others[at : at + 2]  # the profile says it for every job
        return [snakemake, "--profile", f"profiles/{self.profile}", *others]

    def environment(self) -> dict:
        ours = super().environment()
        theirs = self.cluster.environment
        return ours | theirs | {"PATH": f"{self.cluster.folder / 'bin'}:{ours['PATH']}"}


@pytest.fixture(scope="session")
def small(tmp_path_factory, cluster):
    """Make projects: ``small(overlay)``."""
    folder = tmp_path_factory.mktemp("slurm")
    count = iter(range(100))
    return lambda overlay: SlurmProject(folder / f"project{next(count)}", overlay, cluster)

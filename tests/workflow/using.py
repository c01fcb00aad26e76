"""What every finished run on image folders must allow: predictions, and a verified soup."""

import subprocess

import pandas as pd

from tests.workflow import warm
from tests.workflow.conftest import Project


def check_use(project: Project, soup: str, folder: str) -> None:
    """Predict the test folder from a soup's file alone, and verify the soup.

    Args:
        project: a finished run on image folders.
        soup: row of the soup.
        folder: of the test images, with a subfolder per class.
    """

    def tool(name: str, *given: str) -> str:
        command = [warm.python(), f"tools/{name}.py", weights, *given]
        done = subprocess.run(
            command, cwd=project.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    weights = f"results/{project.results.name}/soups/{soup}.safetensors"
    tool("predict", folder, "--out", "predictions.csv", "--threads", "1", "--device", "cpu")
    table = pd.read_csv(project.folder / "predictions.csv")
    names = table["folder"] if "folder" in table else table["class"]
    right = table["file"].str.split("/").str[-2] == names
    methods = pd.read_csv(project.results / "tables" / "methods.csv").set_index("method")
    assert len(table) == methods.loc[soup, "n_test"]
    # The table's accuracy is rounded, and the number of right images is not.
    assert right.sum() == round(methods.loc[soup, "test"] * len(table))
    assert "Verified." in tool("verify")

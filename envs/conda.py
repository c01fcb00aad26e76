"""Write environment.yaml from requirements.txt.

The file lists all packages itself, because Snakemake copies it to another folder.
"""

from pathlib import Path

HEAD = """\
# For snakemake --sdm conda; made by `make lock`. The packages are those of requirements.txt.
channels:
  - conda-forge
dependencies:
  - python =3.12
  - pip
  - pip:
"""


def environment(requirements: str) -> str:
    """The conda environment with the pinned packages of a requirements file, markers included."""
    lines = [line for line in requirements.splitlines() if line and line[0] not in " #"]
    return HEAD + "".join(f"      - {line}\n" for line in lines)


if __name__ == "__main__":
    here = Path(__file__).parent
    made = environment((here / "requirements.txt").read_text(encoding="utf-8"))
    (here / "environment.yaml").write_text(made, encoding="utf-8")

"""The law of the library: a package imports only what stands below it."""

import ast
from pathlib import Path

import pytest

# What each package may import besides the modules at the top and itself.
ALLOWED = {
    "jobs": [],
    "report": [],
    "data": ["jobs"],
    "models": ["data", "jobs"],
    "training": ["models", "data", "jobs"],
    "evaluation": ["models", "data"],
    "mixing": ["evaluation", "training", "models", "data", "jobs"],
    "world": ["training", "data"],
    "experiment": ["world", "models", "data"],
    "claims": ["evaluation", "mixing"],
    "cost": ["experiment", "world", "mixing", "evaluation", "training", "models", "data", "jobs"],
}
GROUND = ("errors", "files", "hyperparameters", "roles")


def imported(source: str) -> set[str]:
    """The first part below ``soups`` of everything that a module imports, wherever it does so."""
    parts = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "soups":
            parts |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("soups."):
            parts.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            parts |= {name[1] for name in names if name[0] == "soups" and len(name) > 1}
    return parts


def violations(package: str, source: str) -> set[str]:
    return imported(source) - {package, *ALLOWED.get(package, []), *GROUND}


def test_every_package_has_its_place(root):
    library = root / "scripts" / "soups"
    packages = {path.parent.name for path in library.glob("*/__init__.py")}
    assert packages == ALLOWED.keys()
    assert {path.stem for path in library.glob("*.py")} == {"__init__", *GROUND}
    # The listing in the library's docstring has the same packages, and every import goes upwards.
    listed = [line.split("``")[1] for line in (library / "__init__.py").read_text().splitlines()
              if line.startswith("- ``") and "errors" not in line]  # fmt: skip
    assert set(listed) == packages
    for package, others in ALLOWED.items():
        assert all(listed.index(other) < listed.index(package) for other in others), package


def test_packages_import_only_what_stands_below(root):
    library = root / "scripts" / "soups"
    found = {
        str(path.relative_to(library)): broken
        for path in sorted(library.rglob("*.py"))
        if path.parent != library
        for package in [path.relative_to(library).parts[0]]
        if (broken := violations(package, path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_the_ground_imports_nothing_but_itself(root):
    for name in GROUND:
        source = (root / "scripts" / "soups" / f"{name}.py").read_text(encoding="utf-8")
        assert imported(source) <= set(GROUND), name


@pytest.mark.parametrize(
    "line",
    ["from soups.mixing.mix import mix", "from soups import claims", "import soups.report.style",
     "def late():\n    from soups.report import style"],
)  # fmt: skip
def test_an_import_upwards_is_found(line):
    assert violations("data", line)
    assert not violations("data", "from soups import files\nfrom soups.jobs import devices")


def test_working_out_the_plan_imports_no_torch():
    """Snakemake parses the workflow before every job."""
    import subprocess
    import sys

    code = (
        "import sys; from soups.experiment import catalog, settings, sweep, variants; "
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules), 'a heavy import'"
    )
    scripts = Path(__file__).parents[2] / "scripts"
    subprocess.run([sys.executable, "-c", code], cwd=scripts, check=True)

"""Import rules of the library: a package imports only packages below it."""

import ast
import re
import subprocess
import sys

import pytest

# Packages that each package may import, besides itself and the modules in `GROUND`.
ALLOWED = {
    "problems": [],
    "jobs": [],
    "report": [],
    "data": ["jobs"],
    "models": ["data", "jobs"],
    "training": ["models", "data", "jobs"],
    "evaluation": ["models", "data"],
    "mixing": ["evaluation", "training", "models", "data", "jobs"],
    "usage": ["mixing", "models", "data", "jobs"],
    "doctor": ["mixing", "evaluation", "models", "data"],
    "world": ["training", "data"],
    "experiment": ["world", "models", "data", "report"],
    "setup": ["experiment", "training", "models", "data"],
    "images": ["experiment", "world", "training", "models", "data", "report", "jobs"],
    "text": ["experiment", "training", "models", "data", "report", "jobs"],
    "claims": ["evaluation", "mixing"],
    "cost": ["experiment", "mixing", "evaluation", "training", "models", "data", "jobs"],
}
LONGEST = 40  # a rule's script has fewer lines
GROUND = ("errors", "files", "hyperparameters", "outcomes", "roles")
EVERYWHERE = (*GROUND, "problems")  # what every package may import


def imported(source: str) -> set[str]:
    """Packages and top modules of ``soups`` that a module imports, also within functions."""
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
    """Imports of a module that its package must not have."""
    return imported(source) - {package, *ALLOWED.get(package, []), *EVERYWHERE}


def test_every_package_is_listed_in_the_rules_and_in_the_docstring_of_the_library(root):
    library = root / "scripts" / "soups"
    packages = {path.parent.name for path in library.glob("*/__init__.py")}
    assert packages == ALLOWED.keys()
    assert {path.stem for path in library.glob("*.py")} == {"__init__", *GROUND}
    # The library's docstring lists the same packages, each after the packages that it may import.
    listed = [line.split("``")[1] for line in (library / "__init__.py").read_text().splitlines()
              if line.startswith("- ``") and "errors" not in line]  # fmt: skip
    assert set(listed) == packages
    for package, others in ALLOWED.items():
        assert all(listed.index(other) < listed.index(package) for other in others), package


def test_packages_import_only_packages_below_them(root):
    library = root / "scripts" / "soups"
    found = {
        str(path.relative_to(library)): broken
        for path in sorted(library.rglob("*.py"))
        if path.parent != library
        for package in [path.relative_to(library).parts[0]]
        if (broken := violations(package, path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_the_modules_at_the_bottom_import_only_each_other(root):
    for name in GROUND:
        source = (root / "scripts" / "soups" / f"{name}.py").read_text(encoding="utf-8")
        assert imported(source) <= set(GROUND), name


@pytest.mark.parametrize(
    "line",
    ["from soups.mixing.mix import mix", "from soups import claims", "import soups.report.style",
     "def late():\n    from soups.report import style"],
)  # fmt: skip
def test_an_import_of_a_package_above_is_found(line):
    assert violations("data", line)
    assert not violations("data", "from soups import files\nfrom soups.jobs import devices")


def test_the_imports_of_the_workflow_are_fast(root):
    """Snakemake parses the workflow before every job, and imports of torch take seconds."""
    files = [root / "Snakefile", *sorted((root / "rules").glob("*.smk"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    imports = re.findall(r"(?m)^(?:from soups|import soups).*$", text)
    assert "from soups.jobs import handlers" in imports
    code = "; ".join(
        [*imports, "import sys", "print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"]
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, cwd=root / "scripts", check=True, capture_output=True, text=True
    ).stdout
    assert found == "set()\n"


def test_the_script_of_a_rule_has_fewer_than_40_lines(root):
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (root / "scripts").glob("*.py")
    }
    assert len(lengths) > 30
    assert {name: n for name, n in lengths.items() if n >= LONGEST} == {}

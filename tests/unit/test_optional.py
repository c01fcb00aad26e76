"""The optional packages: pinned once, and neither installed nor imported without need."""

import ast
import json
import re
import subprocess
import sys

import pytest

from soups import problems
from soups.errors import UserError

OPTIONAL = ("transformers", "tokenizers", "datasets", "pyarrow")
# Scripts of the rules that make prepared sets of texts.
OF_TEXTS = ("read_texts", "perturb_texts", "check_texts", "tokenize_set")
# Modules that jobs of images import within functions.
WITHIN = [
    "soups.data.decode", "soups.models.pretrained", "soups.models.families.timm_models",
    "soups.models.families.torchvision_models", "soups.models.families.open_clip_hub",
    "soups.training.augment", "soups.training.optim",
]  # fmt: skip
# Python code that makes every optional package unimportable, and records who asks for one.
BLOCK = f"""
import sys
asked = set()
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {OPTIONAL}:
            return None
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__", "").startswith("importlib"):
            frame = frame.f_back
        asker = frame.f_globals["__name__"].partition(".")[0]
        asked.add((asker, name.partition(".")[0]))
        raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
"""


def pins(root, name: str) -> dict[str, set[str]]:
    """Package to its pinned versions with their markers, in a file of ``envs``."""
    text = (root / "envs" / f"{name}.txt").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for package, rest in re.findall(r"(?m)^([\w.-]+)==(.+)$", text):
        found.setdefault(package, set()).add(rest.strip())
    return found


def run(root, code: str) -> str:
    """What a new Python prints that runs some code in the folder of the scripts."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=root / "scripts", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_package_has_the_same_version_in_every_file_and_no_optional_one_is_always_installed(root):
    always = pins(root, "requirements")
    assert not always.keys() & set(OPTIONAL)
    more = {
        name: pins(root, f"requirements-{name}") for name in ("transformers", "parquet", "text")
    }
    assert set(OPTIONAL) <= more["text"].keys()
    for name, found in more.items():
        for other, known in {"requirements": always, **more}.items():
            for package in found.keys() & known.keys():
                assert found[package] == known[package], (package, name, other)


def test_the_jobs_of_images_run_without_the_optional_packages(root):
    """Only open_clip and pandas ask for one of them, and both work without it.

    Every script of a rule but those for texts is imported, with all that it imports at its top, and
    so are modules that are imported within functions.
    """
    scripts = [path.stem for path in sorted((root / "scripts").glob("*.py"))]
    scripts = [name for name in scripts if name not in OF_TEXTS]
    of_images = (root / "scripts" / "soups" / "images").glob("[a-z]*.py")
    modules = [*WITHIN, *(f"soups.images.{path.stem}" for path in sorted(of_images))]
    assert len(scripts) > 30
    code = f"""{BLOCK}
import runpy
from importlib import import_module
for name in {modules}:
    import_module(name)
for name in {scripts}:
    runpy.run_path(name + ".py", run_name=name)
print(sorted(asked))
print([name for name in sys.modules if name.startswith("soups.text")])
"""
    first, second = run(root, code).splitlines()
    assert set(ast.literal_eval(first)) <= {("open_clip", "transformers"), ("pandas", "pyarrow")}
    assert second == "[]"


@pytest.mark.parametrize(
    ("missing", "train", "why"),
    [
        ("transformers", "a.tsv", "data.source is 'text'"),
        ("tokenizers", "a.tsv", "data.source is 'text'"),
        ("datasets", {"hub": "imdb"}, "data.text has a set of Hugging Face's hub"),
    ],
)
def test_a_run_on_texts_without_a_package_names_the_command_that_installs_it(
    monkeypatch, missing, train, why
):
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    data = {"source": "text", "text": {"train": train, "test": "b.tsv"}}
    sentence = f"{why}, expected the package {missing}, which `make text` installs (python -m pip "
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}install -r envs/requirements-text"):
        problems.of_source("text").check({"data": data})


def test_the_plan_of_a_run_on_texts_is_made_without_torch_and_the_optional_packages(
    root, tmp_path, config
):
    """Snakemake makes the plan before every job."""
    for name in ("train", "test"):
        lines = [f"text {i}\t{'ab'[i % 2]}" for i in range(40)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    text = {"root": str(tmp_path), "train": "train.tsv", "test": "test.tsv"}
    config["data"] |= {"source": "text", "text": text}
    config["data"]["heldout"]["fraction"] = 0.5
    model = {"architecture": f"transformers/{tmp_path}", "pretrained": str(tmp_path)}
    config["model"] |= model
    code = f"""
import json, sys
from soups.experiment import settings
from soups.experiment.plan import Plan
config = json.loads({json.dumps(json.dumps(config))})
notes = settings.validate(config, "../rules/schemas/config.schema.yaml")
plan = Plan.of(config, notes)
plan.announced, plan.estimated, plan.source.state("train"), plan.source.origin("test")
print(plan.problem.name, plan.source.classes)
print([name for name in ("torch", "pandas", *{OPTIONAL}) if name in sys.modules])
"""
    assert run(root, code) == "text ['a', 'b']\n[]\n"

"""The profiles cover every rule, and every environment installs the locked packages."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
import yte
from snakemake.cli import parse_args

PROFILES = ("slurm", "generic")
# The resource by which a profile names a partition or queue.
QUEUE = {"slurm": "slurm_partition", "generic": "queue"}


class Rule(NamedTuple):
    """A rule as its file writes it.

    Attributes:
        text: its directives, after those of the rule that it is made from (`use rule`).
        group: the group in which its jobs are submitted.
    """

    text: str
    group: str | None

    @property
    def on_gpu(self) -> bool:
        return "gpu=plan.gpus" in self.text

    @property
    def submitted(self) -> bool:
        """Whether a cluster runs it. Targets and downloads stay on the machine of Snakemake."""
        local = re.search(r"(?m)^ *localrule: True", self.text)
        return not local and bool(re.search(r"(?m)^ *(script|shell|run):", self.text))


@pytest.fixture(scope="module")
def rules(root) -> dict[str, Rule]:
    """Every rule of rules/, whatever config defines it."""
    text = "\n".join(path.read_text() for path in sorted((root / "rules").glob("*.smk")))
    head = r"(?m)^ *(?:use )?rule (\w+)(?: as (\w+) with)?:\n"
    parts = re.split(head, text)[1:]
    texts = {}
    for name, derived, own in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        texts[derived or name] = texts[name] + own if derived else own
    groups = runpy.run_path(str(root / "profiles" / "needs.py"))["GROUPS"]
    group_of = {rule: group for group, names in groups.items() for rule in names.split()}
    assert group_of.keys() <= texts.keys()
    return {name: Rule(text, group_of.get(name)) for name, text in texts.items()}


@pytest.fixture
def profile(root, tmp_path):
    """Read a profile as Snakemake does, some keys of its site changed: ``profile("slurm", …)``."""

    def made(name: str, **site) -> dict:
        folder = tmp_path / "profiles"
        shutil.copytree(root / "profiles", folder, dirs_exist_ok=True)
        path = folder / name / "config.yaml"
        text = path.read_text(encoding="utf-8")
        for key, value in site.items():
            text, found = re.subn(rf"(?m)^  {key}: [^#\n]*", f"  {key}: {value} ", text)
            assert found == 1, key
        path.write_text(text, encoding="utf-8")
        with path.open(encoding="utf-8") as file:
            return yte.process_yaml(file, require_use_yte=True)

    return made


@pytest.fixture
def read(root, monkeypatch):
    """Snakemake's settings for a command line: ``read("-n", "--profile", …)``."""
    monkeypatch.chdir(root)

    def made(*arguments: str):
        monkeypatch.setattr("sys.argv", ["snakemake", *arguments])
        return parse_args(list(arguments))[1]

    return made


def test_the_default_profile_leaves_machines_to_another_one(read, monkeypatch, tmp_path):
    (tmp_path / "config.yaml").write_text("cores: 3\ndefault-resources: {mem_mb: 77}\n")
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    alone, beside = read("-n"), read("-n", "--profile", str(tmp_path))
    assert alone.cores > 0
    assert (beside.cores, alone.rerun_incomplete, beside.rerun_incomplete) == (3, True, True)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(tmp_path))
    assert read("-n").cores == 3
    assert (alone.resources.get("downloads"), beside.resources) == (2, {})
    own, other = (made.default_resources.args for made in (alone, beside))
    assert {"mem_mb=2000", "runtime=120"} <= set(own)
    assert "mem_mb=77" in other
    assert "runtime=120" not in other


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("option", ["--profile", "--workflow-profile"])
def test_snakemake_takes_every_key(read, name, option):
    args = read("-n", option, f"profiles/{name}")
    assert args.executor == {"slurm": "slurm", "generic": "cluster-generic"}[name]
    assert args.resources == {"downloads": 2, "share": 8}
    assert args.set_resource_scopes["share"] == "local"
    assert args.retries == 2
    assert args.keep_going
    assert args.group_components["evaluations"] == 8
    assert "evaluate" in args.set_resources
    assert args.set_threads["evaluate"]


@pytest.mark.parametrize("option", ["--profile", "--workflow-profile"])
@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_finds_the_table_from_any_folder(root, monkeypatch, tmp_path, name, option):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").symlink_to(root / "profiles" / name)
    for folder in (root / "profiles" / name, Path("site")):
        arguments = ["-n", "--snakefile", str(root / "Snakefile"), option, str(folder)]
        monkeypatch.setattr("sys.argv", ["snakemake", *arguments])
        args = parse_args(arguments)[1]
        assert "evaluate" in args.set_resources
        if name == "generic":
            script = args.cluster_generic_submit_cmd.split()[0]
            assert Path(script) == root / "profiles" / "generic" / "submit.sh"


def test_the_table_has_every_rule_that_is_submitted_and_no_other(root, rules):
    """A rule that is new needs a line in profiles/needs.py."""
    table = runpy.run_path(str(root / "profiles" / "needs.py"))["RULES"]
    submitted = {name for name, rule in rules.items() if rule.submitted}
    assert {"finetune", "import_initialization", "prepare_train", "plot_published"} <= submitted
    assert submitted - table.keys() == set(), "not in profiles/needs.py"
    assert table.keys() - submitted == set(), "in profiles/needs.py, but no rule of a cluster"


@pytest.mark.parametrize("name", PROFILES)
def test_every_rule_has_a_line_and_every_group_a_rule(profile, rules, name):
    made = profile(name)
    submitted = {name for name, rule in rules.items() if rule.submitted}
    assert made["set-resources"].keys() == submitted
    assert made["set-threads"].keys() <= submitted
    assert made["group-components"].keys() <= {rule.group for rule in rules.values()}
    grouped = {name: rule.group for name, rule in rules.items() if rule.group}
    assert made["groups"] == grouped


def test_rules_ask_for_the_time_and_memory_of_their_class(profile):
    """The numbers of a site reach the rules as they are written at the top of a profile."""
    keys = {
        "quick": 1, "short": 2, "evaluation": 3, "long": 4, "longest": 800, "training": 5,
        "largest": 9000, "cpu_memory": 10, "gpu_memory": 20, "recipe_memory": 30, "cpus": 6,
        "evaluations": 8,
    }  # fmt: skip
    expected = {  # minutes of a first try, the most of all tries, MB, share, threads
        "draw_set": (2, 800, 10, 1, None), "prepare_train": (4, 800, 10, 1, None),
        "read_texts": (2, 266, 10, 1, None), "tokenize_set": (2, 266, 10, 1, None),
        "split": (1, 800, 10, 1, None), "initialize": (4, 800, 20, 1, None),
        "import_checkpoint": (3, 100, 20, 8, 6), "import_initialization": (3, 100, 20, 8, 6),
        "evaluate": (3, 100, 20, 8, 6), "recipe": (4, 200, 30, 8, 6), "cook": (4, 200, 20, 8, 6),
        "plan_tasks": (2, 400, 20, 1, None), "evaluate_pairs": (4, 400, 20, 8, 6),
        "contact_sheet": (2, 800, 10, 1, None), "plot": (1, 800, 2000, 1, None),
        "plot_published": (1, 800, 2000, 1, None), "estimate_cost": (1, 800, 20, 1, None),
    }  # fmt: skip
    for name in PROFILES:
        made = profile(name, **keys)
        asked = {
            rule: (
                wants["runtime"], wants["mem_mb"], wants["share"], made["set-threads"].get(rule),
            )
            for rule, wants in made["set-resources"].items()
        }  # fmt: skip
        assert {rule: asked[rule] for rule in expected} == {
            rule: (f"min(attempt * {first}, {most})", f"min(attempt * {mb}, 9000)", share, threads)
            for rule, (first, most, mb, share, threads) in expected.items()
        }
        for rule in ("finetune", "pretrain"):
            assert asked[rule] == (5, "min(attempt * 20, 9000)", 1, None)
        assert made["group-components"] == {"sets": 8, "imports": 8, "evaluations": 8}


@pytest.mark.parametrize("name", PROFILES)
def test_rules_that_run_models_go_where_the_gpus_are(profile, rules, name):
    key = QUEUE[name]
    made = profile(name, **{f"cpu_{key.removeprefix('slurm_')}": "slow"})
    asked = {rule for rule, written in rules.items() if written.on_gpu}
    assert {"finetune", "initialize", "evaluate", "recipe", "cook", "estimate_cost"} <= asked
    placed = {rule for rule, wants in made["set-resources"].items() if wants.get(key) == "'gpu'"}
    assert asked <= placed
    # Plans that need no GPU go there as well, because their curves do.
    assert {rules[rule].group for rule in placed - asked} <= {"curves"}
    assert made["default-resources"][key] == "'slow'"


@pytest.mark.parametrize("name", PROFILES)
def test_a_further_try_gets_more_up_to_what_there_is(profile, name):
    made = profile(name, largest=70000)

    def tries(text: str) -> list[int]:
        return [eval(text, {"attempt": n, "min": min}) for n in (1, 2, 99)]

    for rule, wants in (made["set-resources"] | {"default": made["default-resources"]}).items():
        first, second, last = tries(wants["mem_mb"])
        assert first < second < last == 70000
        # Training resumes from its saved state, so a further try needs no more time.
        if rule not in ("finetune", "pretrain"):
            first, second, last = tries(wants["runtime"])
            assert first <= second <= last <= 2880


@pytest.mark.parametrize("name", PROFILES)
def test_groups_ask_for_no_more_time_than_there_is(root, name):
    """Times of jobs that run one after the other are added up."""
    done = subprocess.run(
        # `make` may have made all results already.
        [sys.executable, "-m", "snakemake", "-n", "--forceall", "--profile", f"profiles/{name}"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    groups = re.findall(r"Group job (\w+) .*\n((?:(?:    .*)?\n)*)", done.stdout)
    total = {}
    for group, jobs in groups:
        total.setdefault(group, []).append(sum(map(int, re.findall(r"runtime=(\d+)", jobs))))
    assert {"evaluations", "soups", "curves", "report"} <= set(total)
    assert max(map(max, total.values())) <= 2880, total


@pytest.mark.parametrize("name", PROFILES)
def test_groups_stay_in_one_place_and_run_models_one_after_the_other(profile, rules, name):
    wants = profile(name)["set-resources"]
    default = profile(name)["default-resources"][QUEUE[name]]
    places = {}
    for rule, written in rules.items():
        if written.group is None:
            continue
        places.setdefault(written.group, set()).add(wants[rule].get(QUEUE[name], default))
        planned = rule.startswith("plan_")  # before its curve, so never beside it
        assert (wants[rule]["share"] == 8) == (written.on_gpu and not planned), rule
    assert all(len(place) == 1 for place in places.values())


def test_training_is_in_no_group(rules):
    """A group that fails is made again as a whole."""
    for rule in ("finetune", "pretrain", "initialize", "teacher", "estimate_cost"):
        assert rules[rule].group is None, rule


def test_rules_of_the_machine_that_runs_snakemake_are_in_no_group(rules):
    """A group would send them to the cluster."""
    local = {name: rule for name, rule in rules.items() if not rule.submitted}
    assert {"download_checkpoint", "estimate", "tables"} <= local.keys()
    assert {rule.group for rule in local.values()} == {None}


def test_the_profiles_differ_only_in_how_jobs_are_submitted(profile):
    slurm, generic = (profile(name) for name in PROFILES)
    same = (
        "group-components", "set-threads", "retries", "cores", "jobs", "resources",
        "set-resource-scopes", "rerun-triggers",
    )  # fmt: skip
    for key in same:
        assert slurm[key] == generic[key], key
    assert slurm["rerun-triggers"] == profile("default")["rerun-triggers"]
    assert slurm["resources"] == {"downloads": 2, "share": 8}

    def common(made: dict, name: str) -> dict:
        """What rules ask for, by words that both profiles know."""
        words = {"place": QUEUE[name], **{key: key for key in ("mem_mb", "runtime", "share")}}
        parts = {"default": made["default-resources"], **made["set-resources"]}
        return {
            rule: {word: wants.get(key) for word, key in words.items()}
            for rule, wants in parts.items()
        }

    assert common(slurm, "slurm") == common(generic, "generic")


def test_keys_of_a_site_reach_every_job(profile):
    made = profile("slurm")
    assert "slurm_account" not in made["default-resources"]
    assert not [wants for wants in made["set-resources"].values() if "gres" in wants]
    made = profile(
        "slurm", account="lab", gpu_partition="big", gres="gpu:a100", gpus=4, training=99,
        evaluations=25, cpus=4, recipe_memory=64000,
    )  # fmt: skip
    assert made["default-resources"]["slurm_account"] == "'lab'"
    assert made["set-resources"]["finetune"]["runtime"] == 99
    assert made["set-resources"]["recipe"]["mem_mb"] == "min(attempt * 64000, 96000)"
    assert made["group-components"]["evaluations"] == 25
    assert made["set-threads"]["evaluate"] == 4
    on_gpu = {rule: wants for rule, wants in made["set-resources"].items() if "gres" in wants}
    assert len(on_gpu) > 15
    for rule, wants in on_gpu.items():
        several = rule in ("finetune", "pretrain", "estimate_cost")
        assert wants["gres"] == f"'gpu:a100:{4 if several else 1}'"
        assert wants["gpu"] == 0
        assert wants["slurm_partition"] == "'big'"
        assert wants.get("nodes") == (1 if several else None)
    made = profile("slurm", gpu_model="a100", extra="--qos=high")
    assert made["set-resources"]["evaluate"]["gpu_model"] == "'a100'"
    assert made["default-resources"]["slurm_extra"] == "'--qos=high'"
    asked = made["set-resources"].items()
    warned = {rule: wants["slurm_extra"] for rule, wants in asked if "slurm_extra" in wants}
    assert set(warned) == {"finetune", "pretrain"}
    assert set(warned.values()) == {"'--signal=TERM@120 --qos=high'"}


@pytest.mark.parametrize(("name", "key"), [("slurm", "partition"), ("generic", "queue")])
def test_text_that_is_python_as_well_stays_text(root, profile, name, key, tmp_path):
    """Snakemake evaluates text, but `max` or `all.q` must stay the name of a partition."""
    made = profile(name, **{f"cpu_{key}": "all.q", f"gpu_{key}": "max"})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(made))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--forceall", "--profile", str(tmp_path)],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    places = set(re.findall(rf"{QUEUE[name]}=([^,\s]+)", done.stdout))
    assert places == {"all.q", "max"}


def test_every_environment_installs_the_locked_packages_for_the_same_python(root):
    conda = yaml.safe_load((root / "envs" / "environment.yaml").read_text())
    pip = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    # Snakemake copies the file elsewhere before conda reads it, so it cannot name another file.
    lock = (root / "envs" / "requirements.txt").read_text().splitlines()
    assert pip == [line for line in lock if re.match(r"\w", line)]
    assert len(pip) > 50
    python = next(str(e).split("=")[1] for e in conda["dependencies"] if str(e).startswith("pyth"))

    recipe = (root / "envs" / "apptainer.def").read_text()
    assert re.search(r"(?m)^From: python:([\d.]+)-slim$", recipe)[1] == python
    copied = re.search(r"(?m)^    envs/requirements\.txt (\S+)$", recipe)[1]
    assert re.search(rf"(?m)^    pip install .*--requirement {copied}$", recipe)
    parts = re.findall(r"(?m)^%(\w+)", recipe)
    assert parts == ["files", "post", "environment", "test"]


def test_what_the_workflow_needs_is_locked(root):
    wanted = (root / "envs" / "requirements.in").read_text()
    names = [re.match(r"[\w-]+", line)[0] for line in wanted.splitlines() if line[:1].isalpha()]
    locked = (root / "envs" / "requirements.txt").read_text()
    assert "snakemake-executor-plugin-slurm" in names
    for name in names:
        assert re.search(rf"(?m)^{name.replace('_', '-')}==", locked), name

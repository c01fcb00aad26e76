"""The profiles speak of the rules that there are, and every environment of the locked packages."""

import re
import subprocess
import sys

import pytest
import yaml
import yte
from snakemake.cli import parse_args

PROFILES = ("slurm", "generic")
# What a profile calls the place for jobs with a GPU.
QUEUE = {"slurm": "slurm_partition", "generic": "queue"}


def profile(root, name: str, **site) -> dict:
    """A profile as Snakemake reads it, some keys of its site set otherwise."""
    text = (root / "profiles" / name / "config.yaml").read_text(encoding="utf-8")
    for key, value in site.items():
        text, found = re.subn(rf"(?m)^  {key}: [^#\n]*", f"  {key}: {value} ", text)
        assert found, key
    return yte.process_yaml(text, require_use_yte=True)


@pytest.fixture(scope="module")
def rules(root) -> dict[str, str]:
    """Rule to its text. Those of figures are made in a loop, a caption for each."""
    text = "\n".join(path.read_text() for path in sorted((root / "rules").glob("*.smk")))
    parts = re.split(r"(?m)^ *rule (\w+):\n", text)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    captions = (root / "rules" / "captions" / "figures").glob("*.rst")
    plots = {f"plot_{path.stem}" for path in captions} - {"plot_contact_sheet"}
    return named | dict.fromkeys(plots, "")


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
    assert args.groups["cook"] == args.groups["recipe"] == "soups"


@pytest.mark.parametrize("name", PROFILES)
def test_every_rule_that_a_profile_names_exists(root, rules, name):
    made = profile(root, name)
    for key in ("set-resources", "set-threads", "groups"):
        assert set(made[key]) - set(rules) == set(), key
    figures = {rule for rule in rules if rule.startswith("plot_")}
    assert figures <= made["set-resources"].keys() & made["groups"].keys()


@pytest.mark.parametrize("name", PROFILES)
def test_rules_that_run_models_go_where_the_gpus_are(root, rules, name):
    key = QUEUE[name]
    made = profile(root, name, **{f"cpu_{key.removeprefix('slurm_')}": "slow"})
    asked = {rule for rule, text in rules.items() if re.search(r"(?m)^ *gpu=GPUS", text)}
    assert {"finetune", "initialize", "evaluate", "recipe", "cook"} <= asked
    placed = {rule for rule, wants in made["set-resources"].items() if wants.get(key) == "'gpu'"}
    assert asked <= placed
    assert made["default-resources"][key] == "'slow'"


@pytest.mark.parametrize("name", PROFILES)
def test_a_further_try_gets_more_up_to_what_there_is(root, name):
    made = profile(root, name, largest=70000)

    def tries(text: str) -> list[int]:
        return [eval(text, {"attempt": n, "min": min}) for n in (1, 2, 99)]

    for rule in set(made["groups"]) | set(made["set-resources"]):
        wants = made["default-resources"] | made["set-resources"].get(rule, {})
        first, second, last = tries(wants["mem_mb"])
        assert first < second < last == 70000
        # Training goes on where it was, so that it needs no longer tries.
        if rule not in ("finetune", "pretrain", "estimate_cost"):
            first, second, last = tries(wants["runtime"])
            assert first <= second <= last <= 2880


@pytest.mark.parametrize("name", PROFILES)
def test_groups_ask_for_no_more_time_than_there_is(root, name):
    """Times of jobs that run one after the other are added up."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--profile", f"profiles/{name}"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    groups = re.findall(r"Group job (\w+) .*\n((?:(?:    .*)?\n)*)", done.stdout)
    total = {}
    for group, jobs in groups:
        total.setdefault(group, []).append(sum(map(int, re.findall(r"runtime=(\d+)", jobs))))
    assert {"evaluations", "soups", "curves", "report"} <= set(total)
    assert max(map(max, total.values())) <= 2880, total


@pytest.mark.parametrize("name", PROFILES)
def test_groups_stay_in_one_place_and_run_models_one_after_the_other(root, rules, name):
    made = profile(root, name)
    places = {}
    for rule, group in made["groups"].items():
        wants = made["default-resources"] | made["set-resources"].get(rule, {})
        places.setdefault(group, set()).add(wants[QUEUE[name]])
        on_gpu = "gpu=GPUS" in rules[rule]
        planned = rule.startswith("plan_")  # before its curve, so never beside it
        assert (wants["share"] == made["set-resources"]["evaluate"]["share"]) == (
            on_gpu and not planned
        ), rule
    assert all(len(place) == 1 for place in places.values())
    assert "finetune" not in made["groups"]
    assert set(made["group-components"]) <= set(places)


def test_the_profiles_differ_only_in_how_jobs_are_submitted(root):
    slurm, generic = (profile(root, name) for name in PROFILES)
    for key in ("groups", "group-components", "set-threads", "retries", "cores", "jobs"):
        assert slurm[key] == generic[key], key
    default = profile(root, "default")
    for made in (slurm, generic):
        assert made["rerun-triggers"] == default["rerun-triggers"]
        assert made["resources"] == ["downloads=2", "share=8"]

    def common(made: dict, name: str) -> dict:
        """What rules ask for, by words that both profiles know."""
        words = {"place": QUEUE[name], **{key: key for key in ("mem_mb", "runtime", "share")}}
        parts = {"default": made["default-resources"], **made["set-resources"]}
        return {
            rule: {word: wants.get(key) for word, key in words.items()}
            for rule, wants in parts.items()
        }

    assert common(slurm, "slurm") == common(generic, "generic")


def test_keys_of_a_site_reach_every_job(root):
    made = profile(root, "slurm")
    assert "slurm_account" not in made["default-resources"]
    assert not [wants for wants in made["set-resources"].values() if "gres" in wants]
    made = profile(
        root, "slurm", account="lab", gpu_partition="big", gres="gpu:a100", gpus=4, training=99,
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
    made = profile(root, "slurm", gpu_model="a100", extra="--qos=high")
    assert made["set-resources"]["evaluate"]["gpu_model"] == "'a100'"
    assert made["default-resources"]["slurm_extra"] == "'--qos=high'"
    assert made["set-resources"]["finetune"]["slurm_extra"] == "'--signal=TERM@120 --qos=high'"


@pytest.mark.parametrize(("name", "key"), [("slurm", "partition"), ("generic", "queue")])
def test_text_that_is_python_as_well_stays_text(root, name, key, tmp_path):
    """Snakemake evaluates text: `all`, `max` or `all.q` are partitions all the same."""
    made = profile(root, name, **{f"cpu_{key}": "all.q", f"gpu_{key}": "max"})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(made))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--profile", str(tmp_path)],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    places = set(re.findall(rf"{QUEUE[name]}=([^,\s]+)", done.stdout))
    assert places == {"all.q", "max"}


def test_every_environment_installs_the_locked_packages_for_the_same_python(root):
    conda = yaml.safe_load((root / "envs" / "environment.yaml").read_text())
    pip = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    # Snakemake copies the file elsewhere before conda reads it: it can name no other one.
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

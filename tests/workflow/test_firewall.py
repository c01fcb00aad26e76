"""No rule that chooses or trains may depend on a test set or a shift."""

import csv
import io

import pytest

CHOOSING = {
    "split", "hold_out", "pretrain", "initialize", "finetune", "teacher", "recipe", "cook",
    "choose_ensemble", "plan_wise_ft", "plan_number_of_models", "plan_large_lr", "plan_pairs",
    "plan_landscape", "plan_slices", "plan_tasks",
}  # fmt: skip
SHIFTS = {"v2", "r", "sketch", "objectnet", "a"}


def graph(project) -> dict[str, tuple[str, list[str]]]:
    """Return output file to its rule and its input files, for every job of the DAG."""
    done = project.run("--detailed-summary", "all")
    start = done.stdout.index("output_file")
    rows = csv.DictReader(io.StringIO(done.stdout[start:]), delimiter="\t")
    return {row["output_file"]: (row["rule"], row["input-file(s)"].split(",")) for row in rows}


def ancestors(edges, files) -> set[str]:
    """Files from which some files are made, directly or indirectly, and these files."""
    seen, stack = set(), list(files)
    while stack:
        file = stack.pop()
        if file not in seen:
            seen.add(file)
            stack += edges[file][1] if file in edges else []
    return seen


def leaks(edges) -> list[tuple[str, str]]:
    """Pairs of the output of a choosing job and a test or shift file that the job depends on."""
    forbidden = {
        file
        for file in {f for _, inputs in edges.values() for f in inputs} | set(edges)
        if "/prepared/" in file and file.split("/")[-1].split(".")[0] in SHIFTS | {"test"}
    }
    assert len(forbidden) == 3 * (1 + len(SHIFTS))  # images, labels and metadata of each
    return [
        (output, file)
        for output, (rule, inputs) in edges.items()
        if rule in CHOOSING
        for file in sorted(ancestors(edges, inputs) & forbidden)
    ]


def test_no_choosing_job_depends_on_a_test_set(finished):
    edges = graph(finished)
    rules = {rule for rule, _ in edges.values()}
    assert rules >= CHOOSING
    assert leaks(edges) == []


@pytest.mark.parametrize("rule", ["finetune", "recipe", "choose_ensemble"])
def test_a_dependency_on_a_test_set_is_found(finished, rule):
    edges = graph(finished)
    output = next(file for file, (name, _) in edges.items() if name == rule)
    edges[output][1].append("results/tiny/logits/m00/test.npy")
    assert any(file.endswith("/prepared/test.npy") for _, file in leaks(edges))


def test_soups_were_made_before_any_test_set_existed(finished):
    prepared = set((finished.folder / "prepared-for-soups.txt").read_text().split())
    assert prepared == {"train", "corpus", "heldout"}

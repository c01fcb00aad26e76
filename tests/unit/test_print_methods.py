"""The tool that prints the methods table: how it finds the results folder."""

import subprocess
import sys

import pandas as pd
import pytest
import yaml
from print_methods import evaluated, folder_of, greedy_weights

from soups.errors import UserError
from soups.report.words import USUAL


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (["name: one"], "one"),
        (["name: one", "name: two"], "two"),
        (["name: one", "sweep: {random: {n: 3}}"], "one"),
        (["name: one", "name:"], "one"),
        (["name: one", "# a comment"], "one"),
        (["sweep: {random: {n: 3}}"], None),
        (["# a comment"], None),
        ([""], None),
    ],
)
def test_the_last_file_with_a_name_decides(root, tmp_path, texts, name):
    """Without a name in any file, the name is that of the default configuration."""
    paths = [tmp_path / f"{i}.yaml" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    default = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))["name"]
    assert folder_of([str(path) for path in paths]) == f"results/{name or default}"


def test_the_minimal_overlay_has_the_name_of_the_default(root):
    assert folder_of([str(root / "experiments" / "minimal.yaml")]) == "results/miniature"


def test_a_name_with_training_domains_or_a_preset_is_filled_in(root):
    experiments = root / "experiments"
    assert folder_of([str(experiments / "pacs.yaml")]) == "results/pacs/art_painting-cartoon-photo"
    with pytest.raises(UserError, match=r"the name .* depends on options .*, expected the folder"):
        folder_of([str(experiments / "glue.yaml")])


def test_the_greedy_soup_is_found_by_its_role(tmp_path):
    assert greedy_weights(str(tmp_path)) is None
    (tmp_path / "plan.json").write_text('{"roles": {"greedy": "mine"}}')
    assert greedy_weights(str(tmp_path)) is None
    (tmp_path / "soups").mkdir()
    (tmp_path / "soups" / "mine.safetensors").touch()
    assert greedy_weights(str(tmp_path)) == str(tmp_path / "soups" / "mine.safetensors")


def test_unfinished_results_give_one_sentence(root, tmp_path):
    command = [sys.executable, str(root / "tools" / "print_methods.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {tmp_path}/tables/methods.csv does not exist, expected the folder of an "
        "experiment whose tables are done (tools/status.py shows what is left)\n"
    )


def test_the_evaluated_examples_of_a_greedy_trace_are_counted():
    trace = pd.DataFrame({"evaluated": [0, 1000, 320, 280]})
    assert evaluated(trace, 1000, USUAL) == (
        "Greedy tried 3 averages on 1,600 of 3,000 held-out images (53%).\n"
    )
    # The trace of one model, and traces of earlier versions.
    assert evaluated(trace[:1], 1000, USUAL) == ""
    assert evaluated(pd.DataFrame({"with": [0.5]}), 1000, USUAL) == ""

"""Runs on texts, with a tiny BERT and a tiny T5 on generated reviews."""

import csv
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("transformers", reason="`make text` installs it")

from safetensors.torch import load_file, save_file

from soups.jobs import events, left_out
from soups.usage.export import export
from tests import texts
from tests.unit.test_overlays import merge
from tests.workflow.conftest import FEW, Project
from tests.workflow.test_interrupt import interrupt

LONGEST = 24  # tokens, more than any generated review has
SWEEP = {
    "random": {
        "n": 3,
        "parameters": {
            "lr": "log_uniform(0.004, 0.01)",
            "epochs": "integer(4, 6)",
            "weight_decay": None,
            "label_smoothing": None,
            "mixup": None,
            "augment": None,
        },
    }
}
TEXT = {
    "name": "text",
    "data": {
        "source": "text",
        "text": {
            "train": "train.csv",
            "test": "test.csv",
            "max_length": LONGEST,
            "shifts": {
                "books": "books.jsonl",
                "typos": {"perturbation": "typos", "severity": 3},
            },
        },
        "heldout": {"fraction": 0.25},
    },
    "model": {"architecture": "transformers/bert", "pretrained": "bert"},
    "metric": "matthews",
    "probe": {"lr": 0.01, "epochs": 5, "batch_size": 32},
    "finetune": {"batch_size": 16},
    "sweep": SWEEP
    | {
        "variants": {
            "small": None,
            "medium": {"first": 2, "set": {"lr": 0.006, "epochs": 8, "augment": 1}},
            "large": None,
            "augmented": None,
        }
    },
    "soups": {"only": ["uniform", "greedy"]},
    "ensembles": {"only": ["ensemble"]},
    "curves": {
        "large_lr": 0.05,
        "images": {"test": 60, "shift": 40},
        "wise_ft": {"of": ["greedy"], "alphas": [0, 0.5, 1]},
        "number_of_models": None,
        "pairs": 0,
        "paths": {"variants": ["medium"], "steps": 4},
        "landscape": {"variants": []},
    },
}
TABLES = ["calibration", "claims", "data", "effects", "greedy_trace", "methods", "models", "paths",
          "reliability", "significance", "wise_ft"]  # fmt: skip
FIGURES = ["angles", "contact_sheet", "forest", "greedy_trace", "loss_gap", "methods", "paths",
           "reliability", "scatter", "shifts", "soup_vs_ensemble", "sweep", "wise_ft"]  # fmt: skip
MODELS = ["m00", "m01", "m02"]


def write_texts(folder) -> None:
    """Write the three files of `TEXT`. The test file ends with two more texts.

    The first is a copy of a training text, and the second is longer than `LONGEST` tokens.
    """
    train, test = texts.reviews(300), texts.reviews(120, 1)
    test.append(train[3] | {"text": train[3]["text"].upper()})
    test.append({"text": "the plot is dull " + "indeed " * 30, "label": "bad"})
    texts.write_csv(folder / "train.csv", train)
    texts.write_csv(folder / "test.csv", test)
    texts.write_jsonl(folder / "books.jsonl", texts.reviews(100, 2, "books"))


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Project:
    """A complete run with a tiny BERT, which tests must not change."""
    project = Project(tmp_path_factory.mktemp("text") / "project", TEXT)
    write_texts(project.folder)
    # With transformers' small random weights, such a narrow model learns too slowly.
    texts.bert(project.folder / "bert", initializer_range=0.2)
    project.run()
    return project


@pytest.fixture
def copied(done, tmp_path) -> Project:
    """A copy of the complete run."""
    copy = Project.__new__(Project)
    copy.__dict__ |= done.__dict__ | {"folder": tmp_path / "project"}
    shutil.copytree(done.folder, copy.folder, symlinks=True)
    return copy


def table(project: Project, name: str) -> pd.DataFrame:
    return pd.read_csv(project.results / "tables" / f"{name}.csv")


def matthews(project: Project, model: str, name: str) -> float:
    """Matthews' correlation of the predictions of a model on a set, from its logits."""
    labels = np.load(project.results / "prepared" / f"{name}.labels.npy")
    logits = np.load(project.results / "logits" / model / f"{name}.npy")
    return np.corrcoef(logits.argmax(1), labels)[0, 1]


def said(page: str) -> str:
    """The words of a report: without the figures themselves, styles and the configuration."""
    for part in (r'data:image/[^"]+', r"<(style|script|pre)\b.*?</\1>"):
        page = re.sub(part, "", page, flags=re.DOTALL)
    return page


@pytest.mark.workflow
def test_a_run_on_texts_has_all_tables_and_figures(done):
    assert sorted(path.stem for path in (done.results / "tables").iterdir()) == TABLES
    names = {f"{figure}.{ending}" for figure in FIGURES for ending in ("png", "pdf")}
    assert {path.name for path in (done.results / "figures").iterdir()} == names
    assert done.planned() == {}


def test_scores_are_matthews_correlations_of_the_cached_logits(done):
    models, methods = (table(done, name) for name in ("models", "methods"))
    for row in (*MODELS, "initialization"):
        for name in ("test", "books", "typos"):
            score = models.set_index("model").loc[row, name]
            assert score == pytest.approx(matthews(done, row, name), abs=1e-6)
    methods = methods.set_index("method")
    assert list(methods.index) == ["best_individual", "second_best", "uniform", "greedy",
                                   "ensemble", "oracle", "initialization"]  # fmt: skip
    assert methods.loc["best_individual", "test"] > 0.5  # Chance is 0.
    assert methods.loc["greedy", "test"] == pytest.approx(
        matthews(done, "greedy", "test"), abs=1e-6
    )
    assert methods.loc["uniform", "members"].split() == MODELS
    assert (methods["n_test"] == 122).all()


def test_the_claim_about_texts_follows_from_the_table_of_methods(done):
    claims = table(done, "claims").set_index("claim")
    effects = table(done, "effects").set_index("claim").loc[19]
    assert (effects["unit"] == "matthews").all()
    methods = table(done, "methods").set_index("method")
    gain = methods.loc["greedy"] - methods.loc["best_individual", ["test", "shifts_mean"]]
    assert list(effects["effect"]) == pytest.approx(
        [gain["test"], gain["test"], gain["shifts_mean"]], abs=2e-6
    )
    verdicts = set(effects["verdict"])
    assert "not tested" not in verdicts
    wanted = "supported" if verdicts == {"supported"} else "inconclusive"
    assert claims.loc[19, "verdict"] == ("contradicted" if "contradicted" in verdicts else wanted)


def test_the_page_speaks_of_texts(done):
    page = said((done.results / "report.html").read_text(encoding="utf-8"))
    assert "Matthews" in page
    assert "held-out texts" in page
    assert re.findall(r".{30}\b(?:image|photo|picture)s?\b.{30}", page, re.IGNORECASE) == []


def test_copies_and_cut_texts_are_counted_and_listed(done):
    data = table(done, "data").set_index("set")
    assert list(data["texts"]) == [300, 122, 100]
    assert list(data["cut"]) == [0, 1, 0]
    assert list(data["in_training"]) == [0, 1, 0]
    with open(done.results / "checks" / "duplicates.csv", encoding="utf-8", newline="") as file:
        rows = [(row["from"], row["of_from"], row["kind"]) for row in csv.DictReader(file)]
    assert rows == [("test.csv:122", "train.csv:5", "same text")]
    log = (done.results / "logs" / "check_texts.log").read_text()
    assert "1 text of test is cut, because" in log
    assert "1 text of test is also in train, which" in log


def test_a_soup_predicts_texts_from_its_file_alone(done, tmp_path):
    soup, out = done.results / "soups" / "greedy.safetensors", tmp_path / "predictions.csv"
    given = ["test.csv", "--out", str(out), "--threads", "1", "--device", "cpu"]
    subprocess.run(
        [sys.executable, "tools/predict.py", str(soup), *given],
        cwd=done.folder, check=True, capture_output=True,
    )  # fmt: skip
    found = pd.read_csv(out)["class"] == "good"
    right = pd.read_csv(done.folder / "test.csv")["label"] == "good"
    score = table(done, "methods").set_index("method").loc["greedy", "test"]
    assert np.corrcoef(found, right)[0, 1] == pytest.approx(score, abs=1e-6)


@pytest.mark.workflow
def test_a_fine_tune_on_texts_that_is_stopped_gives_the_same_bytes(copied):
    """The model masks tokens and has dropout, and its batches have texts of similar length."""
    model = copied.results / "models" / "m00_medium.safetensors"
    undisturbed, target = model.read_bytes(), str(model.relative_to(copied.folder))
    told = copied.results / "logs" / "finetune" / "m00_medium.events.jsonl"
    model.unlink()
    told.unlink()

    def steps(name: str) -> list[int]:
        return [event["step"] for event in events.read(told) if event["event"] == name]

    states = copied.results / ".state"
    interrupt(copied, signal.SIGTERM, lambda: list(states.glob("[!.]*.pt")), target)
    stopped = steps("stopped")
    assert len(stopped) == 1
    assert not model.exists()
    copied.run(target)
    assert steps("resumed") == stopped
    assert model.read_bytes() == undisturbed


def test_a_new_text_changes_its_set_alone(copied):
    with open(copied.folder / "books.jsonl", "a", encoding="utf-8") as file:
        file.write('{"text": "a new one", "label": "good"}\n')
    planned = copied.planned()
    assert (planned["read_texts"], planned["tokenize_set"]) == (1, 1)
    assert not {"split", "initialize", "finetune", "cook"} & planned.keys()


READY = merge(
    merge(TEXT, FEW),
    {
        "name": "ready",
        "data": {"heldout": {"fraction": 1}},
        "model": {"architecture": "transformers/runs/m00", "pretrained": None},
        "sweep": {"kind": "files"},
        "ingredients": {"source": "checkpoints", "checkpoints": {"files": "runs/*"}},
    },
)
del READY["data"]["text"]["shifts"]["books"]


@pytest.mark.workflow
def test_ready_made_text_classifiers_score_as_in_the_run_that_trained_them(done, project):
    """Folders as Hugging Face has them, one of which has a weight that is not a number."""
    ready = project(READY)
    write_texts(ready.folder)
    for name in MODELS:
        export(
            done.results / "models" / f"{name}.safetensors",
            "huggingface",
            ready.folder / "runs" / name,
        )
    bad = ready.folder / "runs" / "m03"
    shutil.copytree(ready.folder / "runs" / "m00", bad)
    state = load_file(bad / "model.safetensors")
    state["classifier.weight"][1, 2] = float("nan")
    save_file(state, bad / "model.safetensors", {"format": "pt"})

    printed = ready.run()
    line = left_out.line("m03", left_out.reason(ready.results / "models" / "m03.safetensors"))
    assert "'classifier.weight' has 1 values that are not finite" in line
    assert line in printed.stdout + printed.stderr
    theirs, ours = (table(each, "models").set_index("model") for each in (done, ready))
    assert ours.loc["m03", ["heldout", "test", "typos"]].isna().all()
    scores = ["test", "typos"]
    pd.testing.assert_frame_equal(ours.loc[MODELS, scores], theirs.loc[MODELS, scores])
    methods = table(ready, "methods").set_index("method")
    assert methods.loc["uniform", "members"].split() == MODELS
    assert methods.loc["uniform", "n_heldout"] == 300
    assert (ready.results / "report.html").stat().st_size > 10_000

    # The report of ready-made models has the examination of the doctor.
    assert ready.planned("doctor") == {}
    doctor = table(ready, "doctor").set_index("model")
    assert doctor.loc["m03", "verdict"] == "diverged"
    assert not {"diverged", "other initialisation", "duplicate"} & set(
        doctor.loc[MODELS, "verdict"]
    )


# Pairs of texts in a table without a header, and an encoder-decoder.
PAIRS = merge(
    merge(TEXT, FEW),
    {
        "name": "pairs",
        "data": {
            "text": {
                "train": "train.tsv",
                "test": "test.tsv",
                "max_length": 64,
                "header": False,
                "columns": {"text": 1, "second": 2, "label": 3},
                "classes": {"bad": "negative", "good": "positive"},
                "limit": {"test": 90},
            }
        },
        "model": {"architecture": "transformers/t5", "pretrained": "t5", "pooling": "decoder"},
        "metric": None,
        "sweep": {"random": {"n": 2, "parameters": {"augment": 1}}},
    },
)
del PAIRS["data"]["text"]["shifts"]["books"]


@pytest.mark.workflow
def test_an_encoder_decoder_on_pairs_of_texts_runs_from_the_estimate_to_the_report(project):
    pairs = project(PAIRS, "experiments/minimal.yaml")
    for name, count in (("train", 300), ("test", 120)):
        path = texts.write_csv(
            pairs.folder / f"{name}.tsv", texts.reviews(count, count, pairs=True), "\t"
        )
        path.write_text(path.read_text().partition("\n")[2])
    texts.t5(pairs.folder / "t5")

    printed = pairs.run("estimate").stdout
    cost, planned = table(pairs, "estimate").set_index("stage"), pairs.planned()
    for stage in ("finetune", "evaluate", "cook"):
        assert cost.loc[stage, "jobs"] == planned[stage]
    assert cost.loc["prepare", "texts"] == 300 + 90 + 90
    assert "image" not in printed.partition("stage")[2]

    pairs.run()
    assert (pairs.results / "report.html").stat().st_size > 10_000
    data = table(pairs, "data").set_index("set")
    assert list(data["texts_each"]) == [2, 2]
    assert list(data["in_files"]) == [300, 120]
    methods = table(pairs, "methods").set_index("method")
    assert methods.loc["best_individual", "test"] > 0.7  # Chance is a half.
    assert (methods["n_test"] == 90).all()
    log = (pairs.results / "logs" / "import_pretrained.log").read_text()
    assert "augmentation puts <extra_id_0> in the place of a token" in log
    assert pairs.planned() == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            {"columns": {"label": "labels"}},
            "train.csv: there is no column 'labels', expected one of text, label; did you mean",
        ),
        ({"preset": "rtee"}, "data.text.preset is 'rtee', expected one of rte, mrpc, cola, sst2"),
    ],
)
def test_a_mistake_in_the_settings_of_texts_ends_a_dry_run_with_one_sentence(
    project, text, sentence
):
    copy = project(merge(TEXT, {"data": {"text": text}}))
    write_texts(copy.folder)
    done = copy.run("-n", check=False)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.workflow
def test_mistakes_in_files_end_a_run_before_anything_is_trained(project):
    """A label that no training text has, a text in another encoding, and too few embeddings."""
    copy = project(TEXT)
    write_texts(copy.folder)
    texts.bert(copy.folder / "bert", vocab_size=100)
    with open(copy.folder / "test.csv", "a", encoding="utf-8") as file:
        file.write("a film,fair\n")
    with open(copy.folder / "books.jsonl", "ab") as file:
        file.write('{"text": "h\u00fcbsch", "label": "good"}\n'.encode("latin-1"))
    done = copy.run("--keep-going", check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "test.csv, line 124: the label is 'fair', expected one of bad, good" in said
    assert "books.jsonl, line 101: " in said
    assert "not UTF-8, expected text in UTF-8" in said
    assert "expected at most 99, because the model has 100 embeddings" in said
    assert "Traceback" not in said
    assert not (copy.results / "models").exists()

"""The estimate of an experiment on texts: the same rules, measured on texts of the training set."""

from types import SimpleNamespace

import numpy as np
import pytest

from soups import problems
from soups.cost import counts, estimate, measurement, space
from soups.cost.notes import notes
from soups.jobs import timing
from tests.unit.test_estimate import ROW, plan, soup  # noqa: F401

pytest.importorskip("transformers", reason="`make text` installs it")

from tests.unit.text_folders import CLASSES, TEXTS, folder_of

TEXT = problems.named("text")


@pytest.fixture
def config(tmp_path) -> dict:
    """The sections ``data`` and ``model`` of texts in files and a tiny BERT."""
    rng = np.random.default_rng(0)
    for name, number in (("train", 60), ("test", 20)):
        lines = [
            f"{' '.join(rng.choice(TEXTS, rng.integers(1, 4)))}\t{CLASSES[i % 3]}"
            for i in range(number)
        ]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    folder_of("Bert", tmp_path / "bert")
    text = {
        "root": str(tmp_path), "train": "train.tsv", "test": "test.tsv", "classes": CLASSES,
        "max_length": 12, "limit": {"test": 15},
        "shifts": {"typos": {"perturbation": "typos", "severity": 2}},
    }  # fmt: skip
    heldout = {"fraction": 0.1, "per_class": None, "indices": None, "seed": 0}
    return {
        "data": {"source": "text", "text": text, "folders": None, "world": {}, "heldout": heldout},
        "model": {"architecture": f"transformers/{tmp_path / 'bert'}", "pooling": "native"},
        "ingredients": {"source": "finetune"},
    }


def test_numbers_of_texts_are_counted_in_their_files(config):
    data = config["data"]
    names = TEXT.class_names(data)
    assert names == CLASSES
    numbers, corpus = counts.numbers(data, names, 0)
    assert numbers == {"train": 54, "heldout": 6, "test": 15, "typos": 15}
    assert corpus == 0
    assert TEXT.known_numbers(config, ["typos"]) == {}


def test_every_speed_of_an_experiment_on_texts_is_measured(config, plan, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(timing, "SECONDS", 0.02)
    plan |= {"source": "text", "soups": {"learned": soup("learned", plan["base"], batch_size=4)}}
    params = SimpleNamespace(
        **config, plan=plan, compute={"gpus": 1}, tasks={}, unseen=None, corpus=0,
        probe={"lr": 0.01, "batch_size": 8, "weight_decay": 0, "seed": 0},
    )  # fmt: skip
    data = config["data"]
    numbers, corpus = counts.numbers(data, CLASSES, 0)
    samples = measurement.Samples.of(params, CLASSES, tmp_path)
    sizes = samples.sizes(numbers)
    lengths = samples.examples.inputs(60).lengths
    assert (sizes.classes, sizes.prepared) == (3, 4 * (2 + lengths.max()))
    work = estimate.work(counts.completed(params, CLASSES, corpus, 1), sizes)
    assert work[0].jobs == 2 * 4 + 1
    assert work[0].examples == {"tokenize": 90}
    found = measurement.measure(params, samples, estimate.needed(work), 1)
    assert estimate.needed(work) <= found.seconds.keys()
    assert set(found.load.values()) == {0.0}
    table = estimate.table(work, found.seconds, found.start, "cpu", "texts")
    assert {"texts", "texts_per_second"} < table[0].keys()
    header, _ = estimate.cells(table, "texts")
    assert header[2:4] == ["texts", "texts/s"]
    shown = "\n".join(notes(params, found, samples.examples.notes))
    assert "54 training texts" not in shown
    assert f"have {lengths.mean():.0f} tokens on average and {lengths.max()} at most" in shown
    assert "image" not in shown


def test_examples_of_a_measurement_have_the_lengths_of_the_texts(config, tmp_path):
    pretrained = TEXT.random_model(config, CLASSES)
    inputs = TEXT.samples(pretrained, config["data"], "array", tmp_path).inputs(130)
    assert len(inputs) == len(inputs.lengths) == 130
    rows = np.array([3, 64])
    batch = inputs[rows]
    assert batch.shape == (2, 2 + inputs.lengths[rows].max())
    assert (batch[:, 0] == inputs.lengths[rows]).all()
    assert (inputs[np.array([4])] == inputs[np.array([64])]).all()  # of 60 texts
    assert 3 <= inputs.lengths.min() < inputs.lengths.max() <= 12


@pytest.mark.parametrize("pooling", ["native", "mean"])
def test_the_size_of_a_classifier_is_found_without_its_weights(config, pooling):
    config["model"]["pooling"] = pooling
    model = TEXT.random_model(config, CLASSES).classifier(3)
    assert space._size(config, TEXT, CLASSES) == measurement.size_of(model)

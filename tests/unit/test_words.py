"""Words of figures, captions, tables and the page for other metrics and other examples."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from jinja2 import Environment
from matplotlib import pyplot as plt
from matplotlib.text import Text

from soups import problems
from soups.experiment import figures as registry
from soups.experiment.parameters import Parameters
from soups.report import presentation, style
from soups.report.words import NAMES, USUAL, Words
from tests.unit.plotted import draw

MATTHEWS = Words("matthews", "text")
# Figures that show accuracy whatever the metric is, and those that only runs on images draw.
ACCURACY = {"doctor", "reliability"}
# Figure to the folder of its recorded tables, and to options of its function.
RECORDED = {
    "scatter": "miniature", "methods": "ablations", "shifts": "miniature", "sweep": "miniature",
    "greedy_trace": "miniature", "landscape": "miniature", "paths": "miniature",
    "angles": "miniature", "soup_vs_ensemble": "miniature", "loss_gap": "miniature",
    "number_of_models": "miniature", "slices": "ablations", "large_lr": "miniature",
    "reliability": "miniature", "wise_ft": "miniature", "averaging": "ablations",
    "tasks": "ablations",
}  # fmt: skip
RATES = {"paths", "angles", "soup_vs_ensemble", "loss_gap"}
WORDLESS = {"angles", "loss_gap", "reliability"}  # figures whose function needs no words


@pytest.fixture(autouse=True)
def closed():
    style.use()
    yield
    plt.close("all")


def shown(figure) -> str:
    """All texts of a figure, one per line."""
    return "\n".join(part.get_text() for part in figure.findobj(Text))


def drawn(root, name: str, words: Words) -> str:
    """The texts of a figure of recorded tables."""
    row = next(row for row in registry.FIGURES if row.name == name)
    folder = root / "results" / "recorded" / RECORDED[name]
    named = {**row.tables, **row.any_of}
    tables = {key: pd.read_csv(folder / f"{table}.csv") for key, table in named.items()}
    options = {"large_lr": 0.005} if name in RATES else {}
    options |= {} if name in WORDLESS else {"words": words}
    return shown(draw(name, tables, **options))


@pytest.mark.parametrize("name", RECORDED)
def test_a_figure_of_texts_names_the_metric_and_no_images(root, name):
    text = drawn(root, name, MATTHEWS)
    assert "image" not in text.lower()
    if name not in ACCURACY:
        assert "accuracy" not in text.lower()
        assert "%" not in text
    usual = drawn(root, name, USUAL).lower()
    named = "accuracy" in usual or "error" in usual
    assert ("Matthews" in text) == (named and name not in ACCURACY)


def test_every_figure_of_a_run_on_texts_is_covered():
    others = {"doctor", "contact_sheet", "pretraining", "reproduction", "forest"}
    assert RECORDED.keys() | others == {row.name for row in registry.FIGURES}


def test_the_two_figures_without_recorded_tables_name_the_metric():
    rows = {"test": [0.5], "shifts_mean": [0.4], "test_lo": [0.4], "test_hi": [0.6]}
    rows |= {"shifts_mean_lo": [0.3], "shifts_mean_hi": [0.5], "n_test": [10], "n_shifts": [20]}
    methods = pd.DataFrame({"method": ["greedy"], **rows})
    figures = {
        "pretraining": {"methods": methods, "weaker": methods},
        "reproduction": {"compared": pd.DataFrame({
            "model": ["m"], "kind": ["soup"], "measure": ["test"], "ours": [0.6],
            "published": [0.5], "difference": [0.1],
        })},
    }  # fmt: skip
    for name, tables in figures.items():
        text = shown(draw(name, tables, words=MATTHEWS))
        assert "Matthews" in text
        assert "accuracy" not in text.lower()


@pytest.mark.parametrize("metric", NAMES)
@pytest.mark.parametrize("name", [row.name for row in registry.FIGURES])
def test_a_caption_for_texts_has_no_images_and_no_other_metric(name, metric):
    words = Words(metric, "text")
    row = next(row for row in registry.FIGURES if row.name == name)
    caption = words.caption(name, row.caption)
    assert "image" not in caption.lower()
    assert "{" not in caption
    if metric != "accuracy" and name not in ACCURACY:
        rest = caption.replace(words.quantity, "").replace(words.quantities, "")
        rest = rest.replace(words.title, "").replace(words.placeholders["Accuracies"], "")
        assert "accurac" not in rest.lower()


def test_the_captions_of_the_accuracy_on_images_have_the_usual_words():
    captions = {row.name: USUAL.caption(row.name, row.caption) for row in registry.FIGURES}
    assert captions["scatter"].startswith(
        "Test accuracy against the mean accuracy over the shifts (the paper's figure 1)."
    )
    assert "95% bootstrap intervals over images" in captions["scatter"]
    assert (
        "heights (the standard error of an error is about 2.7 points for n = 300). Compare"
        in captions["landscape"]
    )
    assert "(n is in the label). The standard error of one accuracy is" in captions["paths"]


def test_numbers_of_other_images_and_metrics_are_left_out():
    captions = {row.name: MATTHEWS.caption(row.name, row.caption) for row in registry.FIGURES}
    assert "(n is in the label). Differences have a smaller error" in captions["paths"]
    assert "more certain than heights. Compare" in captions["landscape"]
    assert "and the lower row 1 − Matthews correlation on a part" in captions["landscape"]
    assert "standard error of its texts. The best" in captions["number_of_models"]


def test_text_in_other_braces_stays():
    assert MATTHEWS.fill("{a} of {images} {if accuracy:no}.") == "{a} of texts ."
    assert USUAL.fill("{a} of {images}{if accuracy: yes}.") == "{a} of images yes."


@pytest.mark.parametrize(
    ("words", "axis", "mean", "sentence"),
    [
        (USUAL, "Test accuracy (%)", "Mean accuracy over shifts (%)", "an accuracy of 71.2% here"),
        (MATTHEWS, "Test Matthews (×100)", "Mean Matthews over shifts (×100)",
         "a Matthews correlation (×100) of 71.2 here"),
        (Words("f1", "text"), "Test F1 (%)", "Mean F1 over shifts (%)", "an F1 of 71.2% here"),
        (Words("macro_f1", "text"), "Test macro F1 (%)", "Mean macro F1 over shifts (%)",
         "a macro F1 of 71.2% here"),
        (Words("accuracy_and_f1", "text"), "Test (acc. + F1)/2 (%)",
         "Mean (acc. + F1)/2 over shifts (%)",
         "a mean of accuracy and F1 of 71.2% here"),
    ],
)  # fmt: skip
def test_axes_and_sentences_name_the_metric(words, axis, mean, sentence):
    assert words.axis("test") == axis
    assert words.axis("shifts_mean") == mean
    assert words.of_numbers([f"{words.number('71.2')} here"]) == sentence


def test_every_metric_of_the_configuration_has_words(root):
    import yaml

    schema = yaml.safe_load((root / "rules/schemas/config.schema.yaml").read_text("utf-8"))
    assert set(schema["properties"]["metric"]["enum"]) - {None} == NAMES.keys()


@pytest.mark.parametrize("name", problems.MODULES)
def test_every_problem_has_words(name):
    words = Words(problem=name)
    assert words.examples.startswith(words.example)
    kind = "a folder" if words.unlabelled.endswith("/") else "a file"
    assert words.in_unlabelled == f"the {words.examples} in {kind}"
    assert problems.named(name).captions.keys() <= {row.name for row in registry.FIGURES}


def test_the_words_of_an_image_run_are_no_parameter():
    assert Words.of({}) == Words.of(None) == USUAL
    assert Words.of({"metric": "matthews", "problem": "text"}) == MATTHEWS


def test_only_runs_with_other_words_have_them_as_a_parameter():
    plan = Parameters({"metric": None, "data": {"source": "world"}})
    assert (plan.words, plan.worded, plan.said) == ({}, {}, {})
    plan = Parameters({"metric": "macro_f1", "data": {"source": "world"}})
    words = {"metric": "macro_f1", "problem": "images"}
    assert (plan.words, plan.worded) == (words, {"words": words})
    assert plan.said["say"]["accuracies"] == "macro F1 scores"
    # The accuracy on texts has the usual metric, but not the usual examples.
    plan = Parameters({"metric": "accuracy", "data": {"source": "text"}})
    assert plan.worded == {"words": {"metric": "accuracy", "problem": "text"}}


def rst(path: Path, **params) -> str:
    page = Environment(trim_blocks=True, lstrip_blocks=True).from_string(path.read_text("utf-8"))
    return page.render(snakemake=SimpleNamespace(params=params))


# Captions of tables that only runs on images make, and of those whose words never change.
OF_IMAGES = {"data", "real", "reproduction", "estimate"}
OF_TEXTS = {"texts"}


def test_captions_of_tables_have_the_words_of_their_run(root):
    for path in sorted((root / "rules" / "captions" / "tables").glob("*.rst")):
        usual, texts = rst(path), rst(path, say=MATTHEWS.placeholders)
        assert "{" not in usual + texts
        if path.stem in OF_IMAGES or path.stem.startswith("published"):
            continue
        assert "image" not in texts.lower(), path
        if path.stem in OF_TEXTS:
            continue
        if path.stem != "doctor":
            assert "accurac" not in texts.lower(), path
            assert ("Matthews" in texts) == ("accurac" in usual.lower()), path


def test_counts_of_a_claim_name_the_examples():
    row = pd.Series({"images": 1000, "models": 3, "pairs": 0})
    assert presentation.sizes(row) == "1,000 images, 3 models"
    assert presentation.sizes(row, MATTHEWS) == "1,000 texts, 3 models"

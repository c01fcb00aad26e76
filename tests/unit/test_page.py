import ast
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from soups import files
from soups.claims.pair_effects import LARGE_PAIRS, USUAL_PAIRS
from soups.jobs import handlers
from soups.report import page
from soups.report.words import Words
from soups.roles import Roles

ROLES = Roles({"greedy": "greedy"})
CONFIG = {"name": "mine", "model": {"templates": ["a {}</pre><script>"]}, "sweep": {"n": 3}}
SAME = "a greedy soup other than the best individual model"


def soup(*accepted: str, tried=("m1", "m0", "m2")) -> page.Soup:
    """A greedy soup of the accepted models among those that were tried."""
    trace = [
        {"candidate": m, "without": None, "with": 0.75 - 0.01 * i, "accepted": m in accepted}
        for i, m in enumerate(tried)
    ]
    coefficients = {name: 1 / len(accepted) for name in sorted(accepted)}
    recipe = {"method": "greedy", "coefficients": coefficients, "selection": {"trace": trace}}
    return page.Soup(recipe, "results/mine/soups/greedy.safetensors")


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Tables of a small run."""
    numbers = {"v2": 0.5, "shifts_mean": 0.5, "test_lo": 0.6, "test_hi": 0.8}
    numbers |= {"shifts_mean_lo": 0.4, "shifts_mean_hi": 0.6, "test_sd": np.nan}
    numbers |= {"test_top": True, "shifts_mean_top": True}
    numbers |= {"n_heldout": 1000, "n_test": 500, "n_shifts": 500, "ingredients": 1}
    rows = [("best_individual", "model", 0.7, "m1"), ("greedy", "soup", 0.72, "m1 m0")]
    methods = [
        {"method": method, "kind": kind, "inference_cost": 1, "heldout": 0.75, "test": test}
        | numbers
        | {"members": members}
        for method, kind, test, members in rows
    ]
    order = ["method", "kind", "ingredients", "inference_cost", "heldout", "test", "v2"]
    order += ["shifts_mean"]
    methods = pd.DataFrame(methods)
    methods = methods[order + [name for name in methods if name not in order]]
    models = pd.DataFrame(
        {
            "model": ["zeroshot", "m0", "m1", "m2"],
            "variant": [None, "base", "base", "base"],
            "lr": [np.nan, 0.001, 0.0002, 0.1],
            "epochs": [np.nan, 4, 4, 4],
            "batch_size": pd.array([None, 1024, 1024, 512], dtype="Int64"),
            "seed": pd.array([None, 0, 1, 2], dtype="Int64"),
            "heldout": [0.6, 0.73, 0.75, 0.7],
        }
    )
    significance = pd.DataFrame(
        [
            ("greedy", "best_individual", "test", 0.02, -0.004, 0.03),
            ("best_individual", "greedy", "shifts_mean", 0.01, 0.005, 0.02),
        ],
        columns=["method", "reference", "measure", "difference", "lo", "hi"],
    )
    scores = dict.fromkeys(["ece", "nll", "brier", "ece_scaled", "nll_scaled", "brier_scaled"], 0.1)
    calibration = pd.DataFrame(
        [{"method": row[0], "set": "test", "temperature": 1.0} | scores for row in rows]
    )
    untested = [
        (11, "greedy − best, only lr varies, test", "table slices"),
        (13, "soup of EMA − first six, test", "method soup_of_EMA"),
        (13, "soup of SWA − first six, test", "method soup_of_SWA"),
        (14, "greedy − distilled model, test", SAME),
    ]
    untested += [(19, "greedy − best individual on texts, test", "a run on texts")]
    effects = pd.DataFrame(untested, columns=["claim", "part", "missing"])
    effects = effects.assign(effect=np.nan, lo=np.nan, hi=np.nan, verdict="not tested")
    tested = {"claim": 1, "part": "greedy − best individual, test", "verdict": "inconclusive"}
    tested |= {"missing": None, "effect": 0.02, "lo": -0.004, "hi": 0.03}
    effects = pd.concat([pd.DataFrame([tested]), effects], ignore_index=True)
    effects = effects.assign(
        unit="accuracy", rule="greater", margin=0.0032, decides=True, images=500, models=2, pairs=0
    )
    claims = effects.drop_duplicates("claim").assign(
        text=["Greedy wins.", "One hyperparameter.", "EMA.", "Distilled.", "Text."],
        figure=["scatter", "slices", "averaging", None, "scatter"],
    )
    return {
        "methods": methods, "models": models, "significance": significance,
        "calibration": calibration, "claims": claims, "effects": effects,
    }  # fmt: skip


@pytest.fixture
def figures(tmp_path) -> dict[str, page.Picture]:
    named = [("methods", (460, 230)), ("contact_sheet", (460, 4600)), ("scatter", (230, 230))]
    for name, size in named:
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    captions = ((name, f'The "{name}". Look & see.', tmp_path / f"{name}.png") for name, _ in named)
    return page.pictures(captions)


@pytest.fixture
def render(root, tables, figures):
    template = (root / "rules" / "captions" / "page.html").read_text(encoding="utf-8")

    def rendered(made=None, **run) -> str:
        return page.render(
            template, name="mine", folder="results/mine", run=run, tables=tables, figures=figures,
            roles=ROLES, soup=made, config=CONFIG, by_chance=(0.1, 0.2),
        )  # fmt: skip

    return rendered


def table(html: str, name: str) -> list[str]:
    """Rows of a table of the page, with a bar between cells."""
    [found] = re.findall(rf'<table id="{name}".*?</table>', html, re.DOTALL)
    rows = re.findall(r"<tr.*?</tr>", found, re.DOTALL)
    return [re.sub("<.*?>", "|", row).replace("||", "|") for row in rows]


def test_the_page_shows_the_run_and_its_soup_before_the_claims(render):
    run = {"begun": "2026-11-26T13:01:04+02:00", "command": "snakemake --x <y>", "commit": "abc"}
    html = render(soup("m1", "m0"), **run)
    order = [
        "<h1>Model soups: mine", "results/mine</code>", "2026-11-26 13:01 UTC+02:00",
        "snakemake --x &lt;y&gt;", "abc</code>", 'id="contact_sheet"', 'table id="methods"',
        'figure id="scatter"', 'table id="members"', 'figure id="methods"',
        'table id="calibration"', 'table id="claims"', 'id="settings"',
    ]  # fmt: skip
    places = [html.index(part) for part in order]
    assert places == sorted(places)
    assert "results/mine/soups/greedy.safetensors" in html
    command = "tools/predict.py results/mine/soups/greedy.safetensors images/ --out predictions.csv"
    assert f"<pre>python {command}</pre>" in html
    assert "<script" not in html
    assert "http" not in html


def test_the_page_of_texts_names_the_metric_and_no_images(root, tables, figures):
    template = (root / "rules" / "captions" / "page.html").read_text(encoding="utf-8")
    tables["methods"]["n_heldout"] = 60
    tables["data"] = pd.DataFrame({"set": ["train"], "texts": [9]})
    config = {"name": "mine"}
    html = page.render(
        template, name="mine", folder="results/mine", run={}, tables=tables, figures=figures,
        roles=ROLES, soup=soup("m1", "m0"), config=config, by_chance=(0.1, 0.2),
        words=Words("matthews", "text"),
    )  # fmt: skip
    text = " ".join(re.sub("<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL).split())
    assert "image" not in text.lower()
    assert "accurac" not in text.replace("1.7 points of accuracy", "").lower()
    assert (
        "The greedy soup has a Matthews correlation (×100) of 72.0 on the test set and 50.0 on the "
        "mean of the shifts. Compared with the best individual model, m1, this is +2.0 points"
    ) in text
    assert "With 60 held-out texts, one of them is worth 1.7 points of accuracy." in text
    assert "Matthews correlation × 100, with 95% bootstrap intervals over texts." in text
    assert "Matthews correlations are multiplied by 100. The columns" in text
    assert "the classes of the texts in a file" in text
    assert "soups/greedy.safetensors texts.txt --out predictions.csv" in text
    assert "calibration error are in points, which are hundredths." in text
    assert "before anything was computed. The column cut counts texts" in text
    assert "Show all of the texts" in text


def test_the_page_of_a_run_without_a_plan_names_only_the_folder(render):
    html = render(soup("m1", "m0"))
    assert "results/mine" in html
    assert "Git commit" not in html
    assert "None" not in html


def test_figures_are_numbered_and_have_alternative_texts(render, figures):
    html = render(soup("m1", "m0"))
    assert [figure.number for figure in figures.values()] == [None, 1, 2]
    assert "<b>Figure 1.</b> The &#34;scatter&#34;. Look &amp; see." in html
    assert 'alt="The &#34;scatter&#34;"' in html
    assert len(re.findall("<img [^>]*alt=", html)) == len(figures) == html.count("<img ")


def test_the_soup_is_read_from_its_recipe(tmp_path):
    made = soup("m1", "m0")
    files.write_json(tmp_path / "greedy.json", made.recipe)
    assert page.Soup.read([tmp_path / "greedy.json"], [made.weights]) == made
    assert page.Soup.read([], []) is None


def test_only_a_tall_contact_sheet_is_folded(render, figures, tmp_path):
    assert 'details class="images"' in render()
    Image.new("RGB", (460, 460)).save(tmp_path / "contact_sheet.png")
    assert 'details class="images"' not in render()
    assert 'figure id="contact_sheet"' in render()


def test_the_headline_has_the_gain_of_the_greedy_soup_and_its_interval(tables):
    text, warnings = page.headline(tables, ROLES, soup("m1", "m0"))
    assert text == (
        "The greedy soup has an accuracy of 72.0% on the test set and 50.0% on the mean of the "
        "shifts. Compared with the best individual model, m1, this is +2.0 points (95% interval "
        "−0.4 to +3.0) on the test set and −1.0 points (−2.0 to −0.5) on the mean of the shifts."
    )
    assert warnings == []


def test_the_headline_without_paired_tests_has_no_gain(tables):
    tables["significance"] = tables["significance"].iloc[:0]
    text, _ = page.headline(tables, ROLES, soup("m1", "m0"))
    assert text.endswith("on the mean of the shifts.")
    assert "Compared" not in text


def test_members_come_in_the_order_in_which_they_were_added(tables):
    header, rows = page.members(soup("m0", "m1"), tables["models"])
    # A hyperparameter that all candidates share, here the epochs, has no column.
    assert header == ["member", "held-out alone", "soup so far", "lr", "batch size", "seed"]
    assert rows == [
        ["m1", "75.0", "75.0", "0.0002", "1024", "1"],
        ["m0", "73.0", "74.0", "0.001", "1024", "0"],
    ]


def test_a_soup_that_no_greedy_method_made_shows_its_coefficients(tables):
    coefficients = {"m0": 0.25, "m1": 0.75, "m2": 0.0}
    made = page.Soup({"coefficients": coefficients, "selection": {"trace": [{"loss": 1}]}}, "x")
    header, rows = page.members(made, tables["models"])
    assert header[:3] == ["member", "held-out alone", "coefficient"]
    assert [row[:3] for row in rows] == [["m0", "73.0", "0.25"], ["m1", "75.0", "0.75"]]
    assert page.chosen(made) == ""


def test_the_start_of_an_interpolated_soup_is_no_member(tables):
    trace = soup("m1").recipe["selection"]
    recipe = {"coefficients": {"m1": 0.5, "m0": 0.0, "initialization": 0.5}, "selection": trace}
    made = page.Soup(recipe, "x")
    assert made.members == ["m1"]
    assert [row[0] for row in page.members(made, tables["models"])[1]] == ["m1"]
    # Half of the best individual model and half of the start is another model.
    text, [warning] = page.headline(tables, ROLES, made)
    assert "Compared with the best individual model, m1" in text
    assert warning == "The greedy soup holds one model, m1."


def test_a_greedy_soup_of_the_best_model_alone_gives_a_warning(tables, render):
    text, [warning] = page.headline(tables, ROLES, soup("m1"))
    assert "Compared" not in text
    assert warning.startswith(
        "The greedy soup is the best individual model itself, m1. Every other candidate would "
        "have lowered the held-out accuracy."
    )
    assert warning in render(soup("m1"))
    _, [warning] = page.headline(tables, ROLES, soup("m1", tried=["m1"]))
    assert "It was the only candidate." in warning


def test_a_greedy_soup_of_another_model_alone_is_not_called_the_best(tables):
    _, [warning] = page.headline(tables, ROLES, soup("m2"))
    assert warning == "The greedy soup holds one model, m2."


def test_few_held_out_images_give_a_warning(tables, render):
    tables["methods"]["n_heldout"] = 60
    html = render(soup("m1", "m0"))
    assert "With 60 held-out images, one of them is worth 1.7 points of accuracy." in html
    assert Words().few(199)
    assert not Words().few(200)


def test_a_run_without_a_greedy_soup_has_no_section_for_it(render):
    html = render()
    assert 'id="members"' not in html
    assert 'href="#greedy"' not in html


def test_the_table_of_claims_has_only_tested_claims(render):
    html = render(soup("m1", "m0"))
    _, row = table(html, "claims")
    assert "1. Greedy wins." in row
    assert '<a href="#scatter">Figure 1</a>' in html
    assert len(table(html, "effects")) == 1 + 1
    assert "1 of 5 tested, 1 inconclusive" in html


def test_the_list_of_untested_claims_says_what_each_needs(tables, figures):
    _, others, _ = page.claims(tables["claims"], tables["effects"], figures)
    assert others == [
        ("11. One hyperparameter.", "It needs slices of the sweep (curves.slices)."),
        ("13. EMA.", "It needs the soup of EMA and the soup of SWA."),
        ("14. Distilled.", f"It needs {SAME}."),
        ("19. Text.", "It needs a run on texts (data.source)."),
    ]


# Texts that `MissingEvidence` can have, with names in braces, and an example of each. The page says
# something else for the first texts, and repeats the second ones.
TRANSLATED = {
    "table {name}": ("table slices", "slices of the sweep (curves.slices)"),
    "curve {name}": ("curve tasks", "models of several tasks (curves.tasks)"),
    "an experiment with weaker pre-training": (
        "an experiment with weaker pre-training",
        "an experiment from a weaker start (claims.weaker)",
    ),
    "a run on texts": ("a run on texts", "a run on texts (data.source)"),
    "method {role}": ("method soup_of_EMA", "the soup of EMA"),
    "method {name}": ("method greedy", "the greedy soup"),
    "{ours} compared with {theirs}": (
        "greedy compared with uniform",
        "greedy compared with uniform (compare_with)",
    ),
    "pairs of models": ("pairs of models", "pairs of models (curves.pairs or curves.paths)"),
    "slice {name}": ("slice lr", "a slice lr (curves.slices)"),
    "calibration of {name}": ("calibration of greedy", "the calibration of greedy"),
    "line to {name}": ("line to greedy", "a line to greedy (curves.wise_ft)"),
}
REPEATED = {
    "{article} {title} other than the {TITLES[other]}": SAME,
    "{kind}": USUAL_PAIRS,
    "three points on paths of {kind} with a certain second derivative": (
        f"three points on paths of {LARGE_PAIRS} with a certain second derivative"
    ),
    "points on the line to {evidence.row(role)}": "points on the line to greedy",
    "models in table {name} that are not left out": "models in table pairs that are not left out",
    **{
        text: text
        for text in (
            "an even number of steps, so that lines have midpoints",
            "more than one ingredient",
            "a line to the best individual model of at least two points",
            "loss gaps of paths",
            "soups with and without SAM of equal numbers of models",
            "models of tasks that are not left out",
        )
    },
}


def calls_in_claims(root, *functions: str) -> list[ast.Call]:
    """Calls of functions or methods of these names in the library's package `claims`."""
    sources = [path.read_text("utf-8") for path in (root / "scripts/soups/claims").glob("*.py")]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    return [
        node for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in functions
    ]  # fmt: skip


def written(text: ast.expr) -> str:
    """A text in the source, with the parts that are filled in in braces."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(
        part.value if isinstance(part, ast.Constant)
        else f"{{{ast.unparse(getattr(part, 'value', part))}}}"
        for part in parts
    )  # fmt: skip


def test_the_page_has_words_for_every_text_of_missing_evidence(root):
    raised = calls_in_claims(root, "MissingEvidence")
    known = TRANSLATED | {text: (example, example) for text, example in REPEATED.items()}
    assert {written(call.args[0]) for call in raised} == known.keys()
    for text, (example, said) in known.items():
        pattern = re.sub(r"\\{.*?\\}", ".+", re.escape(text))
        assert re.fullmatch(pattern, example), text
        assert page.in_words(example) == said
    assert page.OTHERS.keys() <= TRANSLATED.keys()


def test_the_page_has_words_for_every_table_that_a_test_can_lack(root, config):
    calls = calls_in_claims(root, "table", "points")
    asked = {
        call.args[0].value for call in calls
        if len(call.args) == 1 and isinstance(call.args[0], ast.Constant)
    }  # fmt: skip
    # Every run has these tables.
    assert asked - {"methods", "significance", "calibration"} == page.TABLES.keys()
    keys = re.findall(r"(\w+)\.(\w+)", " ".join([*page.TABLES.values(), *page.OTHERS.values()]))
    assert all(key in config[section] for section, key in keys)


def test_a_claim_that_only_other_sweeps_tested_stays_in_the_table(tables, figures):
    claims = tables["claims"].assign(sweeps_verdict="not tested")
    claims.loc[claims["claim"] == 11, "sweeps_verdict"] = "supported"
    claims["effect"] = claims["effect"].astype(float)
    shown, _, _ = page.claims(claims, tables["effects"], figures)
    assert [row[0][:3] for row in shown["claims"][1]] == ["1. ", "11."]
    assert shown["effects"][1][1][6] == "not tested, needs slices of the sweep (curves.slices)"


def test_claims_are_folded(render):
    html = render()
    assert html.index("<details", html.index('id="paper"')) < html.index('table id="claims"')
    assert 'class="fold" open' not in html


def test_settings_are_escaped_for_html(render):
    html = render()
    assert "&lt;/pre&gt;&lt;script&gt;" in html
    assert "<script>" not in html


def test_equal_sections_of_the_configuration_are_written_out():
    same = {"lr": 0.1}
    assert page.settings({"a": same, "b": same}) == "a: {lr: 0.1}\nb: {lr: 0.1}\n"


def test_the_commit_of_a_checkout_is_found(tmp_path):
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    assert handlers.commit(tmp_path) is None
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    # With a tag on the commit, the page still shows the commit.
    git("tag", "v1")
    head = git("rev-parse", "HEAD")[:12]
    assert handlers.commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert handlers.commit(tmp_path) == f"{head} with local changes"
    (tmp_path / "below").mkdir()
    assert handlers.commit(tmp_path / "below") is None


def test_the_command_line_is_quoted_for_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/snakemake", "--config", "name=my pets"])
    assert handlers.command() == "snakemake --config 'name=my pets'"


def test_the_doctor_has_a_section_and_its_warnings_stand_at_the_head(render, tables):
    assert 'id="examined"' not in render()
    columns = ["model", "verdict", "reason", "advice", "heldout", "barrier"]
    rows = [
        ("m0", "fine", "No barrier.", np.nan, 0.7, -0.012),
        ("m1", "left the basin", "A barrier <here>.", "Leave it out.", 0.5, 0.2),
        ("m2", "diverged", "It has NaN.", "Leave it out.", np.nan, np.nan),
    ]
    tables["doctor"] = pd.DataFrame(rows, columns=columns)
    summary = [
        ("models", "3 models."),
        ("uniform soup", "It is fine."),
        ("what to do", "m1: wait."),
    ]
    summary += [("greedy soup of one model", "If it holds one model, the others differ.")]
    tables["doctor_summary"] = pd.DataFrame(summary, columns=["about", "text"])
    html = render()
    assert "<p>3 models.</p>" in html
    assert "What to do" not in html
    assert "If it holds one model" not in html
    assert table(html, "doctor") == [
        "|model|verdict|held-out|barrier|reason and advice|",
        "|m1|left the basin|50.0|20.0|A barrier &lt;here&gt;. Leave it out.|",
        "|m2|diverged|||It has NaN. Leave it out.|",
        "|m0|fine|70.0|−1.2|No barrier.|",
    ]
    summary[1:3] = [
        ("uniform soup, collapsed", "It collapses."),
        ("what to do", "m1: leave it out."),
    ]
    tables["doctor_summary"] = pd.DataFrame(summary, columns=["about", "text"])
    assert '<p class="warning">It collapses. What to do: m1: leave it out.</p>' in render()


def test_the_forest_plot_opens_the_section_on_claims(root, tables, figures, tmp_path):
    Image.new("RGB", (460, 230)).save(tmp_path / "forest.png")
    named = [("forest", "All claims. Look.", tmp_path / "forest.png")]
    named += [(picture.name, picture.caption, picture.path) for picture in figures.values()]
    found = page.pictures(named)
    assert list(found)[-1] == "forest"
    template = (root / "rules" / "captions" / "page.html").read_text(encoding="utf-8")
    html = page.render(
        template, name="mine", folder="results/mine", run={}, tables=tables, figures=found,
        roles=ROLES, soup=None, config=CONFIG, by_chance=(0.1, 0.2),
    )  # fmt: skip
    assert html.count('<figure id="forest">') == 1
    paper = html.index('id="paper"')
    assert paper < html.index('<figure id="forest">') < html.index("<details", paper)


def test_the_table_of_claims_shows_recorded_evidence(tables, figures):
    claims = tables["claims"].assign(evidence_verdict="supported")
    shown, _, _ = page.claims(claims, tables["effects"], figures)
    header, rows = shown["claims"]
    assert rows[0][header.index("recorded evidence")] == "supported"

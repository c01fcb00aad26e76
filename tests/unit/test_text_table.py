"""The tool that makes the tables of text classification from recorded runs."""

import numpy as np
import pandas as pd
import pytest
import text_table

from soups.claims.registry import CLAIMS
from soups.errors import UserError
from soups.roles import BEST, ENSEMBLE, GREEDY, UNIFORM

CLAIM = next(claim for claim in CLAIMS if claim.number == text_table.CLAIM)


def record(folder, name: str, gain: float, metric: str = "accuracy") -> None:
    """Write the record of a run whose greedy soup is better by a gain."""
    target = folder / name
    target.mkdir(parents=True)
    values = {BEST: 0.6, UNIFORM: 0.55, GREEDY: 0.6 + gain, ENSEMBLE: 0.62}
    pd.DataFrame(
        [
            {"method": m, "test": v, "test_lo": v - 0.05, "test_hi": v + 0.05, "n_test": 277}
            for m, v in values.items()
        ]
    ).to_csv(target / "methods.csv", index=False)
    rows = [
        {"claim": CLAIM.number, "part": part.name, "unit": metric, "rule": part.rule,
         "margin": part.margin.value}
        for part in CLAIM.parts
    ]  # fmt: skip
    numbers = {"effect": gain, "lo": gain - 0.001, "hi": gain + 0.001, "verdict": "supported"}
    table = pd.DataFrame(rows).assign(**numbers)
    others = [
        {"claim": number, "part": "other", "unit": unit, "rule": "greater", "effect": 0.1}
        for number, unit in ((12, "ECE"), (16, "slope"))
    ]
    table = pd.concat([table, pd.DataFrame(others)])
    table.to_csv(target / "effects.csv", index=False)


@pytest.fixture
def recorded(tmp_path):
    """Records of four tasks, one of them with three sweeps."""
    for seed, gain in (("", 0.01), ("-1", 0.012), ("-2", 0.014)):
        record(tmp_path, f"rte{seed}", gain)
    record(tmp_path, "cola", 0.013, "matthews")
    record(tmp_path, "mrpc", 0.0, "accuracy_and_f1")
    record(tmp_path, "mine", 0.011)
    return tmp_path


def cells(table: str) -> list[list[str]]:
    """The rows of a table in Markdown, without its header."""
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_run_has_a_row_with_its_metric_and_the_paper_s_numbers(recorded):
    rows = cells(text_table.results(text_table.read(recorded)))
    # The order is the paper's. Tasks that the paper does not have come last.
    assert [row[:2] for row in rows] == [
        ["mrpc, mean of accuracy and F1", "0"],
        ["rte, accuracy", "0"],
        ["rte, accuracy", "1"],
        ["rte, accuracy", "2"],
        ["cola, Matthews correlation", "0"],
        ["mine, accuracy", "0"],
    ]
    assert rows[4][2:] == [
        "277", "60.0 [55.0, 65.0]", "55.0 [50.0, 60.0]", "61.3 [56.3, 66.3]", "",
        "62.0 [57.0, 67.0]", "BERT: 59.1 → 59.1; T5: 58.8 → 60.2",
    ]  # fmt: skip
    assert rows[-1][-1] == ""


def test_the_claim_is_judged_over_sweeps_and_over_the_means_of_tasks(recorded):
    rows = cells(text_table.claim(text_table.read(recorded)))
    assert [row[0] for row in rows] == [
        "mrpc, 1 sweep", "rte, 3 sweeps", "cola, 1 sweep", "mine, 1 sweep", "4 tasks",
    ]  # fmt: skip
    # Student's interval of three sweeps, and the interval over texts of a single one.
    half = 4.302652730 * 0.2 / np.sqrt(3)
    assert rows[1][1] == f"+1.2 [{1.2 - half:.1f}, {1.2 + half:.1f}]"
    assert rows[0][1] == "+0.0 [-0.1, 0.1]"
    # The mean over the tasks is that of 0, 1.2, 1.3 and 1.1 points.
    means = np.array([0.0, 1.2, 1.3, 1.1])
    half = 3.182446305 * means.std(ddof=1) / 2
    mean = means.mean()
    assert rows[-1][1] == f"+{mean:.1f} [{mean - half:.1f}, {mean + half:.1f}]"
    assert rows[-1][2:4] == ["inconclusive", "supported"]
    assert rows[-1][4:] == [rows[-1][1], "supported"]


def test_two_sweeps_are_too_few_for_an_interval(tmp_path):
    for seed, gain in (("", 0.01), ("-1", 0.012)):
        record(tmp_path, f"rte{seed}", gain)
    rows = cells(text_table.claim(text_table.read(tmp_path)))
    assert rows[0][1:4] == ["+1.1", *["not tested (fewer than 3)"] * 2]
    assert rows[-1][0] == "1 task"


def test_the_tables_of_a_page_are_replaced(recorded, tmp_path):
    page = tmp_path / "text.md"
    markers = [f"<!-- {name}: {end} -->" for name in ("glue", "claim") for end in ("begin", "end")]
    page.write_text("# Texts\n" + "\n".join(markers) + "\nThe end.\n")
    page = page.rename(tmp_path.parent / "page.md")
    text_table.main([str(recorded), "--page", str(page)])
    text = page.read_text("utf-8")
    assert "| rte, accuracy | 1 | 277 |" in text
    assert text.endswith("<!-- claim: end -->\nThe end.\n")


def test_a_folder_without_records_gives_one_sentence(tmp_path):
    with pytest.raises(UserError, match="has no folders, expected a recorded run for each task"):
        text_table.read(tmp_path)
    (tmp_path / "rte").mkdir()
    with pytest.raises(UserError, match=r"rte has no methods.csv, expected a record of"):
        text_table.read(tmp_path)


def test_the_paper_s_numbers_have_both_models_of_every_task():
    table = text_table.published()
    models = table.groupby("task")["model"].apply(list).to_dict()
    assert models.keys() == {"cola", "mrpc", "rte", "sst2"}
    assert all(names == ["BERT", "T5"] for names in models.values())
    assert (table["greedy"] >= table["best_individual"]).all()

"""The pages: their links, their generated tables, and the length of their sentences."""

import re
from pathlib import Path

import docs_tables
import numpy as np
import pandas as pd
import pytest

from soups import files
from soups.roles import BEST, ENSEMBLE, GREEDY, LEARNED, RECALIBRATED, UNIFORM

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "profiles" / "README.md"]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes from the headings of a page."""
    titles = re.findall(r"(?m)^#+ (.+)$", without_code(page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def without_code(text: str) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"(?ms)^```.*?^```$", "", text)


def broken(page: Path, text: str) -> list[str]:
    """Relative links of a page whose file or heading does not exist."""
    found = []
    for target in LINK.findall(without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_targets_of_relative_links_exist(page):
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_broken_links_are_found():
    page = ROOT / "README.md"
    text = (
        "[a](docs/none.md) [b](docs/README.md#no-such-heading) ![c](figure.png) [d](docs/README.md)"
    )
    assert len(broken(page, text)) == 3


def test_the_contents_list_every_page():
    contents = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in PAGES[1:-1]:
        assert page.name == "README.md" or f"({page.name})" in contents, page.name


def test_generated_tables_are_up_to_date():
    """`make docs` writes them from the registries."""
    for path, tables in docs_tables.pages().items():
        text = path.read_text(encoding="utf-8")
        assert docs_tables.rewritten(text, tables) == text, path.name


def test_the_page_on_photographs_shows_the_recorded_sweeps(tmp_path, monkeypatch):
    monkeypatch.setattr(docs_tables, "RECORDED", tmp_path)
    none = docs_tables.photographs("pacs")
    assert set(none.values()) == {docs_tables.NO_RUN}
    assert docs_tables.study("small") == docs_tables.NO_RUN
    for seed, gain in enumerate((0.01, 0.03)):
        rows = [
            {"method": method, "test": test, "shifts_mean": 0.4, "inference_cost": 1}
            for method, test in (
                (BEST, 0.5), (RECALIBRATED, 0.4), (UNIFORM, 0.5), ("uniform_recalibrated", 0.51),
                (GREEDY, 0.5 + gain), ("greedy_recalibrated", 0.5), (LEARNED, 0.5), (ENSEMBLE, 0.6),
            )
        ]  # fmt: skip
        files.write_text(
            tmp_path / "pacs" / str(seed) / "methods.csv", pd.DataFrame(rows).to_csv(index=False)
        )
    shown = docs_tables.photographs("pacs")
    assert shown.keys() == none.keys()
    assert "| greedy soup | +2.00 [-10.71, +14.71] (2 of 2) |" in shown["pacs"]
    assert "| +1.00 [+1.00, +1.00] | +0.00" in shown["pacs_recalibrated"]
    assert "| best recalibrated − best individual model | -10.00" in shown["pacs_recalibrated"]
    assert "sweeps of seeds 0 and 1," in docs_tables.readme()
    assert (
        "| greedy soup | 1× | 52.0 | +2.00 [-10.71, +14.71] | 40.0 | +0.00" in docs_tables.readme()
    )


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="no markers <!-- methods: begin -->"):
        docs_tables.rewritten("# A page", {"methods": ""})


def test_the_readme_has_at_most_180_lines():
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 180


def sentences(text: str) -> list[str]:
    """Sentences of a page, without code, tables, headings and the targets of links."""
    text = re.sub(r"(?s)<!--.*?-->", "", without_code(text))
    lines = [line for line in text.splitlines() if not re.match(r"\s*(\||#)", line)]
    text = re.sub(r"\]\([^)]*\)", "]", "\n".join(lines))
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", text)
    found = [s for block in blocks for s in re.split(r"(?<=[.!?:])\s+", " ".join(block.split()))]
    return [sentence for sentence in found if len(sentence.split()) > 2]


def test_sentences_are_short_and_semicolons_rare():
    words = sorted(len(s.split()) for page in PAGES for s in sentences(page.read_text("utf-8")))
    assert words[len(words) // 2] <= 16
    assert words[int(0.9 * len(words))] <= 28
    assert words[-1] <= 40
    text = " ".join(s for page in PAGES for s in sentences(page.read_text("utf-8")))
    assert text.count(";") <= 0.003 * len(text.split())


@pytest.fixture
def paragraphs() -> str:
    """What docs/claims.md says about verdicts of the evidence run in its own words."""
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8").replace("−", "-")
    begin, end = "## Verdicts of the evidence run", "## Verdicts of a default run"
    section = page[page.index(begin) : page.index(end)]
    return re.sub(r"(?s)<!--.*-->", "", section)


def test_verdicts_in_paragraphs_are_those_of_the_record(paragraphs):
    recorded = pd.read_csv(docs_tables.EVIDENCE / "claims.csv").set_index("claim")["verdict"]
    said = re.findall(r"\*\*Claim (\d+), (no difference|[a-z]+)", paragraphs)
    assert len(said) >= 5
    assert [recorded[int(number)] for number, _ in said] == [verdict for _, verdict in said]


def test_numbers_in_paragraphs_are_those_of_the_record(paragraphs):
    table = pd.read_csv(docs_tables.EVIDENCE / "effects.csv").dropna(subset="lo")
    compared = 0
    for claim, text in re.findall(r"(?s)\*\*Claim (\d+),(.*?)(?=\n- \*\*|\n\n|$)", paragraphs):
        rows = table[table["claim"] == int(claim)]
        points = np.where(rows["unit"].isin(["accuracy", "ECE"]), 100, 1)[:, None]
        effects = points * rows[["effect", "lo", "hi"]].to_numpy()
        both = np.concatenate([effects, -effects[:, [0, 2, 1]]])  # a page may say who is worse
        for value, decimals, low, high in re.findall(
            r"(-?\d+\.(\d+))\s+\[(-?[\d.]+),\s+(-?[\d.]+)\]", text
        ):
            near = np.abs(both - [float(value), float(low), float(high)]).max(axis=1).min()
            said = f"{value} [{low}, {high}]"
            assert near <= 0.501 * 10 ** -len(decimals), f"claim {claim} has no effect {said}"
            compared += 1
    assert compared >= 20

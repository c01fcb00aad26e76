"""Rows are found by their roles, under any name that the user gives them."""

import ast

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from soups.experiment import figures as registry
from soups.report import presentation, style
from soups.roles import (
    BEST,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    LEARNED_BY_LAYER,
    ORACLE,
    PLAIN,
    ROLES,
    SOUP_OF_EMA,
    TITLES,
    UNIFORM,
    Roles,
)
from tests.unit.plotted import draw, legend, look, texts

MADE = {role.name for role in ROLES if role.section}  # default names of rows that users make
# Constants that equal the name of a row but have another meaning.
OTHER_MEANINGS = {
    ("soups/report/style.py", "ensemble"): "a kind of row",
    ("soups/claims/evidence.py", "ensemble"): "a part of the points of a curve",
    ("soups/report/page.py", "greedy"): "a CSS class",
    ("soups/claims/published.py", "ensemble"): "a row of the released table",
    ("soups/claims/reproduction.py", "ensemble"): "a kind of row",
    ("soups/report/figures/reproduction.py", "ensemble"): "a kind of row",
    ("soups/claims/released_tables.py", "ensemble"): "a kind of row",
}


def names_of_rows(source: str) -> set[str]:
    """String constants of a module that equal the name of a row in `MADE`."""
    nodes = ast.walk(ast.parse(source))
    constants = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {value for value in constants if isinstance(value, str)} & MADE


def test_no_module_looks_a_row_up_by_its_name(root):
    scripts = root / "scripts"
    modules = [
        *scripts.glob("*.py"),
        *(scripts / "soups" / "report").rglob("*.py"),
        *(scripts / "soups" / "claims").rglob("*.py"),
    ]
    assert len(modules) > 50
    found = {
        (str(path.relative_to(scripts)), name)
        for path in modules
        for name in names_of_rows(path.read_text(encoding="utf-8"))
    }
    assert found == OTHER_MEANINGS.keys()


@pytest.mark.parametrize(
    "line",
    ["rows.loc['greedy']", "def f(name='uniform'):\n    pass", "COLOURS = {'learned_by_layer': 1}",
     "NAMES = ('soup_of_EMA', BEST)"],
)  # fmt: skip
def test_a_row_name_among_the_constants_of_a_module_is_found(line):
    assert names_of_rows(line)


@pytest.mark.parametrize("line", ['"""The greedy soup."""', "f'greedy {n}'", "greedy = UNIFORM"])
def test_docstrings_and_variables_do_not_count_as_row_names(line):
    assert not names_of_rows(line)


def test_a_role_finds_its_row_and_a_row_its_role():
    roles = Roles({GREEDY: "mine", UNIFORM: UNIFORM})
    assert (roles.row(GREEDY), roles.row(UNIFORM), roles.row(ENSEMBLE)) == ("mine", UNIFORM, None)
    assert (roles.of("mine"), roles.of(UNIFORM), roles.of(GREEDY)) == (GREEDY, UNIFORM, None)
    # Rows that the workflow makes have fixed names.
    assert (roles.row(BEST), roles.of(ORACLE)) == (BEST, ORACLE)
    rows = [BEST, "mine", "another"]
    assert roles.among((UNIFORM, GREEDY, BEST), rows) == {GREEDY: "mine", BEST: BEST}


def test_a_row_with_several_roles_plays_the_one_that_has_its_name():
    assert Roles({PLAIN: GREEDY, GREEDY: GREEDY}).of(GREEDY) == GREEDY
    assert Roles({GREEDY: GREEDY, PLAIN: GREEDY}).of(GREEDY) == GREEDY
    assert Roles({GREEDY: "mine", PLAIN: "mine"}).of("mine") == GREEDY


def test_a_row_has_the_title_of_its_role_unless_the_user_named_it():
    roles = Roles({GREEDY: "my_soup", UNIFORM: UNIFORM, LEARNED_BY_LAYER: "learned"})
    assert roles.title(UNIFORM) == "uniform soup"
    assert roles.title(BEST) == "best individual model"
    assert roles.title("my_soup") == "my soup"
    # The name of this row is that of a role which it does not play.
    assert roles.title("learned") == "learned"
    assert roles.title(GREEDY) == "greedy"
    named = Roles.named()
    assert [named.title(name) for name in TITLES] == list(TITLES.values())


RENAMED = {
    GREEDY: "mine", UNIFORM: "mean", ENSEMBLE: "all", GREEDY_ENSEMBLE: "some", PLAIN: "six",
    LEARNED_BY_LAYER: "by_layer", SOUP_OF_EMA: "smooth",
}  # fmt: skip
# Figures that show rows of the methods table, and the folder of their recorded tables.
WITH_ROWS = {
    "scatter": "miniature", "methods": "ablations", "shifts": "miniature", "sweep": "miniature",
    "reliability": "miniature", "wise_ft": "miniature", "averaging": "ablations",
    "pretraining": "miniature",
}  # fmt: skip


def tables_of(root, name: str) -> dict[str, pd.DataFrame]:
    """The recorded tables of a figure."""
    folder = root / "results" / "recorded" / WITH_ROWS[name]
    row = next(row for row in registry.FIGURES if row.name == name)
    files = {key: table.replace("weaker_", "") for key, table in row.tables.items()}
    return {key: pd.read_csv(folder / f"{table}.csv") for key, table in files.items()}


def renamed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the row names of `RENAMED`."""
    columns = [name for name in ("method", "reference", "as") if name in table]
    return table.assign(**{name: table[name].replace(RENAMED) for name in columns})


@pytest.mark.parametrize("name", WITH_ROWS)
def test_a_figure_of_renamed_rows_differs_only_in_words(root, name):
    style.use()
    tables = tables_of(root, name)
    others = {key: renamed(table) for key, table in tables.items()}
    usual = draw(name, tables)
    own = draw(name, others, Roles({role: role for role in TITLES} | RENAMED))
    assert look(usual) == look(own)
    if name != "sweep":  # This figure shows no names of rows.
        words = [
            [*(legend(f) if f.legends else []), *texts(f.axes[0].get_yticklabels())]
            for f in (usual, own)
        ]
        if name == "shifts":
            words = [legend(f.axes[-1]) for f in (usual, own)]
        titles = {TITLES[role]: row.replace("_", " ") for role, row in RENAMED.items()}
        assert [titles.get(word, word) for word in words[0]] == words[1]
        assert "mine" in words[1]
    # As a negative control, no row plays the renamed roles, so the figure looks different.
    without = Roles({role: role for role in TITLES if role not in RENAMED})
    # "methods" gives roles no colours or shapes, and "averaging" would have no rows to draw.
    if name not in ("methods", "averaging"):
        assert look(draw(name, others, without)) != look(usual)
    plt.close("all")


def test_renamed_rows_keep_their_own_names_in_printed_tables(root):
    table = tables_of(root, "methods")["methods"]
    roles = Roles({role: role for role in TITLES} | RENAMED)
    usual, own = (
        [row[0] for row in presentation.methods(rows, roles=roles)[1]]
        for rows in (table, renamed(table))
    )
    assert "greedy" in usual
    assert "mine" in own
    assert "greedy soup" in [row[0] for row in presentation.methods(table)[1]]

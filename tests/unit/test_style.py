"""Texts in figures, and matplotlib's backend."""

import logging
import os
import subprocess
import sys

import pytest

from soups.report import style


@pytest.mark.parametrize("name", ["a{0}", "x^2_1", "it's", "é", "50%"])
def test_plain_names_are_drawn_as_they_are(name):
    assert style.drawable(name) == name


def test_a_dollar_sign_starts_no_formula():
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots()
    text = ax.text(0, 0, style.drawable("$5_$10"))
    assert text._preprocess_math(text.get_text()) == ("$5_$10", False)
    plt.close(figure)


def test_a_character_without_glyph_is_drawn_as_its_number_and_named_in_the_log(caplog, monkeypatch):
    monkeypatch.setattr(style, "fonts", lambda: [style.FONT])
    style._characters.cache_clear()
    style._warn.cache_clear()
    with caplog.at_level(logging.WARNING, logger="soups"):
        assert style.drawable("猫 cat") == "\\u732b cat"
        assert style.drawable("猫") == "\\u732b"
    style._characters.cache_clear()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "CJK UNIFIED IDEOGRAPH-732B" in messages[0]


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "nonsense", "tkagg", ""]
)
def test_the_backend_of_a_notebook_does_not_matter(root, backend):
    code = "from soups.report import style; import matplotlib; print(matplotlib.get_backend())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root / "scripts",
        env=os.environ | {"MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.lower() == "agg\n"

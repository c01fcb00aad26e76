"""The report page in a real browser, and Snakemake's own report."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.workflow.conftest import FIGURES

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def browse(page, profile, *arguments) -> str:
    """Open a page in the browser, and return its output."""
    command = [BROWSER, *QUIET, f"--user-data-dir={profile}", *arguments, page.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (apt install chromium)")
def test_the_page_opens_in_a_browser(finished, tmp_path):
    page = finished.results / "report.html"
    dom = browse(page, tmp_path / "profile", "--dump-dom")
    methods = re.search(r'<table id="methods">.*?</table>', dom, re.DOTALL).group()
    assert methods.count("<tr") == 1 + 22
    # The table has the tested claims, and a list has the untested ones.
    judged = pd.read_csv(finished.results / "tables" / "claims.csv")
    tested = judged["verdict"] != "not tested"
    claims = re.search(r'<table id="claims".*?</table>', dom, re.DOTALL).group()
    assert claims.count("<tr") == 1 + tested.sum()
    untested = re.search(r'<ul class="untested">.*?</ul>', dom, re.DOTALL).group()
    assert untested.count("<li>") == (~tested).sum()
    for figure in FIGURES:
        assert f'<figure id="{figure}">' in dom
    # Each claim links to the figure that shows it.
    assert set(re.findall(r'href="#(\w+)"', claims)) <= set(FIGURES)
    assert len(re.findall(r'href="#', claims)) >= 12
    # The page has the command of the run and the path of its greedy soup.
    command = f"snakemake --cores {finished.cores} --configfile overlay.yaml"
    assert f"<dd><code>{command}</code></dd>" in dom
    soup = finished.results / "soups" / "greedy.safetensors"
    assert str(soup.relative_to(finished.folder)) in dom
    assert soup.is_file()

    shot = tmp_path / "page.png"
    browse(page, tmp_path / "profile", f"--screenshot={shot}", "--window-size=1200,9000")
    pixels = np.asarray(Image.open(shot).convert("RGB")).reshape(-1, 3)
    # The figures show soups in orange. Without decoded images, the page has no such pixel.
    orange = (np.abs(pixels.astype(int) - (0xD5, 0x5E, 0x00)).sum(1) < 12).sum()
    assert orange > 100


def test_snakemake_report_has_every_figure_and_table(finished, tmp_path):
    page = tmp_path / "snakemake-report.html"
    finished.run("--report", str(page))
    text = page.read_text(encoding="utf-8")
    for name in [*(f"{figure}.png" for figure in FIGURES), "methods.csv", "models.csv"]:
        assert name in text
    assert "at least as good" in text  # a caption

"""The report page: the methods table and every figure with its caption, in one file."""

import base64
from pathlib import Path

import pandas as pd
from jinja2 import Template
from PIL import Image

from soups import files
from soups.claims.verdicts import MARGIN
from soups.jobs.job import run
from soups.report import presentation

# Figures are 300 dots to the inch; shown so, their letters are about as large as the text.
PIXELS_PER_POINT = 2.3


def main(job) -> None:
    methods = pd.read_csv(job.input.methods)
    tables = {
        "methods": presentation.methods(methods, shifts=True),
        "calibration": presentation.calibration(pd.read_csv(job.input.calibration)),
        "claims": presentation.claims(pd.read_csv(job.input.claims)),
        "effects": presentation.effects(pd.read_csv(job.input.effects)),
    }
    for name, shown in (("data", presentation.data), ("real", presentation.real)):
        if hasattr(job.input, name):
            tables[name] = shown(pd.read_csv(job.input[name]))
    figures = [
        {
            "name": name,
            "width": round(Image.open(image).width / PIXELS_PER_POINT),
            "data": base64.b64encode(Path(image).read_bytes()).decode(),
            "caption": Path(caption).read_text(encoding="utf-8").strip(),
        }
        for name, image, caption in zip(
            job.params.figures, job.input.figures, job.input.captions, strict=True
        )
    ]
    template = Template(Path(job.input.template).read_text(encoding="utf-8"), autoescape=True)
    sizes = {key: f"{methods[f'n_{key}'][0]:,}" for key in ("heldout", "test", "shifts")}
    page = template.render(
        name=job.params.name,
        tables=tables,
        figures=figures,
        n=sizes,
        top=presentation.TOP,
        links={name.replace("_", " "): name for name in job.params.figures},
        margin=100 * MARGIN,
    )
    files.write_text(job.output[0], page)


if __name__ == "__main__":
    run(main, snakemake)

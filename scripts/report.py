"""The report page: the methods table and every figure with its caption, in one file."""

import base64
from pathlib import Path

import pandas as pd
from jinja2 import Template
from PIL import Image

from soups import files, present
from soups.claims import MARGIN
from soups.job import run

# Figures are 300 dots to the inch; shown so, their letters are about as large as the text.
PIXELS_PER_POINT = 2.3


def main(job) -> None:
    methods = pd.read_csv(job.input.methods)
    tables = {
        "methods": present.methods(methods, shifts=True),
        "calibration": present.calibration(pd.read_csv(job.input.calibration)),
        "claims": present.claims(pd.read_csv(job.input.claims)),
        "effects": present.effects(pd.read_csv(job.input.effects)),
    }
    for name, shown in (("data", present.data), ("real", present.real)):
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
        top=present.TOP,
        links={name.replace("_", " "): name for name in job.params.figures},
        margin=100 * MARGIN,
    )
    files.write_text(job.output[0], page)


if __name__ == "__main__":
    run(main, snakemake)

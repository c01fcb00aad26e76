"""Judge the paper's claims by this run, its replicates and the published results."""

from pathlib import Path

import pandas as pd

from soups import files
from soups.claims import published, series, verdicts
from soups.claims.evidence import Evidence
from soups.evaluation import metric
from soups.jobs.job import run
from soups.report.words import Words
from soups.roles import Roles


def main(job) -> None:
    large_lr, roles = job.params.large_lr, Roles.given(job.params.roles)
    weaker, scored = None, {"metric": metric.of_job(job)}
    if job.input.weaker:
        tables = {Path(path).stem: path for path in job.input.weaker}
        weaker = Evidence(tables, {}, large_lr, Roles.given(job.params.weaker_roles), **scored)
    tables, points = (
        {Path(path).stem: path for path in paths} for paths in (job.input.tables, job.input.points)
    )
    problem = Words.of(job.params.get("words")).problem
    evidence = Evidence(tables, points, large_lr, roles, weaker, **scored, problem=problem)
    parts = verdicts.effects(evidence)
    released, paper = published.load(job.input.published), published.load_paper(job.input.paper)
    parts = pd.concat([parts, published.columns(parts, released, paper)], axis=1)
    if job.input.replicates:
        others = [pd.read_csv(path) for path in job.input.replicates]
        parts = parts.merge(verdicts.over_sweeps([parts, *others]), on=["claim", "part"])
    files.write_text(job.output.effects, parts.to_csv(index=False))
    claims = series.beside(verdicts.claims_table(parts), job.input.evidence)
    files.write_text(job.output.claims, claims.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)

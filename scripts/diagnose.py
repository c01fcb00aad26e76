"""Examine every ingredient: a verdict, a sentence and the evidence for each."""

import pandas as pd

from soups import files
from soups.doctor.admission import Patients
from soups.doctor.examination import examine
from soups.doctor.summary import summarise
from soups.jobs.job import log, run


def main(job) -> None:
    found = examine(Patients.of_job(job))
    summary = summarise(found)
    for verdict in found.verdicts:
        log.info("%s: %s. %s %s", verdict.model, verdict.verdict, verdict.reason, verdict.advice)
    for row in summary:
        log.info("%s: %s", row["about"], row["text"])
    table = pd.DataFrame([verdict.row() for verdict in found.verdicts])
    if "cluster" in table:
        table["cluster"] = table["cluster"].astype("Int64")
    files.write_text(job.output.doctor, table.to_csv(index=False))
    files.write_text(job.output.summary, pd.DataFrame(summary).to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)

"""Make a prepared set of texts: token ids for the pre-trained model, with labels and metadata."""

from soups.data.prepared import write_set
from soups.jobs.job import run
from soups.models.checkpoints import Checkpoint
from soups.text import preparation, reading


def main(job) -> None:
    name, note = job.params.set, Checkpoint(job.input.pretrained).note
    records = reading.read_lines(job.input.texts)
    labels, mapping = preparation.labelled(name, records, job.params.classes)
    rows, more = preparation.tokenized(note, name, records)
    paths = [record["from"] for record in records]
    write_set(job.output[0], rows, labels, mapping, paths, job.params.derived, **more)


if __name__ == "__main__":
    run(main, snakemake)

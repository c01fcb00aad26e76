"""Predict the classes of images or texts with a soup or any other model of a run.

python tools/predict.py results/miniature/soups/greedy.safetensors images/ --out predictions.csv
python tools/predict.py results/glue/soups/greedy.safetensors texts.tsv --out predictions.csv

The preprocessing and the class names come from the header of the model's file. The table has a row
for each image or text, with its class and probability. Images that cannot be read are in the table
with the reason in the column error.
"""

import argparse
import os
import sys

from tqdm import tqdm

import _library  # noqa: F401
from soups import problems
from soups.errors import UserError
from soups.jobs import compute, devices, job
from soups.models import card as cards
from soups.models.classifier import load_classifier
from soups.usage import predict


def main(arguments: argparse.Namespace) -> None:
    card, table, unread = cards.read(arguments.model), [], 0
    problem = problems.of_note(card)
    given = problem.given(card, arguments.examples, arguments.list, arguments.columns)
    total = len(given.rows)
    top = min(arguments.top, len(card["classes"]))
    job.limit_threads(arguments.threads)
    compute.configure({"device": arguments.device})
    model = load_classifier(arguments.model).to(devices.device())
    with tqdm(total=total, unit=problem.example, disable=None, file=sys.stderr) as bar:
        for batch in given.logits(model, arguments.threads):
            told = given.rows[len(table) : len(table) + len(batch)]
            table += predict.rows(told, batch, card, top)
            for _, reason in batch:
                if reason:
                    unread += 1
                    bar.write(f"left out: {reason}", file=sys.stderr)
            bar.update(len(batch))
    if unread == total:
        of = f"{total} {problem.examples}"
        raise UserError(f"none of the {of} can be read, expected at least one")
    predict.write(arguments.out, table, predict.columns(given.columns, card, top))
    left_out = f", {unread} of them unreadable (see the column error)" if unread else ""
    remark = f", {given.remark}" if given.remark else ""
    print(f"{arguments.out}: {total} {problem.examples}{left_out}{remark}")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small, expected 1 or more")
    return value


def parsed(given: list[str] | None = None) -> argparse.Namespace:
    """The arguments of a command line; by default of that of this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a .safetensors file in the soups or models of a run")
    parser.add_argument(
        "examples",
        nargs="*",
        help="image files, or folders at any depth; or files of texts (.txt, .tsv, .csv, .jsonl, "
        ".parquet), or - for a text a line from the standard input",
    )
    parser.add_argument("--list", metavar="FILE", help="a text file with one image file a line")
    parser.add_argument(
        "--columns",
        metavar="TEXT[,SECOND]",
        help="columns of the texts (default: text,second); numbers from 1 if there is no header",
    )
    parser.add_argument("--out", default="predictions.csv", help="the CSV file to write")
    parser.add_argument("--top", type=positive, default=1, help="classes per image or text")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--threads", type=positive, default=os.cpu_count() or 1)
    return parser.parse_args(given)


if __name__ == "__main__":
    try:
        main(parsed())
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")

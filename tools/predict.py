"""Predict the classes of images with a soup or any other model of a run.

python tools/predict.py results/miniature/soups/greedy.safetensors images/ --out predictions.csv

The preprocessing and the class names come from the header of the model's file. The table has the
columns file, class and probability. Images that cannot be read are in the table with the reason in
the column error.
"""

import argparse
import os
import sys

from tqdm import tqdm

import _library  # noqa: F401
from soups.errors import UserError
from soups.jobs import compute, devices, job
from soups.models import card as cards
from soups.models.classifier import load_classifier
from soups.usage import predict


def main(arguments: argparse.Namespace) -> None:
    card, table, unread = cards.read(arguments.model), [], 0
    paths = predict.images_of(arguments.images, arguments.list)
    top = min(arguments.top, len(card["classes"]))
    job.limit_threads(arguments.threads)
    compute.configure({"device": arguments.device})
    model = load_classifier(arguments.model).to(devices.device())
    with tqdm(total=len(paths), unit="image", disable=None, file=sys.stderr) as bar:
        for batch in predict.predict(model, card, paths, arguments.threads):
            files = paths[len(table) : len(table) + len(batch)]
            table += predict.rows(files, batch, card, top)
            for _, reason in batch:
                if reason:
                    unread += 1
                    bar.write(f"left out: {reason}", file=sys.stderr)
            bar.update(len(batch))
    if unread == len(paths):
        raise UserError(f"none of the {len(paths)} images can be read, expected at least one")
    predict.write(arguments.out, table, predict.columns(card, top))
    left_out = f", {unread} of them unreadable (see the column error)" if unread else ""
    print(f"{arguments.out}: {len(paths)} images{left_out}")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small, expected 1 or more")
    return value


def parsed(given: list[str] | None = None) -> argparse.Namespace:
    """The arguments of a command line; by default of that of this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a .safetensors file in the soups or models of a run")
    parser.add_argument("images", nargs="*", help="image files, or folders at any depth")
    parser.add_argument("--list", metavar="FILE", help="a text file with one image file a line")
    parser.add_argument("--out", default="predictions.csv", help="the CSV file to write")
    parser.add_argument("--top", type=positive, default=1, help="classes per image")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--threads", type=positive, default=os.cpu_count() or 1)
    return parser.parse_args(given)


if __name__ == "__main__":
    try:
        main(parsed())
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")

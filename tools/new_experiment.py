"""Write the overlay of a new experiment on own images, with or without own fine-tuned models.

python tools/new_experiment.py --checkpoints 'runs/*/model_best.pth.tar' --images data/mine
python tools/new_experiment.py --images data/mine
python tools/new_experiment.py --images data/mine --architecture timm/resnet50 --pretrained a1_in1k

It looks at the files and folders and says what it found. It asks for an option where it cannot
decide.
"""

import argparse
import sys
from pathlib import Path

import _library  # noqa: F401
from soups.errors import UserError
from soups.setup import experiment


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoints", nargs="+", help="files, folders or patterns of fine-tuned models")
    add("--images", required=True, help="folder with the folders train, val and test")
    add("--out", help="the file to write (default: experiments/<images>.yaml)")
    add("--architecture", help="architecture of the models, such as timm/resnet50")
    add("--pretrained", help="weights that fine-tuning starts from: a tag or a file")
    add("--weights", choices=["plain", "ema"], help="weights of files that have averages as well")
    add("--start", help="file of the model that the others were fine-tuned from")
    add("--classes", help="file of class names in the order of the rows of the head")
    add("--train", help="folder of training images, within --images")
    add("--heldout", help="folder of held-out images, within --images, for ready-made models")
    add("--test", help="folder of test images, within --images")
    add("--image-size", type=int, help="side of an image in pixels (default: the model's)")
    add("--force", action="store_true", help="replace the file if it exists")
    try:
        experiment.write(parser.parse_args(), Path(__file__).resolve().parents[1])
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

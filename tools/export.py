"""Export a soup, or any other model of a run, to the layout of another library.

python tools/export.py results/mine/soups/greedy.safetensors --to timm --out exported/

docs/using.md says how each library loads the folder.
"""

import argparse
import sys

import _library  # noqa: F401
from soups.errors import UserError
from soups.usage.export import FORMATS, export

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a .safetensors file in the soups or models of a run")
    parser.add_argument("--to", choices=FORMATS, required=True)
    parser.add_argument("--out", required=True, help="the folder to make")
    parser.add_argument(
        "--pretrained", metavar="FILE_OR_TAG", help="where open_clip's text tower comes from"
    )
    arguments = parser.parse_args()
    try:
        export(arguments.model, arguments.to, arguments.out, arguments.pretrained)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{arguments.out}: {arguments.model} for {arguments.to}")

"""Show where a soup comes from, mix it again from its ingredients, and compare.

python tools/verify.py results/miniature/soups/greedy.safetensors

The exit code is 0 if the soup mixed again has the same bytes in every tensor, else 1.
"""

import argparse
import os
import sys

import _library  # noqa: F401
from soups.errors import UserError
from soups.usage import verify

WIDTH = 300  # letters of a fact that are shown


def main(path: str, root: str | None, whole: bool) -> int:
    soup = verify.soup_at(path)
    print(f"{path}: {verify.summary(soup)}")
    for label, text in verify.provenance(soup.note):
        cut = len(text) > WIDTH and not whole
        print(f"  {label}: {text[:WIDTH]}{'… (--whole shows the rest)' if cut else ''}")
    paths, sentences = verify.find(soup, root)
    for name, found in sorted(paths.items()):
        print(f"  found {name}: {os.path.relpath(found)}")
    if not sentences:
        sentences = verify.differences(soup, paths)
    if sentences:
        print("Not verified.", *sentences, sep="\n")
        return 1
    of = f"{len(paths)} ingredient{'s' if len(paths) > 1 else ''}"
    print(f"Verified. The soup mixed again from {of} is the same to the byte.")
    if verify.recalibrated(soup):
        print("Batch statistics were measured on held-out images and not compared.")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("soup", help="a .safetensors file in the soups of a run")
    parser.add_argument("--root", help="folder of the ingredients, searched at any depth")
    parser.add_argument("--whole", action="store_true", help="show long facts as a whole")
    arguments = parser.parse_args()
    try:
        sys.exit(main(arguments.soup, arguments.root, arguments.whole))
    except UserError as error:
        sys.exit(f"error: {error}")

"""Write the index by which tools/new_experiment.py recognises architectures.

python tools/index_architectures.py

It builds every model of timm, torchvision and open_clip without memory for weights, in a few
minutes. Run it again after one of these libraries was updated.
"""

import json

import open_clip
import timm
import torchvision

import _library  # noqa: F401
from soups import files
from soups.models.fitting import identify


def main() -> None:
    versions = {
        each.__name__: each.__version__.split("+")[0] for each in (timm, torchvision, open_clip)
    }
    index = identify.index()
    lines = [
        f"  {json.dumps(heads)}: {{\n"
        + ",\n".join(f"   {json.dumps(key)}: {json.dumps(names)}" for key, names in part.items())
        + "\n  }"
        for heads, part in index.items()
    ]
    text = '{\n "versions": ' + json.dumps(versions) + ',\n "architectures": {\n'
    files.write_text(identify.INDEX, text + ",\n".join(lines) + "\n }\n}\n")


if __name__ == "__main__":
    main()

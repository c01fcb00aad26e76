"""The images of a prepared set before packing."""

import numpy as np

from soups import files
from soups.data.decode import ImageFiles
from soups.data.prepared import PreparedSet


def originals(data: PreparedSet) -> np.ndarray | ImageFiles:
    """The array of a set, or the original files of a set without one."""
    decode = data.meta.get("decode")
    if decode is None:
        return files.read_array(data.path)
    how = (decode[key] for key in ("size", "border", "upright"))
    return ImageFiles(decode["folder"], data.meta["paths"], *how)

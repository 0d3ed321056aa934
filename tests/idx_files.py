"""IDX files for tests."""

import gzip
import struct

import numpy as np

STEMS = ["train-images", "train-labels", "t10k-images", "t10k-labels"]


def idx_bytes(array):
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + bytes(int(value) for value in array.ravel())


def write_data_set(folder, *, joint="-", zipped=False, size=(4, 3)):
    """Write four small IDX files and return the arrays in them by stem."""
    rng = np.random.default_rng(0)
    arrays = {}
    for stem, n in zip(STEMS, [6, 6, 3, 3], strict=True):
        shape = (n, *size) if stem.endswith("images") else (n,)
        arrays[stem] = rng.integers(0, 10, shape, dtype=np.uint8)
        name = f"{stem}{joint}idx{arrays[stem].ndim}-ubyte"
        content = idx_bytes(arrays[stem])
        path = folder / (name + ".gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return arrays

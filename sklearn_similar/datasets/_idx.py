"""Reading the four IDX files of MNIST, or of a data set that is published like it."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

_N_AXES = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}


def read_folder(folder: Path, source: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Read images, labels and the number of training images from four IDX files.

    Parameters
    ----------
    folder : Path
        Folder that holds the files, itself or in a subfolder ``mnist``.
    source : str
        The parameter or variable that names the folder, for error messages.

    Returns
    -------
    data : ndarray of shape (n_images, height, width)
        Training images first, uint8.
    target : ndarray of shape (n_images,)
        Their labels, int64.
    n_train : int
        Number of training images.
    """
    paths = _find_files(folder) or _find_files(folder / "mnist")
    missing = [f"{s}-idx{n}-ubyte[.gz]" for s, n in _N_AXES.items() if s not in paths]
    if missing:
        raise FileNotFoundError(
            f"{source} is {str(folder)!r}, where {', '.join(missing)} cannot be found: "
            "put the IDX files there, or leave the folder unset to download MNIST."
        )
    arrays = [_read_idx(paths[stem], n_axes) for stem, n_axes in _N_AXES.items()]
    X_train, y_train, X_test, y_test = arrays
    lengths_agree = len(X_train) == len(y_train) and len(X_test) == len(y_test)
    if not lengths_agree or X_train.shape[1:] != X_test.shape[1:]:
        shapes = [f"{paths[s]} {a.shape}" for s, a in zip(_N_AXES, arrays, strict=True)]
        raise ValueError(
            f"Images and labels do not fit each other: {', '.join(shapes)}; use files "
            "of one data set."
        )
    target = np.concatenate([y_train, y_test]).astype(np.int64)
    return np.concatenate([X_train, X_test]), target, len(X_train)


def _find_files(folder: Path) -> dict[str, Path]:
    return {
        stem: path
        for stem, n_axes in _N_AXES.items()
        for suffix in (".gz", "")
        for path in folder.glob(f"{stem}[-.]idx{n_axes}-ubyte{suffix}")
    }


def _read_idx(path: Path, n_axes: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes."""
    content = path.read_bytes()
    # By content, not by name: browsers unpack downloads and keep the ".gz".
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"{path} is a truncated or damaged gzip file ({error}): download it "
                "again."
            ) from error
    # Two zeros, the type (8: unsigned byte), the number of axes, the length of each.
    magic, header = bytes([0, 0, 8, n_axes]), content[: 4 + 4 * n_axes]
    if not header.startswith(magic) or len(header) < 4 + 4 * n_axes:
        raise ValueError(
            f"{path} is no IDX file of unsigned bytes with {n_axes} axes: its header "
            f"is '{header.hex(' ')}', not '{magic.hex(' ')}' and {n_axes} lengths; "
            "download it again."
        )
    shape = struct.unpack(f">{n_axes}I", header[4:])
    n_bytes = len(content) - len(header)
    if n_bytes != math.prod(shape) or n_bytes == 0:
        raise ValueError(
            f"{path} holds {n_bytes} bytes of data, but its header promises "
            f"{math.prod(shape)} of the shape {shape}: download it again."
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)

"""Reader of the four IDX files of MNIST, or of data sets in the same format."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

_N_AXES = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}
# Bytes that are read at a time.
_CHUNK_SIZE = 2**20


def read_folder(folder: Path, source: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Read images, labels and the number of training images from four IDX files.

    Parameters
    ----------
    folder : Path
        Folder of the files, or with a subfolder ``mnist`` of them.
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
    arrays = [read_idx(paths[stem], n_axes) for stem, n_axes in _N_AXES.items()]
    X_train, y_train, X_test, y_test = arrays
    lengths_agree = len(X_train) == len(y_train) and len(X_test) == len(y_test)
    if not lengths_agree or X_train.shape[1:] != X_test.shape[1:]:
        shapes = [f"{paths[s]} {a.shape}" for s, a in zip(_N_AXES, arrays, strict=True)]
        raise ValueError(
            f"Images and labels do not match: {', '.join(shapes)}; use files of one "
            "data set."
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


def read_idx(path: Path, n_axes: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, no further than its header declares."""
    with path.open("rb") as file:
        # By content, as browsers may unpack downloads and keep the suffix ".gz".
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_gzip else file
            shape = _read_header(stream, path, n_axes)
            return _read_data(stream, path, shape)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is a truncated or damaged gzip file ({error}): download it "
                "again."
            ) from error


def _read_header(stream: BinaryIO, path: Path, n_axes: int) -> tuple[int, ...]:
    """Shape of the data after the header."""
    # Two zeros, the type (8: unsigned byte), the number of axes, and their lengths.
    magic, header = bytes([0, 0, 8, n_axes]), stream.read(4 + 4 * n_axes)
    if not header.startswith(magic) or len(header) < 4 + 4 * n_axes:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes with {n_axes} axes: its "
            f"header is '{header.hex(' ')}', not '{magic.hex(' ')}' and {n_axes} "
            "lengths; download it again."
        )
    return struct.unpack(f">{n_axes}I", header[4:])


def _read_data(stream: BinaryIO, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    expected = math.prod(shape)
    data = bytearray()
    # Memory grows with the bytes in the file, not with the declared length. Reading one
    # more byte finds excess data, and makes gzip verify its checksum.
    while chunk := stream.read(min(_CHUNK_SIZE, expected + 1 - len(data))):
        data += chunk
    if len(data) != expected or expected == 0:
        n_bytes = f"{len(data)}" if len(data) <= expected else f"more than {expected}"
        raise ValueError(
            f"{path} holds {n_bytes} bytes of data, but its header declares {expected} "
            f"of shape {shape}: download it again."
        )
    return np.frombuffer(data, np.uint8).reshape(shape)

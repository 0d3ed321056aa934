"""MNIST's file format, IDX: finding and reading the four files of a data set."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_STEMS = {
    "X_train": ("train-images", 3),
    "y_train": ("train-labels", 1),
    "X_test": ("t10k-images", 3),
    "y_test": ("t10k-labels", 1),
}


def read_folder(folder: Path, source: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Read images, labels and the number of training images from four IDX files.

    Parameters
    ----------
    folder : Path
        Folder that holds the files, itself or in a subfolder ``mnist``.
    source : str
        Where the folder was named, for the errors.

    Returns
    -------
    data : ndarray of shape (n_images, height, width)
        Training images first, uint8.
    target : ndarray of shape (n_images,)
        Their labels, int64.
    n_train : int
        How many of them are for training.
    """
    paths = _find_files(folder, source)
    arrays = {
        part: _read_idx(paths[part], n_axes) for part, (_, n_axes) in _STEMS.items()
    }
    for part in ("train", "test"):
        images, labels = arrays[f"X_{part}"], arrays[f"y_{part}"]
        if len(images) != len(labels):
            raise ValueError(
                f"{paths[f'X_{part}']} holds {len(images)} images, but "
                f"{paths[f'y_{part}']} holds {len(labels)} labels: use files that "
                "belong together."
            )
    train_shape, test_shape = arrays["X_train"].shape[1:], arrays["X_test"].shape[1:]
    if train_shape != test_shape:
        raise ValueError(
            f"{paths['X_train']} holds images of {train_shape} pixels, but "
            f"{paths['X_test']} of {test_shape}: use files that belong together."
        )
    data = np.concatenate([arrays["X_train"], arrays["X_test"]])
    target = np.concatenate([arrays["y_train"], arrays["y_test"]]).astype(np.int64)
    return data, target, len(arrays["X_train"])


def _find_files(folder: Path, source: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{source} is {str(folder)!r}, which is not a folder: name the folder that "
            "holds the four IDX files."
        )
    for place in (folder, folder / "mnist"):
        found = {part: _find_file(place, *_STEMS[part]) for part in _STEMS}
        if any(found.values()):
            break
    missing = [
        f"{stem}-idx{n_axes}-ubyte[.gz]"
        for part, (stem, n_axes) in _STEMS.items()
        if found[part] is None
    ]
    if missing:
        raise FileNotFoundError(
            f"{source} is {str(folder)!r}, where {', '.join(missing)} cannot be found: "
            "put the IDX files there, or leave the folder unset to download MNIST."
        )
    return {part: path for part, path in found.items() if path is not None}


def _find_file(folder: Path, stem: str, n_axes: int) -> Path | None:
    for joint in "-.":
        for suffix in ("", ".gz"):
            path = folder / f"{stem}{joint}idx{n_axes}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def _read_idx(path: Path, n_axes: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes with that many axes."""
    content = _read_bytes(path)
    expected = bytes([0, 0, _UNSIGNED_BYTE, n_axes])
    if content[:4] != expected:
        raise ValueError(
            f"{path} is no IDX file of unsigned bytes with {n_axes} axes: it starts "
            f"with {content[:4].hex(' ') or 'nothing'} instead of "
            f"{expected.hex(' ')}; download it again."
        )
    start = 4 + 4 * n_axes
    if len(content) < start:
        raise ValueError(
            f"{path} ends after {len(content)} bytes, within its header of {start}: "
            "download it again."
        )
    shape = struct.unpack(f">{n_axes}I", content[4:start])
    n_found, n_promised = len(content) - start, math.prod(shape)
    if n_found != n_promised or n_promised == 0:
        raise ValueError(
            f"{path} promises {n_promised} bytes of data {shape}, but holds {n_found}: "
            "download it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    # By content, not by name: browsers unpack downloads and keep the ".gz".
    content = path.read_bytes()
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path} is a truncated or damaged gzip file ({error}): download it again."
        ) from error

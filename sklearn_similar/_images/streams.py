"""Images that are read when they are needed: those of an iterator, and of files."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .files import ImageFiles, find_image_files
from .images import Images, is_dask, read_images, to_numpy
from .lazy import is_lazy
from .position import image_name, part_of_images
from .validation import check_images
from .value_range import check_value_range, ranges_are_checked


def read_parts(
    estimator: Any, X: Any, layout: str, n_channels: int, n_pixels: int
) -> tuple[Iterator[Images], int | None]:
    """Images, checked: all that are in memory together, and others when asked for.

    Parameters
    ----------
    estimator : InstanceLocalizer
    X : array, DataFrame, list of images, iterator, path or list of paths
    layout : {"rows", "grey", "colour"}
        Layout of the images in `fit`.
    n_channels : int
        Channels of these images.
    n_pixels : int
        Pixels after which no other image is read together.

    Returns
    -------
    parts : iterator of Images
    n_images : int or None
        How many there are, if it is known.
    """
    files = _image_files(X, n_channels)
    if files is not None:
        return _read_in_parts(estimator, files, n_pixels), len(files)
    if isinstance(X, Iterator):
        return _read_in_parts(estimator, X, n_pixels), None
    images = check_images(estimator, X, layout)
    return iter([images]), len(images)


def check_in_memory(X: Any, method: str) -> None:
    """Raise ValueError for what a method could not count before it is read."""
    if isinstance(X, Iterator) or is_dask(X):
        raise ValueError(
            f"X is of the type {type(X).__name__}, and {method} wants all images at "
            "once; pass an array, a list of images or a list of paths."
        )


def _image_files(X: Any, n_channels: int) -> ImageFiles | None:
    """The images of a folder, of a file or of a list of files; None for anything else.

    Raises
    ------
    ValueError
        If there is no such folder or file; the message names it.
    """
    if isinstance(X, (str, os.PathLike)):
        return ImageFiles(find_image_files(Path(X)), n_channels)
    if isinstance(X, (pd.Series, np.ndarray)) and X.ndim == 1 and X.dtype.kind in "OUT":
        X = X.tolist()
    if not isinstance(X, (list, tuple)) or not X:
        return None
    if not all(isinstance(path, (str, os.PathLike)) for path in X):
        return None
    paths = [Path(path) for path in X]
    for index, path in enumerate(paths):
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no file that exists"
            raise ValueError(
                f"X[{index}] is {str(path)!r}, which is {kind}; pass paths of images."
            )
    return ImageFiles(paths, n_channels)


def _read_in_parts(
    estimator: Any, images: Iterable[Any], n_pixels: int
) -> Iterator[Images]:
    """The images, checked, some at a time; warns once of values of another range."""
    has_warned = False
    for first, part in _parts(images, n_pixels):
        with part_of_images(first), ExitStack() as stack:
            if has_warned:
                stack.enter_context(ranges_are_checked())
            read = read_images(part, estimator.image_shape_)
            trained = estimator.value_range_, np.dtype(estimator._dtype)
            has_warned |= check_value_range(read, *trained)
        yield read


def _parts(images: Iterable[Any], n_pixels: int) -> Iterator[tuple[int, list]]:
    """Lists of images, and the position of the first image in each of them."""
    first, part, n_read = 0, [], 0
    for index, given in enumerate(images):
        image = given if is_lazy(given) else to_numpy(given)
        if len(image.shape) < 2:
            raise ValueError(
                f"{image_name(index)} of X has shape {image.shape}; pass an iterator "
                "of images, (height, width) or (height, width, n_channels) each."
            )
        part.append(image)
        n_read += math.prod(image.shape[:2])
        if n_read >= n_pixels:
            yield first, part
            first, part, n_read = index + 1, [], 0
    if part:
        yield first, part

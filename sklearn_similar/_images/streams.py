"""Images that are read when they are needed: those of an iterator, and of files."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .files import ImageFiles, find_image_files
from .images import Images, is_lazy
from .memory import within_working_memory
from .messages import ImageNames
from .reading import is_dask, is_list_of_delayed, read_images, to_numpy
from .scaling import Scaling
from .transparency import OPAQUE, Fill, fill_for
from .validation import check_images, image_names
from .value_range import check_value_range

# Pixels of images that are searched together, at scikit-learn's default working
# memory: enough to hide the cost of a call.
_PIXELS_AT_ONCE = 2**19


@dataclass(frozen=True, kw_only=True)
class ImageStream:
    """Images to search.

    Attributes
    ----------
    parts : iterator of Images
        Those in memory all together, others part by part when asked for.
    n_images : int or None
        Number of images, if it is known.
    paths : sequence of Path or None
        The files that the images are read from, if there are any.
    """

    parts: Iterator[Images]
    n_images: int | None = None
    paths: Sequence[Path] | None = None


def pixels_at_once() -> int:
    """Number of pixels after which no other image is searched together with others."""
    return min(_PIXELS_AT_ONCE, within_working_memory(_PIXELS_AT_ONCE))


def read_stream(estimator: Any, X: Any) -> ImageStream:
    """Images of a collection of any kind, checked as they are read.

    Parameters
    ----------
    estimator : InstanceLocalizer
        Fitted.
    X : array, DataFrame, list of images, iterator, path or list of paths
    """
    fill = fill_for(estimator)
    files = image_files(X, fill)
    if files is not None:
        parts = _read_in_parts(estimator, files, fill)
        return ImageStream(parts=parts, n_images=len(files), paths=files.paths)
    if isinstance(X, Iterator):
        return ImageStream(parts=_read_in_parts(estimator, X, fill))
    images = check_images(estimator, X, estimator._layout)
    return ImageStream(parts=iter([images]), n_images=len(images))


def check_in_memory(X: Any, method: str) -> None:
    """Raise ValueError for collections that a method would have to read twice."""
    if isinstance(X, Iterator) or is_dask(X) or is_list_of_delayed(X):
        raise ValueError(
            f"X is of the type {type(X).__name__}, and {method} wants all images at "
            "once; pass an array, a list of images or a list of paths."
        )


def image_files(X: Any, fill: Fill = OPAQUE) -> ImageFiles | None:
    """The images of a folder, of a file or of a list of files; None for anything else.

    Raises
    ------
    ValueError
        If a folder or file does not exist; the message names it.
    """
    if isinstance(X, ImageFiles):
        return X
    if isinstance(X, (str, os.PathLike)):
        return ImageFiles(find_image_files(Path(X)), fill)
    if isinstance(X, (pd.Series, np.ndarray)) and X.ndim == 1 and X.dtype.kind in "OUT":
        X = X.tolist()
    if not isinstance(X, (list, tuple)) or not X:
        return None
    if not all(isinstance(path, (str, os.PathLike)) for path in X):
        return None
    paths = [Path(path) for path in X]
    for index, path in enumerate(paths):
        if not path.is_file():
            fact = "is a folder" if path.is_dir() else "does not exist"
            raise ValueError(
                f"X[{index}] is {str(path)!r}, which {fact}; pass paths of images."
            )
    return ImageFiles(paths, fill)


def file_names(images: Any, files: ImageFiles) -> list[str]:
    """Paths relative to a given folder; of other files, their names if they differ."""
    if isinstance(images, (str, os.PathLike)) and Path(images).is_dir():
        return [path.relative_to(images).as_posix() for path in files.paths]
    names = [path.name for path in files.paths]
    return names if len(set(names)) == len(names) else [*map(str, files.paths)]


def _read_in_parts(
    estimator: Any, images: Iterable[Any], fill: Fill
) -> Iterator[Images]:
    """The images, checked, part by part; warns once of values of another range."""
    names, has_warned = image_names(estimator), False
    trained_range, dtype = estimator.value_range_, np.dtype(estimator._dtype)
    for first, part in _parts(images, names, fill):
        read = read_images(part, estimator.image_shape_, names.after(first), fill)
        read = replace(read, scaling=Scaling.of(estimator))
        warn = not has_warned
        has_warned |= check_value_range(read, trained_range, dtype, warn=warn)
        yield read


def _parts(
    images: Iterable[Any], names: ImageNames, fill: Fill
) -> Iterator[tuple[int, list]]:
    """Lists of images, and the position of the first image in each of them."""
    n_pixels = pixels_at_once()
    first, part, n_read = 0, [], 0
    for index, source in enumerate(images):
        name = f"{names.name(index)} of X"
        image = source if is_lazy(source) else to_numpy(source, name, fill)
        if len(image.shape) < 2:
            raise ValueError(
                f"{name} has shape {image.shape}; pass an iterator "
                "of images, (height, width) or (height, width, n_channels) each."
            )
        part.append(image)
        n_read += math.prod(image.shape[:2])
        if n_read >= n_pixels:
            yield first, part
            first, part, n_read = index + 1, [], 0
    if part:
        yield first, part

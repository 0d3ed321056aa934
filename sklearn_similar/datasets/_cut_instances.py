"""Crops of the instances in images."""

import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from .._compat import Interval, validate_params
from .._images.crops import in_colour
from .._images.files import image_file_size, learn_file_scaling, read_image_file
from .._images.pillow_images import is_pillow_image, upright_size
from .._images.reading import check_numeric, to_numpy
from .._images.scaling import extremes, learn_scaling
from .._images.transparency import Fill, has_alpha, without_alpha
from .._tables.checks import check_instances, image_numbers, without_crowds
from .._tables.values import type_text
from ._checks import allocate


@validate_params(
    {
        "images": "no_validation",
        "instances": [pd.DataFrame],
        "size": [Interval(Integral, 1, None, closed="left")],
        "context": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def cut_instances(images, instances, *, size=64, context=1.0):
    """Cut the instances out of images, as crops of one size.

    Parameters
    ----------
    images : array-like of shape (n, height, width) or (n, height, width, n_channels), \
            or list of images or of paths
        Grey or colour images of any sizes, all of one data type; arrays, or images of
        Pillow's. Files are read one by one.
    instances : DataFrame
        ``image`` (position in `images`), ``label``, ``x_min``, ``y_min``, ``x_max``,
        ``y_max`` (pixels, half-open), in any order. Other columns are ignored.
    size : int, default=64
        Height and width of a crop in pixels.
    context : float, default=1.0
        Side of the square that is cut out, in multiples of the longer side of the box:
        1.0 is tight, 1.5 has a quarter of that side around the object.

    Returns
    -------
    X : ndarray of shape (n_instances, size, size) or \
            (n_instances, size, size, n_channels)
        The crops in the order of the rows, of the data type of the images. Grey images
        among colour images get three equal channels.
    y : ndarray of shape (n_instances,)
        The labels.

    Raises
    ------
    ValueError
        If there are no instances, a box has no area or is not inside its image, or the
        images differ in data type or number of channels.

    See Also
    --------
    load_annotations : Boxes that were drawn in an annotation tool.

    Notes
    -----
    The square has the centre of the box, to the nearest pixel, so that the aspect ratio
    of the object is kept. Beyond the image, its border pixels continue: a black border
    would be a feature by which objects at the border could be told apart. The square is
    resampled bilinearly, with smoothing if it is larger than `size`.

    Examples
    --------
    >>> from sklearn_similar.datasets import (
    ...     cut_instances, load_mnist_sample, make_scenes
    ... )
    >>> digits = load_mnist_sample()
    >>> scenes, instances = make_scenes(
    ...     digits.X_train, digits.y_train, n_scenes=3, n_instances=2, random_state=0
    ... )
    >>> X, y = cut_instances(scenes, instances, size=28, context=1.25)
    >>> X.shape, y.shape
    ((6, 28, 28), (6,))
    """
    checked = check_instances(instances, name="instances")
    if not len(checked.boxes):
        raise ValueError("instances has no rows; pass at least one instance.")
    images = _image_list(images)
    shapes = [_shape(image, index) for index, image in enumerate(images)]
    numbers = image_numbers(checked, shapes, name="instances")
    sides = checked.boxes[:, 2:] - checked.boxes[:, :2]
    if not sides.all():
        row = checked.rows[int(np.argmin(sides.all(axis=1)))]
        raise ValueError(
            f"Row {row} of instances has a box without area; drop the row."
        )
    windows = _windows(checked.boxes, context)
    fill = _learn_fill(images)
    crops = [np.empty(0)] * len(windows)
    for number in np.unique(numbers):
        pixels = _pixels(images[number], number, fill)
        for row in np.flatnonzero(numbers == number):
            crops[row] = _resize(_cut(pixels, windows[row]), size)
    objects = without_crowds(instances, name="instances")
    return _stack(crops, numbers), objects["label"].to_numpy()


def _image_list(images: Any) -> Sequence | np.ndarray:
    if isinstance(images, str | os.PathLike):
        raise ValueError(
            f"images is {type_text(images)}; pass a list of images or of their paths."
        )
    return images if isinstance(images, list | tuple) else to_numpy(images)


def _shape(image: Any, index: int) -> tuple[int, ...]:
    if isinstance(image, str | os.PathLike):
        if not Path(image).is_file():
            raise ValueError(
                f"images[{index}] is {os.fspath(image)!r}, which is not a file; pass "
                "paths of images."
            )
        return image_file_size(Path(image))
    if is_pillow_image(image):
        return upright_size(image)
    shape = np.shape(image)
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(
            f"images[{index}] has shape {shape}; pass (height, width) or (height, "
            "width, n_channels), none of them 0."
        )
    return shape


def _learn_fill(images: Sequence | np.ndarray) -> Fill:
    """What stands behind transparent pixels, as white as the brightest ones may be."""
    paths = [Path(image) for image in images if isinstance(image, str | os.PathLike)]
    visible = (
        _pixels(image, index, Fill(None))
        for index, image in enumerate(images)
        if not isinstance(image, str | os.PathLike)
    )
    known = learn_file_scaling(paths)
    return Fill(scaling=learn_scaling(extremes(visible, set()), known))


def _pixels(image: Any, index: int, fill: Fill) -> np.ndarray:
    if isinstance(image, str | os.PathLike):
        return read_image_file(Path(image), fill)
    name = f"images[{index}]"
    pixels = to_numpy(image, name, fill)
    check_numeric(pixels, name)
    if pixels.ndim == 3 and has_alpha(pixels):
        return without_alpha(pixels, fill, name)
    return pixels


def _windows(boxes: np.ndarray, context: float) -> np.ndarray:
    """Squares of whole pixels around the centres of boxes, ``x, y, side``."""
    side = context * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    side = np.maximum(np.rint(side), 1)
    corner = (boxes[:, :2] + boxes[:, 2:] - side[:, np.newaxis]) / 2
    return np.column_stack([np.floor(corner + 0.5), side]).astype(np.int64)


def _cut(pixels: np.ndarray, window: np.ndarray) -> np.ndarray:
    """A square of an image, whose border continues beyond it."""
    x, y, side = window
    steps = np.arange(side)
    rows = np.clip(y + steps, 0, pixels.shape[0] - 1)
    columns = np.clip(x + steps, 0, pixels.shape[1] - 1)
    return pixels[rows[:, np.newaxis], columns]


def _resize(square: np.ndarray, size: int) -> np.ndarray:
    """A square of another size, of the same type."""
    if len(square) == size:
        return square
    is_wide = square.dtype.itemsize > 2 and square.dtype != np.float32
    values = np.atleast_3d(square).astype(np.float64 if is_wide else np.float32)
    tensor = torch.from_numpy(values).permute(2, 0, 1)[np.newaxis]
    resized = torch.nn.functional.interpolate(
        tensor, (size, size), mode="bilinear", antialias=True
    )
    crop = resized[0].permute(1, 2, 0).numpy()
    if square.dtype.kind != "f":
        crop = np.rint(crop)
    return crop.astype(square.dtype).reshape(size, size, *square.shape[2:])


def _stack(crops: list[np.ndarray], numbers: np.ndarray) -> np.ndarray:
    """The crops as one array."""
    if any(crop.ndim == 3 and crop.shape[2] == 3 for crop in crops):
        crops = [in_colour(crop) for crop in crops]
    for crop, number in zip(crops, numbers, strict=True):
        for noun, value, first in [
            ("data type", crop.dtype, crops[0].dtype),
            ("shape of a pixel", crop.shape[2:], crops[0].shape[2:]),
        ]:
            if value != first:
                raise ValueError(
                    f"images must have one {noun}, but images[{numbers[0]}] has "
                    f"{first} and images[{number}] has {value}; convert one of them."
                )
    stacked = allocate((len(crops), *crops[0].shape), crops[0].dtype.type, "instances")
    return np.stack(crops, out=stacked)

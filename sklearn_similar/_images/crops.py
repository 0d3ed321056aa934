"""Crops of one size from crops of several."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from .images import n_channels

# Height and width of crops that come in several sizes.
_DEFAULT_SIZE = 28


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """An image with three channels, equal ones if it is grey."""
    grey = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return np.repeat(grey[..., np.newaxis], 3, 2) if grey.ndim == 2 else grey


def crops_of_one_size(
    images: Sequence[np.ndarray], size: int | None
) -> tuple[np.ndarray, bool]:
    """Crops of one size, in colour if any is.

    Parameters
    ----------
    images : sequence of ndarray of shape (height, width) or (height, width, n_channels)
    size : int or None
        Height and width of the crops; None: the size of the images if it is the same
        for all, else 28.

    Returns
    -------
    crops : ndarray of shape (n, height, width) or (n, height, width, n_channels)
    are_scaled : bool

    Raises
    ------
    ValueError
        If the images differ in data type or number of channels; the message names one.
    """
    if any(n_channels(image.shape) == 3 for image in images):
        images = [in_colour(image) for image in images]
    first = images[0]
    for index, image in enumerate(images):
        for noun, value, expected in [
            ("data type", image.dtype, first.dtype),
            ("number of channels", n_channels(image.shape), n_channels(first.shape)),
        ]:
            if value != expected:
                raise ValueError(
                    f"fit wants crops of one {noun}, but that of image 0 of X is "
                    f"{expected}, and of image {index} {value}; make them the same."
                )
    if size is None:
        if len({image.shape for image in images}) == 1:
            return np.stack(images), False
        size = _DEFAULT_SIZE
    return np.stack([fit_into_square(image, size) for image in images]), True


def fit_into_square(pixels: np.ndarray, side: int) -> np.ndarray:
    """An image, scaled to the sides of a black square and centred in it."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = [max(1, math.floor(length * factor + 0.5)) for length in (height, width)]
    values = torch.from_numpy(np.atleast_3d(pixels).astype(np.float32))
    scaled = F.interpolate(
        values.permute(2, 0, 1)[np.newaxis], size, mode="bilinear", antialias=True
    )[0].permute(1, 2, 0)
    square = np.zeros((side, side, n_channels(pixels.shape)), pixels.dtype)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    inner = square[top : top + size[0], left : left + size[1]]
    inner[...] = (scaled if pixels.dtype.kind == "f" else scaled.round()).numpy()
    return square if pixels.ndim == 3 else square[..., 0]

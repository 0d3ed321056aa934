"""The shape of an image, of X as it is or of its rows."""

import math

import numpy as np

from .images import channels_seem_first, n_channels, shape_text


def infer_image_shape(
    found: tuple[int, ...] | None, n_features: int, image_shape
) -> tuple[int, ...]:
    """Shape of one image: that of X, the one asked for, or a square, or one row.

    Parameters
    ----------
    found : tuple or None
        Shape of an image in X; None for rows.
    n_features : int
        Values of an image.
    image_shape : tuple or None
        The shape that the user asked for.
    """
    if image_shape is None:
        if found is None:
            side = round(n_features**0.5)
            return (side, side) if side**2 == n_features else (1, n_features)
        if channels_seem_first(found):
            raise ValueError(
                f"The images in X have shape {shape_text(found)}, which looks like "
                "channels first; move them to the end (X.transpose(0, 2, 3, 1) of an "
                f"array), or pass image_shape={found} to use them as they are."
            )
        return found
    lengths = tuple(image_shape)
    if len(lengths) not in (2, 3) or not all(
        isinstance(length, (int, np.integer)) and length > 0 for length in lengths
    ):
        raise ValueError(
            f"image_shape is {image_shape!r}; pass (height, width) or (height, width, "
            "n_channels), all positive integers."
        )
    if found is not None and _in_full(found) != _in_full(lengths):
        raise ValueError(
            f"image_shape is {shape_text(lengths)}, but the images in X are "
            f"{shape_text(found)}; leave image_shape=None for images."
        )
    if math.prod(lengths) != n_features:
        raise ValueError(
            f"image_shape {shape_text(lengths)} has {math.prod(lengths)} values, but "
            f"the rows of X have {n_features}; make them agree."
        )
    return tuple(int(length) for length in lengths)


def _in_full(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], n_channels(shape))

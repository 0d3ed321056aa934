"""Images as rows: a table or an array (n, n_features)."""

import math
import os
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .images import Images, n_channels
from .messages import ImageNames, shape_text, warn_user
from .pillow_images import is_pillow_image
from .reading import (
    channels_seem_first,
    check_not_masked,
    check_numeric,
    to_numpy,
)

# Rows of fewer values are hardly images.
_MIN_SUSPECT = 50
_ACCEPTED = (
    "rows (n, n_features), grey images (n, height, width), colour images (n, height, "
    "width, n_channels) or a list of images"
)


def readable_rows(X):
    """Rows that scikit-learn's checks can read.

    Those checks would print the whole of anything that is neither rows nor images.
    """
    if sparse.issparse(X):
        return X
    _check_not_paths(X)
    if is_pillow_image(X):
        raise ValueError("X is one image; pass [X], a list of images.")
    check_not_masked(X, "X")
    if isinstance(X, pd.DataFrame):
        return _without_extension_integers(_dense(X))
    try:
        X = to_numpy(X)
    except ValueError as error:
        raise ValueError(
            f"X is a {type(X).__name__} of sequences of several lengths; pass "
            f"{_ACCEPTED}."
        ) from error
    if X.ndim == 0:
        raise ValueError(f"X is of type {type(X.item()).__name__}; pass {_ACCEPTED}.")
    if X.dtype.kind != "O":
        check_numeric(X, "X")
    if X.shape == (0,):
        raise ValueError("X is empty; pass at least one image.")
    if X.ndim == 1 and X.dtype.kind == "O":
        raise ValueError("X is an array of objects; pass list(X), if these are images.")
    if X.ndim == 1:
        raise ValueError(
            f"Reshape your data of shape {X.shape} with X.reshape(1, -1), if it is one "
            f"row, or pass {_ACCEPTED}."
        )
    return X


def _check_not_paths(X) -> None:
    """Raise ValueError for the path of a file, or for several."""
    first = X
    if isinstance(X, np.ndarray) and X.ndim == 0:
        first = X.item()
    elif isinstance(X, pd.Series) and len(X):
        first = X.iloc[0]
    elif isinstance(X, pd.DataFrame) and X.shape[1] == 1 and len(X):
        first = X.iloc[0, 0]
    elif isinstance(X, (list, tuple, np.ndarray)) and len(X):
        first = X[0]
    if isinstance(first, (str, os.PathLike)):
        raise ValueError(
            f"X holds text, {os.fspath(first)[:80]!r}; if these are file paths, pass "
            "the images, as in [PIL.Image.open(path) for path in paths]."
        )


def _dense(X: pd.DataFrame) -> pd.DataFrame:
    """A table without pandas' sparse columns."""
    dense_types = {
        name: dtype.subtype
        for name, dtype in X.dtypes.items()
        if isinstance(dtype, pd.SparseDtype)
    }
    return X.astype(dense_types) if dense_types else X


def _without_extension_integers(X: pd.DataFrame) -> pd.DataFrame:
    """Integers of pandas' extension types as NumPy's.

    scikit-learn would make floats of them, which are not scaled as integers are.
    """
    numpy_types = {
        name: dtype.numpy_dtype
        for name, dtype in X.dtypes.items()
        if _is_extension_integer(dtype) and not X[name].hasnans
    }
    return X.astype(numpy_types) if numpy_types else X


def _is_extension_integer(dtype: Any) -> bool:
    types = pd.api.types
    return types.is_extension_array_dtype(dtype) and types.is_integer_dtype(dtype)


def infer_image_shape(
    shape_in_X: tuple[int, ...] | None, n_features: int, image_shape
) -> tuple[int, ...]:
    """Shape of an image: that of X, the user's, a square, or a single row of pixels.

    Parameters
    ----------
    shape_in_X : tuple or None
        Shape of an image in X; None for rows.
    n_features : int
        Number of values of an image.
    image_shape : tuple or None
        The shape that the user asked for.
    """
    if image_shape is None:
        if shape_in_X is None:
            side = round(n_features**0.5)
            if side**2 == n_features:
                return side, side
            _warn_of_strips(n_features)
            return 1, n_features
        if channels_seem_first(shape_in_X):
            raise ValueError(
                f"The images in X have shape {shape_text(shape_in_X)}, which looks "
                "like channels first; move them to the end (X.transpose(0, 2, 3, 1) of "
                f"an array), or pass image_shape={shape_in_X} to use them as they are."
            )
        return shape_in_X
    lengths = tuple(image_shape)
    if len(lengths) not in (2, 3) or not all(
        isinstance(length, (int, np.integer)) and length > 0 for length in lengths
    ):
        raise ValueError(
            f"image_shape is {image_shape!r}; pass (height, width) or (height, width, "
            "n_channels), all positive integers."
        )
    if shape_in_X is not None and _with_channels(shape_in_X) != _with_channels(lengths):
        raise ValueError(
            f"image_shape is {shape_text(lengths)}, but the images in X are "
            f"{shape_text(shape_in_X)}; leave image_shape=None for images."
        )
    if math.prod(lengths) != n_features:
        raise ValueError(
            f"image_shape {shape_text(lengths)} has {math.prod(lengths)} values, but "
            f"the rows of X have {n_features}; make them agree."
        )
    return tuple(int(length) for length in lengths)


def _warn_of_strips(n_features: int) -> None:
    """Warn of rows that are read as images of one line, if they may be others."""
    if n_features < _MIN_SUSPECT:
        return
    side = round((n_features / 3) ** 0.5)
    if 3 * side**2 == n_features:
        guess = f", such as ({side}, {side}, 3) for colour with channels last"
    elif round((n_features - 1) ** 0.5) ** 2 == n_features - 1:
        guess = ", or take out a column that is not a pixel, such as labels"
    else:
        guess = ""
    warn_user(
        f"Rows of X have {n_features} values, not a square number, and are read as "
        f"images of 1x{n_features} pixels; pass image_shape=(height, width) or "
        f"(height, width, n_channels){guess}."
    )


def _with_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], n_channels(shape))


def rows_as_images(
    rows: np.ndarray,
    shape: tuple[int, ...],
    layout: str = "rows",
    names: ImageNames | None = None,
) -> Images:
    """Images of one shape from rows (n, n_features), as a view."""
    pixels = rows.reshape(len(rows), *shape[:2], n_channels(shape))
    return Images(pixels, layout, ImageNames() if names is None else names)

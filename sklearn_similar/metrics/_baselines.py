"""Values that replace removed pixels."""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from .._compat import StrOptions
from .._images.messages import shape_text
from ._explained import Batch, Explained, to_type
from ._values import as_numbers

# Standard deviation of the blur, as a share of an image's longer side. LeNet still
# reads two of ten MNIST digits through it, and through a tenth half of them.
_BLUR = 1 / 8


def find_baseline(baseline: Any, explained: Explained) -> Callable:
    """A function from a `Batch` to what replaces its pixels, of their type.

    Parameters
    ----------
    baseline : str, float or array-like
        As in `insertion_auc`.
    explained : Explained

    Raises
    ------
    ValueError
        If the baseline does not fit the images.
    """
    if isinstance(baseline, str):
        return _NAMED[baseline]
    values = _check_baseline(baseline, explained)
    return lambda batch: values[batch.span]


def _black(batch: Batch) -> np.ndarray:
    return np.zeros_like(batch.pixels)


def _mean(batch: Batch) -> np.ndarray:
    mean = batch.pixels.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return to_type(mean, batch.pixels.dtype)


def _blur(batch: Batch) -> np.ndarray:
    sigma = _BLUR * max(batch.pixels.shape[1:3])
    blurred = gaussian_filter(batch.pixels, (0, sigma, sigma, 0), output=np.float64)
    return to_type(blurred, batch.pixels.dtype)


_NAMED = {"black": _black, "blur": _blur, "mean": _mean}
BASELINE = [StrOptions(set(_NAMED)), Real, "array-like"]


def _check_baseline(baseline: Any, explained: Explained) -> np.ndarray:
    values = as_numbers(baseline, "baseline")
    with np.errstate(invalid="ignore", over="ignore"):
        held = values.astype(explained.dtype, copy=False)
    good = held == values if held.dtype.kind in "iu" else np.isfinite(held)
    if not np.all(good):
        raise ValueError(
            f"baseline holds {values[~good].flat[0]:g}, but the images are of type "
            f"{explained.dtype}; pass values in the units of X."
        )
    try:
        return explained.broadcast(held)
    except ValueError as error:
        raise ValueError(
            f"baseline has shape {shape_text(held.shape)}, which does not fit the "
            "images of X; pass a number, an array of the shape of X, or one image."
        ) from error

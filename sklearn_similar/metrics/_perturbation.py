"""Images perturbed in the order of their heat, and the values that replace pixels."""

import math
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from .._compat import StrOptions
from .._images.messages import shape_text
from .._tables.values import as_numbers
from ._explained import Batch, Explained

# Standard deviation of the blur, as a share of an image's longer side. LeNet still
# recognises two of ten blurred MNIST digits, and five of ten at a tenth of the side.
_BLUR = 1 / 8


class PerturbationCurve(NamedTuple):
    """Probability of each image's label, while pixels are inserted or deleted.

    Attributes
    ----------
    shares : ndarray of shape (n_points,)
        Share of the pixels that are inserted or deleted, from 0 to 1.
    probabilities : ndarray of shape (n, n_points)
        Probability of the label, one row for each image.
    """

    shares: np.ndarray
    probabilities: np.ndarray


def perturb_by_rank(
    explained: Explained, n_steps: int, baseline: Any, *, insert: bool
) -> PerturbationCurve:
    """Replace pixels step by step, the hottest first.

    Parameters
    ----------
    explained : Explained
    n_steps : int
    baseline : str, float or array-like
        As in `insertion_auc`.
    insert : bool
        Whether pixels of the image replace those of the baseline, or the reverse.
    """
    n_pixels = math.prod(explained.pixels.shape[1:3])
    n_steps = min(n_steps, n_pixels)
    counts = np.arange(n_steps + 1) * n_pixels // n_steps
    baseline_of = _baseline_function(baseline, explained)

    def perturb(batch: Batch) -> Iterator[np.ndarray]:
        rank = _heat_rank(batch.heat)[..., np.newaxis]
        new, old = batch.pixels, baseline_of(batch)
        if not insert:
            new, old = old, new
        for count in counts:
            yield np.where(rank < count, new, old)

    _, probabilities = explained.probabilities(perturb)
    return PerturbationCurve(counts / n_pixels, probabilities)


def _heat_rank(heat: np.ndarray) -> np.ndarray:
    """Rank of each pixel of (m, h, w) in its image, 0 for the hottest."""
    flat = heat.reshape(len(heat), -1)
    # Ties are broken at random, by a legacy generator whose numbers are the same in all
    # versions of NumPy.
    shuffled = np.random.RandomState(0).permutation(flat.shape[1])
    order = shuffled[np.argsort(-flat[:, shuffled], axis=1, kind="stable")]
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(flat.shape[1])[np.newaxis], axis=1)
    return rank.reshape(heat.shape)


def to_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in a dtype of pixels, rounded if that is an integer type."""
    if dtype.kind in "iu":
        values = np.rint(values)
    return values.astype(dtype, copy=False)


def _black(batch: Batch) -> np.ndarray:
    return np.zeros_like(batch.pixels)


def _mean(batch: Batch) -> np.ndarray:
    mean = batch.pixels.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return to_dtype(mean, batch.pixels.dtype)


def _blur(batch: Batch) -> np.ndarray:
    sigma = _BLUR * max(batch.pixels.shape[1:3])
    blurred = gaussian_filter(batch.pixels, (0, sigma, sigma, 0), output=np.float64)
    return to_dtype(blurred, batch.pixels.dtype)


_NAMED_BASELINES = {"black": _black, "blur": _blur, "mean": _mean}
BASELINE = [StrOptions(set(_NAMED_BASELINES)), Real, "array-like"]


def _baseline_function(baseline: Any, explained: Explained) -> Callable:
    """A function from a `Batch` to the values that replace its pixels, of its dtype.

    Raises
    ------
    ValueError
        If the baseline does not fit the images.
    """
    if isinstance(baseline, str):
        return _NAMED_BASELINES[baseline]
    values = _check_baseline(baseline, explained)
    return lambda batch: values[batch.span]


def _check_baseline(baseline: Any, explained: Explained) -> np.ndarray:
    values = as_numbers(baseline, "baseline")
    with np.errstate(invalid="ignore", over="ignore"):
        pixels = values.astype(explained.dtype, copy=False)
    is_valid = pixels == values if pixels.dtype.kind in "iu" else np.isfinite(pixels)
    if not np.all(is_valid):
        raise ValueError(
            f"baseline holds {values[~is_valid].flat[0]:g}, but the images are of type "
            f"{explained.dtype}; pass values in the units of X."
        )
    try:
        return explained.broadcast(pixels)
    except ValueError as error:
        raise ValueError(
            f"baseline has shape {shape_text(pixels.shape)}, which does not fit the "
            "images of X; pass a number, an array of the shape of X, or one image."
        ) from error

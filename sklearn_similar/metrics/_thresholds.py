"""The thresholds of Choe et al., as shares of a heatmap's maximum."""

from numbers import Integral
from typing import Any

import numpy as np

from .._compat import Interval

# Levels are 16-bit numbers, and one more than the thresholds.
N_THRESHOLDS = Interval(Integral, 1, 2**16 - 2, closed="both")


def choe_thresholds(n_thresholds: int) -> np.ndarray:
    # The products that ``np.arange(0, 1, step)`` holds, always n_thresholds of them.
    return np.arange(n_thresholds) * (1.0 / n_thresholds)


def count_below(
    heatmap: np.ndarray, taus: np.ndarray, *, side: Any, normalize: bool = True
) -> np.ndarray:
    """Count the thresholds below each pixel (side left), or equal to it too (right)."""
    peak = heatmap.max() if normalize else 1.0
    if peak <= 0:
        return np.zeros(heatmap.shape, dtype=np.uint16)
    return np.searchsorted(taus * peak, heatmap, side=side).astype(np.uint16)

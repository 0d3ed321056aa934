"""Boxes as arrays: intersection over union, pixels covered.

A box is ``x_min, y_min, x_max, y_max`` in pixels, half-open: it covers the pixels
``x_min <= x < x_max``, and its width is ``x_max - x_min``.
"""

from typing import Any

import numpy as np
import pandas as pd

from .._compat import validate_params
from .._tables.boxes import paired_iou
from ._checks import box_coordinates

# Candidate pairs whose overlap is computed at once: some 100 MB of temporaries.
_MAX_PAIRS = 2**20


@validate_params(
    {"boxes_a": [pd.DataFrame, "array-like"], "boxes_b": [pd.DataFrame, "array-like"]},
    prefer_skip_nested_validation=True,
)
def box_iou(boxes_a: Any, boxes_b: Any) -> np.ndarray:
    """Compute the intersection over union of every pair of boxes.

    Parameters
    ----------
    boxes_a, boxes_b : array-like of shape (n, 4) and (m, 4), or DataFrame
        Boxes as ``x_min, y_min, x_max, y_max`` in pixels, half-open. Other columns of
        a DataFrame are ignored, so that boxes of different images are compared, too.

    Returns
    -------
    iou : ndarray of shape (n, m)
        Values in [0, 1].

    Raises
    ------
    ValueError
        If boxes have not four columns, a negative extent or non-finite values.

    Notes
    -----
    The IoU is the area of the intersection divided by the area of the union, the
    Jaccard index of the two sets of pixels [1]_. Boxes that only touch have IoU 0, and
    so has a box without area, even with itself. No boxes on a side give an empty
    matrix.

    References
    ----------
    .. [1] Everingham et al. (2010). The Pascal Visual Object Classes (VOC) Challenge.
       International Journal of Computer Vision 88.

    Examples
    --------
    >>> from sklearn_similar.metrics import box_iou
    >>> box_iou([[0, 0, 4, 4]], [[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4]]).round(3)
    array([[1.   , 0.333, 0.   ]])
    """
    a = box_coordinates(boxes_a, name="boxes_a")
    b = box_coordinates(boxes_b, name="boxes_b")
    iou = np.empty((len(a), len(b)))
    step = max(1, _MAX_PAIRS // max(1, len(b)))
    for start in range(0, len(a), step):
        iou[start : start + step] = paired_iou(a[start : start + step, None], b)
    return iou


def overlapping_pairs(
    boxes_a: np.ndarray,
    groups_a: np.ndarray,
    boxes_b: np.ndarray,
    groups_b: np.ndarray,
    min_iou: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the pairs within a group whose IoU is at least ``min_iou`` > 0.

    Returns the indices into a, the indices into b, and the IoU of each pair. Memory
    grows with the pairs that overlap, not with the pairs that are compared.
    """
    order = np.argsort(groups_b, kind="stable")
    ordered = groups_b[order]
    first = np.searchsorted(ordered, groups_a, side="left")
    count = np.searchsorted(ordered, groups_a, side="right") - first
    end = np.cumsum(count)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    start = 0
    while start < len(boxes_a):
        offset = end[start] - count[start]
        stop = int(np.searchsorted(end, offset + _MAX_PAIRS, side="right"))
        stop = max(stop, start + 1)
        a = np.repeat(np.arange(start, stop), count[start:stop])
        b = order[first[a] + np.arange(a.size) - (end[a] - count[a] - offset)]
        iou = paired_iou(boxes_a[a], boxes_b[b])
        near = iou >= min_iou
        parts.append((a[near], b[near], iou[near]))
        start = stop
    if not parts:
        none = np.empty(0, dtype=np.intp)
        return none, none, np.empty(0)
    a, b, iou = (np.concatenate(column) for column in zip(*parts, strict=True))
    return a, b, iou


def rasterize(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask of the pixels whose centre lies in one of the boxes."""
    mask = np.zeros(shape, dtype=bool)
    limits = np.tile(shape[::-1], 2)
    for x_min, y_min, x_max, y_max in np.clip(np.ceil(boxes - 0.5), 0, limits).astype(
        int
    ):
        mask[y_min:y_max, x_min:x_max] = True
    return mask

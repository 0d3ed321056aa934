"""Intersection over union of boxes."""

from typing import Any

import numpy as np
import pandas as pd

from .._compat import validate_params
from .._tables.boxes import iou_matrix
from .._tables.checks import box_coordinates


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
        a DataFrame are ignored, so boxes of different images are compared as well.

    Returns
    -------
    iou : ndarray of shape (n, m)
        Values in [0, 1].

    Raises
    ------
    ValueError
        If boxes do not have four columns, or have a negative extent or non-finite
        values.

    Notes
    -----
    The IoU is the area of the intersection divided by the area of the union, the
    Jaccard index of the two sets of pixels [1]_. Boxes that only touch have an IoU of
    0, and so does a box without area, even with itself.

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
    return iou_matrix(
        box_coordinates(boxes_a, name="boxes_a"),
        box_coordinates(boxes_b, name="boxes_b"),
    )

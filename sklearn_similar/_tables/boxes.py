"""Columns of tables of instances, and arithmetic of boxes in arrays (..., 4).

A box is ``x_min, y_min, x_max, y_max`` in pixels, half-open.
"""

import numpy as np

BOX_COLUMNS = ("x_min", "y_min", "x_max", "y_max")
INSTANCE_COLUMNS = ("image", "label", "score", "heat", *BOX_COLUMNS)


def area(boxes: np.ndarray) -> np.ndarray:
    """Area of each box."""
    return np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def common_area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area of the intersections of boxes that broadcast against each other."""
    extent = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.prod(np.maximum(extent, 0.0), axis=-1)


def paired_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes that broadcast against each other."""
    common = common_area(a, b)
    union = area(a) + area(b) - common
    iou = np.divide(common, union, out=np.zeros_like(union), where=union > 0)
    # Rounding of the union must not lift the ratio above 1.
    return np.minimum(iou, 1.0)

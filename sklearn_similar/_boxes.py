"""Columns of instances, and the intersection over union of boxes.

A box is ``x_min, y_min, x_max, y_max`` in pixels, half-open: it covers the pixels
``x_min <= x < x_max``, and its width is ``x_max - x_min``.
"""

import numpy as np

BOX_COLUMNS = ("x_min", "y_min", "x_max", "y_max")
INSTANCE_COLUMNS = ("image", "label", "score", "heat", *BOX_COLUMNS)


def paired_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes that broadcast against each other, (..., 4) each."""
    extent = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = np.prod(np.maximum(extent, 0.0), axis=-1)
    areas = [np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    union = areas[0] + areas[1] - intersection
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    # Rounding of the union must not lift the ratio above 1.
    return np.minimum(iou, 1.0)

"""Columns of tables of instances, and arithmetic of boxes in arrays (..., 4).

A box is ``x_min, y_min, x_max, y_max`` in pixels, half-open.
"""

import numpy as np

BOX_COLUMNS = ("x_min", "y_min", "x_max", "y_max")
INSTANCE_COLUMNS = ("image", "label", "score", "heat", *BOX_COLUMNS)
# Candidate pairs whose overlap is computed at once: some 100 MB of temporaries.
_MAX_PAIRS = 2**20


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

"""Columns of tables of instances, and arithmetic of boxes in arrays (..., 4).

A box is ``x_min, y_min, x_max, y_max`` in pixels, half-open: it covers the pixels
``x_min <= x < x_max``, and its width is ``x_max - x_min``.
"""

import numpy as np

from .._images.memory import within_working_memory

BOX_COLUMNS = ("x_min", "y_min", "x_max", "y_max")
INSTANCE_COLUMNS = ("image", "label", "score", "heat", *BOX_COLUMNS)
# Optional column of true instances: whether a row is a region of many objects, as in
# COCO, which is neither an object nor background.
CROWD_COLUMN = "iscrowd"

# Pairs of boxes that are compared at a time: some 100 MB of temporaries.
_PAIRS_AT_ONCE = 2**20


def area(boxes: np.ndarray) -> np.ndarray:
    """Area of each box."""
    return np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def common_area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area of the intersections of boxes that broadcast against each other."""
    extent = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.prod(np.maximum(extent, 0.0), axis=-1)


def max_share_inside(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Maximum share of the area of each box, (n, 4), that a region, (m, 4), covers."""
    size = area(boxes)
    share = np.zeros(len(boxes))
    for region in regions:
        common = common_area(boxes, region)
        share = np.maximum(
            share, np.divide(common, size, out=np.zeros_like(share), where=size > 0)
        )
    return share


def paired_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes that broadcast against each other."""
    common = common_area(a, b)
    union = area(a) + area(b) - common
    iou = np.divide(common, union, out=np.zeros_like(union), where=union > 0)
    # Rounding of the union must not lift the ratio above 1.
    return np.minimum(iou, 1.0)


def mirrored(boxes: np.ndarray, width: float) -> np.ndarray:
    """Boxes n x 4 in the mirror image of an image of a width."""
    x_min, y_min, x_max, y_max = boxes.T
    return np.stack([width - x_max, y_min, width - x_min, y_max], axis=1)


def jitter(boxes: np.ndarray, share: float, rng: np.random.RandomState) -> np.ndarray:
    """Boxes (n, 4) with each edge shifted by up to a share of the width or height."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return boxes + rng.uniform(-share, share, size=boxes.shape) * sides


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of each of n boxes with each of m, (n, m)."""
    iou = np.empty((len(a), len(b)))
    step = max(1, within_working_memory(_PAIRS_AT_ONCE) // max(1, len(b)))
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
    """Indices into a and b, and IoU, of pairs of one group with IoU >= `min_iou` > 0.

    Memory grows with the number of overlapping pairs, not of compared pairs.
    """
    # Members of a group are consecutive in this order, so that the partners of each
    # box of a are a range.
    order = np.argsort(groups_b, kind="stable")
    ordered = groups_b[order]
    first = np.searchsorted(ordered, groups_a, side="left")
    n_partners = np.searchsorted(ordered, groups_a, side="right") - first
    n_pairs = np.append(0, np.cumsum(n_partners))
    block = within_working_memory(_PAIRS_AT_ONCE)
    parts = [(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp), np.empty(0))]
    start = 0
    while start < len(boxes_a):
        limit = n_pairs[start] + block
        stop = int(np.searchsorted(n_pairs, limit, side="right")) - 1
        stop = max(stop, start + 1)
        a = np.repeat(np.arange(start, stop), n_partners[start:stop])
        rank = np.arange(len(a)) - (n_pairs[a] - n_pairs[start])
        b = order[first[a] + rank]
        iou = paired_iou(boxes_a[a], boxes_b[b])
        overlaps = iou >= min_iou
        parts.append((a[overlaps], b[overlaps], iou[overlaps]))
        start = stop
    a, b, iou = (np.concatenate(column) for column in zip(*parts, strict=True))
    return a, b, iou


def rasterize(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask of the pixels whose centre lies in one of the boxes."""
    mask = np.zeros(shape, dtype=bool)
    limits = np.tile(shape[::-1], 2)
    corners = np.clip(np.ceil(boxes - 0.5), 0, limits).astype(int)
    for x_min, y_min, x_max, y_max in corners:
        mask[y_min:y_max, x_min:x_max] = True
    return mask

"""Non-maximum suppression that knows parts from neighbours."""

import numpy as np

from .._boxes import area

# Share of the smaller of two boxes that is inside the other: one is a part.
_PART_SHARE = 0.7


def nms(boxes: np.ndarray, rank: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression, in memory linear in the number of boxes.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    rank : ndarray of shape (n_boxes,)
        Boxes are taken in descending order of it.
    iou_threshold : float
        Greatest intersection over union of two boxes that are both taken. A box that
        lies in one that was taken, or holds it, but for a small share, is suppressed
        whatever their overlap.

    Returns
    -------
    ndarray of int
        Rows, in descending order of rank.
    """
    remaining = np.ones(len(boxes), dtype=bool)
    areas = area(boxes)
    taken = []
    for best in np.argsort(-rank, kind="stable"):
        if not remaining[best]:
            continue
        taken.append(best)
        box = boxes[best]
        meets = (boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])
        near = np.flatnonzero(remaining & meets.all(axis=1))
        low = np.maximum(boxes[near, :2], box[:2])
        common = np.prod(np.minimum(boxes[near, 2:], box[2:]) - low, axis=1)
        union = areas[near] + areas[best] - common
        smaller = np.minimum(areas[near], areas[best])
        is_like = common > iou_threshold * union
        remaining[near[is_like | (common > _PART_SHARE * smaller)]] = False
        remaining[best] = False
    return np.array(taken, dtype=np.int64)


def nms_rank(score: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """Rank of proposals: log(score / (1 - score)) + log(area).

    Of boxes with like scores the larger comes first, as a part of an object may look
    like a whole one. The area counts pixels of the channel that a box comes from, as
    boxes from a smaller channel are less exact.
    """
    probability = np.clip(score, 1e-6, 1 - 1e-6)
    pixels = area(proposals["box"]) / proposals["downsampling"] ** 2
    return np.log(probability / (1 - probability)) + np.log(pixels)

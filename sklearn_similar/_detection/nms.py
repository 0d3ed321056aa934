"""Non-maximum suppression that knows which region holds which."""

import numpy as np

from .._boxes import area, paired_iou
from .proposals import ancestors


def nms(
    boxes: np.ndarray, rank: np.ndarray, parent: np.ndarray, iou_threshold: float
) -> np.ndarray:
    """Greedy non-maximum suppression, in memory linear in the number of boxes.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    rank : ndarray of shape (n_boxes,)
        Boxes are taken in descending order of it.
    parent : ndarray of shape (n_boxes,)
        Row of the nearest box of which each is a connected part, -1 for none. A box
        that holds one that was taken, or is a part of it, is suppressed whatever their
        overlap.
    iou_threshold : float
        Greatest intersection over union of two boxes that are both taken.

    Returns
    -------
    ndarray of int
        Rows, in descending order of rank.
    """
    holders = ancestors(parent)
    remaining = np.ones(len(boxes), dtype=bool)
    taken = []
    for best in np.argsort(-rank, kind="stable"):
        if not remaining[best]:
            continue
        taken.append(best)
        box = boxes[best]
        meets = (boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])
        near = np.flatnonzero(remaining & meets.all(axis=1))
        remaining[near[paired_iou(boxes[near], box) > iou_threshold]] = False
        remaining[near[(holders[near] == best).any(axis=1)]] = False
        remaining[holders[best][holders[best] >= 0]] = False
        remaining[best] = False
    return np.array(taken, dtype=np.int64)


def nms_rank(score: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Rank of boxes: log(score / (1 - score)) + log(area).

    Of boxes with like scores the larger comes first, as a part of an object may look
    like a whole one.
    """
    probability = np.clip(score, 1e-6, 1 - 1e-6)
    return np.log(probability / (1 - probability)) + np.log(area(boxes))

"""The box of an instance, from its duplicates."""

import numpy as np

from .._tables.boxes import area, paired_iou
from .suppression import BoxIndex

# Least overlap of boxes that are of one instance; for one from a smaller channel, that
# with what is inside its rim, and then the least overlap with itself.
_DUPLICATE_IOU = 0.7
_LEAST_IOU = 0.5
# Least overlap of moved boxes that are of one instance.
_SAME_IOU = 0.6


def mean_boxes(
    boxes: np.ndarray, label: np.ndarray, weight: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The weighted mean of some boxes and their duplicates of the same label.

    Boxes that were moved to one instance from several proposals err independently.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    label : ndarray of int of shape (n_boxes,)
    weight : ndarray of shape (n_boxes,)
    rows : ndarray of int
        Boxes that non-maximum suppression has taken.

    Returns
    -------
    ndarray of shape (n_rows, 4)
        In whole pixels; where no box is left of the mean, the box as it is.
    """
    boxes = boxes.astype(np.float64)
    total, total_weight = np.zeros((len(rows), 4)), np.zeros(len(rows))
    for number, near in BoxIndex(boxes).meeting(boxes[rows]):
        taken = rows[number]
        is_same = paired_iou(boxes[taken], boxes[near]) >= _SAME_IOU
        is_same &= label[taken] == label[near]
        number, near = number[is_same], near[is_same]
        np.add.at(total, number, boxes[near] * weight[near, np.newaxis])
        np.add.at(total_weight, number, weight[near])
    # Weights of 0 say nothing, and rounding may leave nothing.
    total_weight[total_weight == 0] = 1
    mean = np.rint(total / total_weight[:, np.newaxis])
    is_box = (mean[:, 2:] > mean[:, :2]).all(axis=1, keepdims=True)
    return np.where(is_box, mean, boxes[rows])


def tightest(proposals: np.ndarray, label: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The tightest duplicate, of the same label, of some region proposals.

    Channels see an object's rim differently, and of boxes that are recognised alike,
    the smallest fits best. Boxes from a smaller channel are less exact, by one of its
    pixels on each side, and are only chosen where all are.

    Parameters
    ----------
    proposals : structured ndarray of dtype `PROPOSAL`
    label : ndarray of int of shape (n_proposals,)
    rows : ndarray of int
        Proposals that non-maximum suppression has taken.

    Returns
    -------
    ndarray of int, of the length of `rows`
    """
    order = np.argsort(proposals["box"][:, 0], kind="stable")
    boxes = proposals["box"][order].astype(np.float64)
    sort_key = np.stack([proposals["downsampling"][order], area(boxes)], axis=1)
    box = proposals["box"][rows].astype(np.float64)
    inner = _within_rim(proposals[rows])
    # Boxes that overlap so much begin at most a share of the width apart.
    reach = (1 / _DUPLICATE_IOU - 1) * (box[:, 2] - box[:, 0])
    reach += inner[:, 0] - box[:, 0]
    first = np.searchsorted(boxes[:, 0], box[:, 0] - reach)
    last = np.searchsorted(boxes[:, 0], box[:, 0] + reach, side="right")
    chosen = np.empty_like(rows)
    for number, row in enumerate(rows):
        near = np.arange(first[number], last[number])
        both = np.stack([box[number], inner[number]])[:, np.newaxis]
        overlap, inside = paired_iou(boxes[near], both)
        is_like = overlap >= _DUPLICATE_IOU
        is_like |= (inside >= _DUPLICATE_IOU) & (overlap >= _LEAST_IOU)
        near = near[is_like & (label[order[near]] == label[row])]
        best = near[np.lexsort(sort_key[near].T[::-1])[0]]
        chosen[number] = order[best]
    return chosen


def _within_rim(proposals: np.ndarray) -> np.ndarray:
    """Boxes without the pixel by which a smaller channel may widen a region."""
    box = proposals["box"].astype(np.float64)
    rim = np.where(proposals["downsampling"] > 1, proposals["downsampling"], 0)
    inner = box + rim[:, np.newaxis] * np.array([1, 1, -1, -1])
    is_empty = (inner[:, 2:] <= inner[:, :2]).any(axis=1)
    return np.where(is_empty[:, np.newaxis], box, inner)

"""Non-maximum suppression that knows parts from neighbours."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from .._tables.boxes import area, common_area, paired_iou
from .score_calibration import log_odds

# Share of the smaller of two boxes that is inside the other: one is a part.
_PART_SHARE = 0.7
# Share of a box that is inside one that holds it.
_HELD_SHARE = 0.9
# The most that a box's area counts against surer ones inside it, in log-odds.
_MOST_OF_AREA = 1.0
# Boxes whose pairs are all looked at, and pairs that are in memory at a time.
_BOXES_AT_ONCE = 256
_PAIRS_AT_ONCE = 2**20


def nms(boxes: np.ndarray, rank: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression, near linear in the number of boxes.

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
    index, areas = BoxIndex(boxes), area(boxes)
    taken = [np.empty(0, np.int64)]
    order = np.argsort(-rank, kind="stable")
    for start in range(0, len(boxes), _BOXES_AT_ONCE):
        block = order[start : start + _BOXES_AT_ONCE]
        block = block[remaining[block]]
        first = block[_greedy(boxes[block], areas[block], iou_threshold)]
        taken.append(first)
        for rows, near in index.meeting(boxes[first]):
            is_open = remaining[near]
            rows, near = first[rows[is_open]], near[is_open]
            is_excluded = _excludes(
                boxes[rows], areas[rows], boxes[near], areas[near], iou_threshold
            )
            remaining[near[is_excluded]] = False
    return np.concatenate(taken)


def _greedy(boxes: np.ndarray, areas: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Whether each of a few boxes, best first, is taken: by a look at all pairs."""
    excluded = _excludes(
        boxes[:, np.newaxis], areas[:, np.newaxis], boxes, areas, iou_threshold
    )
    is_taken = np.ones(len(boxes), dtype=bool)
    for row in range(len(boxes)):
        if is_taken[row]:
            is_taken[row + 1 :] &= ~excluded[row, row + 1 :]
    return is_taken


def _excludes(
    a: np.ndarray,
    area_a: np.ndarray,
    b: np.ndarray,
    area_b: np.ndarray,
    iou_threshold: float,
) -> np.ndarray:
    """Whether boxes that broadcast against each other are not both taken."""
    common = common_area(a, b)
    is_like = common > iou_threshold * (area_a + area_b - common)
    is_part = common > _PART_SHARE * np.minimum(area_a, area_b)
    return (common > 0) & (is_like | is_part)


class BoxIndex:
    """Boxes by octave of their size and cell of their lower corner.

    A cell is as wide as the largest box of its octave, so that a box meets those of few
    cells beyond itself.
    """

    def __init__(self, boxes: np.ndarray):
        side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=1)
        octave = np.ceil(np.log2(side)).astype(np.int64)
        self._octaves = np.unique(octave)
        self._origin = boxes[:, :2].min(axis=0, initial=0)
        x, y = self._cells(boxes[:, :2], octave).T
        self._n_columns = int(x.max(initial=0)) + 2
        self._n_rows = int(y.max(initial=0)) + 2
        key = self._key(octave, y, x)
        self._order = np.argsort(key, kind="stable")
        self._keys = key[self._order]

    def _cells(self, corners: np.ndarray, octave: np.ndarray) -> np.ndarray:
        width = np.exp2(octave)[:, np.newaxis]
        return np.floor((corners - self._origin) / width).astype(np.int64)

    def _key(self, octave, y, x) -> np.ndarray:
        return (octave * self._n_rows + y) * self._n_columns + x

    def meeting(self, boxes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of some boxes and of those in the index that may meet them, in parts."""
        for octave in self._octaves:
            octaves = np.full(len(boxes), octave)
            low = self._cells(boxes[:, :2], octaves) - 1
            high = self._cells(boxes[:, 2:], octaves)
            limit = np.array([self._n_columns, self._n_rows]) - 1
            low, high = low.clip(0, limit), high.clip(0, limit)
            # A row of cells is one range of the sorted keys.
            row, step = _ranges(high[:, 1] - low[:, 1] + 1)
            y = low[row, 1] + step
            first = np.searchsorted(self._keys, self._key(octave, y, low[row, 0]))
            last = self._key(octave, y, high[row, 0])
            count = np.searchsorted(self._keys, last, side="right") - first
            has_any = count > 0
            row, first, count = row[has_any], first[has_any], count[has_any]
            part = np.cumsum(count) // _PAIRS_AT_ONCE
            for start, stop in pairwise(
                [0, *(np.flatnonzero(np.diff(part)) + 1), len(part)]
            ):
                number, step = _ranges(count[start:stop])
                at = first[start:stop][number] + step
                yield row[start:stop][number], self._order[at]


def _ranges(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0, 0, 1, 1, 1, ... and 0, 1, 0, 1, 2, ... for the counts 2, 3, ..."""
    number = np.repeat(np.arange(len(counts)), counts)
    return number, np.arange(len(number)) - (np.cumsum(counts) - counts)[number]


def nms_rank(score, boxes, level) -> np.ndarray:
    """Rank of proposals: log(score / (1 - score)) + log(area).

    Of boxes with like scores the larger comes first, as a part of an object may look
    like a whole one. The area counts pixels of the channel that a box comes from, as
    boxes from a smaller channel are less exact.
    """
    pixels = area(boxes) / level**2
    return log_odds(score) + np.log(pixels)


def contains_more_confident(boxes: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Which boxes hold a much smaller one that is much surer, as a sign its digits.

    `nms_rank` would put the larger first, however doubtful it is.
    """
    holds = np.zeros(len(boxes), dtype=bool)
    areas, sureness = area(boxes), log_odds(score)
    for outer, inner in BoxIndex(boxes).meeting(boxes):
        is_surer = sureness[inner] > sureness[outer] + _MOST_OF_AREA
        is_small = areas[inner] < areas[outer] * np.exp(-_MOST_OF_AREA)
        chosen = is_surer & is_small
        outer, inner = outer[chosen], inner[chosen]
        common = common_area(boxes[outer], boxes[inner])
        holds[outer[common > _HELD_SHARE * areas[inner]]] = True
    return holds


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


def tightest(all_boxes, level, label, rows) -> np.ndarray:
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
    order = np.argsort(all_boxes[:, 0], kind="stable")
    boxes = all_boxes[order].astype(np.float64)
    sort_key = np.stack([level[order], area(boxes)], axis=1)
    box = all_boxes[rows].astype(np.float64)
    inner = _within_rim(all_boxes[rows], level[rows])
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


def _within_rim(all_boxes, level) -> np.ndarray:
    """Boxes without the pixel by which a smaller channel may widen a region."""
    box = all_boxes.astype(np.float64)
    rim = np.where(level > 1, level, 0)
    inner = box + rim[:, np.newaxis] * np.array([1, 1, -1, -1])
    is_empty = (inner[:, 2:] <= inner[:, :2]).any(axis=1)
    return np.where(is_empty[:, np.newaxis], box, inner)

"""Non-maximum suppression that knows parts from neighbours."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from .._tables.boxes import area, common_area
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


def nms_rank(score: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """Rank of proposals: log(score / (1 - score)) + log(area).

    Of boxes with like scores the larger comes first, as a part of an object may look
    like a whole one. The area counts pixels of the channel that a box comes from, as
    boxes from a smaller channel are less exact.
    """
    pixels = area(proposals["box"]) / proposals["downsampling"] ** 2
    return log_odds(score) + np.log(pixels)


def holds_surer(boxes: np.ndarray, score: np.ndarray) -> np.ndarray:
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

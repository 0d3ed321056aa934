"""Non-maximum suppression, and the box of an object from its near-duplicates."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from .._images.images import batch_slices
from .._images.memory import within_working_memory
from .._tables.boxes import area, common_area, paired_iou
from .detections import Detections
from .proposals import Proposals
from .score_calibration import log_odds

# Pairs of boxes that are compared at a time, at scikit-learn's default working memory.
_MAX_PAIRS = 2**19


def suppress(
    detections: Detections,
    nms_threshold: float,
    is_refined: bool,
    area_weight: float = 1.0,
) -> Detections:
    """Detections of an image without duplicates, in descending order of score.

    Parameters
    ----------
    detections : Detections
        Of one image, in all of its views.
    nms_threshold : float
        Maximum intersection over union of two detections.
    is_refined : bool
        Whether boxes come from a box regression.
    area_weight : float
        Of the logarithm of the area in `nms_rank`.
    """
    proposals = detections.proposals
    rows, boxes, coarseness = suppress_duplicates(
        proposals.boxes,
        proposals.coarseness,
        detections.label,
        detections.score,
        nms_threshold=nms_threshold,
        is_refined=is_refined,
        area_weight=area_weight,
    )
    fitted = Proposals(boxes, proposals.view[rows], coarseness)
    return replace(detections.select(rows), proposals=fitted)


def suppress_duplicates(
    boxes: np.ndarray,
    coarseness: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
    *,
    nms_threshold: float,
    is_refined: bool,
    area_weight: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Suppress near-duplicate detections and refit the boxes of the others.

    Parameters
    ----------
    boxes : ndarray of float32 of shape (n_boxes, 4)
        Boxes of an image, x_min, y_min, x_max, y_max.
    coarseness : ndarray of int of shape (n_boxes,)
        As in `Proposals`.
    label : ndarray of int of shape (n_boxes,)
    score : ndarray of shape (n_boxes,)
    nms_threshold : float
        Maximum IoU of two detections.
    is_refined : bool
        Whether a box regression has moved the boxes. Then a detection has the mean box
        of its near-duplicates, otherwise the tightest.
    area_weight : float
        Of the logarithm of the area in `nms_rank`.

    Returns
    -------
    rows : ndarray of int of shape (n_detections,)
        Rows of the detections, in descending order of score.
    boxes : ndarray of float32 of shape (n_detections, 4)
    coarseness : ndarray of int of shape (n_detections,)
    """
    rows = np.arange(len(boxes))
    if is_refined:
        # Proposals of parts were moved to the whole object. So a more confident box
        # inside is another object, as a digit on a sign.
        rows = np.flatnonzero(~contains_more_confident(boxes, score))
        boxes, coarseness = boxes[rows], coarseness[rows]
        label, score = label[rows], score[rows]
    rank = nms_rank(score, boxes, coarseness, area_weight)
    best = nms(boxes, rank, nms_threshold)
    if is_refined:
        fitted = mean_boxes(boxes, label, score / coarseness**2, best)
        fitted = fitted.astype(np.float32)
        fitted_coarseness = np.ones(len(best), coarseness.dtype)
    else:
        tight = tightest(boxes, coarseness, label, best)
        fitted, fitted_coarseness = boxes[tight], coarseness[tight]
    # Refitted boxes may overlap more.
    distinct = nms(fitted, rank[best], nms_threshold)
    distinct = distinct[np.argsort(-score[best[distinct]], kind="stable")]
    return rows[best[distinct]], fitted[distinct], fitted_coarseness[distinct]


def nms(
    boxes: np.ndarray,
    rank: np.ndarray,
    iou_threshold: float,
    *,
    containment_threshold: float = 0.7,
    block_size: int = 256,
) -> np.ndarray:
    """Greedy non-maximum suppression, near linear in the number of boxes.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    rank : ndarray of shape (n_boxes,)
        Boxes are selected in descending order of rank.
    iou_threshold : float
        Maximum intersection over union of two selected boxes.
    containment_threshold : float
        Maximum intersection of two selected boxes, as a share of the smaller one. The
        smaller box is probably a part of the object in the larger one.
    block_size : int
        Boxes of which all pairs are compared.

    Returns
    -------
    ndarray of int
        Selected rows, in descending order of rank.
    """

    def excludes(a, area_a, b, area_b) -> np.ndarray:
        common = common_area(a, b)
        is_duplicate = common > iou_threshold * (area_a + area_b - common)
        is_part = common > containment_threshold * np.minimum(area_a, area_b)
        return (common > 0) & (is_duplicate | is_part)

    remaining = np.ones(len(boxes), dtype=bool)
    index, areas = BoxIndex(boxes), area(boxes)
    selected = [np.empty(0, np.int64)]
    order = np.argsort(-rank, kind="stable")
    for part in batch_slices(len(boxes), block_size):
        block = order[part]
        block = block[remaining[block]]
        box, box_area = boxes[block], areas[block]
        is_excluded = excludes(box[:, None], box_area[:, None], box, box_area)
        block = block[_select_greedily(is_excluded)]
        selected.append(block)
        for query, near in index.candidate_pairs(boxes[block]):
            is_open = remaining[near]
            best, near = block[query[is_open]], near[is_open]
            is_excluded = excludes(boxes[best], areas[best], boxes[near], areas[near])
            remaining[near[is_excluded]] = False
    return np.concatenate(selected)


def _select_greedily(excludes: np.ndarray) -> np.ndarray:
    """Whether each box, best first, is selected; `excludes` is n_boxes x n_boxes."""
    is_selected = np.ones(len(excludes), dtype=bool)
    for row in range(len(excludes)):
        if is_selected[row]:
            is_selected[row + 1 :] &= ~excludes[row, row + 1 :]
    return is_selected


def nms_rank(
    score: np.ndarray,
    boxes: np.ndarray,
    coarseness: np.ndarray,
    area_weight: float = 1.0,
) -> np.ndarray:
    """Rank of detections: log(score / (1 - score)) + area_weight * log(area).

    A part of an object may resemble a whole one, so that of boxes with similar scores
    the larger ranks higher. The area is in pixels of the channel from which a box
    comes, as boxes of downsampled channels are less exact.
    """
    return log_odds(score) + area_weight * np.log(area(boxes) / coarseness**2)


def contains_more_confident(
    boxes: np.ndarray,
    score: np.ndarray,
    *,
    min_containment: float = 0.9,
    min_log_ratio: float = 1.0,
) -> np.ndarray:
    """Whether a box contains a smaller and more confident one, as a sign its digits.

    `nms_rank` would rank the larger box higher, however doubtful it is.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    score : ndarray of shape (n_boxes,)
    min_containment : float
        Minimum share of the smaller box that is inside the larger one.
    min_log_ratio : float
        Minimum difference of the scores' log-odds, and of the areas' logarithms.

    Returns
    -------
    ndarray of bool of shape (n_boxes,)
    """
    contains = np.zeros(len(boxes), dtype=bool)
    areas, confidence = area(boxes), log_odds(score)
    for outer, inner in BoxIndex(boxes).candidate_pairs(boxes):
        is_confident = confidence[inner] > confidence[outer] + min_log_ratio
        is_small = areas[inner] < areas[outer] * np.exp(-min_log_ratio)
        outer, inner = outer[is_confident & is_small], inner[is_confident & is_small]
        common = common_area(boxes[outer], boxes[inner])
        contains[outer[common > min_containment * areas[inner]]] = True
    return contains


def mean_boxes(
    boxes: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray,
    rows: np.ndarray,
    *,
    min_iou: float = 0.6,
) -> np.ndarray:
    """Weighted means of boxes and their near-duplicates of the same label.

    Boxes that were moved to one object from several proposals err independently.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    label : ndarray of int of shape (n_boxes,)
    weight : ndarray of shape (n_boxes,)
    rows : ndarray of int
        Boxes selected by non-maximum suppression.
    min_iou : float
        Minimum IoU of near-duplicates.

    Returns
    -------
    ndarray of shape (n_rows, 4)
        In whole pixels; a box whose mean would be empty is unchanged.
    """
    boxes = boxes.astype(np.float64)
    total, total_weight = np.zeros((len(rows), 4)), np.zeros(len(rows))
    for query, near in _pairs_of_one_label(boxes, label, rows):
        is_duplicate = paired_iou(boxes[rows[query]], boxes[near]) >= min_iou
        query, near = query[is_duplicate], near[is_duplicate]
        np.add.at(total, query, boxes[near] * weight[near, np.newaxis])
        np.add.at(total_weight, query, weight[near])
    # A box is unchanged if all weights are 0.
    total_weight[total_weight == 0] = 1
    mean = np.rint(total / total_weight[:, np.newaxis])
    is_box = (mean[:, 2:] > mean[:, :2]).all(axis=1, keepdims=True)
    return np.where(is_box, mean, boxes[rows])


def tightest(
    boxes: np.ndarray,
    coarseness: np.ndarray,
    label: np.ndarray,
    rows: np.ndarray,
    *,
    duplicate_iou: float = 0.7,
    min_iou: float = 0.5,
) -> np.ndarray:
    """Smallest near-duplicate of the same label of region proposals.

    Channels differ at an object's rim, and among boxes that are recognised as the same
    the smallest fits best. Boxes of downsampled channels are less exact, by one of
    their pixels on each side, and are chosen only if there are no others.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    coarseness : ndarray of int of shape (n_boxes,)
        Downsampling factor of the channel from which each box comes.
    label : ndarray of int of shape (n_boxes,)
    rows : ndarray of int
        Boxes selected by non-maximum suppression.
    duplicate_iou : float
        Minimum IoU of near-duplicates. A box of a downsampled channel may reach it
        without its rim.
    min_iou : float
        Minimum IoU with the rim.

    Returns
    -------
    ndarray of int of shape (n_rows,)
    """
    boxes = boxes.astype(np.float64)
    inner = _without_rim(boxes[rows], coarseness[rows])
    queries, duplicates = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for query, near in _pairs_of_one_label(boxes, label, rows):
        iou = paired_iou(boxes[near], boxes[rows[query]])
        inner_iou = paired_iou(boxes[near], inner[query])
        is_duplicate = iou >= duplicate_iou
        is_duplicate |= (inner_iou >= duplicate_iou) & (iou >= min_iou)
        queries.append(query[is_duplicate])
        duplicates.append(near[is_duplicate])
    query, near = np.concatenate(queries), np.concatenate(duplicates)
    preference = (near, boxes[near, 0], area(boxes[near]), coarseness[near])
    order = np.lexsort((*preference, query))
    # Each box is a near-duplicate of itself.
    _, first = np.unique(query[order], return_index=True)
    return near[order[first]]


def _without_rim(boxes: np.ndarray, coarseness: np.ndarray) -> np.ndarray:
    """Boxes without the pixel by which a downsampled channel may widen a region."""
    rim = np.where(coarseness > 1, coarseness, 0)
    inner = boxes + rim[:, np.newaxis] * np.array([1, 1, -1, -1])
    is_empty = (inner[:, 2:] <= inner[:, :2]).any(axis=1, keepdims=True)
    return np.where(is_empty, boxes, inner)


def _pairs_of_one_label(
    boxes: np.ndarray, label: np.ndarray, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Candidate pairs of some rows of boxes and boxes with the same label."""
    for query, near in BoxIndex(boxes).candidate_pairs(boxes[rows]):
        is_same = label[rows[query]] == label[near]
        yield query[is_same], near[is_same]


class BoxIndex:
    """Hierarchical grid of boxes, for queries of boxes that may overlap.

    A level of the grid holds the boxes whose longer side is up to a power of two. Its
    cells are as large as the largest of them, so that a box overlaps only those with a
    lower corner in its own cells or the ones next to them.

    Parameters
    ----------
    boxes : ndarray of shape (n_boxes, 4)
    """

    def __init__(self, boxes: np.ndarray):
        side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=1)
        level = np.ceil(np.log2(side)).astype(np.int64)
        self._levels = np.unique(level)
        self._origin = boxes[:, :2].min(axis=0, initial=0)
        cell = self._cell(boxes[:, :2], level[:, np.newaxis])
        self._last_cell = cell.max(axis=0, initial=0) + 1
        key = self._key(level, cell[:, 0], cell[:, 1])
        self._order = np.argsort(key, kind="stable")
        self._keys = key[self._order]

    def candidate_pairs(
        self, boxes: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of boxes and of indexed boxes that may overlap, in batches."""
        for level in self._levels:
            query, start, stop = self._key_ranges(boxes, level)
            yield from self._pairs_of_ranges(query, start, stop - start)

    def _cell(self, corners: np.ndarray, level: np.ndarray | np.integer) -> np.ndarray:
        """X and y of the cells of corners n x 2."""
        return np.floor((corners - self._origin) / np.exp2(level)).astype(np.int64)

    def _key(
        self, level: np.ndarray | np.integer, x: np.ndarray, y: np.ndarray
    ) -> np.ndarray:
        """Number of a cell; the cells of a row have consecutive numbers."""
        n_columns, n_rows = self._last_cell + 1
        return (level * n_rows + y) * n_columns + x

    def _key_ranges(
        self, boxes: np.ndarray, level: np.integer
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ranges of the sorted keys, one for each row of cells near a box.

        Returns
        -------
        query, start, stop : ndarray of shape (n_ranges,)
            Row of the box, and the range of the keys.
        """
        low = self._cell(boxes[:, :2], level) - 1
        high = self._cell(boxes[:, 2:], level)
        low, high = low.clip(0, self._last_cell), high.clip(0, self._last_cell)
        query, step = _enumerate_groups(high[:, 1] - low[:, 1] + 1)
        y = low[query, 1] + step
        first = self._key(level, low[query, 0], y)
        last = self._key(level, high[query, 0], y)
        start = np.searchsorted(self._keys, first)
        stop = np.searchsorted(self._keys, last, side="right")
        return query, start, stop

    def _pairs_of_ranges(
        self, query: np.ndarray, start: np.ndarray, count: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of boxes and indexed boxes in their ranges of keys, in batches."""
        query, start, count = (values[count > 0] for values in (query, start, count))
        batch = np.cumsum(count) // within_working_memory(_MAX_PAIRS)
        ends = [0, *(np.flatnonzero(np.diff(batch)) + 1), len(batch)]
        for begin, end in pairwise(ends):
            number, step = _enumerate_groups(count[begin:end])
            position = start[begin:end][number] + step
            yield query[begin:end][number], self._order[position]


def _enumerate_groups(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group of each element and its position there: 0 0 1 1 1, 0 1 0 1 2 for 2, 3."""
    group = np.repeat(np.arange(len(counts)), counts)
    start = np.cumsum(counts) - counts
    return group, np.arange(len(group)) - start[group]

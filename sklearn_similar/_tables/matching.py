"""Greedy matching of detections to true instances, as COCO does it."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.exceptions import UndefinedMetricWarning

from .._images.messages import warn_user
from .._images.splits import rank_within
from .boxes import max_share_inside, overlapping_pairs
from .checks import as_instances
from .values import shared_codes

# Names of the two tables in messages.
NAMES = ("y_true", "y_pred")

# As in COCO's code: an IoU of exactly 1 must reach a threshold of 1.
_MAX_IOU_THRESHOLD = 1 - 1e-10


class Pairs(NamedTuple):
    """Instances as arrays, and the pairs that overlap enough to match.

    Attributes
    ----------
    labels : Index of shape (n_labels,)
        Labels of the true instances.
    true_label : ndarray of shape (n_true,)
        Index in `labels`.
    label : ndarray of shape (n_predicted,)
        Index in `labels`; n_labels if it is not among them.
    image, score : ndarray of shape (n_predicted,)
    predicted, true : ndarray of shape (n_pairs,)
        Indices of the instances in each pair, in the order of the greedy matching: by
        descending score, then by descending IoU.
    iou : ndarray of shape (n_pairs,)
    crowd_share : ndarray of shape (n_predicted,)
        Share of each box that a crowd of its image and label covers.
    """

    labels: pd.Index
    true_label: np.ndarray
    label: np.ndarray
    image: np.ndarray
    score: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    iou: np.ndarray
    crowd_share: np.ndarray


def find_pairs(
    y_true: Any,
    y_pred: Any,
    min_iou: float,
    *,
    match_label: bool = True,
    max_detections: int | None = None,
) -> Pairs:
    """Validate both tables and find their overlaps within each image and label.

    Of the detections of an image and label, the `max_detections` highest-scoring ones
    are used. Crowds are not among the true instances.
    """
    truth = as_instances(
        y_true, name="y_true", needs_label=match_label, with_crowds=True
    )
    detections = as_instances(
        y_pred, name="y_pred", needs_label=match_label, needs_score=True
    )
    true_image, image, _ = shared_codes(
        truth.image, detections.image, "image", names=NAMES
    )
    true_label, label, labels = shared_codes(
        truth.label, detections.label, "label", names=NAMES
    )
    true_group = true_image * len(labels) + true_label
    group = image * len(labels) + label
    is_crowd = truth.is_crowd
    crowds, crowd_group = truth.boxes[is_crowd], true_group[is_crowd]
    true_boxes, true_group = truth.boxes[~is_crowd], true_group[~is_crowd]
    true_label = true_label[~is_crowd]
    boxes, score = detections.boxes, np.asarray(detections.score)
    if max_detections is not None:
        is_used = rank_within(group, -score) < max_detections
        boxes, group, image = boxes[is_used], group[is_used], image[is_used]
        label, score = label[is_used], score[is_used]
    predicted, true, iou = overlapping_pairs(
        boxes, group, true_boxes, true_group, min(min_iou, _MAX_IOU_THRESHOLD)
    )
    score_rank = np.empty(len(score), dtype=np.intp)
    score_rank[np.argsort(-score, kind="stable")] = np.arange(len(score))
    # Among true boxes of equal IoU, COCO's code takes the last.
    order = np.lexsort((-true, -iou, score_rank[predicted]))
    true_labels, true_label = np.unique(true_label, return_inverse=True)
    index_of_label = np.full(len(labels), len(true_labels))
    index_of_label[true_labels] = np.arange(len(true_labels))
    return Pairs(
        labels=labels[true_labels],
        true_label=true_label,
        label=index_of_label[label],
        image=image,
        score=score,
        predicted=predicted[order],
        true=true[order],
        iou=iou[order],
        crowd_share=_crowd_shares(boxes, group, crowds, crowd_group),
    )


def _crowd_shares(
    boxes: np.ndarray, group: np.ndarray, crowds: np.ndarray, crowd_group: np.ndarray
) -> np.ndarray:
    """Share of each box that a crowd of its group, image and label, covers."""
    share = np.zeros(len(boxes))
    for number in np.unique(crowd_group):
        rows = group == number
        regions = crowds[crowd_group == number]
        share[rows] = max_share_inside(boxes[rows], regions)
    return share


def matched_rows(pairs: Pairs, iou_threshold: float) -> np.ndarray:
    """Match greedily; return the row of the true box of each detection, or -1."""
    true_row = [-1] * len(pairs.score)
    is_matched = bytearray(len(pairs.true_label))
    reaches = pairs.iou >= min(iou_threshold, _MAX_IOU_THRESHOLD)
    for predicted, true in zip(
        pairs.predicted[reaches].tolist(), pairs.true[reaches].tolist(), strict=True
    ):
        # Pairs are sorted: the first one with both sides free is the greedy choice.
        if true_row[predicted] < 0 and not is_matched[true]:
            true_row[predicted] = true
            is_matched[true] = 1
    return np.array(true_row, dtype=np.intp)


def ignored_rows(
    pairs: Pairs, true_row: np.ndarray, iou_threshold: float
) -> np.ndarray:
    """Whether each detection is neither right nor false, as a crowd covers it.

    As in COCO, the share of a detection that is covered must reach the threshold.
    `true_row` is the result of `matched_rows`.
    """
    is_covered = pairs.crowd_share >= min(iou_threshold, _MAX_IOU_THRESHOLD)
    return (true_row < 0) & is_covered


class MatchCounts(NamedTuple):
    """Numbers of matched, predicted and true instances, and the scores they give.

    `zero_division` is the value of 0 / 0; "warn" means 0.0 and a warning.
    """

    n_matched: int
    n_predicted: int
    n_true: int

    def precision(self, zero_division: float | str = 0.0) -> float:
        """Share of the predicted instances that match."""
        return ratio(
            self.n_matched, self.n_predicted, zero_division, "Precision", "predictions"
        )

    def recall(self, zero_division: float | str = 0.0) -> float:
        """Share of the true instances that are matched."""
        return ratio(
            self.n_matched, self.n_true, zero_division, "Recall", "true instances"
        )

    def f1(self, zero_division: float | str = 0.0) -> float:
        """Harmonic mean of precision and recall."""
        n_instances = self.n_predicted + self.n_true
        return ratio(2 * self.n_matched, n_instances, zero_division, "F1", "instances")


def count_matches(
    y_true: Any, y_pred: Any, iou_threshold: float = 0.5, *, match_label: bool = True
) -> MatchCounts:
    """Match detections to true instances at an IoU, and count both."""
    pairs = find_pairs(y_true, y_pred, iou_threshold, match_label=match_label)
    matched = matched_rows(pairs, iou_threshold)
    is_ignored = ignored_rows(pairs, matched, iou_threshold)
    return MatchCounts(
        n_matched=int(np.count_nonzero(matched >= 0)),
        n_predicted=int(np.count_nonzero(~is_ignored)),
        n_true=len(pairs.true_label),
    )


def ratio(
    part: float, whole: int, zero_division: float | str, name: str, requirement: str
) -> float:
    """Part / whole; for 0 / 0 the value of `zero_division`.

    The warning says that `name` is undefined without `requirement`.
    """
    if whole:
        return float(part / whole)
    if zero_division == "warn":
        warn_user(
            f"{name} is undefined without {requirement} and set to 0.0; give "
            "zero_division to choose the value.",
            UndefinedMetricWarning,
        )
        return 0.0
    return float(zero_division)

"""Greedy matching of predicted to true instances, as COCO does it."""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.exceptions import UndefinedMetricWarning

from .._compat import Interval, Options, StrOptions
from .._images.messages import warn_user
from .._images.splits import rank_within
from ._boxes import overlapping_pairs
from ._checks import as_instances
from ._values import shared_codes

IOU_THRESHOLD = Interval(Real, 0, 1, closed="right")
TABLES: dict[str, Any] = {
    "y_true": [pd.DataFrame, "array-like"],
    "y_pred": [pd.DataFrame, "array-like"],
}
NAMES = ("y_true", "y_pred")
ZERO_DIVISION = [Options(Real, {0.0, 1.0}), "nan", StrOptions({"warn"})]


class _Pairs(NamedTuple):
    """Instances as arrays, and the pairs of them that overlap enough to match."""

    labels: pd.Index  # the labels of y_true, in the order of the codes below
    true_label: np.ndarray
    label: np.ndarray  # of the predictions; at least len(labels): not in y_true
    image: np.ndarray
    score: np.ndarray
    predicted: np.ndarray  # indices of the pairs, in the order of the greedy matching
    true: np.ndarray
    iou: np.ndarray


def find_pairs(
    y_true: Any,
    y_pred: Any,
    min_iou: float,
    *,
    match_label: bool = True,
    max_detections: int | None = None,
) -> _Pairs:
    """Validate both tables and find their overlaps within each image and label."""
    truth = as_instances(y_true, name="y_true", needs_label=match_label)
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
    boxes, score = detections.boxes, np.asarray(detections.score)
    if max_detections is not None:
        most_sure = rank_within(group, -score) < max_detections
        boxes, group, image = boxes[most_sure], group[most_sure], image[most_sure]
        label, score = label[most_sure], score[most_sure]
    # The comparison of COCO's code: an IoU of exactly 1 must reach a threshold of 1.
    predicted, true, iou = overlapping_pairs(
        boxes, group, truth.boxes, true_group, min(min_iou, 1 - 1e-10)
    )
    turn = np.empty(len(score), dtype=np.intp)
    turn[np.argsort(-score, kind="stable")] = np.arange(len(score))
    # Among true boxes of equal IoU, COCO's code takes the last.
    order = np.lexsort((-true, -iou, turn[predicted]))
    present, true_label = np.unique(true_label, return_inverse=True)
    recode = np.full(len(labels), len(present))
    recode[present] = np.arange(len(present))
    return _Pairs(
        labels[present],
        true_label,
        recode[label],
        image,
        score,
        predicted[order],
        true[order],
        iou[order],
    )


def match_pairs(pairs: _Pairs, iou_threshold: float) -> np.ndarray:
    """Match greedily; return for each prediction whether it matches a true box."""
    return matched_rows(pairs, iou_threshold) >= 0


def matched_rows(pairs: _Pairs, iou_threshold: float) -> np.ndarray:
    """Match greedily; return for each prediction the row of its true box, or -1.

    The pairs come by descending score, then by descending IoU, so that the first pair
    of which both sides are free is the greedy choice.
    """
    partner = [-1] * len(pairs.score)
    taken = bytearray(len(pairs.true_label))
    near = pairs.iou >= min(iou_threshold, 1 - 1e-10)
    for predicted, true in zip(
        pairs.predicted[near].tolist(), pairs.true[near].tolist(), strict=True
    ):
        if partner[predicted] < 0 and not taken[true]:
            partner[predicted] = true
            taken[true] = 1
    return np.array(partner, dtype=np.intp)


def safe_ratio(
    part: float, whole: int, zero_division: float | str, name: str, what: str
) -> float:
    """Return part / whole, or what zero_division asks for; called by public names."""
    if whole:
        return float(part / whole)
    if zero_division == "warn":
        warn_user(
            f"{name} is undefined without {what} and set to 0.0; give zero_division to "
            "choose the value.",
            UndefinedMetricWarning,
        )
        return 0.0
    return float(zero_division)

"""Average precision of detections, as COCO defines it."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from .._compat import Interval, StrOptions, validate_params
from .._tables.boxes import BOX_COLUMNS
from .._tables.matching import (
    Pairs,
    find_pairs,
    ignored_rows,
    matched_rows,
    ratio,
)
from .._tables.values import as_numbers
from ._detection import IOU_THRESHOLD, TABLES, ZERO_DIVISION

# COCO's grids, written as in its evaluation code: 0.57 and 57 * 0.01 differ in the
# last bit, and a recall on the edge must fall on the same side.
_RECALLS = np.linspace(0.0, 1.0, 101)
_COCO_IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)

# Name of the mean, and what it is undefined without.
_MEAN = ("Average precision", "true instances")

_RANKING: dict[str, Any] = {
    **TABLES,
    "max_detections": [Interval(Integral, 1, None, closed="left"), None],
    "ties": [StrOptions({"order", "worst"})],
    "zero_division": ZERO_DIVISION,
}


@validate_params(
    _RANKING
    | {
        "iou_threshold": [IOU_THRESHOLD],
        "average": [StrOptions({"macro"}), None],
    },
    prefer_skip_nested_validation=True,
)
def average_precision(
    y_true: Any,
    y_pred: Any,
    *,
    iou_threshold: float = 0.5,
    average: str | None = "macro",
    max_detections: int | None = None,
    ties: str = "order",
    zero_division: float | str = "warn",
) -> Any:
    """Compute the average precision of predicted instances at one IoU.

    Parameters
    ----------
    y_true : DataFrame or array-like of shape (n, 4)
        True instances: ``image, label, x_min, y_min, x_max, y_max``, boxes in pixels,
        half-open; other columns are ignored. An array holds the boxes of one image and
        one label.
    y_pred : DataFrame or array-like of shape (m, 4)
        Predicted instances: the same columns and ``score``. The rows of an array must
        be sorted by descending score.
    iou_threshold : float, default=0.5
        Minimum intersection over union of a match, in (0, 1].
    average : {"macro", None}, default="macro"
        "macro" is the mean over the labels of y_true; None returns the value of each
        label.
    max_detections : int, default=None
        Maximum number of predictions of an image and label, those with the highest
        scores (COCO: 100). None uses all.
    ties : {"order", "worst"}, default="order"
        Rank of predictions with equal scores. "order": by image, then by row, as in
        COCO's code. "worst": false predictions first, which does not depend on the
        order of images and rows.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        The mean when y_true is empty; "warn" means 0.0 and a warning.

    Returns
    -------
    average_precision : float or Series
        Value in [0, 1]; with ``average=None`` a Series indexed by label.

    Raises
    ------
    ValueError
        If columns are missing, or a row has a negative extent or non-finite values.

    Notes
    -----
    The definition is COCO's [1]_. For each label, the predictions of all images are
    matched as in `detection_scores` and ranked by score. Precision, made monotone from
    the right, is read at the 101 recalls 0, 0.01, ..., 1 and averaged; it is 0 at a
    recall that is not reached. (Pascal VOC [2]_ used 11 recalls, and later the exact
    area.) Predictions of a label that y_true does not have are ignored.

    If many scores are equal, as rounded scores are, the result of ``ties="order"``
    depends on the order of the images: one true and one false prediction of equal
    score give 1.0 or 0.5. ``ties="worst"`` counts predictions of equal score together,
    as ``sklearn.metrics.precision_recall_curve`` does, and is the minimum over all
    orders. Compare both if they may differ.

    References
    ----------
    .. [1] Lin et al. (2014). Microsoft COCO: Common Objects in Context. ECCV.
    .. [2] Everingham et al. (2010). The Pascal Visual Object Classes (VOC) Challenge.
       International Journal of Computer Vision 88.

    Examples
    --------
    >>> from sklearn_similar.metrics import average_precision
    >>> y_true = [[0, 0, 4, 4], [9, 9, 12, 12]]
    >>> round(average_precision(y_true, [[0, 0, 4, 4]]), 3)  # 51 of 101 recalls
    0.505
    """
    pairs = _find_pairs(y_true, y_pred, iou_threshold, max_detections, ties)
    per_label = _average_precisions(pairs, iou_threshold, ties)
    if average is None:
        return pd.Series(per_label, index=pairs.labels, name="average_precision")
    return ratio(per_label.sum(), len(per_label), zero_division, *_MEAN)


@validate_params(
    _RANKING | {"iou_thresholds": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def mean_average_precision(
    y_true: Any,
    y_pred: Any,
    *,
    iou_thresholds: Any = None,
    max_detections: int | None = None,
    ties: str = "order",
    zero_division: float | str = "warn",
) -> float:
    """Compute COCO's mean average precision over labels and IoU thresholds.

    Parameters
    ----------
    y_true, y_pred : DataFrame or array-like of shape (n, 4)
        True and predicted instances, as in `average_precision`.
    iou_thresholds : array-like of float, default=None
        Thresholds in (0, 1]; None: 0.5, 0.55, ..., 0.95.
    max_detections : int, default=None
        Maximum number of predictions of an image and label, those with the highest
        scores (COCO: 100). None uses all: a page may have thousands of instances.
    ties : {"order", "worst"}, default="order"
        Rank of predictions with equal scores, as in `average_precision`.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value when y_true is empty; "warn" means 0.0 and a warning.

    Returns
    -------
    mean_average_precision : float
        Value in [0, 1].

    Raises
    ------
    ValueError
        If a threshold is outside (0, 1], columns are missing, or a row has a negative
        extent or non-finite values.

    Notes
    -----
    The mean of `average_precision` over the labels of y_true and over the thresholds
    [1]_. Matching is repeated at each threshold.

    References
    ----------
    .. [1] Lin et al. (2014). Microsoft COCO: Common Objects in Context. ECCV.

    Examples
    --------
    >>> from sklearn_similar.metrics import mean_average_precision
    >>> round(mean_average_precision([[0, 0, 10, 10]], [[0, 0, 10, 8]]), 3)  # IoU 0.8
    0.7
    """
    if iou_thresholds is None:
        thresholds = _COCO_IOU_THRESHOLDS
    else:
        thresholds = as_numbers(iou_thresholds, "iou_thresholds").ravel()
    if not thresholds.size or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise ValueError(
            f"iou_thresholds is {iou_thresholds!r}; pass one or more numbers above 0 "
            "and at most 1."
        )
    pairs = _find_pairs(y_true, y_pred, thresholds.min(), max_detections, ties)
    per_label = [
        _average_precisions(pairs, threshold, ties) for threshold in thresholds
    ]
    mean = np.mean(per_label, axis=0)
    return ratio(mean.sum(), len(mean), zero_division, *_MEAN)


def _find_pairs(
    y_true: Any, y_pred: Any, min_iou: float, max_detections: int | None, ties: str
) -> Pairs:
    if ties == "worst":
        # Matching and max_detections take equal scores in the order of the rows.
        y_true, y_pred = _sorted_by_box(y_true), _sorted_by_box(y_pred)
    return find_pairs(y_true, y_pred, min_iou, max_detections=max_detections)


def _sorted_by_box(instances: Any) -> Any:
    """A table in an order that depends on the boxes alone; arrays as they are.

    Tables that cannot be sorted are left to validation.
    """
    if not isinstance(instances, pd.DataFrame):
        return instances
    columns = list(BOX_COLUMNS)
    if not instances.columns.is_unique or not set(columns) <= set(instances.columns):
        return instances
    try:
        return instances.sort_values(columns, kind="stable")
    except TypeError:
        return instances


def _average_precisions(pairs: Pairs, iou_threshold: float, ties: str) -> np.ndarray:
    """The 101-point average precision of each label of y_true."""
    matched = matched_rows(pairs, iou_threshold)
    is_match = matched >= 0
    # Among equal scores: the order of images, or false predictions first.
    tie_breaker = pairs.image if ties == "order" else is_match
    order = np.lexsort((tie_breaker, -pairs.score, pairs.label))
    order = order[~ignored_rows(pairs, matched, iou_threshold)[order]]
    is_match = is_match[order]
    n_true = np.bincount(pairs.true_label, minlength=len(pairs.labels))
    bounds = np.searchsorted(pairs.label[order], np.arange(len(n_true) + 1))
    values = np.empty(len(n_true))
    for code, n in enumerate(n_true):
        true_positives = np.cumsum(is_match[bounds[code] : bounds[code + 1]])
        precision = true_positives / np.arange(1, len(true_positives) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        reached = np.searchsorted(true_positives / n, _RECALLS, side="left")
        values[code] = np.append(envelope, 0.0)[reached].mean()
    return values

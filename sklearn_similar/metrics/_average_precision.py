"""Average precision of detections, as COCO defines it."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from .._compat import Interval, StrOptions, validate_params
from .._tables.matching import Pairs, find_pairs, matched_rows, ratio
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
    area.) Predictions of a label that y_true does not have are ignored. Equal scores
    are ranked by image, then by row.

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
    pairs = find_pairs(y_true, y_pred, iou_threshold, max_detections=max_detections)
    per_label = _average_precisions(pairs, iou_threshold)
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
    pairs = find_pairs(y_true, y_pred, thresholds.min(), max_detections=max_detections)
    per_label = [_average_precisions(pairs, threshold) for threshold in thresholds]
    mean = np.mean(per_label, axis=0)
    return ratio(mean.sum(), len(mean), zero_division, *_MEAN)


def _average_precisions(pairs: Pairs, iou_threshold: float) -> np.ndarray:
    """The 101-point average precision of each label of y_true."""
    order = np.lexsort((pairs.image, -pairs.score, pairs.label))
    is_match = (matched_rows(pairs, iou_threshold) >= 0)[order]
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

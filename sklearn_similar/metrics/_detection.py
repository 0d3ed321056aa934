"""Precision, recall and F1 of detected instances."""

from numbers import Real
from typing import Any, NamedTuple

import pandas as pd

from .._compat import Interval, Options, StrOptions, validate_params
from .._tables.matching import count_matches

IOU_THRESHOLD = Interval(Real, 0, 1, closed="right")
TABLES: dict[str, Any] = {
    "y_true": [pd.DataFrame, "array-like"],
    "y_pred": [pd.DataFrame, "array-like"],
}
ZERO_DIVISION = [Options(Real, {0.0, 1.0}), "nan", StrOptions({"warn"})]

_SCORES: dict[str, Any] = {
    **TABLES,
    "iou_threshold": [IOU_THRESHOLD],
    "match_label": ["boolean"],
    "zero_division": ZERO_DIVISION,
}


class DetectionScores(NamedTuple):
    """Precision, recall and F1 of detected instances, and the counts behind them.

    Attributes
    ----------
    precision, recall, f1 : float
        Values in [0, 1].
    n_matched, n_predicted, n_true : int
        Number of predicted instances that match a true instance, of all predicted
        instances, and of all true instances.
    """

    precision: float
    recall: float
    f1: float
    n_matched: int
    n_predicted: int
    n_true: int


@validate_params(_SCORES, prefer_skip_nested_validation=True)
def detection_scores(
    y_true: Any,
    y_pred: Any,
    *,
    iou_threshold: float = 0.5,
    match_label: bool = True,
    zero_division: float | str = "warn",
) -> DetectionScores:
    """Match predicted to true instances; compute precision, recall and F1.

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
    match_label : bool, default=True
        Whether only instances of the same label match; False scores the boxes alone.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value of 0 / 0; "warn" means 0.0 and a warning.

    Returns
    -------
    scores : DetectionScores
        Named tuple ``precision, recall, f1, n_matched, n_predicted, n_true``, over the
        instances of all images and labels together.

    Raises
    ------
    ValueError
        If columns are missing, or a row has a negative extent or non-finite values.

    Notes
    -----
    Matching is greedy, as in COCO [1]_. Within an image and label, predictions are
    processed by descending score (ties: in the order of the rows), and each is matched
    to the unmatched true box with the highest IoU, if that reaches the threshold. A
    true box matches once: a second prediction of it is a false positive.

    Rows of y_true whose column ``iscrowd`` is True are COCO's regions of many objects,
    not true instances. A prediction that matches no true instance is ignored if a crowd
    of its image and label covers a share of it of at least `iou_threshold`.

    As in scikit-learn, precision is undefined without predictions, recall without true
    instances, and F1 without both; F1 is 0 if only one of them is empty.

    References
    ----------
    .. [1] Lin et al. (2014). Microsoft COCO: Common Objects in Context. ECCV.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_similar.metrics import detection_scores
    >>> columns = ["image", "label", "score", "x_min", "y_min", "x_max", "y_max"]
    >>> y_pred = pd.DataFrame(
    ...     [[0, "7", 0.9, 2, 2, 9, 12], [0, "1", 0.4, 30, 2, 35, 12]], columns=columns
    ... )
    >>> y_true = y_pred.drop(columns="score")[:1]
    >>> scores = detection_scores(y_true, y_pred)
    >>> scores.precision, scores.recall, round(scores.f1, 3)
    (0.5, 1.0, 0.667)
    """
    counts = count_matches(y_true, y_pred, iou_threshold, match_label=match_label)
    return DetectionScores(
        precision=counts.precision(zero_division),
        recall=counts.recall(zero_division),
        f1=counts.f1(zero_division),
        n_matched=counts.n_matched,
        n_predicted=counts.n_predicted,
        n_true=counts.n_true,
    )


@validate_params(_SCORES, prefer_skip_nested_validation=True)
def detection_precision_score(
    y_true: Any,
    y_pred: Any,
    *,
    iou_threshold: float = 0.5,
    match_label: bool = True,
    zero_division: float | str = "warn",
) -> float:
    """Compute the share of predicted instances that match a true instance.

    Parameters
    ----------
    y_true, y_pred, iou_threshold, match_label, zero_division
        As in `detection_scores`.

    Returns
    -------
    precision : float
        Value in [0, 1], over the instances of all images and labels together.

    Raises
    ------
    ValueError
        If a table is malformed.

    Notes
    -----
    Undefined without predictions. See `detection_scores` for the matching and its
    source.

    Examples
    --------
    >>> from sklearn_similar.metrics import detection_precision_score
    >>> detection_precision_score([[0, 0, 4, 4]], [[0, 0, 4, 4], [9, 9, 12, 12]])
    0.5
    """
    counts = count_matches(y_true, y_pred, iou_threshold, match_label=match_label)
    return counts.precision(zero_division)


@validate_params(_SCORES, prefer_skip_nested_validation=True)
def detection_recall_score(
    y_true: Any,
    y_pred: Any,
    *,
    iou_threshold: float = 0.5,
    match_label: bool = True,
    zero_division: float | str = "warn",
) -> float:
    """Compute the share of true instances that a prediction matches.

    Parameters
    ----------
    y_true, y_pred, iou_threshold, match_label, zero_division
        As in `detection_scores`.

    Returns
    -------
    recall : float
        Value in [0, 1], over the instances of all images and labels together.

    Raises
    ------
    ValueError
        If a table is malformed.

    Notes
    -----
    Undefined without true instances. See `detection_scores` for the matching and its
    source.

    Examples
    --------
    >>> from sklearn_similar.metrics import detection_recall_score
    >>> detection_recall_score([[0, 0, 4, 4], [9, 9, 12, 12]], [[0, 0, 4, 4]])
    0.5
    """
    counts = count_matches(y_true, y_pred, iou_threshold, match_label=match_label)
    return counts.recall(zero_division)


@validate_params(_SCORES, prefer_skip_nested_validation=True)
def detection_f1_score(
    y_true: Any,
    y_pred: Any,
    *,
    iou_threshold: float = 0.5,
    match_label: bool = True,
    zero_division: float | str = "warn",
) -> float:
    """Compute the harmonic mean of detection precision and recall.

    Parameters
    ----------
    y_true, y_pred, iou_threshold, match_label, zero_division
        As in `detection_scores`.

    Returns
    -------
    f1 : float
        Value in [0, 1], over the instances of all images and labels together.

    Raises
    ------
    ValueError
        If a table is malformed.

    Notes
    -----
    Undefined without true instances and predictions. See `detection_scores` for the
    matching and its source.

    Examples
    --------
    >>> from sklearn_similar.metrics import detection_f1_score
    >>> detection_f1_score([[0, 0, 4, 4]], [[0, 0, 4, 5]])
    1.0
    """
    counts = count_matches(y_true, y_pred, iou_threshold, match_label=match_label)
    return counts.f1(zero_division)

"""Precision, recall and F1 of detected instances."""

from typing import Any, NamedTuple

import numpy as np

from .._compat import validate_params
from .._tables.matching import (
    IOU_THRESHOLD,
    TABLES,
    ZERO_DIVISION,
    find_pairs,
    match_pairs,
    safe_ratio,
)

_SCORES: dict[str, Any] = {
    **TABLES,
    "iou_threshold": [IOU_THRESHOLD],
    "match_label": ["boolean"],
    "zero_division": ZERO_DIVISION,
}


# Name of the share and of what it is undefined without, for the warning.
_PRECISION = ("Precision", "predictions")
_RECALL = ("Recall", "true instances")
_F1 = ("F1", "instances")


class DetectionScores(NamedTuple):
    """Precision, recall and F1 of detected instances, and the counts behind them.

    Attributes
    ----------
    precision, recall, f1 : float
        Shares in [0, 1].
    n_matched, n_predicted, n_true : int
        Number of predicted instances that match a true one, of all predicted and of
        all true instances.
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
        half-open. An array holds the boxes of one image and one label.
    y_pred : DataFrame or array-like of shape (m, 4)
        Predicted instances: the same columns and ``score``. The rows of an array are
        taken as sorted by descending score.
    iou_threshold : float, default=0.5
        Least intersection over union of a match, in (0, 1].
    match_label : bool, default=True
        Whether only instances of equal label match; False scores the boxes alone.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value of a share that is 0 / 0; "warn" means 0.0 and a warning.

    Returns
    -------
    scores : DetectionScores
        Named tuple ``precision, recall, f1, n_matched, n_predicted, n_true``, over the
        instances of all images and labels together.

    Raises
    ------
    ValueError
        If columns are unknown or missing, or a row has a negative extent or non-finite
        values.

    Notes
    -----
    Matching is greedy, as COCO does it [1]_: within an image and label, predictions are
    taken by descending score (ties: in the order of the rows), and each takes the free
    true box with the greatest IoU if that reaches the threshold. A true box matches
    once: a second prediction of it is false.

    As in scikit-learn, precision is undefined without predictions, recall without
    truth, and F1 without both; F1 is 0 where only one of them is empty.

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
    matched, n_predicted, n_true = _counts(y_true, y_pred, iou_threshold, match_label)
    return DetectionScores(
        safe_ratio(matched, n_predicted, zero_division, *_PRECISION),
        safe_ratio(matched, n_true, zero_division, *_RECALL),
        safe_ratio(2 * matched, n_predicted + n_true, zero_division, *_F1),
        matched,
        n_predicted,
        n_true,
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
    """Compute the share of predicted instances that match a true one.

    Parameters
    ----------
    y_true, y_pred : DataFrame or array-like of shape (n, 4)
        True and predicted instances, as in `detection_scores`.
    iou_threshold : float, default=0.5
        Least intersection over union of a match, in (0, 1].
    match_label : bool, default=True
        Whether only instances of equal label match.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value of 0 / 0; "warn" means 0.0 and a warning.

    Returns
    -------
    precision : float
        Share in [0, 1], over the instances of all images and labels together.

    Raises
    ------
    ValueError
        If a table is malformed.

    Notes
    -----
    Undefined if there are no predictions. Matching and source: see `detection_scores`.

    Examples
    --------
    >>> from sklearn_similar.metrics import detection_precision_score
    >>> detection_precision_score([[0, 0, 4, 4]], [[0, 0, 4, 4], [9, 9, 12, 12]])
    0.5
    """
    matched, n_predicted, _ = _counts(y_true, y_pred, iou_threshold, match_label)
    return safe_ratio(matched, n_predicted, zero_division, *_PRECISION)


@validate_params(_SCORES, prefer_skip_nested_validation=True)
def detection_recall_score(
    y_true: Any,
    y_pred: Any,
    *,
    iou_threshold: float = 0.5,
    match_label: bool = True,
    zero_division: float | str = "warn",
) -> float:
    """Compute the share of true instances that a predicted one matches.

    Parameters
    ----------
    y_true, y_pred : DataFrame or array-like of shape (n, 4)
        True and predicted instances, as in `detection_scores`.
    iou_threshold : float, default=0.5
        Least intersection over union of a match, in (0, 1].
    match_label : bool, default=True
        Whether only instances of equal label match.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value of 0 / 0; "warn" means 0.0 and a warning.

    Returns
    -------
    recall : float
        Share in [0, 1], over the instances of all images and labels together.

    Raises
    ------
    ValueError
        If a table is malformed.

    Notes
    -----
    Undefined if there is no true instance. Matching and source: see `detection_scores`.

    Examples
    --------
    >>> from sklearn_similar.metrics import detection_recall_score
    >>> detection_recall_score([[0, 0, 4, 4], [9, 9, 12, 12]], [[0, 0, 4, 4]])
    0.5
    """
    matched, _, n_true = _counts(y_true, y_pred, iou_threshold, match_label)
    return safe_ratio(matched, n_true, zero_division, *_RECALL)


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
    y_true, y_pred : DataFrame or array-like of shape (n, 4)
        True and predicted instances, as in `detection_scores`.
    iou_threshold : float, default=0.5
        Least intersection over union of a match, in (0, 1].
    match_label : bool, default=True
        Whether only instances of equal label match.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value of 0 / 0; "warn" means 0.0 and a warning.

    Returns
    -------
    f1 : float
        Share in [0, 1], over the instances of all images and labels together.

    Raises
    ------
    ValueError
        If a table is malformed.

    Notes
    -----
    Undefined if there is neither a true instance nor a prediction. Matching and source:
    see `detection_scores`.

    Examples
    --------
    >>> from sklearn_similar.metrics import detection_f1_score
    >>> detection_f1_score([[0, 0, 4, 4]], [[0, 0, 4, 5]])
    1.0
    """
    matched, n_predicted, n_true = _counts(y_true, y_pred, iou_threshold, match_label)
    return safe_ratio(2 * matched, n_predicted + n_true, zero_division, *_F1)


def _counts(
    y_true: Any, y_pred: Any, iou_threshold: float, match_label: bool
) -> tuple[int, int, int]:
    """Return the numbers of matched, predicted and true instances."""
    pairs = find_pairs(y_true, y_pred, iou_threshold, match_label=match_label)
    matched = int(np.count_nonzero(match_pairs(pairs, iou_threshold)))
    return matched, len(pairs.score), len(pairs.true_label)

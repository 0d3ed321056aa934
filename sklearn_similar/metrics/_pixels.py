"""Pixel-wise scores of heatmaps: average precision and the pointing game."""

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from .._compat import Interval, validate_params
from .._tables.boxes import rasterize
from ._heatmaps import (
    N_THRESHOLDS,
    check_heatmaps,
    choe_thresholds,
    count_below,
    true_boxes,
    true_masks,
)


@validate_params(
    {
        "heatmaps": ["array-like"],
        "masks": [pd.DataFrame, "array-like"],
        "n_thresholds": [N_THRESHOLDS],
        "normalize": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def pixel_average_precision(
    heatmaps: Any, masks: Any, *, n_thresholds: int = 1000, normalize: bool = True
) -> float:
    """Compute PxAP, the area under the pooled precision-recall curve of pixels.

    Parameters
    ----------
    heatmaps : array-like of shape (n, h, w), or list of arrays of shape (h, w)
        One heatmap for each image.
    masks : array-like of shape (n, h, w), list of arrays of shape (h, w), or DataFrame
        True pixels, boolean or 0 and 1. Or true boxes, a DataFrame or an array of shape
        (n, 4) as in `max_box_accuracy`: a pixel is true if its centre lies in a box.
    n_thresholds : int, default=1000
        Number of thresholds in [0, 1), evenly spaced from 0; 1 is used as well.
    normalize : bool, default=True
        Whether thresholds are shares of each heatmap's maximum, as in Choe et al. If
        False, they are values of the heatmap, so weak heatmaps stay weak.

    Returns
    -------
    average_precision : float
        Value in [0, 1].

    Raises
    ------
    ValueError
        If a heatmap is not finite, masks do not fit the heatmaps, or no pixel is true.

    Notes
    -----
    The pixels of all images are pooled. At a threshold tau, pixels with a heat of at
    least tau are predicted, with precision P(tau) and recall R(tau); the area is the
    sum of P(tau_k) (R(tau_k) - R(tau_k+1)), without interpolation [1]_. At tau = 0, all
    pixels are predicted, even those with negative heat. The pixels of an image without
    true pixels count as false positives. The authors also subtract each heatmap's
    minimum; this is left to the caller.

    References
    ----------
    .. [1] Choe et al. (2020). Evaluating Weakly Supervised Object Localization Methods
       Right. CVPR.

    Examples
    --------
    >>> from sklearn_similar.metrics import pixel_average_precision
    >>> heatmaps = [[[0.9, 0.6, 0.3, 0.0]]]
    >>> pixel_average_precision(heatmaps, [[[1, 1, 0, 0]]])
    1.0
    >>> pixel_average_precision(heatmaps, [[[1, 0, 0, 1]]])
    0.75
    """
    maps = check_heatmaps(heatmaps)
    taus = np.append(choe_thresholds(n_thresholds), 1.0)
    counts = np.zeros((2, len(taus)), dtype=np.int64)
    for heatmap, mask in zip(maps, true_masks(masks, maps), strict=True):
        # The last threshold that a pixel reaches; negative heat counts as 0.
        last = count_below(heatmap, taus, side="right", normalize=normalize)
        last = np.maximum(last, 1) - 1
        counts[0] += np.bincount(last[mask], minlength=len(taus))
        counts[1] += np.bincount(last[~mask], minlength=len(taus))
    true_positives, false_positives = np.cumsum(counts[:, ::-1], axis=1)
    if not true_positives[-1]:
        raise ValueError("masks have no true pixel; pass at least one.")
    predicted = np.maximum(true_positives + false_positives, 1)
    recall = true_positives / true_positives[-1]
    return float(np.sum(true_positives / predicted * np.diff(recall, prepend=0.0)))


@validate_params(
    {
        "heatmaps": ["array-like"],
        "boxes": [pd.DataFrame, "array-like"],
        "labels": ["array-like", None],
        "tolerance": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def pointing_game(
    heatmaps: Any, boxes: Any, labels: Any = None, *, tolerance: float = 0
) -> float:
    """Compute the share of images whose maximum heat lies in a true box.

    Parameters
    ----------
    heatmaps : array-like of shape (n, h, w), or list of arrays of shape (h, w)
        One heatmap for each image.
    boxes : DataFrame or array-like of shape (n, 4)
        True boxes, as in `max_box_accuracy`; with the column ``label`` if `labels` is
        given.
    labels : array-like of shape (n,), default=None
        The label that each heatmap explains: only boxes of this label are true. None:
        boxes of any label are. The boxes of an array have no label and are all true.
    tolerance : float, default=0
        Pixels by which boxes are extended on every side. Zhang et al. use 15, on
        photographs.

    Returns
    -------
    accuracy : float
        Share of images in [0, 1].

    Raises
    ------
    ValueError
        If a heatmap is not finite, boxes are malformed or outside their image, or no
        image has a true box.

    Notes
    -----
    Defined by Zhang et al. [1]_, who average over categories: for this, call it once
    for each label. A pixel lies in a box if its centre does. If several pixels have the
    maximum heat, the image counts with the share of them that lies in a box, which is
    the expected score of a random choice: a constant heatmap scores the share of the
    image that the boxes cover. Images without a true box are ignored.

    References
    ----------
    .. [1] Zhang et al. (2016). Top-down Neural Attention by Excitation Backprop. ECCV.

    Examples
    --------
    >>> from sklearn_similar.metrics import pointing_game
    >>> heatmaps = [[[0.1, 0.9, 0.2, 0.0]], [[0.9, 0.0, 0.0, 0.0]]]
    >>> boxes = [[1, 0, 3, 1], [1, 0, 3, 1]]
    >>> pointing_game(heatmaps, boxes)
    0.5
    >>> pointing_game(heatmaps, boxes, tolerance=1)
    1.0
    """
    maps = check_heatmaps(heatmaps)
    image, coordinates = true_boxes(boxes, maps, labels=labels)
    extended = coordinates + np.array([-1.0, -1.0, 1.0, 1.0]) * float(tolerance)
    hits = []
    for number in np.unique(image):
        heatmap = maps[number]
        mask = rasterize(extended[image == number], heatmap.shape)
        hits.append(mask[heatmap == heatmap.max()].mean())
    return float(np.mean(hits))

"""Box accuracy of heatmaps, for weakly supervised localisation."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._compat import Options, validate_params
from .._tables.boxes import overlapping_pairs
from ._components import Components, threshold_components
from ._heatmaps import check_heatmaps, true_boxes
from ._thresholds import N_THRESHOLDS, choe_thresholds, count_below

_IOU_THRESHOLDS = {1: (0.5,), 2: (0.3, 0.5, 0.7)}

_BOX_ACCURACY: dict[str, Any] = {
    "heatmaps": ["array-like"],
    "boxes": [pd.DataFrame, "array-like"],
    "version": [Options(Integral, {1, 2})],
    "n_thresholds": [N_THRESHOLDS],
}


class BoxAccuracyCurve(NamedTuple):
    """Share of images that are localised, for every threshold on the heatmaps.

    Attributes
    ----------
    thresholds : ndarray of shape (n_thresholds,)
        Thresholds tau, as a share of each map's maximum.
    iou_thresholds : ndarray of shape (n_iou_thresholds,)
        Least intersection over union of a hit.
    accuracies : ndarray of shape (n_iou_thresholds, n_thresholds)
        Share of images in [0, 1].
    """

    thresholds: np.ndarray
    iou_thresholds: np.ndarray
    accuracies: np.ndarray


@validate_params(_BOX_ACCURACY, prefer_skip_nested_validation=True)
def max_box_accuracy(
    heatmaps: Any, boxes: Any, *, version: int = 2, n_thresholds: int = 1000
) -> float:
    """Compute MaxBoxAcc or MaxBoxAccV2: localised images at the best threshold.

    Parameters
    ----------
    heatmaps : array-like of shape (n, h, w), or list of arrays of shape (h, w)
        One heatmap for each image.
    boxes : DataFrame or array-like of shape (n, 4)
        True boxes: ``image`` (number of the heatmap, from 0), ``x_min, y_min, x_max,
        y_max`` in pixels of the heatmap, half-open. The rows of an array are the only
        boxes of images 0, 1, and so on.
    version : {1, 2}, default=2
        1: one box from the largest component, IoU 0.5. 2: boxes of all components, mean
        over IoU 0.3, 0.5 and 0.7.
    n_thresholds : int, default=1000
        Number of thresholds in [0, 1), evenly spaced from 0.

    Returns
    -------
    accuracy : float
        Share of images in [0, 1].

    Raises
    ------
    ValueError
        If a heatmap is not finite, boxes are malformed or outside their image, or there
        are no boxes at all.

    Notes
    -----
    For a threshold tau, the pixels strictly above tau times the map's maximum form
    connected components, and each component a box. An image is localised if one of
    these boxes has at least the given IoU with one of its true boxes. The accuracy is
    the greatest share of localised images over tau [1]_. One tau serves all images
    (version 2: one for each IoU): a tau chosen per image would flatter the score.

    - Components are 8-connected, as the contours of the authors' code are. The largest
      has the most pixels; the first in reading order among equals.
    - Half-open boxes here, inclusive corners there: ``x_max - x_min`` here is ``x_max -
      x_min + 1`` there, so that the IoU of the same pixels is the same.
    - Where the authors' code departs from its paper, the paper is followed: the code
      widens predicted boxes by a pixel, rounds maps to 8 bits, ranks components by the
      area their contour encloses, and takes the contours of holes as boxes too.
    - A map without a positive value predicts nothing, and is not localised.
    - An image without a true box is left out of the share.

    References
    ----------
    .. [1] Choe et al. (2020). Evaluating Weakly Supervised Object Localization Methods
       Right. CVPR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import max_box_accuracy
    >>> heatmaps = np.zeros((2, 8, 8))
    >>> heatmaps[0, 2:6, 2:6] = 1.0  # just the true box
    >>> heatmaps[1, 2:6, 2:4] = 1.0  # half of it
    >>> boxes = [[2, 2, 6, 6], [2, 2, 6, 6]]
    >>> max_box_accuracy(heatmaps, boxes, version=1)
    1.0
    >>> round(max_box_accuracy(heatmaps, boxes), 3)  # 1.0, 1.0 and 0.5
    0.833
    """
    curve = box_accuracy_curve(
        heatmaps, boxes, version=version, n_thresholds=n_thresholds
    )
    return float(curve.accuracies.max(axis=1).mean())


@validate_params(_BOX_ACCURACY, prefer_skip_nested_validation=True)
def box_accuracy_curve(
    heatmaps: Any, boxes: Any, *, version: int = 2, n_thresholds: int = 1000
) -> BoxAccuracyCurve:
    """Compute the share of localised images for every threshold on the heatmaps.

    Parameters
    ----------
    heatmaps, boxes, version, n_thresholds
        As in `max_box_accuracy`, whose value is the mean of this curve's maxima.

    Returns
    -------
    curve : BoxAccuracyCurve
        Named tuple ``thresholds, iou_thresholds, accuracies``.

    Raises
    ------
    ValueError
        As in `max_box_accuracy`.

    Notes
    -----
    Use it to read off the best tau, or to plot how much depends on it. The components
    of all thresholds come from one sweep over the levels of a map, not from one
    labelling for each threshold.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import box_accuracy_curve
    >>> heatmaps = [np.array([[0.0, 0.2, 1.0, 1.0]])]
    >>> curve = box_accuracy_curve(heatmaps, [[2, 0, 4, 1]], version=1, n_thresholds=4)
    >>> curve.thresholds
    array([0.  , 0.25, 0.5 , 0.75])
    >>> curve.accuracies  # IoU 2/3 at first, then 1
    array([[1., 1., 1., 1.]])
    """
    maps = check_heatmaps(heatmaps)
    image, coordinates = true_boxes(boxes, maps)
    taus = choe_thresholds(n_thresholds)
    iou_thresholds = np.array(_IOU_THRESHOLDS[version])
    # A pixel of level k is above the thresholds 0, ..., k - 1.
    levels = [count_below(heatmap, taus, side="left") for heatmap in maps]
    hits = np.zeros((len(iou_thresholds), len(taus)), dtype=np.int64)
    for components in threshold_components(levels):
        if version == 1:
            components = _largest_by_threshold(components)
        component, _, iou = overlapping_pairs(
            components.box, components.image, coordinates, image, iou_thresholds.min()
        )
        for row, threshold in zip(hits, iou_thresholds, strict=True):
            good = np.unique(component[iou >= threshold])
            row += _count_images(
                components.image[good],
                components.death[good],
                components.birth[good],
                len(taus),
            )
    return BoxAccuracyCurve(taus, iou_thresholds, hits / len(np.unique(image)))


def _largest_by_threshold(components: Components) -> Components:
    """Keep the largest component of each map, for the thresholds at which it is that.

    Components only grow as the threshold falls, so the largest at a threshold is the
    largest of all that were born above it, whether they still exist or not.
    """
    n = len(components.area)
    size_rank = np.empty(n, dtype=np.int64)
    size_rank[np.lexsort((-components.first, components.area))] = np.arange(n)
    order = np.lexsort((size_rank, -components.birth, components.image))
    # The offset by image makes the running maximum start anew at each image.
    key = (components.image.astype(np.int64) * n + size_rank)[order]
    largest = order[key == np.maximum.accumulate(key)]
    image, birth = components.image[largest], components.birth[largest]
    same_image = np.append(image[1:] == image[:-1], False)[: len(largest)]
    # If several are born at one threshold, the range of all but the last is empty.
    death = np.where(same_image, np.append(birth[1:], 0)[: len(largest)], 0)
    return Components(*(column[largest] for column in components))._replace(death=death)


def _count_images(
    image: np.ndarray, start: np.ndarray, stop: np.ndarray, n_thresholds: int
) -> np.ndarray:
    """Count, for each threshold, the images with a range start <= t < stop over it."""
    offset = image.astype(np.int64) * (n_thresholds + 1)
    order = np.argsort(offset + start, kind="stable")
    offset, start, stop = offset[order], start[order], stop[order]
    # Cut off what earlier ranges of the same image cover.
    covered = np.maximum.accumulate(offset + stop)[:-1]
    start = np.maximum(start, np.append(-1, covered)[: len(start)] - offset)
    new = start < stop
    change = np.bincount(start[new], minlength=n_thresholds + 1)
    change -= np.bincount(stop[new], minlength=n_thresholds + 1)
    return np.cumsum(change)[:n_thresholds]

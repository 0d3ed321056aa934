"""Box accuracy of heatmaps, for weakly supervised localisation."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._compat import Options, validate_params
from .._images.max_tree import ImageTree
from .._tables.boxes import paired_iou
from ._heatmaps import (
    N_THRESHOLDS,
    check_heatmaps,
    choe_thresholds,
    count_below,
    true_boxes,
)

_IOU_THRESHOLDS = {1: (0.5,), 2: (0.3, 0.5, 0.7)}

_BOX_ACCURACY: dict[str, Any] = {
    "heatmaps": ["array-like"],
    "boxes": [pd.DataFrame, "array-like"],
    "version": [Options(Integral, {1, 2})],
    "n_thresholds": [N_THRESHOLDS],
}


class BoxAccuracyCurve(NamedTuple):
    """Share of localised images for each threshold on the heatmaps.

    Attributes
    ----------
    thresholds : ndarray of shape (n_thresholds,)
        Thresholds tau, as a share of each map's maximum.
    iou_thresholds : ndarray of shape (n_iou_thresholds,)
        Minimum intersection over union of a localised image.
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
    """Compute MaxBoxAcc or MaxBoxAccV2: the share of images localised.

    Parameters
    ----------
    heatmaps : array-like of shape (n, h, w), or list of arrays of shape (h, w)
        One heatmap for each image.
    boxes : DataFrame or array-like of shape (n, 4)
        True boxes: ``image`` (number of the heatmap, from 0), ``x_min, y_min, x_max,
        y_max`` in pixels of the heatmap, half-open; other columns are ignored. Row i of
        an array is the only box of image i.
    version : {1, 2}, default=2
        1: one box, that of the largest component, at an IoU of 0.5. 2: boxes of all
        components, mean over IoUs of 0.3, 0.5 and 0.7.
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
        are no boxes.

    Notes
    -----
    At a threshold tau, the pixels strictly above tau times the heatmap's maximum form
    connected components, each of which has a bounding box. An image is localised if one
    of these boxes has at least the given IoU with one of its true boxes. The accuracy
    is the maximum over tau of the share of localised images [1]_. All images have the
    same tau (version 2: one tau for each IoU), as the best tau of each image would
    overestimate the accuracy.

    - Components are 8-connected, like the contours of the authors' code. The largest
      one has the most pixels; ties are broken in reading order.
    - Boxes are half-open here and have inclusive corners there: ``x_max - x_min`` here
      is ``x_max - x_min + 1`` there, so the IoU of the same pixels is the same.
    - Where the authors' code departs from their paper, the paper is followed: the code
      widens predicted boxes by a pixel, rounds heatmaps to 8 bits, ranks components by
      the area that their contour encloses, and uses contours of holes as boxes too.
    - A heatmap without a positive value predicts no box.
    - Images without a true box are ignored.

    References
    ----------
    .. [1] Choe et al. (2020). Evaluating Weakly Supervised Object Localization Methods
       Right. CVPR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import max_box_accuracy
    >>> heatmaps = np.zeros((2, 8, 8))
    >>> heatmaps[0, 2:6, 2:6] = 1.0  # exactly the true box
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
    """Compute the share of localised images for each threshold on the heatmaps.

    Parameters
    ----------
    heatmaps, boxes, version, n_thresholds
        As in `max_box_accuracy`, which returns the mean of this curve's maxima.

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
    Use it to find the best tau, or to plot the accuracy over tau. The components of all
    thresholds come from the max-tree of the heatmap, not from one labelling for each
    threshold.

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
    numbers = np.unique(image)
    n_localized = np.zeros((len(iou_thresholds), len(taus)), dtype=np.int64)
    for number in numbers:
        # A pixel of level k is above the thresholds 0, ..., k - 1.
        tree = ImageTree(count_below(maps[number], taus, side="left"))
        components = (tree.box.astype(np.float64), tree.death, tree.birth)
        if version == 1:
            components = _largest_by_threshold(tree)
        n_localized += _is_localized(
            *components, coordinates[image == number], iou_thresholds, len(taus)
        )
    return BoxAccuracyCurve(taus, iou_thresholds, n_localized / len(numbers))


def _is_localized(
    boxes: np.ndarray,
    death: np.ndarray,
    birth: np.ndarray,
    truth: np.ndarray,
    iou_thresholds: np.ndarray,
    n_thresholds: int,
) -> np.ndarray:
    """Whether an image is localised, (n_iou_thresholds, n_thresholds).

    Component i, with the bounding box ``boxes[i]``, exists at the thresholds t with
    ``death[i] <= t < birth[i]``.
    """
    iou = np.zeros(len(boxes))
    for true_box in truth:
        iou = np.maximum(iou, paired_iou(boxes, true_box))
    is_localized = []
    for iou_threshold in iou_thresholds:
        hit = iou >= iou_threshold
        change = np.bincount(death[hit], minlength=n_thresholds + 1)
        change -= np.bincount(birth[hit], minlength=n_thresholds + 1)
        is_localized.append(np.cumsum(change)[:n_thresholds] > 0)
    return np.array(is_localized)


def _largest_by_threshold(
    tree: ImageTree,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Box, death and birth of the components that are the largest at some thresholds.

    Components only grow as the threshold falls, so the largest component at a threshold
    is the largest of all that were born at or above it.
    """
    n = len(tree.area)
    size_rank = np.empty(n, dtype=np.int64)
    size_rank[np.lexsort((-tree.first.astype(np.int64), tree.area))] = np.arange(n)
    birth = tree.birth.astype(np.int64)
    order = np.lexsort((size_rank, -birth))
    largest = order[size_rank[order] == np.maximum.accumulate(size_rank[order])]
    birth = birth[largest]
    # Of several components born at one threshold, only the last has a range.
    death = np.append(birth, 0)[1:]
    return tree.box[largest].astype(np.float64), death, birth

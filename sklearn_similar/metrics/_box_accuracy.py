"""Box accuracy of heatmaps, for weakly supervised localisation."""

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._compat import Options, validate_params
from .._images.max_tree import component_tree
from .._images.memory import within_working_memory
from .._tables.boxes import overlapping_pairs
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
    # A pixel of level k is above the thresholds 0, ..., k - 1.
    levels = [count_below(heatmap, taus, side="left") for heatmap in maps]
    n_localized = np.zeros((len(iou_thresholds), len(taus)), dtype=np.int64)
    for components in _components_by_batch(levels):
        if version == 1:
            components = _largest_by_threshold(components)
        component, _, iou = overlapping_pairs(
            components.box, components.image, coordinates, image, iou_thresholds.min()
        )
        for row, iou_threshold in zip(n_localized, iou_thresholds, strict=True):
            hits = np.unique(component[iou >= iou_threshold])
            row += _count_images(
                image=components.image[hits],
                start=components.death[hits],
                stop=components.birth[hits],
                n_thresholds=len(taus),
            )
    return BoxAccuracyCurve(taus, iou_thresholds, n_localized / len(np.unique(image)))


class _Components(NamedTuple):
    """Components of several heatmaps at all thresholds; see `ComponentTree`."""

    image: np.ndarray  # number of the heatmap
    box: np.ndarray
    area: np.ndarray
    first: np.ndarray
    birth: np.ndarray
    death: np.ndarray


def _components_by_batch(levels: Sequence[np.ndarray]) -> Iterator[_Components]:
    """The 8-connected components of ``level > t`` for all thresholds t >= 0.

    Parameters
    ----------
    levels : sequence of uint16 arrays of shape (h, w)
        Quantised heatmaps, of any sizes.

    Yields
    ------
    components : _Components
        Components of consecutive heatmaps; at least one heatmap.
    """
    # Some 100 MB of arrays.
    max_pixels = within_working_memory(2**19)
    start = 0
    while start < len(levels):
        stop, n_pixels = start + 1, levels[start].size
        while stop < len(levels) and n_pixels + levels[stop].size <= max_pixels:
            n_pixels += levels[stop].size
            stop += 1
        trees = [component_tree(level) for level in levels[start:stop]]

        def joined(field: str, trees=trees) -> np.ndarray:
            return np.concatenate([getattr(tree, field) for tree in trees])

        yield _Components(
            image=np.repeat(np.arange(start, stop), [len(tree.area) for tree in trees]),
            box=joined("box").astype(np.float64),
            area=joined("area").astype(np.int32),
            first=joined("first").astype(np.int32),
            birth=joined("birth").astype(np.int32),
            death=joined("death").astype(np.int32),
        )
        start = stop


def _largest_by_threshold(components: _Components) -> _Components:
    """The largest component of each heatmap, at the thresholds at which it is that.

    Components only grow as the threshold falls, so the largest component at a threshold
    is the largest of all that were born at or above it.
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
    return _Components(*(field[largest] for field in components))._replace(death=death)


def _count_images(
    *, image: np.ndarray, start: np.ndarray, stop: np.ndarray, n_thresholds: int
) -> np.ndarray:
    """Number of images with a range start <= t < stop, for each threshold t."""
    offset = image.astype(np.int64) * (n_thresholds + 1)
    order = np.argsort(offset + start, kind="stable")
    offset, start, stop = offset[order], start[order], stop[order]
    # Count each threshold of an image once: subtract the part of earlier ranges.
    covered = np.maximum.accumulate(offset + stop)[:-1]
    start = np.maximum(start, np.append(-1, covered)[: len(start)] - offset)
    is_new = start < stop
    change = np.bincount(start[is_new], minlength=n_thresholds + 1)
    change -= np.bincount(stop[is_new], minlength=n_thresholds + 1)
    return np.cumsum(change)[:n_thresholds]

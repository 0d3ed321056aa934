"""Region proposals: extremal regions of an image, or hot regions of a heatmap.

Regions are connected at several thresholds (a component tree). One threshold is not
enough: some instances are bright and some faint, and the strokes of neighbours touch at
low thresholds.
"""

import numpy as np

from .._boxes import paired_iou
from .._component_tree import component_tree

REGION = np.dtype(
    [
        ("box", np.float32, (4,)),
        ("threshold", np.float32),
        ("last_threshold", np.float32),
        ("peak", np.float32),
        ("parent", np.int64),
    ]
)

# Smaller regions, in pixels, cannot be recognised.
_MIN_SIDE = 7
# Chosen on scenes of training digits; grey levels between 0 and 1, and IoU of boxes.
_MIN_STABILITY = 0.11
_MIN_CONTRAST = 0.15
_STABLE_IOU = 0.6
_DUPLICATE_IOU = 0.8
# Share of the way from background to peak above which a pixel is foreground.
_FOREGROUND_SHARE = 0.35
_N_SAMPLES = 32
_REGIONS_AT_ONCE = 4096


def extremal_regions(
    image: np.ndarray,
    n_thresholds: int,
    min_stability: float = _MIN_STABILITY,
    min_contrast: float = _MIN_CONTRAST,
) -> np.ndarray:
    """Stable connected regions of an image that are brighter than their surroundings.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        Grey levels between 0 and 1.
    n_thresholds : int
        Thresholds, evenly spaced between 0 and 1.
    min_stability : float
        Least range of thresholds over which a region keeps its box.
    min_contrast : float
        Least difference between a region's peak and its threshold.

    Returns
    -------
    regions : structured ndarray of dtype `REGION`
        `threshold` is the lowest at which the region is connected, `peak` its greatest
        grey level; `parent` is the row of the nearest region that holds this one, -1
        for none.
    """
    thresholds = np.arange(1, n_thresholds + 1) / (n_thresholds + 1)
    regions = connected_regions(image, thresholds)
    # At a single threshold there is no stability to measure.
    min_stability = min_stability if n_thresholds > 1 else 0
    return _stable(regions, image.shape, min_stability, min_contrast)


def heat_regions(
    heatmap: np.ndarray, image: np.ndarray, threshold: float, n_thresholds: int
) -> np.ndarray:
    """Connected hot regions of a heatmap, their boxes tightened around bright pixels.

    Parameters
    ----------
    heatmap, image : ndarray of shape (height, width)
        Normalised heat, and grey levels between 0 and 1.
    threshold : float
        Lowest threshold of heat.
    n_thresholds : int
        Thresholds, each a fixed factor above the one before, up to 1.

    Returns
    -------
    regions : structured ndarray of dtype `REGION`
        As in `extremal_regions`; `threshold` and `peak` are grey levels.
    """
    lowest = max(threshold, 0.01)
    thresholds = lowest ** (1 - np.arange(n_thresholds) / n_thresholds)
    regions = connected_regions(heatmap, thresholds)
    return _tighten(select_regions(regions, ~_is_duplicate(regions)), image)


def connected_regions(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Connected regions (8 neighbours) above each of some rising thresholds.

    A region that is the same at several thresholds is there once.

    Parameters
    ----------
    values : ndarray of shape (height, width)
    thresholds : ndarray of shape (n_thresholds,)

    Returns
    -------
    regions : structured ndarray of dtype `REGION`
        In the order of their thresholds, so that parents come before their children;
        `last_threshold` is the highest at which a region is connected.
    """
    thresholds = thresholds.astype(values.dtype)
    levels = np.searchsorted(thresholds, values).astype(np.uint16)
    tree = component_tree(levels, values)
    order = np.lexsort((tree.first, tree.death))
    row = np.empty_like(order)
    row[order] = np.arange(len(order))
    regions = np.zeros(len(order), REGION)
    regions["box"] = tree.box[order]
    regions["threshold"] = thresholds[tree.death[order]]
    regions["last_threshold"] = thresholds[tree.birth[order] - 1]
    regions["peak"] = tree.peak[order]
    parent = tree.parent[order]
    regions["parent"] = np.where(parent >= 0, row[parent], -1)
    # The parent of a large region is larger: it is never left out.
    return select_regions(regions, _is_large(regions))


def _is_large(regions: np.ndarray) -> np.ndarray:
    sides = regions["box"][:, 2:] - regions["box"][:, :2]
    return sides.max(axis=1, initial=0) >= _MIN_SIDE


def _stable(
    regions: np.ndarray, shape, min_stability: float, min_contrast: float
) -> np.ndarray:
    """One region for each range of thresholds over which it keeps its box.

    Objects with edges keep their boxes over a long range of thresholds; hills of light
    and shade do not. This is the idea of maximally stable extremal regions (Matas et
    al. 2002); the lowest threshold of a range is used, as there the region holds all of
    a stroke.
    """
    size = regions["box"][:, 2:] - regions["box"][:, :2]
    return select_regions(
        regions,
        ~_is_duplicate(regions)
        & (_stability(regions) >= min_stability)
        & (regions["peak"] - regions["threshold"] >= min_contrast)
        # The background around everything is no instance.
        & (size < shape[::-1]).any(axis=1),
    )


def _is_duplicate(regions: np.ndarray) -> np.ndarray:
    """Whether regions have nearly the boxes of their parents."""
    parent = regions["parent"]
    iou = paired_iou(regions["box"], regions["box"][parent])
    return (parent >= 0) & (iou >= _DUPLICATE_IOU)


def _stability(regions: np.ndarray) -> np.ndarray:
    """Range of thresholds over which some part of each region has a similar box."""
    boxes, threshold = regions["box"], regions["threshold"]
    last = regions["last_threshold"]
    top = last.copy()
    holders = ancestors(regions["parent"])
    for first in range(0, len(regions), _REGIONS_AT_ONCE):
        part, column = np.nonzero(holders[first : first + _REGIONS_AT_ONCE] >= 0)
        rows = first + part
        above = holders[rows, column]
        is_similar = paired_iou(boxes[rows], boxes[above]) >= _STABLE_IOU
        np.maximum.at(top, above[is_similar], last[rows[is_similar]])
    return top - threshold


def _tighten(regions: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Tighten boxes around pixels that are brighter than the rims of the boxes."""
    tight = regions.copy()
    is_bright = np.zeros(len(regions), dtype=bool)
    for first in range(0, len(regions), _REGIONS_AT_ONCE):
        rows = slice(first, first + _REGIONS_AT_ONCE)
        tight[rows], is_bright[rows] = _foreground(regions[rows], image)
    return select_regions(tight, is_bright)


def _foreground(
    regions: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the foreground in each region's box, and whether there is any."""
    step = (np.arange(_N_SAMPLES) + 0.5) / _N_SAMPLES
    box = regions["box"].astype(np.float32)
    low, high = box[:, :2, np.newaxis], box[:, 2:, np.newaxis]
    x, y = (low + (high - low) * step).astype(np.int64).swapaxes(0, 1)
    inside = image[y[:, :, np.newaxis], x[:, np.newaxis, :]]
    rim = [inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]]
    background = np.median(np.concatenate(rim, axis=1), axis=1)
    tight = regions.copy()
    tight["peak"] = inside.max(axis=(1, 2))
    contrast = tight["peak"] - background
    tight["threshold"] = background + _FOREGROUND_SHARE * contrast
    mask = inside > tight["threshold"][:, np.newaxis, np.newaxis]
    row = np.arange(len(regions))
    for axis, position in enumerate((x, y)):
        hit = mask.any(axis=1 + axis)
        tight["box"][:, axis] = position[row, hit.argmax(axis=1)]
        last = _N_SAMPLES - 1 - hit[:, ::-1].argmax(axis=1)
        tight["box"][:, axis + 2] = position[row, last] + 1
    return tight, (contrast >= _MIN_CONTRAST) & _is_large(tight)


def select_regions(regions: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Some of the regions; their parents become the nearest selected ones."""
    parent = regions["parent"].copy()
    while (skip := (parent >= 0) & ~keep[parent]).any():
        parent[skip] = regions["parent"][parent[skip]]
    row = np.cumsum(keep) - 1
    selected = regions[keep]
    selected["parent"] = np.where(parent[keep] >= 0, row[parent[keep]], -1)
    return selected


def ancestors(parent: np.ndarray) -> np.ndarray:
    """Rows of all regions that hold each one, n_regions x depth, padded with -1."""
    columns = [parent]
    while (columns[-1] >= 0).any():
        last = columns[-1]
        columns.append(np.where(last >= 0, parent[last], -1))
    return np.stack(columns, axis=1)

"""Candidate boxes: connected bright parts of an image, or hot parts of a heatmap.

Parts are connected over a ladder of levels (a component tree). One level is not enough:
instances are bright and faint, and the strokes of neighbours touch at low levels.
"""

import numpy as np
from scipy import ndimage

from .boxes import iou, longer_side

HOTSPOT = np.dtype(
    [
        ("x_min", np.float32),
        ("y_min", np.float32),
        ("x_max", np.float32),
        ("y_max", np.float32),
        ("level", np.float32),
        ("peak", np.float32),
        ("parent", np.int64),
    ]
)

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)
# Smaller parts, in pixels, cannot be recognised.
_MIN_SIDE = 7
# Chosen on scenes of training digits; grey levels of 1, IoU for the boxes.
_MIN_RUN = 0.11
_MIN_CONTRAST = 0.15
_SIMILAR = 0.6
_SAME = 0.8
# Above this share of the way from ground to peak, a pixel is part of an instance.
_INK = 0.35
_N_SAMPLES = 32
_BOXES_AT_ONCE = 4096


def image_hotspots(
    image: np.ndarray,
    n_levels: int,
    min_run: float = _MIN_RUN,
    min_contrast: float = _MIN_CONTRAST,
) -> np.ndarray:
    """Stable connected parts of an image that are brighter than what is around them.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        Grey levels between 0 and 1.
    n_levels : int
        Levels of the ladder, evenly spaced between 0 and 1.
    min_run : float
        Least range of grey levels over which a part keeps its box.
    min_contrast : float
        Least difference of a part's peak and its level.

    Returns
    -------
    hotspots : structured ndarray of dtype `HOTSPOT`
        `level` is the lowest grey level of a part, `peak` its greatest; `parent` is the
        row of the nearest hotspot that holds this one, -1 for none.
    """
    levels = np.arange(1, n_levels + 1) / (n_levels + 1)
    spots = component_tree(image, levels)
    # On a single level nothing can be seen to last.
    return _stable(spots, image.shape, min_run if n_levels > 1 else 0, min_contrast)


def heat_hotspots(
    heatmap: np.ndarray, image: np.ndarray, threshold: float, n_levels: int
) -> np.ndarray:
    """Connected hot parts of a heatmap, their boxes drawn tight around what is bright.

    Parameters
    ----------
    heatmap, image : ndarray of shape (height, width)
        Heat 1 is a typical peak; grey levels are between 0 and 1.
    threshold : float
        Lowest level of the ladder.
    n_levels : int
        Levels of the ladder, each a fixed factor above the one before, up to 1.

    Returns
    -------
    hotspots : structured ndarray of dtype `HOTSPOT`
        As of `image_hotspots`; `level` and `peak` are grey levels.
    """
    lowest = max(threshold, 0.01)
    levels = lowest ** (1 - np.arange(n_levels) / n_levels)
    spots = component_tree(heatmap, levels)
    return _tighten(keep_hotspots(spots, ~_is_same_as_parent(spots)), image)


def component_tree(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Connected components (8 neighbours) above each of some rising levels.

    Parameters
    ----------
    values : ndarray of shape (height, width)
    levels : ndarray of shape (n_levels,)

    Returns
    -------
    hotspots : structured ndarray of dtype `HOTSPOT`
        From the lowest level up, so that parents come before their children.
    """
    found = [np.empty(0, HOTSPOT)]
    below, n_before = None, 0
    for level in levels:
        labels, spots, pixel = _components(values, level)
        if not len(spots):
            break
        # Small components were left out, but what holds a large one is larger.
        parent = -1 if below is None else n_before + below.flat[pixel] - 1
        n_before += 0 if below is None else len(found[-1])
        spots["parent"] = parent
        found.append(spots)
        below = labels
    return np.concatenate(found)


def _components(values: np.ndarray, level: float):
    """Labels of the large components above a level, their rows, and a pixel of each."""
    labels, _ = ndimage.label(values > level, _EIGHT_NEIGHBOURS)
    # A part that is long enough has as many pixels; noise is mostly specks.
    labels = _renumber(labels, np.bincount(labels.ravel())[1:] >= _MIN_SIDE)
    found = ndimage.find_objects(labels)
    spots = np.zeros(len(found), HOTSPOT)
    for spot, (rows, columns) in zip(spots, found, strict=True):
        spot["y_min"], spot["y_max"] = rows.start, rows.stop
        spot["x_min"], spot["x_max"] = columns.start, columns.stop
    keep = longer_side(spots) >= _MIN_SIDE
    labels, spots = _renumber(labels, keep), spots[keep]
    pixels = np.flatnonzero(labels)
    owner = labels.flat[pixels] - 1
    spots["level"] = level
    peak, first = np.zeros(len(spots), values.dtype), np.zeros(len(spots), np.int64)
    np.maximum.at(peak, owner, values.flat[pixels])
    first[owner] = pixels
    spots["peak"] = peak
    return labels, spots, first


def _renumber(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Labels from 1 on for the components to keep, 0 for the others."""
    return np.r_[0, np.cumsum(keep) * keep].astype(labels.dtype)[labels]


def _stable(spots, shape, min_run: float, min_contrast: float) -> np.ndarray:
    """One hotspot for each run of levels over which a part keeps its box.

    What has an edge keeps its box over a long run of levels; a hill of light and shade
    does not. This is the idea of maximally stable extremal regions (Matas et al. 2002);
    the lowest part of a run is kept, as it holds all of a stroke.
    """
    width = spots["x_max"] - spots["x_min"]
    height = spots["y_max"] - spots["y_min"]
    return keep_hotspots(
        spots,
        ~_is_same_as_parent(spots)
        & (_run(spots) >= min_run)
        & (spots["peak"] - spots["level"] >= min_contrast)
        # The ground around everything is no instance.
        & ((height < shape[0]) | (width < shape[1])),
    )


def _is_same_as_parent(spots: np.ndarray) -> np.ndarray:
    parent = spots["parent"]
    return (parent >= 0) & (iou(spots, spots[parent]) >= _SAME)


def _run(spots: np.ndarray) -> np.ndarray:
    """How far above its own level some part of each hotspot has a similar box."""
    top = spots["level"].copy()
    rows, above = np.arange(len(spots)), spots["parent"]
    while len(rows):
        rows, above = rows[above >= 0], above[above >= 0]
        similar = iou(spots[rows], spots[above]) >= _SIMILAR
        np.maximum.at(top, above[similar], spots["level"][rows[similar]])
        above = spots["parent"][above]
    return top - spots["level"]


def _tighten(spots: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Draw boxes around what stands out of the ground along their rims."""
    tight = spots.copy()
    keep = np.zeros(len(spots), dtype=bool)
    for first in range(0, len(spots), _BOXES_AT_ONCE):
        rows = slice(first, first + _BOXES_AT_ONCE)
        tight[rows], keep[rows] = _ink(spots[rows], image)
    return keep_hotspots(tight, keep)


def _ink(spots: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = (np.arange(_N_SAMPLES) + 0.5) / _N_SAMPLES
    x, y = (
        (low[:, np.newaxis] + (high - low)[:, np.newaxis] * step).astype(np.int64)
        for low, high in (
            (spots["x_min"], spots["x_max"]),
            (spots["y_min"], spots["y_max"]),
        )
    )
    inside = image[y[:, :, np.newaxis], x[:, np.newaxis, :]]
    rim = [inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]]
    ground = np.median(np.concatenate(rim, axis=1), axis=1)
    tight = spots.copy()
    tight["peak"] = inside.max(axis=(1, 2))
    tight["level"] = ground + _INK * (tight["peak"] - ground)
    mask = inside > tight["level"][:, np.newaxis, np.newaxis]
    row = np.arange(len(spots))
    for low, high, position, axis in (
        ("x_min", "x_max", x, 1),
        ("y_min", "y_max", y, 2),
    ):
        hit = mask.any(axis=axis)
        tight[low] = position[row, hit.argmax(axis=1)]
        tight[high] = position[row, _N_SAMPLES - 1 - hit[:, ::-1].argmax(axis=1)] + 1
    stands_out = tight["peak"] - ground >= _MIN_CONTRAST
    return tight, stands_out & (longer_side(tight) >= _MIN_SIDE)


def keep_hotspots(spots: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Some of the hotspots; their parents become the nearest that are kept."""
    parent = spots["parent"].copy()
    while (skip := (parent >= 0) & ~keep[parent]).any():
        parent[skip] = spots["parent"][parent[skip]]
    row = np.cumsum(keep) - 1
    kept = spots[keep]
    kept["parent"] = np.where(parent[keep] >= 0, row[parent[keep]], -1)
    return kept


def ancestors(parent: np.ndarray) -> np.ndarray:
    """Rows of all that hold each hotspot, n_hotspots x depth, filled up with -1."""
    columns = [parent]
    while (columns[-1] >= 0).any():
        last = columns[-1]
        columns.append(np.where(last >= 0, parent[last], -1))
    return np.stack(columns, axis=1)

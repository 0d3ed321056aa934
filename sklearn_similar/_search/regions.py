"""interim"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._images.max_tree import (
    ComponentTree,
    MergedComponents,
    component_tree,
    merge_components,
)
from .._tables.boxes import area, paired_iou

REGION = np.dtype(
    [
        ("box", np.float32, (4,)),
        ("threshold", np.float32),
        ("last_threshold", np.float32),
        ("peak", np.float32),
        ("parent", np.int64),
        # Flat index of the first pixel; thresholds at which it begins and ends to be.
        ("first", np.int64),
        ("birth", np.uint16),
        ("death", np.uint16),
    ]
)


class Stability(NamedTuple):
    """What regions are proposed, in grey levels between 0 and 1.

    Attributes
    ----------
    min_range : float
        Least range of thresholds over which a region keeps its box.
    min_contrast : float
        Least difference between a region's peak and its threshold.
    """

    min_range: float
    min_contrast: float

    @classmethod
    def of_channel(cls, downsampling: int) -> "Stability":
        """Where a channel is smaller and smoothed, less of it is noise."""
        return _OF_FULL_SIZE if downsampling == 1 else _OF_SMALLER


# Smaller regions, in pixels, cannot be recognised.
_MIN_SIDE = 7
# Chosen on scenes of training digits and clothes.
_OF_FULL_SIZE = Stability(min_range=0.05, min_contrast=0.1)
_OF_SMALLER = Stability(min_range=0.03, min_contrast=0.06)
# IoU of boxes that are like each other.
STABLE_IOU = 0.6
_DUPLICATE_IOU = 0.8
# Share of the way from background to peak above which a pixel is foreground.
_FOREGROUND_SHARE = 0.35
_N_SAMPLES = 32
_REGIONS_AT_ONCE = 4096
# Axis along which a region is cut: how many parts, and its least length in parts of its
# other side. Things stand beside each other more often than on top.
_CUTS = ((0, ((2, 0.8), (3, 1.2))), (1, ((2, 2.0),)))
# Share of a box's width and height by which the corners of like boxes differ at most.
_DUPLICATE_SHIFT = 0.1


def extremal_regions(
    image: np.ndarray,
    n_thresholds: int,
    stability: Stability = _OF_FULL_SIZE,
) -> np.ndarray:
    """Stable connected regions of an image that are brighter than their surroundings.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        Grey levels between 0 and 1.
    n_thresholds : int
        Thresholds, evenly spaced between 0 and 1.
    stability : Stability

    Returns
    -------
    regions : structured ndarray of dtype `REGION`
        `threshold` is the lowest at which the region is connected, `peak` its greatest
        grey level; `parent` is the row of the nearest region that holds this one, -1
        for none.
    """
    regions = connected_regions(image, even_thresholds(n_thresholds))
    until = stable_until(regions)
    found = is_stable(regions, until, image.shape, n_thresholds, stability)
    return select_regions(regions, found)


def even_thresholds(n_thresholds: int) -> np.ndarray:
    """Thresholds evenly spaced between 0 and 1."""
    return np.arange(1, n_thresholds + 1) / (n_thresholds + 1)


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
    levels = levels_of(values, thresholds)
    regions = as_regions(component_tree(levels, values), thresholds)
    order = np.lexsort((regions["first"], regions["death"]))
    row = np.empty_like(order)
    row[order] = np.arange(len(order))
    regions = regions[order]
    parent = regions["parent"]
    regions["parent"] = np.where(parent >= 0, row[parent], -1)
    # The parent of a large region is larger: it is never left out.
    return select_regions(regions, is_recognisable(regions))


def levels_of(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many of some thresholds each value is above.

    For as few as are usual, comparing all with each takes less than a search for each.
    """
    levels = np.zeros(values.shape, np.uint16)
    for threshold in thresholds:
        levels += values > threshold
    return levels


def as_regions(
    components: ComponentTree | MergedComponents, thresholds: np.ndarray
) -> np.ndarray:
    """Components as structured ndarray of dtype `REGION`, in their order."""
    regions = np.zeros(len(components.birth), REGION)
    for name in ("box", "peak", "parent", "first", "birth", "death"):
        regions[name] = getattr(components, name)
    regions["threshold"] = thresholds[components.death]
    regions["last_threshold"] = thresholds[components.birth - 1]
    return regions


def is_recognisable(regions: np.ndarray) -> np.ndarray:
    sides = regions["box"][:, 2:] - regions["box"][:, :2]
    return sides.max(axis=1, initial=0) >= _MIN_SIDE


def is_stable(
    regions: np.ndarray,
    until: np.ndarray,
    shape,
    n_thresholds: int,
    stability: Stability,
) -> np.ndarray:
    """Whether a region is the first of those that have its box over some thresholds.

    Objects with edges keep their boxes over a long range of thresholds; hills of light
    and shade do not. This is the idea of maximally stable extremal regions (Matas et
    al. 2002); the lowest threshold of a range is used, as there the region holds all of
    a stroke. `until` is as `stable_until` gives it.
    """
    size = regions["box"][:, 2:] - regions["box"][:, :2]
    # There is no range of a single threshold.
    min_range = stability.min_range if n_thresholds > 1 else 0
    return (
        ~_is_duplicate(regions)
        & (until - regions["threshold"] >= min_range)
        & (regions["peak"] - regions["threshold"] >= stability.min_contrast)
        # The background around everything is no instance.
        & (size < shape[::-1]).any(axis=1)
    )


def _is_duplicate(regions: np.ndarray) -> np.ndarray:
    """Whether regions have nearly the boxes of their parents."""
    parent = regions["parent"]
    iou = paired_iou(regions["box"], regions["box"][parent])
    return (parent >= 0) & (iou >= _DUPLICATE_IOU)


def stable_until(regions: np.ndarray) -> np.ndarray:
    """Highest threshold at which some part of each region has a similar box."""
    boxes = regions["box"]
    last = regions["last_threshold"]
    top = last.copy()
    holders = ancestors(regions["parent"])
    for first in range(0, len(regions), _REGIONS_AT_ONCE):
        part, column = np.nonzero(holders[first : first + _REGIONS_AT_ONCE] >= 0)
        rows = first + part
        above = holders[rows, column]
        is_similar = paired_iou(boxes[rows], boxes[above]) >= STABLE_IOU
        np.maximum.at(top, above[is_similar], last[rows[is_similar]])
    return top


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
    return tight, (contrast >= _OF_FULL_SIZE.min_contrast) & is_recognisable(tight)


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


_NAMES = list(REGION.fields or ())
# Regions that are not final yet. `until` is as `stable_until` gives it.
_REGION = np.dtype([*REGION.descr, ("until", np.float32), ("is_open", np.bool_)])


class RegionTiles:
    """Stable regions of an image that comes in rows of tiles, from the top.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image.
    n_thresholds : int
    stability : Stability
        As in `extremal_regions`.
    """

    def __init__(self, size: tuple[int, int], n_thresholds: int, stability: Stability):
        self._size = size
        self._n_thresholds = n_thresholds
        self._stability = stability
        # Regions that reach the lowest row so far, and those of its pixels.
        self._waiting = np.empty(0, _REGION)
        self._edge = np.full(size[1], -1)
        self._top = 0
        self._final = [np.empty(0, REGION)]

    def add_row(self, tiles: Sequence[np.ndarray]) -> None:
        """The next row of tiles, from left to right: values between 0 and 1."""
        bottom = self._top + len(tiles[0])
        regions, above, below = [self._waiting], [], []
        touching = []
        n_before, left, right_edge = len(self._waiting), 0, None
        for values in tiles:
            own, pixels = self._of_tile(values, left)
            pixels = np.where(pixels >= 0, pixels + n_before, -1)
            own["parent"] += np.where(own["parent"] >= 0, n_before, 0)
            if right_edge is not None:
                touching.append(_neighbours(right_edge, pixels[:, 0]))
            regions.append(own)
            above.append(pixels[0])
            below.append(pixels[-1])
            n_before, left = n_before + len(own), left + values.shape[1]
            right_edge = pixels[:, -1]
        touching.append(_neighbours(self._edge, np.concatenate(above)))
        parts = np.concatenate(regions)
        merged, smallest = self._merge(parts, np.concatenate(touching))
        edge = np.concatenate(below)
        edge = _look_up(smallest, edge)
        is_last = bottom == self._size[0]
        merged["is_open"] = (merged["box"][:, 3] == bottom) & (not is_last)
        self._waiting, row = self._settle(merged)
        self._edge = _look_up(row, edge)
        self._top = bottom

    def proposals(self) -> np.ndarray:
        """Boxes of the stable regions, in the order of `extremal_regions`."""
        found = np.concatenate(self._final)
        return found["box"][np.lexsort((found["first"], found["death"]))]

    def _of_tile(self, values: np.ndarray, left: int) -> tuple[np.ndarray, np.ndarray]:
        """Regions of a tile that are not final, and those of its pixels."""
        thresholds = even_thresholds(self._n_thresholds).astype(values.dtype)
        tree = component_tree(levels_of(values, thresholds), values)
        found = np.zeros(len(tree.birth), _REGION)
        own = as_regions(tree, thresholds)
        for name in _NAMES:
            found[name] = own[name]
        y, x = np.divmod(own["first"], values.shape[1])
        found["first"] = (y + self._top) * self._size[1] + x + left
        found["box"] += np.array([left, self._top] * 2, np.float32)
        found["until"] = found["last_threshold"]
        right, bottom = left + values.shape[1], self._top + len(values)
        box, (height, width) = found["box"], self._size
        found["is_open"] = (
            ((box[:, 0] == left) & (left > 0))
            | ((box[:, 1] == self._top) & (self._top > 0))
            | ((box[:, 2] == right) & (right < width))
            | ((box[:, 3] == bottom) & (bottom < height))
        )
        found, row = self._settle(found)
        # Only pixels at the edges are asked for, and their regions are open.
        pixels = _look_up(row, tree.smallest)
        return found, pixels.reshape(values.shape)

    def _merge(
        self, parts: np.ndarray, touching: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Regions of tiles side by side, and which of them each region became."""
        if len(parts) == 0:
            return parts, np.empty(0, np.int64)
        merged = merge_components(parts, touching)
        thresholds = even_thresholds(self._n_thresholds).astype(np.float32)
        found = np.zeros(len(merged.birth), _REGION)
        own = as_regions(merged, thresholds)
        for name in _NAMES:
            found[name] = own[name]
        found["until"] = found["last_threshold"]
        # Regions that are closed have come through as they were.
        closed = np.flatnonzero(~parts["is_open"])
        found["until"][merged.smallest[closed]] = parts["until"][closed]
        return found, merged.smallest

    def _settle(self, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take out what is final; the rest, and where in it each region is, or -1."""
        is_open = regions["is_open"]
        wanted = is_recognisable(regions) | is_open
        row = np.where(wanted, np.cumsum(wanted) - 1, -1)
        regions = select_regions(regions, wanted)
        is_open = regions["is_open"]
        large = is_recognisable(regions)
        # Small ones are open, and so are those that hold them.
        until = stable_until(select_regions(regions, large))
        regions["until"][large] = np.maximum(until, regions["until"][large])
        found = is_stable(
            regions, regions["until"], self._size, self._n_thresholds, self._stability
        )
        is_waiting = is_open | self._may_be_like_open(regions)
        final = regions[found & large & ~is_waiting]
        self._final.append(final[_NAMES].astype(REGION))
        kept = np.where(is_waiting, np.cumsum(is_waiting) - 1, -1)
        return select_regions(regions, is_waiting), _look_up(kept, row)

    @staticmethod
    def _may_be_like_open(regions: np.ndarray) -> np.ndarray:
        """Whether a region's box may be like that of an open one that holds it.

        That grows, so that their intersection over union gets no larger.
        """
        holder = np.where(regions["is_open"], -1, regions["parent"])
        while (inner := (holder >= 0) & ~regions["is_open"][holder]).any():
            holder[inner] = regions["parent"][holder[inner]]
        share = area(regions["box"]) / area(regions["box"][holder])
        # A little less, for rounding.
        return (holder >= 0) & (share >= STABLE_IOU - 1e-3)


def _neighbours(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs of regions that meet at a cut, from those of the pixels on both sides."""
    n = len(one)
    pairs = [
        np.stack(
            [one[max(0, -d) : n - max(0, d)], other[max(0, d) : n - max(0, -d)]], 1
        )
        for d in (-1, 0, 1)
    ]
    found = np.concatenate(pairs)
    return np.unique(found[(found >= 0).all(axis=1)], axis=0)


def _look_up(values: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Values at indices; -1 for -1."""
    return np.append(values, -1)[indices]


class RegionRecipe:
    of_level = staticmethod(Stability.of_channel)


class StableRegions(RegionTiles):
    def boxes(self):
        return self.proposals()


def stable_regions(v, n, s):
    return extremal_regions(v, n, s)["box"]


_heat_regions = heat_regions


def heat_regions(*a):
    return _heat_regions(*a)["box"]

"""Extremal regions of large images, tile by tile, the same as those of the whole.

A region that reaches no cut is what it would be in the whole image, and the tiles'
regions that do are merged, row of tiles by row of tiles. Only regions that reach into
what comes later are kept, and those that may be nearly the same as one of them.
"""

from collections.abc import Sequence

import numpy as np

from .._images.max_tree import component_tree, merge_components
from .._tables.boxes import area
from .proposals import (
    REGION,
    STABLE_IOU,
    Stability,
    as_regions,
    even_thresholds,
    is_recognisable,
    is_stable,
    levels_of,
    select_regions,
    stable_until,
)

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

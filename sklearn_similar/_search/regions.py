"""Extremal regions: connected regions that stand out from their surroundings.

Regions are connected above several thresholds, and are nested in a max-tree. A single
threshold is not enough: some objects are bright and others faint, and the strokes of
neighbouring objects touch at low thresholds.

An image comes in rows of tiles; a small one is a single tile. A region that reaches no
seam between tiles is final. The others are merged, row by row. Only regions at the
lower edge of a row stay in memory, with those that may be near-duplicates of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np

from .._images.images import batch_slices
from .._images.max_tree import ImageTree, MaxTree, MergedTree
from .._images.memory import within_working_memory
from .._tables.boxes import area, paired_iou

# Pixels that are sampled at a time, at scikit-learn's default working memory.
_MAX_SAMPLES = 2**22


@dataclass(frozen=True, kw_only=True)
class RegionRecipe:
    """Regions that are proposed.

    The terms are those of maximally stable extremal regions (MSER; Matas et al. 2002).
    Grey levels are between 0 and 1.

    Attributes
    ----------
    min_side : int
        Minimum length of a region's longer side, in pixels of the channel; smaller ones
        cannot be recognised.
    min_stability : float
        Minimum range of thresholds over which a region keeps its box. Objects with
        edges keep theirs over a long range, hills of light and shade do not. Chosen on
        scenes of digits and clothes of the training sets, like the next three.
    min_contrast : float
        Minimum difference between a region's maximum and its threshold.
    coarse_min_stability, coarse_min_contrast : float
        The same for downsampled channels, which have less noise. On clothes that are
        not dimmed, F1 rose from 0.77 to 0.79.
    stable_iou : float
        Minimum IoU of the boxes of a region and one nested in it for the region to
        keep its box.
    min_diversity : float
        Regions are left out if 1 - IoU of their box and their parent's is at most this;
        0.2 is the default of OpenCV and VLFeat, for areas of regions.
    min_heat : float
        Lowest threshold of a heatmap; a geometric series cannot start at 0.
    foreground_share : float
        A pixel is foreground if it is above the background by more than this share of
        the contrast, see `heat_regions`.
    n_samples : int
        Rows and columns of a box at which its foreground is sampled.
    """

    min_side: int = 7
    min_stability: float = 0.05
    min_contrast: float = 0.1
    coarse_min_stability: float = 0.03
    coarse_min_contrast: float = 0.06
    stable_iou: float = 0.6
    min_diversity: float = 0.2
    min_heat: float = 0.01
    foreground_share: float = 0.35
    n_samples: int = 32

    def for_channel(self, downsampling: int) -> "RegionRecipe":
        """Return the recipe for a channel of a downsampling factor."""
        if downsampling == 1:
            return self
        return replace(
            self,
            min_stability=self.coarse_min_stability,
            min_contrast=self.coarse_min_contrast,
        )

    def is_large_enough(self, boxes: np.ndarray) -> np.ndarray:
        """Whether boxes n x 4 are large enough to be recognised."""
        sides = boxes[:, 2:] - boxes[:, :2]
        return sides.max(axis=1, initial=0) >= self.min_side


DEFAULT_RECIPE = RegionRecipe()


@dataclass(frozen=True)
class Regions:
    """Connected regions above rising thresholds, parents before their children.

    Attributes
    ----------
    box : ndarray of float32 of shape (n_regions, 4)
        x_min, y_min, x_max, y_max in pixels, half-open.
    first : ndarray of int of shape (n_regions,)
        Flat index of the first pixel.
    peak : ndarray of float32 of shape (n_regions,)
        Maximum value.
    parent : ndarray of int of shape (n_regions,)
        Index of the smallest region that contains each region, -1 for none.
    death, birth : ndarray of int of shape (n_regions,)
        A region is connected above each of the thresholds ``death`` to ``birth - 1``.
    stable_until : ndarray of int of shape (n_regions,)
        Maximum birth of a region and of those nested in it that have a similar box.
    is_open : ndarray of bool of shape (n_regions,)
        Whether a region reaches a seam, beyond which it may continue.
    """

    box: np.ndarray
    first: np.ndarray
    peak: np.ndarray
    parent: np.ndarray
    death: np.ndarray
    birth: np.ndarray
    stable_until: np.ndarray
    is_open: np.ndarray

    @classmethod
    def empty(cls) -> "Regions":
        """No regions."""
        index, level = np.empty(0, np.int64), np.empty(0, np.uint16)
        return cls(
            box=np.empty((0, 4), np.float32),
            first=index,
            peak=np.empty(0, np.float32),
            parent=index,
            death=level,
            birth=level,
            stable_until=level,
            is_open=np.empty(0, dtype=bool),
        )

    @classmethod
    def of_tree(
        cls, tree: MaxTree, box: np.ndarray, first: np.ndarray, peak: np.ndarray
    ) -> "Regions":
        """Regions that are the components of a tree, none of them open."""
        return cls(
            box=box.astype(np.float32),
            first=first.astype(np.int64),
            peak=peak.astype(np.float32),
            parent=tree.parent,
            death=tree.death,
            birth=tree.birth,
            stable_until=tree.birth,
            is_open=np.zeros(len(tree.birth), dtype=bool),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Regions"]) -> "Regions":
        """The regions of all parts, one part after another."""
        offsets = np.cumsum([0, *map(len, parts[:-1])])
        parts = [
            replace(part, parent=_shift(part.parent, offset))
            for part, offset in zip(parts, offsets, strict=True)
        ]
        columns = [[getattr(part, name) for part in parts] for name in _FIELDS]
        return cls(*map(np.concatenate, columns))

    def __len__(self) -> int:
        return len(self.box)

    def select(self, mask: np.ndarray) -> "Regions":
        """Some of the regions; a parent is the nearest selected ancestor."""
        ancestor = _nearest_ancestor(self.parent, mask)[mask]
        selected = Regions(*(getattr(self, name)[mask] for name in _FIELDS))
        return replace(selected, parent=_new_index(mask)[ancestor])


_FIELDS = [field.name for field in fields(Regions)]


def connected_regions(values: np.ndarray, thresholds: np.ndarray) -> Regions:
    """Connected regions (8 neighbours) above each of some rising thresholds.

    Parameters
    ----------
    values : ndarray of shape (height, width)
    thresholds : ndarray of shape (n_thresholds,)
    """
    tree = _image_tree(values, thresholds)
    return Regions.of_tree(tree, tree.box, tree.first, tree.maximum(values))


def stable_regions(
    values: np.ndarray, n_thresholds: int, recipe: RegionRecipe = DEFAULT_RECIPE
) -> np.ndarray:
    """Boxes of the stable regions of an image in memory, see `StableRegions`.

    Parameters
    ----------
    values : ndarray of shape (height, width)
        Grey levels between 0 and 1.
    n_thresholds : int
    recipe : RegionRecipe

    Returns
    -------
    ndarray of float32 of shape (n_regions, 4)
    """
    height, width = values.shape
    regions = StableRegions((height, width), n_thresholds, recipe)
    regions.add_row([values])
    return regions.boxes()


@dataclass(frozen=True)
class _Part:
    """Regions of a part of an image.

    Attributes
    ----------
    regions : Regions
    edges : dict of str to ndarray
        Index of the smallest region at each pixel of the part's edges, -1 for none.
    """

    regions: Regions
    edges: dict[str, np.ndarray]

    def select(self, mask: np.ndarray) -> "_Part":
        """Some of the regions; edges have -1 for the others."""
        new_index = _new_index(mask)
        edges = {side: new_index[edge] for side, edge in self.edges.items()}
        return _Part(self.regions.select(mask), edges)


class StableRegions:
    """Stable regions of an image that comes in rows of tiles, from the top.

    A stable region keeps its box over a range of thresholds. It is taken at the lowest
    of them, at which it contains the whole of a stroke.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image.
    n_thresholds : int
        Thresholds, evenly spaced between 0 and 1.
    recipe : RegionRecipe
    """

    def __init__(
        self,
        size: tuple[int, int],
        n_thresholds: int,
        recipe: RegionRecipe = DEFAULT_RECIPE,
    ):
        self._size = size
        self._thresholds = np.arange(1, n_thresholds + 1) / (n_thresholds + 1)
        self._recipe = recipe
        self._n_rows = 0
        self._pending = _Part(Regions.empty(), {"bottom": np.full(size[1], -1)})
        self._final = [Regions.empty()]

    def add_row(self, tiles: Sequence[np.ndarray]) -> None:
        """Add a row of tiles, from left to right: grey levels between 0 and 1."""
        parts, left = [], 0
        for values in tiles:
            parts.append(self._settle(self._part_of_tile(values, left)))
            left += values.shape[1]
        self._n_rows += len(tiles[0])
        if any(len(part.regions) for part in (self._pending, *parts)):
            self._pending = self._settle(self._merge(self._pending, parts))

    def boxes(self) -> np.ndarray:
        """Boxes n_regions x 4 of the stable regions, after the last row.

        In the order of their thresholds, and of their first pixels.
        """
        final = Regions.concatenate(self._final)
        return final.box[_reading_order(final)]

    def _part_of_tile(self, values: np.ndarray, left: int) -> _Part:
        """Regions of a tile of the next row, in pixels of the image."""
        height, width = values.shape
        top = self._n_rows
        tree = _image_tree(values, self._thresholds)
        y, x = np.divmod(tree.first.astype(np.int64), width)
        regions = Regions.of_tree(
            tree,
            box=tree.box + np.array([left, top, left, top]),
            first=(top + y) * self._size[1] + left + x,
            peak=tree.maximum(values),
        )
        window = np.array([left, top, left + width, top + height])
        pixel = np.arange(values.size).reshape(values.shape)
        edges = {
            "left": tree.component_of(pixel[:, 0]),
            "top": tree.component_of(pixel[0]),
            "right": tree.component_of(pixel[:, -1]),
            "bottom": tree.component_of(pixel[-1]),
        }
        return _Part(self._mark_open(regions, window), edges)

    def _merge(self, above: _Part, row: Sequence[_Part]) -> _Part:
        """Merge regions of the rows above with those of the tiles of the next row."""
        parts = [above, *row]
        regions = Regions.concatenate([part.regions for part in parts])
        offsets = np.cumsum([0, *(len(part.regions) for part in parts[:-1])])
        edges_above, *edges = [
            {side: _shift(edge, offset) for side, edge in part.edges.items()}
            for part, offset in zip(parts, offsets, strict=True)
        ]
        top, bottom = (
            np.concatenate([tile[side] for tile in edges]) for side in ("top", "bottom")
        )
        seams = [(left["right"], right["left"]) for left, right in pairwise(edges)]
        seams.append((edges_above["bottom"], top))
        adjacent = np.concatenate([_adjacent_regions(*seam) for seam in seams])
        tree = MergedTree(regions.parent, regions.birth, adjacent)
        low = [tree.minimum(regions.box[:, column]) for column in (0, 1)]
        high = [tree.maximum(regions.box[:, column]) for column in (2, 3)]
        merged = Regions.of_tree(
            tree,
            box=np.stack(low + high, axis=1),
            first=tree.minimum(regions.first),
            peak=tree.maximum(regions.peak),
        )
        # The last place is for pixels without a region, which have the index -1.
        merged_index = np.append(tree.component_of(np.arange(len(regions))), -1)
        # Closed regions have not changed, but regions nested in them may be gone.
        closed = np.flatnonzero(~regions.is_open)
        stable_until = merged.stable_until.copy()
        stable_until[merged_index[closed]] = regions.stable_until[closed]
        merged = replace(merged, stable_until=stable_until)
        window = np.array([0, 0, self._size[1], self._n_rows])
        return _Part(
            self._mark_open(merged, window),
            {"bottom": merged_index[bottom]},
        )

    def _mark_open(self, regions: Regions, window: np.ndarray) -> Regions:
        """Regions of a window, a box, of which those that reach a seam are open."""
        height, width = self._size
        is_seam = window != [0, 0, width, height]
        is_open = ((regions.box == window) & is_seam).any(axis=1)
        return replace(regions, is_open=is_open)

    def _settle(self, part: _Part) -> _Part:
        """Keep the stable regions that are final; return the part that is pending."""
        recipe = self._recipe
        is_large = recipe.is_large_enough(part.regions.box)
        part = part.select(is_large | part.regions.is_open)
        stable_until = _stable_until(part.regions, recipe.stable_iou)
        regions = replace(part.regions, stable_until=stable_until)
        is_pending = regions.is_open
        if is_pending.any():
            is_pending = is_pending | _may_resemble_open(regions, recipe)
        self._final.append(regions.select(self._is_stable(regions) & ~is_pending))
        return _Part(regions, part.edges).select(is_pending)

    def _is_stable(self, regions: Regions) -> np.ndarray:
        """Whether regions stand out, and are not near-duplicates of their parents."""
        recipe = self._recipe
        thresholds = self._thresholds.astype(np.float32)
        threshold = thresholds[regions.death]
        stability = thresholds[regions.stable_until - 1] - threshold
        # A single threshold has no range.
        min_stability = recipe.min_stability if len(thresholds) > 1 else 0
        height, width = self._size
        sides = regions.box[:, 2:] - regions.box[:, :2]
        is_background = (sides >= [width, height]).all(axis=1)
        return (
            (stability >= min_stability)
            & (regions.peak - threshold >= recipe.min_contrast)
            & ~is_background
            & ~_resembles_parent(regions, recipe)
        )


def heat_regions(
    heatmap: np.ndarray,
    image: np.ndarray,
    threshold: float,
    n_thresholds: int,
    recipe: RegionRecipe = DEFAULT_RECIPE,
) -> np.ndarray:
    """Connected regions of a heatmap, with boxes that are tight around bright pixels.

    Parameters
    ----------
    heatmap, image : ndarray of shape (height, width)
        Normalised heatmap, and grey levels between 0 and 1.
    threshold : float
        Lowest threshold of the heatmap.
    n_thresholds : int
        Thresholds; each is a constant factor above the previous one, up to 1.
    recipe : RegionRecipe

    Returns
    -------
    ndarray of float32 of shape (n_regions, 4)
        Boxes, in the order of their thresholds, and of their first pixels.
    """
    lowest = max(threshold, recipe.min_heat)
    thresholds = lowest ** (1 - np.arange(n_thresholds) / n_thresholds)
    regions = connected_regions(heatmap, thresholds)
    # The parent of a large region is larger, so that it need not be searched for.
    is_distinct = recipe.is_large_enough(regions.box)
    is_distinct &= ~_resembles_parent(regions, recipe)
    order = _reading_order(regions)
    boxes = regions.box[order[is_distinct[order]]]
    batch_size = max(1, within_working_memory(_MAX_SAMPLES) // recipe.n_samples**2)
    parts = [
        _foreground_boxes(boxes[part], image, recipe)
        for part in batch_slices(len(boxes), batch_size)
    ]
    return np.concatenate([np.empty((0, 4), np.float32), *parts])


def _foreground_boxes(
    boxes: np.ndarray, image: np.ndarray, recipe: RegionRecipe
) -> np.ndarray:
    """Boxes of the foreground inside boxes; those with too little are left out.

    The background of a box is the median along its rim. Pixels are sampled at a grid.
    """
    n_samples = recipe.n_samples
    step = (np.arange(n_samples) + 0.5) / n_samples
    low, high = boxes[:, :2, np.newaxis], boxes[:, 2:, np.newaxis]
    x, y = (low + (high - low) * step).astype(np.int64).swapaxes(0, 1)
    samples = image[y[:, :, np.newaxis], x[:, np.newaxis, :]]
    rim = [samples[:, 0], samples[:, -1], samples[:, :, 0], samples[:, :, -1]]
    background = np.median(np.concatenate(rim, axis=1), axis=1)
    contrast = samples.max(axis=(1, 2)) - background
    threshold = background + recipe.foreground_share * contrast
    is_foreground = samples > threshold[:, np.newaxis, np.newaxis]
    tight = np.empty_like(boxes)
    row = np.arange(len(boxes))
    for axis, position in enumerate((x, y)):
        hit = is_foreground.any(axis=1 + axis)
        last = n_samples - 1 - hit[:, ::-1].argmax(axis=1)
        tight[:, axis] = position[row, hit.argmax(axis=1)]
        tight[:, axis + 2] = position[row, last] + 1
    stands_out = contrast >= recipe.min_contrast
    return tight[stands_out & recipe.is_large_enough(tight)]


def _image_tree(values: np.ndarray, thresholds: np.ndarray) -> ImageTree:
    """Max-tree of an image, of which a pixel's level is the thresholds below it."""
    levels = np.zeros(values.shape, np.uint16)
    # For the usual numbers of thresholds, this is faster than a binary search.
    for threshold in thresholds.astype(values.dtype):
        levels += values > threshold
    return ImageTree(levels)


def _reading_order(regions: Regions) -> np.ndarray:
    """Indices that sort regions by their lowest thresholds, then their first pixels."""
    return np.lexsort((regions.first, regions.death))


def _stable_until(regions: Regions, stable_iou: float) -> np.ndarray:
    """Maximum birth of each region and of those nested in it with a similar box."""
    stable_until = regions.stable_until.copy()
    nested, ancestor = np.arange(len(regions)), regions.parent
    while (exists := ancestor >= 0).any():
        nested, ancestor = nested[exists], ancestor[exists]
        iou = paired_iou(regions.box[nested], regions.box[ancestor])
        # Boxes of further ancestors are larger, and resemble this one less.
        is_similar = iou >= stable_iou
        nested, ancestor = nested[is_similar], ancestor[is_similar]
        np.maximum.at(stable_until, ancestor, regions.birth[nested])
        ancestor = regions.parent[ancestor]
    return stable_until


def _resembles_parent(regions: Regions, recipe: RegionRecipe) -> np.ndarray:
    """Whether regions are near-duplicates of their parents."""
    iou = paired_iou(regions.box, regions.box[regions.parent])
    return (regions.parent >= 0) & (iou >= 1 - recipe.min_diversity)


def _may_resemble_open(regions: Regions, recipe: RegionRecipe) -> np.ndarray:
    """Whether the box of a region may be similar to that of an open ancestor.

    An open region may grow, and its IoU with a region nested in it does not rise.
    """
    ancestor = _nearest_ancestor(regions.parent, regions.is_open)
    iou = area(regions.box) / area(regions.box[ancestor])
    # A little less, because of rounding.
    min_iou = min(recipe.stable_iou, 1 - recipe.min_diversity) - 1e-3
    return (ancestor >= 0) & (iou >= min_iou)


def _nearest_ancestor(parent: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Index of each region's nearest ancestor for which a mask is set, -1 for none."""
    ancestor = parent
    while (skip := (ancestor >= 0) & ~mask[ancestor]).any():
        # Ancestors that are skipped may have skipped some of their own.
        ancestor = np.where(skip, ancestor[ancestor], ancestor)
    return ancestor


def _adjacent_regions(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs of regions, n x 2, at neighbouring pixels on both sides of a seam."""
    n = len(a)
    pairs = [
        np.stack([a[max(0, -d) : n - max(0, d)], b[max(0, d) : n - max(0, -d)]], axis=1)
        for d in (-1, 0, 1)
    ]
    adjacent = np.concatenate(pairs)
    return np.unique(adjacent[(adjacent >= 0).all(axis=1)], axis=0)


def _new_index(mask: np.ndarray) -> np.ndarray:
    """Index of each element among those for which a mask is set, -1 for the others.

    The last place is for the index -1, which stays -1.
    """
    return np.append(np.where(mask, np.cumsum(mask) - 1, -1), -1)


def _shift(indices: np.ndarray, offset: int) -> np.ndarray:
    """Indices that are larger by an offset; -1 stays."""
    return np.where(indices >= 0, indices + offset, -1)

"""Region proposals: boxes in which an object may be, and the sources they come from.

A source is a function from `Views` to `Proposals`, with an entry in `PROPOSAL_SOURCES`.
`fit`, mining and calibration of the localizer use the source that `localize` uses.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .._images.images import to_grey
from .._images.rasters import Raster, with_halo, work_tile_rows
from .channels import Channel, grey_channel, shared_channels, smooth_channel
from .heat import Heatmaps
from .regions import RegionRecipe, StableRegions, heat_regions
from .views import Views

# Bytes that component trees, channels and the pixels themselves take for each pixel.
_BYTES_PER_PIXEL = 256
# Pixels around a tile on which its channels depend, twice those at half the size.
_CHANNEL_HALO = 8


@dataclass(frozen=True, kw_only=True)
class ProposalRecipe:
    """How proposals are told apart and split.

    Attributes
    ----------
    duplicate_shift : float
        Difference of the corners of near-duplicates, as a share of the box's width and
        height. With 0.1, two such boxes have an IoU of about 0.8.
    cuts : tuple of (int, int, float)
        Axis along which a region is split, number of parts, and the minimum length as a
        multiple of the other side. Objects stand next to each other more often than on
        top of each other, so that there are fewer cuts along the height. Chosen on rows
        of touching training digits.
    min_side : int
        Minimum length in pixels of the longer side of a part.
    """

    duplicate_shift: float = 0.1
    cuts: tuple[tuple[int, int, float], ...] = ((0, 2, 0.8), (0, 3, 1.2), (1, 2, 2.0))
    min_side: int = 7


DEFAULT_RECIPE = ProposalRecipe()


@dataclass(frozen=True)
class Proposals:
    """Boxes in some views of images.

    Attributes
    ----------
    boxes : ndarray of shape (n_proposals, 4), float32
        x_min, y_min, x_max, y_max in pixels, half-open.
    source : ndarray of int of shape (n_proposals,)
        Index of the view that each box is in.
    level : ndarray of int of shape (n_proposals,)
        Pixels of the image in one pixel, along each axis, of the channel that a box
        comes from: the larger, the less exact the box.
    """

    boxes: np.ndarray
    source: np.ndarray
    level: np.ndarray

    @classmethod
    def from_boxes(
        cls, boxes: np.ndarray, source: int | np.ndarray = 0, level: int = 1
    ) -> "Proposals":
        """Proposals of one level; a single source stands for all boxes."""
        n = len(boxes)
        return cls(
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            source=np.broadcast_to(np.asarray(source, np.int64), n).copy(),
            level=np.full(n, level, np.int64),
        )

    @classmethod
    def concatenate(cls, parts: Iterable["Proposals"]) -> "Proposals":
        """The proposals of all parts, in order."""
        parts = [cls.from_boxes(np.empty((0, 4))), *parts]
        return cls(
            boxes=np.concatenate([part.boxes for part in parts]),
            source=np.concatenate([part.source for part in parts]),
            level=np.concatenate([part.level for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: np.ndarray | slice) -> "Proposals":
        """The proposals at some rows, or where a mask is true."""
        return Proposals(self.boxes[rows], self.source[rows], self.level[rows])

    def near_duplicate_groups(
        self, recipe: ProposalRecipe = DEFAULT_RECIPE
    ) -> tuple[np.ndarray, np.ndarray]:
        """Group proposals of one view whose boxes are nearly the same.

        Returns
        -------
        first : ndarray of shape (n_groups,)
            First row of each group, in ascending order.
        group : ndarray of shape (n_proposals,)
            Group of each proposal.
        """
        octave = np.floor(np.log2(self.boxes[:, 2:] - self.boxes[:, :2]))
        cell = np.rint(self.boxes / np.tile(recipe.duplicate_shift * 2**octave, 2))
        key = np.hstack([self.source[:, np.newaxis], octave, cell])
        _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return first[order], rank[group.ravel()]

    def distinct(self) -> "Proposals":
        """The first proposal of each group of near-duplicates."""
        first, _ = self.near_duplicate_groups()
        return self.select(first)

    def without_duplicates_of(self, known: "Proposals") -> "Proposals":
        """The distinct proposals that are near-duplicates of no known, distinct one."""
        together = Proposals.concatenate([known, self]).distinct()
        return together.select(slice(len(known), None))

    def split(self, recipe: ProposalRecipe = DEFAULT_RECIPE) -> "Proposals":
        """Parts of the proposals that may show several objects.

        Objects that touch are one region. It is split into equal parts, side by side or
        on top of each other; box regression then moves each part to its object. Only
        regions of the full resolution are split, as coarser channels show the same
        objects.
        """
        fine = self.select(self.level == 1)
        parts = [fine.select(slice(0))]
        for axis, n_parts, min_ratio in recipe.cuts:
            parts += fine._split_along(axis, n_parts, min_ratio, recipe.min_side)
        return Proposals.concatenate(parts)

    def _split_along(
        self, axis: int, n_parts: int, min_ratio: float, min_side: int
    ) -> list["Proposals"]:
        sides = self.boxes[:, 2:].astype(np.float64) - self.boxes[:, :2]
        long = self.select(sides[:, axis] >= min_ratio * sides[:, 1 - axis])
        low = long.boxes[:, axis].astype(np.float64)
        length = long.boxes[:, axis + 2] - low
        parts = []
        for number in range(n_parts):
            boxes = long.boxes.copy()
            boxes[:, axis] = np.floor(low + length * number / n_parts)
            boxes[:, axis + 2] = np.ceil(low + length * (number + 1) / n_parts)
            is_large = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) >= min_side
            part = Proposals(boxes, long.source, long.level)
            parts.append(part.select(is_large))
        return parts

    def unrefined(self) -> "Proposals":
        """Boxes of the full resolution, to be recognised where they are.

        Where an object is crisp, they are exact; elsewhere refined boxes are better, so
        that these rank as boxes of the next coarser level.
        """
        fine = self.select(self.level == 1)
        return Proposals(fine.boxes, fine.source, 2 * fine.level)

    def clip(self, sizes: np.ndarray) -> "Proposals":
        """The boxes clipped to their views, whose heights and widths are given."""
        height, width = sizes[self.source].T.astype(np.float32)
        limit = np.stack([width, height, width, height], axis=1)
        return Proposals(self.boxes.clip(0, limit), self.source, self.level)


ProposalSource = Callable[[Views, Any, Heatmaps | None], Proposals]


def propose(views: Views, settings: Any, heatmaps: Heatmaps | None) -> Proposals:
    """Propose boxes in some views.

    Parameters
    ----------
    views : Views
    settings : SearchSettings
        With the attributes `proposals`, `n_thresholds` and `heat_threshold`.
    heatmaps : Heatmaps or None
        Of the views, for the sources that use them.
    """
    source = settings.proposals
    if callable(source):
        return _boxes_of_function(views, source)
    return PROPOSAL_SOURCES[source](views, settings, heatmaps)


def image_regions(views: Views, settings: Any, heatmaps: Heatmaps | None) -> Proposals:
    """Stable extremal regions of grey levels, edges and colours."""
    return _regions_of_channels(
        views, fine_and_smooth_channels, shared_channels, settings.n_thresholds
    )


def grey_regions(views: Views, settings: Any, heatmaps: Heatmaps | None) -> Proposals:
    """Stable extremal regions of grey levels."""
    return _regions_of_channels(
        views, lambda pixels: [grey_channel(pixels)], None, settings.n_thresholds
    )


def heat_proposals(views: Views, settings: Any, heatmaps: Heatmaps | None) -> Proposals:
    """Connected regions of heatmaps, tightened around bright pixels."""
    if heatmaps is None:
        return image_regions(views, settings, heatmaps)
    parts = []
    for number, heat in enumerate(heatmaps.of(range(len(views)))):
        boxes = heat_regions(
            heat.whole()[0].numpy(),
            to_grey(views.rasters[number].whole()).numpy(),
            settings.heat_threshold,
            settings.n_thresholds,
        )
        parts.append(Proposals.from_boxes(boxes, number))
    return Proposals.concatenate(parts)


PROPOSAL_SOURCES: dict[str, ProposalSource] = {
    "image": image_regions,
    "grey": grey_regions,
    "heat": heat_proposals,
}


def fine_and_smooth_channels(pixels: torch.Tensor) -> list[Channel]:
    """Channels whose regions differ between an image and its negative."""
    return [grey_channel(pixels), smooth_channel(pixels)]


def _regions_of_channels(
    views: Views,
    channels: Callable[[torch.Tensor], list[Channel]],
    shared: Callable[[torch.Tensor], list[Channel]] | None,
    n_thresholds: int,
) -> Proposals:
    """Regions of the channels of each view, and of those that all views share."""
    parts = []
    contrasts = (False, True) if views.any_contrast else views.negatives
    for number, image in enumerate(views.images):
        makers = [_of_contrast(channels, is_negative) for is_negative in contrasts]
        if shared is not None:
            makers.append(shared)
        regions = _tiled_regions(image, makers, n_thresholds)
        of_all = regions[len(contrasts) :]
        for position in range(len(views.negatives)):
            of_view = (
                regions[: len(contrasts)] if views.any_contrast else [regions[position]]
            )
            boxes = Proposals.concatenate([*of_view, *of_all])
            source = np.full(len(boxes), number * len(views.negatives) + position)
            parts.append(Proposals(boxes.boxes, source, boxes.level))
    return Proposals.concatenate(parts).clip(views.sizes).distinct()


def _of_contrast(
    channels: Callable[[torch.Tensor], list[Channel]], is_negative: bool
) -> Callable[[torch.Tensor], list[Channel]]:
    return lambda pixels: channels(1 - pixels if is_negative else pixels)


def _tiled_regions(
    image: Raster,
    makers: Sequence[Callable[[torch.Tensor], list[Channel]]],
    n_thresholds: int,
) -> list[Proposals]:
    """Stable regions of the channels that each function makes of an image."""
    trees: list[list[tuple[StableRegions, int]]] = []
    for row in work_tile_rows(image.size, _BYTES_PER_PIXEL, multiple=2):
        tiles = [_channels_of_tile(image, window, makers) for window in row]
        if not trees:
            trees = [
                [
                    (_tree_of(channel, image.size, n_thresholds), channel.downsampling)
                    for channel in channels
                ]
                for channels in tiles[0]
            ]
        for maker, maker_trees in enumerate(trees):
            for number, (tree, _) in enumerate(maker_trees):
                tree.add_row([tile[maker][number].values for tile in tiles])
    return [
        Proposals.concatenate(
            Proposals.from_boxes(tree.boxes() * np.float32(level), level=level)
            for tree, level in maker_trees
        )
        for maker_trees in trees
    ]


def _tree_of(channel: Channel, size: tuple[int, int], n_thresholds: int):
    """The regions of a channel of an image of a size."""
    level = channel.downsampling
    height, width = (-(-length // level) for length in size)
    return StableRegions(
        (height, width), n_thresholds, RegionRecipe().for_channel(level)
    )


def _channels_of_tile(image: Raster, window, makers) -> list[list[Channel]]:
    """Channels of a window of an image, from each of some functions."""
    outer, inner = with_halo(window, _CHANNEL_HALO, image.size, multiple=2)
    pixels = image.read(*outer)
    return [[channel.crop(inner) for channel in maker(pixels)] for maker in makers]


def _boxes_of_function(
    views: Views, function: Callable[[np.ndarray], Any]
) -> Proposals:
    """Boxes that a user's function proposes for each image, clipped to it."""
    parts = []
    n_views = len(views.negatives)
    for number, image in enumerate(views.images):
        boxes = _checked_boxes(function, image.whole())
        parts += [
            Proposals.from_boxes(boxes, number * n_views + position)
            for position in range(n_views)
        ]
    return Proposals.concatenate(parts)


def _checked_boxes(
    function: Callable[[np.ndarray], Any], image: torch.Tensor
) -> np.ndarray:
    n_channels, height, width = image.shape
    pixels = image.permute(1, 2, 0).numpy()
    boxes = np.asarray(function(pixels[..., 0] if n_channels == 1 else pixels))
    if boxes.size == 0:
        return np.empty((0, 4), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(
            "proposals must return finite boxes x_min, y_min, x_max, y_max, of the "
            f"shape (n_boxes, 4); got {boxes.dtype} of the shape {boxes.shape}."
        )
    boxes = boxes.astype(np.float32).clip(0, [width, height, width, height])
    is_empty = ~(boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    if is_empty.any():
        raise ValueError(
            f"proposals returned the box {boxes[is_empty][0].tolist()}, which holds "
            f"no pixel of an image of {width} x {height}; boxes are x_min, y_min, "
            "x_max, y_max in pixels."
        )
    return boxes

"""Proposals, heat and crops of large images, tile by tile, as those of the whole."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from .._images.rasters import Raster, Window, max_tile_pixels, with_halo, work_tile_rows
from .channels import Channel, shared_channels
from .crop_specification import CropSpecification
from .crops import crop_at, crop_octaves, crop_reach
from .proposals import PROPOSAL, Stability, as_proposals, joined, own_channels, propose
from .region_tiles import RegionTiles

# Bytes that component trees, channels and the pixels themselves take for each pixel.
_BYTES_PER_PIXEL = 256
# Pixels around a tile on which its channels depend, twice those at half the size.
_CHANNEL_HALO = 8


def rows_of_tiles(size: tuple[int, int]) -> Iterator[list[Window]]:
    """Tiles of an image that fit into the working memory, row by row."""
    return work_tile_rows(size, _BYTES_PER_PIXEL, multiple=2)


def propose_in_tiles(
    image: Raster,
    negatives: tuple[bool, ...],
    proposals: str | Callable[[np.ndarray], Any],
    n_thresholds: int,
    any_contrast: bool = False,
) -> list[np.ndarray]:
    """Region proposals of a large image, as `propose` gives them.

    A function of the user gets all of the image.
    """
    if callable(proposals):
        return propose(image.whole(), negatives, proposals, n_thresholds)
    contrasts = (False, True) if any_contrast else negatives
    trees = [ChannelTiles(image.size, n_thresholds) for _ in contrasts]
    shared = ChannelTiles(image.size, n_thresholds)
    for row in rows_of_tiles(image.size):
        for window in row:
            outer, inner = with_halo(window, _CHANNEL_HALO, image.size, 2)
            pixels = image.read(*outer)
            for own, is_negative in zip(trees, contrasts, strict=True):
                view = 1 - pixels if is_negative else pixels
                own.add_tile(own_channels(view, proposals), inner)
            if proposals == "image":
                shared.add_tile(shared_channels(pixels), inner)
        for own in (*trees, shared):
            own.end_row()
    found, of_both = [own.proposals() for own in trees], shared.proposals()
    if any_contrast:
        return [joined([*found, of_both], image.size)] * len(negatives)
    return [joined([own, of_both], image.size) for own in found]


class ChannelTiles:
    """Proposals from some channels of an image of a height and width, tile by tile."""

    def __init__(self, size: tuple[int, int], n_thresholds: int):
        self._size = size
        self._n_thresholds = n_thresholds
        self._row: list[list[Channel]] = []
        self._regions: list[tuple[RegionTiles, int]] = []

    def add_tile(self, channels: list[Channel], inner: Window) -> None:
        """The next tile of a row: the inner part of some channels."""
        tile = []
        for values, n in channels:
            rows, columns = (slice(p.start // n, -(-p.stop // n)) for p in inner)
            tile.append(Channel(values[rows, columns], n))
        self._row.append(tile)

    def end_row(self) -> None:
        """Tiles that are added from now on are of the next row."""
        channels = list(zip(*self._row, strict=True))
        self._row.clear()
        if not self._regions:
            for tiles in channels:
                n = tiles[0].downsampling
                height, width = (-(-length // n) for length in self._size)
                stability = Stability.of_channel(n)
                regions = RegionTiles((height, width), self._n_thresholds, stability)
                self._regions.append((regions, n))
        for tiles, (regions, _) in zip(channels, self._regions, strict=True):
            regions.add_row([tile.values for tile in tiles])

    def proposals(self) -> np.ndarray:
        """Proposals of all channels, after the last row."""
        found = [as_proposals(tree.proposals(), n) for tree, n in self._regions]
        return np.concatenate([np.empty(0, PROPOSAL), *found])


def greatest_in_boxes(heat: Raster, corners: np.ndarray) -> np.ndarray:
    """Greatest value of a raster in each box, of whole pixels."""
    greatest = np.full(len(corners), -np.inf)
    for row in rows_of_tiles(heat.size):
        band = row[0][0]
        near = np.flatnonzero(
            (corners[:, 1] < band.stop) & (corners[:, 3] > band.start)
        )
        for window in row:
            rows, columns = window
            box = corners[near]
            met = near[(box[:, 0] < columns.stop) & (box[:, 2] > columns.start)]
            if len(met) == 0:
                continue
            values = heat.read(*window)[0].numpy()
            low = np.array([columns.start, rows.start])
            for index in met:
                x0, y0 = (corners[index, :2] - low).clip(0)
                x1, y1 = corners[index, 2:] - low
                greatest[index] = max(greatest[index], values[y0:y1, x0:x1].max())
    return greatest


def crops_in_tiles(
    image: Raster,
    boxes: np.ndarray,
    specification: CropSpecification,
    device: torch.device,
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Rows of boxes and their crops on a device, batch by batch."""
    octaves = crop_octaves(boxes, specification)
    level = image
    for octave in range(int(octaves.max(initial=-1)) + 1):
        if octave:
            level = level.halve()
            if math.prod(level.size) <= max_tile_pixels():
                level = Raster.from_tensor(level.whole())
        at_level = np.flatnonzero(octaves == octave)
        # In a tile are the boxes whose centres are.
        scale = 2.0**octave
        centre = (boxes[at_level, :2] + boxes[at_level, 2:]) / (2 * scale)
        reach = crop_reach(specification)
        for row in rows_of_tiles(level.size):
            band = row[0][0]
            last_row = band.stop == level.size[0]
            is_in_row = (centre[:, 1] >= band.start) & (
                (centre[:, 1] < band.stop) | last_row
            )
            near = np.flatnonzero(is_in_row)
            for window in row:
                columns = window[1]
                x = centre[near, 0]
                is_last = columns.stop == level.size[1]
                own = near[(x >= columns.start) & ((x < columns.stop) | is_last)]
                if len(own) == 0:
                    continue
                outer, _ = with_halo(window, reach, level.size)
                pixels = level.read(*outer).to(device)
                origin = np.array([outer[1].start, outer[0].start] * 2, np.float32)
                members = at_level[own]
                shifted = boxes[members] - np.float32(scale) * origin
                for part, crops in crop_at(pixels, octave, shifted, specification):
                    yield members[part], crops


def negative(image: Raster) -> Raster:
    """The image with dark and bright exchanged."""
    return image.map(lambda pixels: 1 - pixels)

"""Proposals, heat and crops of large images, tile by tile, as those of the whole."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from .._inputs.tiles import (
    MAX_PIXELS,
    Raster,
    Window,
    halved,
    mapped,
    raster_in_memory,
    tile_rows,
    tile_side,
    with_halo,
)
from .channels import coarse_channels, grey_channel
from .crop_specification import CropSpecification
from .crops import crop_at, crop_octaves, crop_reach
from .proposals import as_proposals, distinct, propose
from .region_tiles import RegionTiles

# Bytes that component trees, channels and the pixels themselves take for each pixel.
_BYTES_PER_PIXEL = 256
# Pixels around a tile on which its channels depend, twice those at half the size.
_CHANNEL_HALO = 8


def whole(raster: Raster) -> torch.Tensor:
    """All of an image."""
    return raster.read(slice(0, raster.size[0]), slice(0, raster.size[1]))


def rows_of_tiles(size: tuple[int, int]) -> Iterator[list[Window]]:
    """Tiles of an image that fit into the memory budget, row by row."""
    side = tile_side(_BYTES_PER_PIXEL, multiple=2)
    return tile_rows((slice(0, size[0]), slice(0, size[1])), side)


def propose_in_tiles(
    image: Raster,
    negatives: tuple[bool, ...],
    proposals: str | Callable[[np.ndarray], Any],
    n_thresholds: int,
) -> list[np.ndarray]:
    """Region proposals of a large image, as `propose` gives them.

    A function of the user gets all of the image.
    """
    if callable(proposals):
        return propose(whole(image), negatives, proposals, n_thresholds)
    grey = [RegionTiles(image.size, n_thresholds) for _ in negatives]
    coarse: list[RegionTiles] = []
    coarse_size = halved(image).size
    for row in rows_of_tiles(image.size):
        grey_row: list[list[np.ndarray]] = [[] for _ in negatives]
        coarse_row: list[list[np.ndarray]] = []
        for window in row:
            outer, inner = with_halo(window, _CHANNEL_HALO, image.size, 2)
            pixels = image.read(*outer)
            own = pixels[:, *inner]
            for values, is_negative in zip(grey_row, negatives, strict=True):
                view = 1 - own if is_negative else own
                values.append(grey_channel(view).values)
            if proposals == "image":
                part = tuple(slice(p.start // 2, -(-p.stop // 2)) for p in inner)
                coarse_row.append([c.values[part] for c in coarse_channels(pixels)])
        for tree, values in zip(grey, grey_row, strict=True):
            tree.add_row(values)
        channels = list(zip(*coarse_row, strict=True))
        coarse = coarse or [RegionTiles(coarse_size, n_thresholds) for _ in channels]
        for tree, values in zip(coarse, channels, strict=True):
            tree.add_row(values)
    shared = [as_proposals(tree.proposals(), 2) for tree in coarse]
    edge = np.array(image.size[::-1], np.float32)
    for found in shared:
        found["box"][:, 2:] = np.minimum(found["box"][:, 2:], edge)
    return [
        distinct(np.concatenate([as_proposals(tree.proposals()), *shared]))
        for tree in grey
    ]


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
            level = halved(level)
            if math.prod(level.size) <= MAX_PIXELS:
                level = raster_in_memory(whole(level))
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
    return mapped(image, lambda pixels: 1 - pixels)

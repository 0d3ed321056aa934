"""Images that are larger than memory: read, and computed, window by window."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .._compat import is_out_of_memory
from .images import Images, release, shape_text, to_tensor

# Bytes that the work on one tile may need, besides its result.
MEMORY_BUDGET = 2**28
# An image of more pixels is large: it is worked on in tiles.
MAX_PIXELS = 2**20
# Side of the tiles in which what is ready is read and written.
MAX_SIDE = 1024

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Raster:
    """An image of which any window can be had, and no other part is in memory.

    Attributes
    ----------
    size : (int, int)
        Height and width.
    read : callable
        Gets slices of rows and columns, with bounds inside the image, and gives
        n_channels x height x width.
    """

    size: tuple[int, int]
    read: Callable[[slice, slice], torch.Tensor]


def is_large(pixels: Any) -> bool:
    """Whether an image, height x width (x n_channels), is worked on in tiles."""
    return math.prod(pixels.shape[:2]) > MAX_PIXELS


def groups(
    images: Images, n_channels: int, n_pixels: int
) -> Iterator[list[torch.Tensor] | Raster]:
    """Images of any sizes as float32, some of them at a time, or one large one.

    Parameters
    ----------
    images : Images
    n_channels : int
        Channels of the tensors; colour is made grey for one channel.
    n_pixels : int
        Pixels after which no other image joins.
    """
    batch: list[torch.Tensor] = []
    for pixels in images.pixels:
        if is_large(pixels):
            if batch:
                yield batch
                batch = []
            yield raster_of(pixels, n_channels)
            continue
        batch.append(to_tensor(np.asarray(pixels)[np.newaxis], n_channels)[0])
        release(pixels)
        if sum(image[0].numel() for image in batch) >= n_pixels:
            yield batch
            batch = []
    if batch:
        yield batch


def raster_of(pixels: Any, n_channels: int) -> Raster:
    """A user's image, height x width x n_channels, as floats."""

    def read(rows: slice, columns: slice) -> torch.Tensor:
        # A copy, as pages of a memory map are released.
        part = np.array(pixels[rows, columns])
        release(pixels)
        return to_tensor(part[np.newaxis], n_channels)[0]

    height, width = pixels.shape[:2]
    return Raster((height, width), read)


def raster_in_memory(values: torch.Tensor) -> Raster:
    """An image n_channels x height x width that is in memory."""
    _, height, width = values.shape
    return Raster((height, width), lambda rows, columns: values[:, rows, columns])


def mapped(raster: Raster, function: Callable[[torch.Tensor], torch.Tensor]) -> Raster:
    """A raster with a function of each pixel's values applied."""
    return Raster(raster.size, lambda *window: function(raster.read(*window)))


def halved(raster: Raster) -> Raster:
    """An image of half the size, of means of 2 x 2 pixels; sizes are rounded up."""
    height, width = raster.size
    size = math.ceil(height / 2), math.ceil(width / 2)

    def halve(rows: slice, columns: slice) -> torch.Tensor:
        window = [
            slice(2 * part.start, min(2 * part.stop, length))
            for part, length in zip((rows, columns), raster.size, strict=True)
        ]
        pixels = raster.read(*window)[None]
        return F.avg_pool2d(pixels, 2, ceil_mode=True, count_include_pad=False)[0]

    def read(rows: slice, columns: slice) -> torch.Tensor:
        # Part by part, or a few halvings would read all of a large image at once.
        side = max(1, math.isqrt(MAX_PIXELS) // 2)
        bands = [
            torch.cat([halve(*part) for part in band], dim=2)
            for band in tile_rows((rows, columns), side)
        ]
        return torch.cat(bands, dim=1)

    return Raster(size, read)


def tile_rows(window: Window, side: int) -> Iterator[list[Window]]:
    """Tiles of a window, one row of them after another."""
    rows, columns = window
    for top in range(rows.start, rows.stop, side):
        part = slice(top, min(top + side, rows.stop))
        yield [
            (part, slice(left, min(left + side, columns.stop)))
            for left in range(columns.start, columns.stop, side)
        ]


def tiles(size: tuple[int, int], side: int) -> Iterator[Window]:
    """Tiles of an image, row by row."""
    for row in tile_rows((slice(0, size[0]), slice(0, size[1])), side):
        yield from row


def tile_side(bytes_per_pixel: float, halo: int = 0, multiple: int = 1) -> int:
    """Side of tiles that, with a halo around them, fit into the memory budget."""
    side = math.isqrt(int(MEMORY_BUDGET / bytes_per_pixel)) - 2 * halo
    # With less, most of the work would be on the halo.
    side = min(max(side, halo, multiple), math.isqrt(MAX_PIXELS))
    return math.ceil(side / multiple) * multiple


def with_halo(
    window: Window, halo: int, size: tuple[int, int], multiple: int = 1
) -> tuple[Window, Window]:
    """A window with its surroundings, and where in that larger one it lies.

    The larger window begins at multiples of `multiple`, and ends where the image does.
    """
    outer, inner = [], []
    for part, length in zip(window, size, strict=True):
        start = max(0, part.start - halo) // multiple * multiple
        outer.append(slice(start, min(length, part.stop + halo)))
        inner.append(slice(part.start - start, part.stop - start))
    return (outer[0], outer[1]), (inner[0], inner[1])


def write(raster: Raster, out: Any, side: int) -> None:
    """Write a raster of one channel into an array, tile by tile."""
    for window in tiles(raster.size, side):
        out[window] = raster.read(*window)[0].numpy()
        release(out)


def value_range(raster: Raster) -> tuple[float, float]:
    """Least and greatest value."""
    low, high = math.inf, -math.inf
    for window in tiles(raster.size, MAX_SIDE):
        values = raster.read(*window)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


@contextmanager
def explained_memory_error(name: str, size: tuple[int, int]) -> Iterator[None]:
    """Raise one MemoryError, which says what to do, whatever ran out of memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        tile = MEMORY_BUDGET / 2**20
        result = 4 * math.prod(size) / 2**20
        raise MemoryError(
            f"{name}, {shape_text(size)} pixels, does not fit into memory: besides the "
            f"image, tiles need about {2 * tile:.0f} MB and a heatmap that is returned "
            f"{result:.0f} MB, more where the network takes no tiles; pass out=, a "
            "memory-mapped array, to transform, or cut the image into parts that "
            "overlap."
        ) from error

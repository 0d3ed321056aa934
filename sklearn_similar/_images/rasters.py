"""Rasters: images of any size, read and computed window by window.

An image in memory is a raster as well, so that there is one way of working for images
of all sizes.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .._compat import is_out_of_memory
from .images import release, to_tensor
from .memory import within_working_memory
from .messages import shape_text
from .scaling import BY_TYPE, Scaling

# At scikit-learn's default working memory: bytes that the work on a tile takes besides
# its result, pixels of an image above which it is worked on in tiles, and the side of
# the tiles in which results are read and written.
_TILE_BYTES = 2**28
_TILE_PIXELS = 2**20
# Bytes for each pixel of a tile: pixels, channels and component trees of a search.
_WORK_BYTES = 256

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Raster:
    """An image of which any window can be read.

    Attributes
    ----------
    size : (int, int)
        Height and width in pixels.
    read : callable
        Takes slices of rows and of columns, with bounds inside the image, and returns
        a tensor of shape (n_channels, n_rows, n_columns).
    """

    size: tuple[int, int]
    read: Callable[[slice, slice], torch.Tensor]

    @classmethod
    def from_tensor(cls, values: torch.Tensor) -> "Raster":
        """The raster of an image n_channels x height x width in memory."""
        _, height, width = values.shape
        return cls((height, width), lambda rows, columns: values[:, rows, columns])

    @classmethod
    def from_pixels(
        cls, pixels: Any, n_channels: int, scaling: Scaling = BY_TYPE
    ) -> "Raster":
        """The raster of a user's image, height x width x n_channels, as float32.

        Colour is made grey for one channel, and grey is repeated for three.
        """

        def read(rows: slice, columns: slice) -> torch.Tensor:
            # A copy, as pages of a memory map are released.
            part = np.array(pixels[rows, columns])
            release(pixels)
            return to_tensor(part[np.newaxis], n_channels, scaling=scaling)[0]

        height, width = pixels.shape[:2]
        return cls((height, width), read)

    @property
    def window(self) -> Window:
        """The window that holds the whole image."""
        return slice(0, self.size[0]), slice(0, self.size[1])

    def whole(self) -> torch.Tensor:
        """Read the whole image, n_channels x height x width."""
        return self.read(*self.window)

    def cached(self) -> "Raster":
        """The raster with its pixels in memory, unless the image is large."""
        if math.prod(self.size) > max_tile_pixels():
            return self
        return Raster.from_tensor(self.whole())

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Raster":
        """The raster to whose windows a function of each pixel is applied."""
        return Raster(self.size, lambda *window: function(self.read(*window)))

    def mirrored(self) -> "Raster":
        """The mirror image, with left and right exchanged."""
        width = self.size[1]

        def read(rows: slice, columns: slice) -> torch.Tensor:
            columns = slice(width - columns.stop, width - columns.start)
            return self.read(rows, columns).flip(2)

        return Raster(self.size, read)

    def halve(self) -> "Raster":
        """The raster of half the size, rounded up: means of 2 x 2 pixels."""
        height, width = self.size
        size = math.ceil(height / 2), math.ceil(width / 2)

        def halve(rows: slice, columns: slice) -> torch.Tensor:
            window = [
                slice(2 * part.start, min(2 * part.stop, length))
                for part, length in zip((rows, columns), self.size, strict=True)
            ]
            pixels = self.read(*window)[None]
            return F.avg_pool2d(pixels, 2, ceil_mode=True, count_include_pad=False)[0]

        def read(rows: slice, columns: slice) -> torch.Tensor:
            # Part by part, or a few halvings would read all of a large image at once.
            side = max(1, math.isqrt(max_tile_pixels()) // 2)
            bands = [
                torch.cat([halve(*part) for part in band], dim=2)
                for band in tile_rows((rows, columns), side)
            ]
            return torch.cat(bands, dim=1)

        return Raster(size, read)

    def write(self, out: Any) -> None:
        """Write the only channel into an array, tile by tile."""
        for window in tiles(self.size, math.isqrt(max_tile_pixels())):
            out[window] = self.read(*window)[0].numpy()
            release(out)

    def value_range(self) -> tuple[float, float]:
        """Minimum and maximum value, read tile by tile."""
        low, high = math.inf, -math.inf
        for window in tiles(self.size, math.isqrt(max_tile_pixels())):
            values = self.read(*window)
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        return low, high


def max_tile_pixels() -> int:
    """Pixels of an image above which it is worked on in tiles."""
    return within_working_memory(_TILE_PIXELS)


def is_large(pixels: Any) -> bool:
    """Whether an image, height x width (x n_channels), is worked on in tiles."""
    return math.prod(pixels.shape[:2]) > max_tile_pixels()


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


def work_tile_rows(
    size: tuple[int, int], bytes_per_pixel: float = _WORK_BYTES, multiple: int = 1
) -> Iterator[list[Window]]:
    """Rows of tiles of an image that fit into memory; one tile, if it is not large."""
    window = slice(0, size[0]), slice(0, size[1])
    if math.prod(size) <= max_tile_pixels():
        return iter([[window]])
    return tile_rows(window, tile_side(bytes_per_pixel, multiple=multiple))


def tile_side(bytes_per_pixel: float, halo: int = 0, multiple: int = 1) -> int:
    """Side of tiles that, with a halo around them, fit into the working memory."""
    side = math.isqrt(int(within_working_memory(_TILE_BYTES) / bytes_per_pixel))
    # With less, most of the work would be on the halo.
    side = min(max(side - 2 * halo, halo, multiple), math.isqrt(max_tile_pixels()))
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


@contextmanager
def explained_memory_error(name: str, size: tuple[int, int]) -> Iterator[None]:
    """Raise a MemoryError that says what to do, if memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        tile = within_working_memory(_TILE_BYTES) / 2**20
        result = 4 * math.prod(size) / 2**20
        raise MemoryError(
            f"{name}, {shape_text(size)} pixels, does not fit into memory: besides the "
            f"image, tiles need about {2 * tile:.0f} MB and a heatmap that is returned "
            f"{result:.0f} MB, more where the network takes no tiles; lower "
            "scikit-learn's working_memory, pass out=, a memory-mapped array, to "
            "transform, or cut the image into parts that overlap."
        ) from error

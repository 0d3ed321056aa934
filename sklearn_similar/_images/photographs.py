"""Photographs of any sizes to train on, read when they are needed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .files import ImageFiles, image_file_format
from .images import Images, white_level
from .messages import type_text
from .rasters import Raster
from .reading import (
    check_images_of_any_size,
    check_numeric,
    is_images,
    read_image,
    read_images,
)
from .streams import image_files
from .transparency import Fill


@dataclass(frozen=True)
class Photographs:
    """Images, checked as rasters when they are indexed.

    Attributes
    ----------
    pixels, others : sequence of array-like
        The images: those of X, and others that follow them.
    sizes : list of (int, int)
        Height and width of each.
    n_channels : int
        Channels of the rasters.
    """

    pixels: Sequence[Any]
    others: Sequence[Any]
    sizes: list[tuple[int, int]]
    n_channels: int

    def __len__(self) -> int:
        return len(self.pixels) + len(self.others)

    def __getitem__(self, index: Any) -> Any:
        n_pixels = len(self.pixels)
        is_other = index >= n_pixels
        image = self.others[index - n_pixels] if is_other else self.pixels[index]
        pixels = read_image(image, f"Image {index} of X")
        check_photograph(pixels, f"Image {index} of X")
        return Raster.from_pixels(pixels, self.n_channels)

    def __iter__(self) -> Iterator[Raster]:
        return (self[index] for index in range(len(self)))


def read_photographs(
    X: Any,
    n_channels: int | None,
    others: Sequence[np.ndarray] = (),
    fill: Fill = "contrast",
) -> Photographs:
    """Photographs in memory or in files.

    Parameters
    ----------
    X : array, list of images, path or list of paths
    n_channels : int or None
        Channels of the rasters; grey is repeated, and colour made grey. None: 1 if all
        photographs are grey, else 3.
    others : sequence of ndarray
        Checked photographs in memory that follow those of X.
    fill : {"black", "white", "contrast"}
        What stands behind transparent pixels.

    Raises
    ------
    ValueError
        If X is neither, or a file does not exist.
    """
    files = image_files(X, fill)
    pixels: list[Any] | ImageFiles
    if files is not None:
        formats = [image_file_format(path) for path in files.paths]
        sizes, pixels = [size for size, _ in formats], files
        has_colour = not all(is_grey for _, is_grey in formats)
    elif is_images(X):
        check_images_of_any_size(X)
        pixels = list(read_images(X, fill=fill).pixels)
        sizes = [image.shape[:2] for image in pixels]
        has_colour = any(image.shape[2] > 1 for image in pixels)
    else:
        raise ValueError(
            f"X is {type_text(X)}, but y is a table of boxes; pass photographs: a list "
            "of images or of paths, a folder or an array of images."
        )
    return Photographs(
        pixels=pixels,
        others=others,
        sizes=[*sizes, *(image.shape[:2] for image in others)],
        n_channels=n_channels or (3 if has_colour else 1),
    )


def grey_or_colour(parts: Iterable[Images]) -> Iterator[Images]:
    """Images as they are; raises ValueError for one with other than 1 or 3 channels."""
    for images in parts:
        for index, pixels in enumerate(images.pixels):
            _check_channels(pixels, f"{images.names.name(index)} of X")
        yield images


def check_photograph(pixels: Any, name: str) -> None:
    """Raise ValueError unless an image has 1 or 3 channels, and values from 0 to 1.

    Integers are scaled to this range by the limit of their type.
    """
    _check_channels(pixels, name)
    check_numeric(pixels, name)
    if pixels.dtype.kind in "bu" and pixels.dtype.itemsize <= 2:
        return
    values = np.asarray(pixels)
    level = white_level(values.dtype)
    low, high = float(values.min()) / level, float(values.max()) / level
    # Both comparisons are false for NaN, which is refused here too.
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name} of dtype {values.dtype} must lie between 0 and 1, but holds "
            f"{low:.3g} to {high:.3g} (integers divided by 255); rescale it, or pass "
            "uint8 or uint16."
        )


def _check_channels(pixels: Any, name: str) -> None:
    if pixels.shape[2] not in (1, 3):
        raise ValueError(
            f"{name} has {pixels.shape[2]} channels; pass grey or RGB images."
        )

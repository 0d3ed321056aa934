"""Photographs of any sizes to train on, read when they are needed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .files import ImageFiles, image_file_format, learn_file_scaling
from .images import Images
from .messages import type_text
from .rasters import Raster
from .reading import (
    check_images_of_any_size,
    check_numeric,
    is_images,
    read_image,
    read_images,
    uint8_image_list,
    with_learnt_scaling,
)
from .scaling import BY_TYPE, Scaling, extremes, white_level
from .streams import image_files
from .transparency import OPAQUE, Fill
from .value_range import warn_of_clipping


@dataclass(frozen=True)
class Photographs:
    """Images, checked as rasters when they are indexed.

    Attributes
    ----------
    pixels : sequence of array-like
        The images of X.
    backgrounds : sequence of ndarray
        Images that follow them, uint8.
    sizes : list of (int, int)
        Height and width of each.
    n_channels : int
        Channels of the rasters.
    scaling : Scaling
        Which values of X become 0 and 1.
    """

    pixels: Sequence[Any]
    backgrounds: Sequence[Any]
    sizes: list[tuple[int, int]]
    n_channels: int
    scaling: Scaling = BY_TYPE

    def __len__(self) -> int:
        return len(self.pixels) + len(self.backgrounds)

    def __getitem__(self, index: Any) -> Any:
        n_pixels = len(self.pixels)
        is_background = index >= n_pixels
        image = (
            self.backgrounds[index - n_pixels] if is_background else self.pixels[index]
        )
        scaling = BY_TYPE if is_background else self.scaling
        pixels = read_image(image, f"Image {index} of X")
        check_photograph(pixels, f"Image {index} of X", scaling)
        return Raster.from_pixels(pixels, self.n_channels, scaling)

    def __iter__(self) -> Iterator[Raster]:
        return (self[index] for index in range(len(self)))


def read_photographs(
    X: Any,
    n_channels: int | None,
    background_images: Any = None,
    fill: Fill = OPAQUE,
    scaling: Scaling | None = None,
) -> Photographs:
    """Photographs in memory or in files.

    Parameters
    ----------
    X : array, list of images, path or list of paths
    n_channels : int or None
        Channels of the rasters; grey is repeated, and colour made grey. None: 1 if all
        photographs are grey, else 3.
    background_images : list of images, optional
        Photographs that follow those of X.
    fill : Fill
        What stands behind transparent pixels; its scaling does not count.
    scaling : Scaling, optional
        That of the user; None: learnt from the photographs.

    Raises
    ------
    ValueError
        If X is neither, or a file does not exist.
    """
    fill = replace(fill, scaling=scaling or BY_TYPE)
    files = image_files(X, fill)
    pixels: list[Any] | ImageFiles
    if files is not None:
        formats = [image_file_format(path) for path in files.paths]
        sizes = [size for size, _ in formats]
        if scaling is None:
            fill = replace(fill, scaling=learn_file_scaling(files.paths))
        pixels = ImageFiles(files.paths, fill)
        has_colour = not all(is_grey for _, is_grey in formats)
    elif is_images(X):
        check_images_of_any_size(X)
        if scaling is None:
            fill = with_learnt_scaling(fill, X)
        pixels = list(read_images(X, fill=fill).pixels)
        sizes = [image.shape[:2] for image in pixels]
        has_colour = any(image.shape[2] > 1 for image in pixels)
    else:
        raise ValueError(
            f"X is {type_text(X)}, but y is a table of boxes; pass photographs: a list "
            "of images or of paths, a folder or an array of images."
        )
    if scaling is None:
        scaling = fill.scaling
    else:
        warn_of_clipping(scaling, extremes(map(np.asarray, pixels)))
    backgrounds = []
    if background_images is not None:
        backgrounds = uint8_image_list(background_images, "background_images", scaling)
    return Photographs(
        pixels=pixels,
        backgrounds=backgrounds,
        scaling=scaling,
        sizes=[*sizes, *(image.shape[:2] for image in backgrounds)],
        n_channels=n_channels or (3 if has_colour else 1),
    )


def grey_or_colour(parts: Iterable[Images]) -> Iterator[Images]:
    """Images as they are; raises ValueError for one with other than 1 or 3 channels."""
    for images in parts:
        for index, pixels in enumerate(images.pixels):
            _check_channels(pixels, f"{images.names.name(index)} of X")
        yield images


def check_photograph(pixels: Any, name: str, scaling: Scaling = BY_TYPE) -> None:
    """Raise ValueError unless an image has 1 or 3 channels, and its range of values."""
    _check_channels(pixels, name)
    check_numeric(pixels, name)
    black, white = scaling.limits(pixels.dtype)
    if pixels.dtype.kind in "bu" and white == white_level(pixels.dtype):
        return
    values = np.asarray(pixels)
    low, high = float(values.min()), float(values.max())
    # All comparisons are false for NaN, which is refused here too.
    is_clipped = scaling.clips(values.dtype) and -np.inf < low <= high < np.inf
    if not is_clipped and not (low >= black and high <= white):
        raise ValueError(
            f"{name} of dtype {values.dtype} must lie between {black:g} and {white:g}, "
            f"but holds {low:.6g} to {high:.6g}; rescale it, or pass value_range, the "
            "values of all images that become 0 and 1."
        )


def _check_channels(pixels: Any, name: str) -> None:
    if pixels.shape[2] not in (1, 3):
        raise ValueError(
            f"{name} has {pixels.shape[2]} channels; pass grey or RGB images."
        )

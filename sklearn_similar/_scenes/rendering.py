"""Rendering of images and instances: resized, rotated, with a box, pasted."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from .._images.images import VISIBLE_SHARE
from .._images.messages import shape_text


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image by linear interpolation, with averaging where it shrinks.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels)
    size : (int, int)
        New height and width in pixels.

    Returns
    -------
    ndarray of float32, with as many axes as `image` and in its units
    """
    channels = np.atleast_3d(image).transpose(2, 0, 1).astype(np.float32, order="C")
    resized = F.interpolate(
        torch.from_numpy(channels[np.newaxis]), size, mode="bilinear", antialias=True
    )
    return resized[0].numpy().transpose(1, 2, 0).reshape(*size, *image.shape[2:])


def resize_to_cover(
    image: np.ndarray, size: tuple[int, int], name: str, max_pixels: int = 2**26
) -> np.ndarray:
    """Enlarge an image that is smaller than a scene until it covers the scene.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels), uint8
    size : (int, int)
        Height and width of the scene.
    name : str
        What a message calls the image.
    max_pixels : int, default=2**26
        Maximum of the enlarged image, if that is more than four scenes: 64 images of
        1000x1000.

    Raises
    ------
    ValueError
        If the enlarged image would have more pixels.
    """
    factor = max(size[0] / image.shape[0], size[1] / image.shape[1])
    if factor <= 1:
        return image
    n_pixels = factor**2 * image.shape[0] * image.shape[1]
    if n_pixels > max(max_pixels, 4 * size[0] * size[1]):
        raise ValueError(
            f"{name} is {shape_text(image.shape[:2])} and would have {n_pixels:.2g} "
            f"pixels, if it were enlarged to cover scenes of {shape_text(size)}: cut "
            "it to their proportions."
        )
    factors = (factor, factor, 1)[: image.ndim]
    return ndimage.zoom(image, factors, order=1, mode="nearest", grid_mode=True)


def may_fit(opacity: np.ndarray, scale: float, size: tuple[int, int]) -> bool:
    """Whether an image of this opacity, resized and rotated, might fit into a scene."""
    if scale < 1:
        return True
    # An enlarged pixel is never lost, if it is bright enough for its surroundings.
    rows, columns = _extent(opacity > (0 if scale >= 4 else 50))
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    # Rotated, the longer side is at least this long, except parts of its last pixels.
    return scale * side / math.sqrt(2) <= max(size) + 4


def render(
    image: np.ndarray, mask: np.ndarray | None, scale: float, angle: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Resize and rotate an image.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels), uint8
    mask : ndarray of shape (height, width), or None
        Opacity of the pixels, uint8. None: they are as opaque as bright.
    scale : float
    angle : float
        In degrees.

    Returns
    -------
    patch : ndarray of shape (patch_height, patch_width, ...), uint8
        The visible part of the image, its pixels times their opacity. Rounding to 8
        bits decides which of the faint pixels are visible.
    opacity : ndarray of shape (patch_height, patch_width), uint8
    box : ndarray of shape (4,)
        x_min, y_min, x_max and y_max of the object in the patch.
    """
    channels = np.atleast_3d(image)
    if mask is not None:
        opaque = channels * (mask[..., np.newaxis] / np.float32(255))
        channels = np.dstack([opaque, mask])
    channels = np.rint(_rotate(channels, scale, np.deg2rad(angle))).astype(np.uint8)
    patch = channels if mask is None else channels[..., :-1]
    patch = patch.reshape(*patch.shape[:2], *image.shape[2:])
    opacity = brightest_channel(patch) if mask is None else channels[..., -1]
    rows, columns = _extent(opacity > 0)
    opacity = opacity[rows, columns]
    y, x = _extent(opacity > VISIBLE_SHARE * opacity.max())
    box = np.array([x.start, y.start, x.stop, y.stop])
    return patch[rows, columns], opacity, box


def _rotate(channels: np.ndarray, scale: float, angle: float) -> np.ndarray:
    """Resize and rotate an image, by an angle in radians; its visible part, float32."""
    channels = channels.astype(np.float32)
    if scale < 1:
        # Without smoothing, thin strokes would fall between the new pixels.
        sigma = (1 / scale - 1) / 2
        sigmas = (sigma, sigma, 0)
        channels = ndimage.gaussian_filter(channels, sigmas, mode="constant")
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    old = np.array(channels.shape[:2])
    new = np.maximum(np.ceil(scale * (np.abs(rotation) @ old) - 1e-6), 1).astype(int)
    matrix = rotation / scale
    offset = (old - 1) / 2 - matrix @ ((new - 1) / 2)
    start, stop = _visible_window(channels, matrix, offset, new)
    rotated = [
        ndimage.affine_transform(
            channels[..., index],
            matrix,
            offset + matrix @ start,
            tuple(stop - start),
            order=1,
            mode="grid-constant",
        )
        for index in range(channels.shape[2])
    ]
    return np.stack(rotated, axis=2)


def _visible_window(
    channels: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First and last corner, exclusive, of the object in a rotated image.

    A small object in a large image stays small, however much it is enlarged.
    """
    rows, columns = _extent(channels.max(axis=2) > 0)
    # Interpolation reaches one pixel beyond the object.
    y, x = np.meshgrid([rows.start - 1, rows.stop], [columns.start - 1, columns.stop])
    corners = np.linalg.solve(
        matrix, np.stack([y.ravel(), x.ravel()]) - offset[:, np.newaxis]
    )
    start = np.clip(np.floor(corners.min(axis=1)).astype(int), 0, shape - 1)
    stop = np.clip(np.ceil(corners.max(axis=1)).astype(int) + 1, start + 1, shape)
    return start, stop


def brightest_channel(pixels: np.ndarray) -> np.ndarray:
    """The maximum over the channels of an image with or without them."""
    return pixels.max(axis=2) if pixels.ndim == 3 else pixels


def _extent(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns around the true pixels of a mask."""
    slices = ndimage.find_objects(mask.view(np.int8))
    return slices[0] if slices else (slice(0, 1), slice(0, 1))


def blend(
    levels: np.ndarray,
    patch: np.ndarray,
    opacity: np.ndarray,
    corner: Sequence[int] | np.ndarray,
    contrast: float,
) -> None:
    """Blend a patch of `render` into the grey levels of a scene, in place.

    The contrast is the opacity of the patch as a whole, between 0 and 1.
    """
    height, width = patch.shape[:2]
    region = levels[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
    opacity = opacity.reshape(height, width, *(1,) * (patch.ndim - 2))
    region *= 1 - contrast * opacity.astype(np.float32) / 255
    region += contrast * patch.astype(np.float32)


def random_crop(
    image: np.ndarray, size: tuple[int, int], rng: np.random.RandomState
) -> np.ndarray:
    """A view of a random part of an image that is at least as large."""
    y, x = rng.randint(0, np.subtract(image.shape[:2], size) + 1)
    return image[y : y + size[0], x : x + size[1]]


def to_uint8(values: np.ndarray) -> np.ndarray:
    """8-bit pixels from values between 0 and 1, clipped."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)

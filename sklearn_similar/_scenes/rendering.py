"""Rendering one instance: resized, rotated, with its box, pasted into a scene."""

import math

import numpy as np
from scipy import ndimage

from .._images.images import VISIBLE_SHARE
from .._images.messages import shape_text

# Pixels of an enlarged image: 64 of 1000x1000.
_MAX_PIXELS = 2**26


def resize_to_cover(image, size, name):
    """Enlarge an image that is smaller than a scene until it covers the scene."""
    factor = max(size[0] / image.shape[0], size[1] / image.shape[1])
    if factor <= 1:
        return image
    n_pixels = factor**2 * image.shape[0] * image.shape[1]
    if n_pixels > max(_MAX_PIXELS, 4 * size[0] * size[1]):
        raise ValueError(
            f"{name} is {shape_text(image.shape[:2])} and would have {n_pixels:.2g} "
            f"pixels, if it were enlarged to cover scenes of {shape_text(size)}: cut "
            "it to their proportions."
        )
    factors = (factor, factor, 1)[: image.ndim]
    return ndimage.zoom(image, factors, order=1, mode="nearest", grid_mode=True)


def may_fit(opacity, scale, size):
    """Whether an image, turned by any angle, might fit into a scene of a size."""
    if scale < 1:
        return True
    # An enlarged pixel is never lost, if it is bright enough for its surroundings.
    rows, columns = _extent(opacity > (0 if scale >= 4 else 50))
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    # Turned, the longer side is at least this long, but for parts of its last pixels.
    return scale * side / math.sqrt(2) <= max(size) + 4


def render(image, mask, scale, angle):
    """Resize and turn an image; return its visible part, opacity, and the box within.

    The mask is the opacity of its pixels, uint8; None: they are as opaque as bright.
    """
    planes = np.atleast_3d(image)
    if mask is not None:
        planes = np.dstack([planes * (mask[..., np.newaxis] / np.float32(255)), mask])
    planes = np.rint(_turn(planes, scale, np.deg2rad(angle))).astype(np.uint8)
    pixels = planes if mask is None else planes[..., :-1]
    pixels = pixels.reshape(*pixels.shape[:2], *image.shape[2:])
    opacity = brightest_channel(pixels) if mask is None else planes[..., -1]
    rows, columns = _extent(opacity > 0)
    opacity = opacity[rows, columns]
    y, x = _extent(opacity > VISIBLE_SHARE * opacity.max())
    box = np.array([x.start, y.start, x.stop, y.stop])
    return pixels[rows, columns], opacity, box


def _turn(planes, scale, angle):
    planes = planes.astype(np.float32)
    if scale < 1:
        # Without smoothing, thin strokes would fall between the new pixels.
        sigma = (1 / scale - 1) / 2
        planes = ndimage.gaussian_filter(planes, (sigma, sigma, 0), mode="constant")
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    old = np.array(planes.shape[:2])
    new = np.maximum(np.ceil(scale * (np.abs(turn) @ old) - 1e-6), 1).astype(int)
    matrix = turn / scale
    offset = (old - 1) / 2 - matrix @ ((new - 1) / 2)
    start, stop = _visible_window(planes, matrix, offset, new)
    turned = [
        ndimage.affine_transform(
            planes[..., k],
            matrix,
            offset + matrix @ start,
            tuple(stop - start),
            order=1,
            mode="grid-constant",
        )
        for k in range(planes.shape[2])
    ]
    return np.stack(turned, axis=2)


def _visible_window(planes, matrix, offset, shape):
    """The part of a turned image outside of which it is black.

    A small object in a large image stays small, however much it is enlarged.
    """
    rows, columns = _extent(planes.max(axis=2) > 0)
    # Interpolation reaches one pixel beyond the object.
    y, x = np.meshgrid([rows.start - 1, rows.stop], [columns.start - 1, columns.stop])
    corners = np.linalg.solve(
        matrix, np.stack([y.ravel(), x.ravel()]) - offset[:, None]
    )
    start = np.clip(np.floor(corners.min(axis=1)).astype(int), 0, shape - 1)
    stop = np.clip(np.ceil(corners.max(axis=1)).astype(int) + 1, start + 1, shape)
    return start, stop


def brightest_channel(pixels):
    """The brightest channel of each pixel."""
    return pixels.max(axis=2) if pixels.ndim == 3 else pixels


def _extent(mask):
    """Return the slices of rows and columns around the true pixels of a mask."""
    slices = ndimage.find_objects(mask.view(np.int8))
    return slices[0] if slices else (slice(0, 1), slice(0, 1))


def paste(scene, patch, opacity, corner, contrast):
    """Paste a patch, its values times its opacity, into a float scene, in place."""
    height, width = patch.shape[:2]
    region = scene[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
    opacity = opacity.reshape(height, width, *(1,) * (patch.ndim - 2))
    region *= 1 - contrast * opacity.astype(np.float32) / 255
    region += contrast * patch.astype(np.float32)

"""Rendering one instance: resized, rotated, with its box, pasted into a scene."""

import numpy as np
from scipy import ndimage

from sklearn_similar._inputs.images import VISIBLE_SHARE


def resize_to_cover(image, size):
    """Enlarge an image that is smaller than a scene until it covers the scene."""
    factor = max(size[0] / image.shape[0], size[1] / image.shape[1])
    if factor <= 1:
        return image
    factors = (factor, factor, 1)[: image.ndim]
    return ndimage.zoom(image, factors, order=1, mode="nearest", grid_mode=True)


def render(image, scale, angle):
    """Resize and turn an image; return its non-black part and the box within it."""
    pixels = np.rint(_turn(image, scale, np.deg2rad(angle))).astype(np.uint8)
    strength = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    rows, columns = _extent(strength > 0)
    strength = strength[rows, columns]
    y, x = _extent(strength > VISIBLE_SHARE * strength.max())
    return pixels[rows, columns], np.array([x.start, y.start, x.stop, y.stop])


def _turn(image, scale, angle):
    planes = np.atleast_3d(image).astype(np.float32)
    if scale < 1:
        # Without smoothing, thin strokes would fall between the pixels kept.
        sigma = (1 / scale - 1) / 2
        planes = ndimage.gaussian_filter(planes, (sigma, sigma, 0), mode="constant")
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    old = np.array(image.shape[:2])
    new = np.maximum(np.ceil(scale * (np.abs(turn) @ old) - 1e-6), 1).astype(int)
    matrix = turn / scale
    offset = (old - 1) / 2 - matrix @ ((new - 1) / 2)
    turned = [
        ndimage.affine_transform(
            planes[..., k], matrix, offset, tuple(new), order=1, mode="grid-constant"
        )
        for k in range(planes.shape[2])
    ]
    return np.stack(turned, axis=2).reshape(*new, *image.shape[2:])


def _extent(mask):
    """Return the slices of rows and columns around the true pixels of a mask."""
    found = ndimage.find_objects(mask.view(np.int8))
    return found[0] if found else (slice(0, 1), slice(0, 1))


def paste(scene, patch, corner, contrast):
    """Paste a patch into a float scene, in place, as opaque as it is bright."""
    height, width = patch.shape[:2]
    region = scene[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
    strength = patch.max(axis=2, keepdims=True) if patch.ndim == 3 else patch
    region *= 1 - contrast * strength.astype(np.float32) / 255
    region += contrast * patch.astype(np.float32)

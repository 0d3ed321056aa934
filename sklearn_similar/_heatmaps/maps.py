"""Heatmaps on a grid of activations, and at every pixel."""

import math
from collections.abc import Sequence
from functools import lru_cache, reduce

import numpy as np
import torch
from torch.nn import functional as F

from .._network.activations import FeatureMaps

# Radius of the Gaussian filter in standard deviations.
SMOOTHING_RADIUS = 3
# Pixels that are smoothed together along an axis.
_MAX_TILE = 64


def weighted_sum(maps: FeatureMaps, weights: torch.Tensor) -> torch.Tensor:
    """Heatmaps on the layer's grid: H = sum_i w_i max(F_i, 0).

    Parameters
    ----------
    maps : FeatureMaps
        Feature maps of n_images images, n_filters each.
    weights : tensor of shape (n_maps, n_filters) or (n_images, n_maps, n_filters)
        One row for each heatmap of an image.

    Returns
    -------
    tensor of shape (n_images, n_maps, height, width)
    """
    activations = maps.activations.relu()
    # One product per image: in one for all, rounding would depend on the neighbours.
    products = torch.bmm(
        weights.expand(len(activations), -1, -1), activations.flatten(2)
    )
    return products.unflatten(2, activations.shape[2:])


def interpolate_to_pixels(
    heat: torch.Tensor, maps: FeatureMaps, size: Sequence[int]
) -> torch.Tensor:
    """Heatmaps at every pixel, each activation at the centre of its receptive field.

    Parameters
    ----------
    heat : tensor of shape (n_images, n_maps, height, width)
        On the grid of `maps`.
    maps : FeatureMaps
    size : (int, int)
        Height and width of the images in pixels.
    """
    field = maps.receptive_field
    for axis in (1, 0):
        where = size[axis], heat.shape[-1], field.start[axis], field.stride[axis]
        places = _places(*where, maps.is_dense, heat.device, heat.dtype)
        heat = _interpolate(heat, places)
    return heat


def sample_on_grid(heat: torch.Tensor, maps: FeatureMaps) -> torch.Tensor:
    """Heat at the centres of the receptive fields of `maps`, from heat at every pixel.

    Parameters
    ----------
    heat : tensor of shape (n_images, n_maps, height, width)
    maps : FeatureMaps

    Returns
    -------
    tensor of shape (n_images, n_maps, height, width)
        On the grid of `maps`. It may be `heat` itself.
    """
    field = maps.receptive_field
    for axis in (1, 0):
        # The inverse: the grid's cells as pixels of a map that is the image.
        start, stride = -field.start[axis] / field.stride[axis], 1 / field.stride[axis]
        if maps.is_dense:
            start, stride = -int(field.start[axis]), 1
        n_cells = maps.activations.shape[axis + 2]
        where = n_cells, heat.shape[-1], start, stride
        places = _places(*where, False, heat.device, heat.dtype)
        heat = _interpolate(heat, places)
    return heat


def resize(images: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Images or heatmaps n_images x n_channels x height x width at another size."""
    return F.interpolate(images, tuple(size), mode="bilinear", antialias=True)


@lru_cache(maxsize=256)
def _places(
    n_pixels: int,
    n_cells: int,
    start: float,
    stride: float,
    is_dense: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor] | None:
    """Cells before and after each pixel along an axis, and the weight of the second.

    The second is None where all pixels lie on cells, and all is None where each pixel
    lies on the cell of its number. The weight broadcasts along rows. Cached, as this
    takes longer than interpolating a small image.
    """
    # In double precision, or far from the origin they would be inexact.
    pixels = torch.arange(n_pixels, device=device, dtype=torch.float64)
    # Whole pixels only, so that dense activations are not interpolated.
    position = pixels - int(start) if is_dense else (pixels - start) / stride
    # Outside the grid, the values of its border are repeated.
    position = position.clamp(0, n_cells - 1)
    below = position.floor()
    share = (position - below).to(dtype)
    above = position.ceil().long() if share.any() else None
    if n_pixels == n_cells and above is None and torch.equal(position, pixels):
        return None
    return below.long(), above, share[:, None]


def _interpolate(
    heat: torch.Tensor,
    places: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor] | None,
) -> torch.Tensor:
    """Interpolate along the last axis, and exchange it with the one before.

    So rows are copied, which is several times faster than to gather from columns.
    """
    heat = heat.mT
    if places is None:
        return heat
    heat = heat.contiguous()
    below, above, share = places
    low = heat.index_select(2, below)
    return low if above is None else low.lerp_(heat.index_select(2, above), share)


def geometric_mean(*heat: torch.Tensor) -> torch.Tensor:
    """Geometric mean of heatmaps that are not negative."""
    if len(heat) == 1:
        return heat[0]
    # The roots first, as the product could be too large a number.
    return reduce(torch.mul, [factor ** (1 / len(heat)) for factor in heat])


def normalize_per_image(heat: np.ndarray) -> np.ndarray:
    """Scale each heatmap of (..., height, width) to [0, 1]; constant ones become 0."""
    low = heat.min(axis=(-2, -1), keepdims=True)
    return normalize_range(heat, low, heat.max(axis=(-2, -1), keepdims=True))


def normalize_range(heat: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Scale heat so that `low` becomes 0 and `high` 1; where they are equal, to 0."""
    contrast = high - low
    return (heat - low) / np.where(contrast > 0, contrast, 1)


def median_maximum(maxima: np.ndarray) -> float:
    """Median of the maxima of heatmaps; 1 where it is 0, as it will divide heat."""
    median = float(np.median(maxima)) if len(maxima) else 0.0
    return median if median > 0 else 1.0


def smooth(
    heat: torch.Tensor, maps: FeatureMaps, smoothing: tuple[float, float]
) -> torch.Tensor:
    """Smooth heat by a Gaussian filter that repeats the border's values outside.

    Parameters
    ----------
    heat : tensor of shape (n_images, n_maps, height, width)
        On the grid of `maps`.
    maps : FeatureMaps
    smoothing : (float, float)
        Standard deviations in pixels of the image.
    """
    for axis in (0, 1):
        stride = 1 if maps.is_dense else maps.receptive_field.stride[axis]
        heat = _smooth_rows(heat.mT, smoothing[axis] / stride)
    return heat


def _smooth_rows(heat: torch.Tensor, sigma: float) -> torch.Tensor:
    """Smooth along the last axis: products of tiles with a matrix of the kernel.

    That is several times faster than a convolution of many small maps.
    """
    radius, length = math.ceil(SMOOTHING_RADIUS * sigma), heat.shape[-1]
    n_tiles = math.ceil(length / _MAX_TILE)
    tile = math.ceil(length / n_tiles)
    kernel = _kernel(tile, radius, sigma, n_tiles == 1, heat.device, heat.dtype)
    if n_tiles == 1:
        return heat @ kernel
    padding = (radius, radius + n_tiles * tile - length, 0, 0)
    tiles = F.pad(heat, padding, mode="replicate").unfold(-1, tile + 2 * radius, tile)
    # Flattened, or the product would be computed row by row.
    smoothed = tiles.flatten(0, -2) @ kernel
    return smoothed.reshape(*heat.shape[:-1], -1)[..., :length]


@lru_cache(maxsize=64)
def _kernel(
    length: int,
    radius: int,
    sigma: float,
    is_whole: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Matrix that smooths a tile, padded by the radius unless it is a whole row."""
    places = torch.arange(length + 2 * radius)[:, None] - radius - torch.arange(length)
    kernel = torch.exp(-((places.to(device, dtype) / sigma) ** 2) / 2)
    kernel[places.abs() > radius] = 0
    kernel = kernel / kernel.sum(dim=0)
    if not is_whole:
        return kernel
    # Pixels outside have the border's value, which therefore gets their weights.
    inside = kernel[radius:-radius]
    inside[0] += kernel[:radius].sum(dim=0)
    inside[-1] += kernel[-radius:].sum(dim=0)
    return inside

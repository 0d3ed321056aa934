"""From importances to weights, and from weights and activations to heatmaps."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from .._network.activations import FeatureMaps

Weighting = Literal["softmax", "linear", "uniform"]


def filter_weights(
    importances: np.ndarray,
    weighting: str | Callable[[np.ndarray], ArrayLike],
    temperature: float,
) -> np.ndarray:
    """Weights of the filters, which sum to 1 (Eq. 2 of the paper for "softmax").

    Parameters
    ----------
    importances : ndarray of shape (..., n_filters)
        Increases of the error without each filter.
    weighting : {"softmax", "linear", "uniform"} or callable
        softmax(importances / temperature), the positive importances themselves, or
        the same for all filters. Where no importance is positive, "linear" is uniform.
        A callable gets the importances, n_filters of them, and gives the weights.
    temperature : float
        Temperature of the softmax: the lower, the more the most important filters
        dominate.

    Raises
    ------
    ValueError
        If a callable gives no weights, one for each filter.
    """
    if callable(weighting):
        rows = importances.reshape(-1, importances.shape[-1])
        weights = [_call_weighting(weighting, row) for row in rows]
        return np.reshape(weights, importances.shape)
    n_filters = importances.shape[-1]
    uniform = np.full_like(importances, 1 / n_filters)
    if weighting == "uniform":
        return uniform
    if weighting == "linear":
        positive = np.clip(importances, 0, None)
        total = positive.sum(axis=-1, keepdims=True)
        return np.where(total > 0, positive / np.where(total > 0, total, 1), uniform)
    # Subtracting the largest changes nothing but keeps exp from overflowing.
    increase = importances - importances.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        exponentials = np.exp(increase / temperature)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def split_by_layer(values: np.ndarray, n_filters: Sequence[int]) -> list[np.ndarray]:
    """Values of all filters, (..., n_filters), split by layer."""
    ends = np.cumsum(n_filters).tolist()
    return [values[..., end - n : end] for end, n in zip(ends, n_filters, strict=True)]


def layer_weights(
    importances: np.ndarray,
    n_filters: Sequence[int],
    weighting: str | Callable[[np.ndarray], ArrayLike],
    temperature: float,
) -> np.ndarray:
    """Weights of the filters of all layers, which sum to 1 in each layer."""
    return np.concatenate(
        [
            filter_weights(layer, weighting, temperature)
            for layer in split_by_layer(importances, n_filters)
        ]
    )


def _call_weighting(weighting: Callable, importances: np.ndarray) -> np.ndarray:
    """Weights by a user's callable, checked and scaled to sum to 1."""
    weights = np.asarray(weighting(importances.copy()), dtype=np.float64)
    if weights.shape != importances.shape:
        raise ValueError(
            f"weighting gives the shape {weights.shape} for {len(importances)} "
            "importances; return one weight for each filter."
        )
    total = weights.sum()
    if not (np.isfinite(total) and weights.min() >= 0 and total > 0):
        raise ValueError(
            f"weighting gives weights from {weights.min():.3g} to {weights.max():.3g}; "
            "return finite ones that are not negative and not all 0."
        )
    return weights / total


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
    # One product an image: in one for all, rounding would depend on the neighbours.
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
    for axis in (0, 1):
        where = size[axis], heat.shape[axis + 2], field.start[axis], field.stride[axis]
        places = _places(*where, axis, maps.is_dense, heat.device, heat.dtype)
        heat = _interpolate(heat, *places, axis + 2)
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
        On the grid of `maps`.
    """
    field = maps.receptive_field
    for axis in (0, 1):
        # The inverse: the grid's cells as pixels of a map that is the image.
        start, stride = -field.start[axis] / field.stride[axis], 1 / field.stride[axis]
        if maps.is_dense:
            start, stride = -int(field.start[axis]), 1
        n_cells = maps.activations.shape[axis + 2]
        where = n_cells, heat.shape[axis + 2], start, stride
        places = _places(*where, axis, False, heat.device, heat.dtype)
        heat = _interpolate(heat, *places, axis + 2)
    return heat


@lru_cache(maxsize=256)
def _places(
    n_pixels: int,
    n_cells: int,
    start: float,
    stride: float,
    axis: int,
    is_dense: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Cells before and after each pixel along an axis, and the share of the second.

    None where pixels lie on cells. The share broadcasts along the axis of height, 0,
    or width, 1. Small images take less time than this.
    """
    # In double precision, or far from the origin they would be inexact.
    pixels = torch.arange(n_pixels, device=device, dtype=torch.float64)
    # Whole pixels only, so that dense activations are not interpolated.
    position = pixels - int(start) if is_dense else (pixels - start) / stride
    # The border's values go on outside.
    position = position.clamp(0, n_cells - 1)
    below = position.floor()
    share = (position - below).to(dtype)
    above = position.ceil().long() if share.any() else None
    return below.long(), above, share[:, None] if axis == 0 else share


def _interpolate(
    heat: torch.Tensor,
    below: torch.Tensor,
    above: torch.Tensor | None,
    share: torch.Tensor,
    dim: int,
) -> torch.Tensor:
    low = heat.index_select(dim, below)
    if above is None:
        return low
    high = heat.index_select(dim, above)
    return high.sub_(low).mul_(share).add_(low)


def normalize_per_image(heat: np.ndarray) -> np.ndarray:
    """Each heatmap of (..., height, width) from 0 to 1; constant ones become 0."""
    low = heat.min(axis=(-2, -1), keepdims=True)
    contrast = heat.max(axis=(-2, -1), keepdims=True) - low
    return (heat - low) / np.where(contrast > 0, contrast, 1)


def median_maximum(maxima: np.ndarray) -> float:
    """Median of the maxima of heatmaps; 1 where it is 0, as it will divide heat."""
    median = float(np.median(maxima)) if len(maxima) else 0.0
    return median if median > 0 else 1.0

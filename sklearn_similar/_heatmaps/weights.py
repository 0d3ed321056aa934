"""Weights of filters, from their importances."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

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

"""The error of a network without each filter of its layers, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .._images.images import Images
from .._network.activations import extract_activations
from .._network.regularity import find_irregularity
from .._network.trained import TrainedNetwork, check_finite
from .._progress import with_progress
from .strategies import (
    AblationStrategy,
    NetworkMasking,
    NotedPass,
    NotExact,
    choose_strategy,
    run_noting,
)

# Images on which strategies are compared.
_N_PROBES = 3
# Values of log_proba above which competing classes are not told apart.
_MAX_LOG_PROBA = 2**24


class ErrorSums(NamedTuple):
    """Weighted errors summed over the images of each class.

    Attributes
    ----------
    log_loss, error : ndarray of shape (n_filters + 1, n_classes)
        Sums of -log p(true class), and weights of misclassified images; row 0 is with
        all filters, row i + 1 without filter i.
    weight : ndarray of shape (n_classes,)
        Sum of the weights of the images of each class.
    log_proba : ndarray of shape (n_filters + 1, n_classes, n_competing)
        Sums of log p(k) over the images of each class; n_competing is n_classes, or
        1 for the mean over k where that would be too many.
    """

    log_loss: np.ndarray
    error: np.ndarray
    weight: np.ndarray
    log_proba: np.ndarray

    @classmethod
    def zeros(cls, n_filters: int, n_classes: int) -> "ErrorSums":
        """Sums over no images."""
        n_rows = n_filters + 1
        n_competing = n_classes if n_rows * n_classes**2 <= _MAX_LOG_PROBA else 1
        return cls(
            log_loss=np.zeros((n_rows, n_classes)),
            error=np.zeros((n_rows, n_classes)),
            weight=np.zeros(n_classes),
            log_proba=np.zeros((n_rows, n_classes, n_competing)),
        )


@dataclass(frozen=True, kw_only=True)
class Importances:
    """Errors and their increases; see `SimilarNetClassifier` for the attributes."""

    n_filters: tuple[int, ...]
    baseline_error: float
    filter_errors: np.ndarray
    filter_importances: np.ndarray
    class_importances: np.ndarray
    log_odds_drops: np.ndarray


def ablate(
    network: TrainedNetwork,
    layers: Sequence[str],
    images: Images,
    indices: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    ablation: str,
    verbose: int = 0,
    is_regular: bool = False,
) -> tuple[list[str], list[ErrorSums], np.ndarray]:
    """Errors of a network with all filters of some layers and without each of them.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    layers : sequence of str
    images : Images
    indices : ndarray of int
        The images to run the network on.
    y, weights : ndarray of shape (n_images,)
        Class index and weight of each image.
    ablation : {"zero", "mean"}
    verbose : int, default=0
        Whether to show progress bars.
    is_regular : bool, default=False
        As in `choose_strategies`.

    Returns
    -------
    methods : list of str
        The strategy used in each layer.
    sums : list of ErrorSums
        The errors of each layer.
    absent : ndarray of shape (n_filters,)
        Activations of absent filters, one layer after the other.

    Notes
    -----
    For "mean", another pass measures the mean activations.
    """
    # Single precision holds weights about 1, whatever their unit is.
    weights = weights / weights[indices].mean()
    _, batch = next(network.batches(images, indices))
    strategies, replacements = choose_strategies(
        network, layers, batch, is_regular=is_regular
    )
    if ablation == "mean":
        replacements = mean_activations(network, layers, images, indices, weights)
    sums = sum_errors(
        network,
        strategies,
        replacements,
        images,
        indices,
        y,
        weights,
        verbose,
    )
    for index, total in enumerate(sums):
        if total is None:
            strategies[index] = NetworkMasking(network.module, layers[index])
            (sums[index],) = sum_errors(
                network,
                strategies[index:][:1],
                replacements[index:][:1],
                images,
                indices,
                y,
                weights,
                verbose,
            )
    # Masking is always exact.
    exact = [total for total in sums if total is not None]
    for layer, total in zip(layers, exact, strict=True):
        _check_finite(layer, total)
    absent = np.concatenate([values.cpu().numpy() for values in replacements])
    return [strategy.method for strategy in strategies], exact, absent


def choose_strategies(
    network: TrainedNetwork,
    layers: Sequence[str],
    images: torch.Tensor,
    alone: bool = False,
    is_regular: bool = False,
) -> tuple[list[AblationStrategy], list[torch.Tensor]]:
    """The cheapest exact strategy for each layer, and zeros for its absent filters.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    layers : sequence of str
    images : tensor of shape (n_images, n_channels, height, width)
        The first ones are compared.
    alone : bool, default=False
        Whether each filter alone is going to be asked for, too.
    is_regular : bool, default=False
        Whether `check_regularity` has found that the network is.
    """
    module, probes = network.module, images[:_N_PROBES].clone()
    maps = extract_activations(module, layers, probes.clone(), "pooled")
    zeros = [torch.zeros_like(probed.activations[0, :, 0, 0]) for probed in maps]
    # The values of a network that is random are not those of its traced graph.
    if not is_regular and find_irregularity(module, layers, probes) is not None:
        return [NetworkMasking(module, layer) for layer in layers], zeros
    strategies = [
        choose_strategy(module, layer, probes, probed.activations, alone)
        for layer, probed in zip(layers, maps, strict=True)
    ]
    return strategies, zeros


def sum_errors(
    network: TrainedNetwork,
    strategies: Sequence[AblationStrategy],
    replacements: Sequence[torch.Tensor],
    images: Images,
    indices: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    verbose: int = 0,
) -> list[ErrorSums | None]:
    """The errors by several strategies; None for one that turns out to be inexact."""
    exact = {
        position: ErrorSums.zeros(len(replacement), network.n_classes)
        for position, replacement in enumerate(replacements)
    }
    batches = with_progress(
        network.batches(images, indices),
        "importances",
        len(indices),
        "image",
        verbose,
        size=lambda batch: len(batch[0]),
    )
    for batch_indices, batch in batches:
        if not exact:
            break
        # One pass for all layers.
        noted = run_noting(network.module, batch, [strategies[i] for i in exact])
        for position, sums in list(exact.items()):
            strategy, replacement = strategies[position], replacements[position]
            try:
                data = batch_indices, y, weights
                add_errors(sums, network, strategy, noted, *data, replacement)
            except NotExact:
                del exact[position]
    return [exact.get(position) for position in range(len(strategies))]


def add_errors(
    sums: ErrorSums,
    network: TrainedNetwork,
    strategy: AblationStrategy,
    noted: NotedPass,
    indices: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    replacement: torch.Tensor,
) -> None:
    """Add the errors on a batch, with all filters and without each of them.

    Parameters
    ----------
    sums : ErrorSums
        Changed in place.
    network : TrainedNetwork
    strategy : AblationStrategy
    noted : NotedPass
        That of the batch, with what the strategy starts from.
    indices : ndarray of shape (n_in_batch,)
        Positions of the batch's images among all.
    y, weights : ndarray of shape (n_images,)
        Class index and weight of each image.
    replacement : tensor of shape (n_filters,)
        Activations that replace those of an absent filter.

    Raises
    ------
    ValueError
        If the scores of an image with all filters are not finite.
    NotExact
        If the strategy is not exact; the sums are of no use then.
    """
    y = y[indices]
    sums.weight[:] += np.bincount(y, weights[indices], minlength=network.n_classes)
    true = torch.from_numpy(y).to(noted.images.device)
    weight = torch.from_numpy(weights[indices])
    row = 0
    for outputs in strategy.run(noted, replacement):
        outputs = outputs.reshape(-1, *outputs.shape[-2:])
        log_proba = network.log_probabilities(outputs.flatten(0, 1))
        if row == 0:
            check_finite(log_proba, indices, "scores")
        rows = slice(row, row + len(outputs))
        errors = _errors(log_proba, true).double().cpu() * weight
        for total, error in zip((sums.log_loss, sums.error), errors, strict=True):
            torch.from_numpy(total[rows]).index_add_(1, true.cpu(), error)
        n_competing = sums.log_proba.shape[2]
        by_class = _by_class(log_proba, true, weight.to(log_proba), n_competing)
        sums.log_proba[rows] += by_class.double().cpu().numpy()
        row = rows.stop


def _errors(log_proba: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Log loss and misclassification, 2 x n_chunk x n_images."""
    n_images = len(true)
    true = true.repeat(len(log_proba) // n_images)
    log_loss = -log_proba.gather(1, true[:, None])[:, 0]
    # argmax takes 15 times as long, and they agree on the first of equal ones.
    predicted = log_proba.max(dim=1).indices
    errors = torch.stack([log_loss, (predicted != true).to(log_loss)])
    return errors.unflatten(1, (-1, n_images))


def _by_class(
    log_proba: torch.Tensor, true: torch.Tensor, weight: torch.Tensor, n_competing: int
) -> torch.Tensor:
    """Log probabilities summed over each class, n_chunk x n_classes x n_competing."""
    n_classes = log_proba.shape[1]
    of_class = weight[:, None] * nn.functional.one_hot(true, n_classes)
    if n_competing < n_classes:
        log_proba = log_proba.mean(dim=1, keepdim=True)
    return of_class.T @ log_proba.unflatten(0, (-1, len(true)))


def _check_finite(layer: str, sums: ErrorSums) -> None:
    """Raise ValueError where the log loss without a filter is not finite."""
    bad = np.flatnonzero(~np.isfinite(sums.log_loss).all(axis=1))
    if len(bad):
        raise ValueError(
            "The log loss on the validation images is not finite without filter "
            f"{bad[0] - 1} of layer {layer!r}; look for a division by the sum of "
            "activations."
        )


def importances(
    sums: Sequence[ErrorSums], measure: str, background: int | None = None
) -> Importances:
    """Increases of the error, e_i - E (Eq. 1 of the paper with the sign of its text).

    Parameters
    ----------
    sums : sequence of ErrorSums
        Those of each layer.
    measure : {"log_loss", "error"}
    background : int, optional
        Class whose images are left out of the importances for all classes together.

    Returns
    -------
    Importances
        Those of all layers, one layer after the other; log-odds drops of the last.

    Notes
    -----
    A class without images has the importances of all classes together.
    """
    weight = sums[-1].weight
    included = weight > 0
    if background is not None and included.sum() > included[background]:
        included[background] = False
    totals = [getattr(layer, measure) for layer in sums]
    parts = [_mean_errors(total, weight, included) for total in totals]
    overall, by_class = zip(*parts, strict=True)
    return Importances(
        n_filters=tuple(len(total) - 1 for total in totals),
        baseline_error=float(overall[-1][0]),
        filter_errors=np.concatenate([errors[1:] for errors in overall]),
        filter_importances=np.concatenate([e[1:] - e[0] for e in overall]),
        class_importances=np.concatenate([(e[1:] - e[0]).T for e in by_class], axis=1),
        log_odds_drops=_log_odds_drops(sums[-1], included),
    )


def _mean_errors(
    total: np.ndarray, weight: np.ndarray, included: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean errors of a layer's rows over all classes, and over each of them."""
    overall = total[:, included].sum(axis=1) / weight[included].sum()
    present = weight > 0
    by_class = np.where(present, total, overall[:, None])
    return overall, by_class / np.where(present, weight, 1)


def _log_odds_drops(sums: ErrorSums, included: np.ndarray) -> np.ndarray:
    """Mean decreases of log p(c) - log p(k) on images of class c, without each filter.

    Returns
    -------
    ndarray of shape (n_classes, n_competing, n_filters)
        Without images of c: increases of the log loss on the included images.
    """
    present = sums.weight > 0
    weight = np.where(present, sums.weight, 1)
    loss_rise = (sums.log_loss[1:] - sums.log_loss[0]) / weight
    competing_rise = (sums.log_proba[1:] - sums.log_proba[0]) / weight[:, np.newaxis]
    drops = loss_rise[:, :, np.newaxis] + competing_rise
    overall = sums.log_loss[:, included].sum(axis=1) / sums.weight[included].sum()
    drops[:, ~present] = (overall[1:] - overall[0])[:, None, None]
    n_classes, n_competing = drops.shape[1:]
    if n_competing == n_classes:
        drops[:, np.arange(n_classes), np.arange(n_classes)] = 0
    else:
        # The mean is over all classes, and a class does not compete with itself.
        drops[:, present] *= n_classes / (n_classes - 1)
    return np.ascontiguousarray(drops.transpose(1, 2, 0))


def mean_activations(
    network: TrainedNetwork,
    layers: Sequence[str],
    images: Images,
    indices: np.ndarray,
    weights: np.ndarray,
) -> list[torch.Tensor]:
    """Weighted mean activation of each filter of layers, over images and positions."""
    sums: list[Any] = [0.0] * len(layers)
    for batch_indices, batch in network.batches(images, indices):
        own = _summed_activations(network, layers, batch, weights[batch_indices])
        sums = [summed + one for summed, one in zip(sums, own, strict=True)]
    maps = extract_activations(network.module, layers, batch[:1], "pooled")
    return [
        (summed / weights[indices].sum()).to(one.activations.dtype)
        for summed, one in zip(sums, maps, strict=True)
    ]


def _summed_activations(
    network: TrainedNetwork,
    layers: Sequence[str],
    batch: torch.Tensor,
    weights: np.ndarray,
) -> list[torch.Tensor]:
    """Mean activations of each filter in the images of a batch, times their weights."""
    maps = extract_activations(network.module, layers, batch, "pooled")
    values = [one.activations for one in maps]
    if len(np.unique(weights)) == 1:
        means = [one.mean(dim=(0, 2, 3), dtype=torch.float64) for one in values]
        return [weights.sum() * mean for mean in means]
    if all(len(one) == len(batch) for one in values):
        means = [one.mean(dim=(2, 3), dtype=torch.float64) for one in values]
        return [torch.from_numpy(weights).to(mean) @ mean for mean in means]
    # A layer is given parts of images, or several as one: equal weights are apart.
    parts = [
        _summed_activations(
            network,
            layers,
            batch[torch.from_numpy(weights == weight).to(batch.device)],
            weights[weights == weight],
        )
        for weight in np.unique(weights)
    ]
    return [sum(own[1:], own[0]) for own in zip(*parts, strict=True)]

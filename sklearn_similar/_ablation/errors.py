"""The error of a network with all filters of its layers and without each, exactly."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .._images.images import Images
from .._images.memory import within_working_memory
from .._network.activations import extract_activations
from .._network.attention import HeadOutputs, find_heads
from .._network.forward import at_least_single
from .._network.trained import TrainedNetwork, check_finite
from .._progress import with_progress
from .selection import select_strategies
from .strategies import (
    AblationStrategy,
    NetworkMasking,
    NotExact,
    RecordedPass,
    record_pass,
)

# Images on which filters without activations get one.
_N_PROBES = 3


@dataclass(frozen=True, kw_only=True)
class ValidationData:
    """Labelled images on which errors are measured.

    Attributes
    ----------
    images : Images
    indices : ndarray of int
        Positions of the images that the network is run on.
    y, weights : ndarray of shape (n_images,)
        Class index and weight of each image.
    """

    images: Images
    indices: np.ndarray
    y: np.ndarray
    weights: np.ndarray

    def normalized(self) -> "ValidationData":
        """The same with mean weight 1: single precision holds weights about 1."""
        weights = self.weights / self.weights[self.indices].mean()
        return ValidationData(
            images=self.images, indices=self.indices, y=self.y, weights=weights
        )


class ErrorSums(NamedTuple):
    """Weighted errors, summed over the images of each class.

    Attributes
    ----------
    log_loss, error : ndarray of shape (n_filters + 1, n_classes)
        Sums of -log p(true class), and weights of misclassified images; row 0 is with
        all filters, row i + 1 without filter i.
    weight : ndarray of shape (n_classes,)
        Sum of the weights of the images of each class.
    log_proba : ndarray of shape (n_filters + 1, n_classes, n_competing)
        Sums of log p(k) over the images of each class; n_competing is n_classes, or
        1 for the mean over k where that would take too much memory.
    score_drops : ndarray of shape (n_filters, n_classes)
        Sums over all images of the drop of the score of a class without filter i, times
        the mean activation of this filter that is ablated.
    ablated_squares : ndarray of shape (n_filters,)
        Sums over all images of the square of this mean.
    """

    log_loss: np.ndarray
    error: np.ndarray
    weight: np.ndarray
    log_proba: np.ndarray
    score_drops: np.ndarray
    ablated_squares: np.ndarray

    @classmethod
    def zeros(cls, n_filters: int, n_classes: int) -> "ErrorSums":
        """Sums over no images."""
        n_rows = n_filters + 1
        is_small = n_rows * n_classes**2 <= within_working_memory(2**24)
        return cls(
            log_loss=np.zeros((n_rows, n_classes)),
            error=np.zeros((n_rows, n_classes)),
            weight=np.zeros(n_classes),
            log_proba=np.zeros((n_rows, n_classes, n_classes if is_small else 1)),
            score_drops=np.zeros((n_filters, n_classes)),
            ablated_squares=np.zeros(n_filters),
        )


@dataclass(frozen=True, kw_only=True)
class LayerErrors:
    """The errors of layers without each of their filters.

    Attributes
    ----------
    methods : list of str
        The strategy used for each layer.
    sums : list of ErrorSums
        The errors of each layer.
    absent_activations : ndarray of shape (n_filters,)
        Activations of absent filters, one layer after the other.
    """

    methods: list[str]
    sums: list[ErrorSums]
    absent_activations: np.ndarray


def measure_errors(
    network: TrainedNetwork,
    layers: Sequence[str],
    data: ValidationData,
    *,
    ablation: str,
    is_deterministic: bool = False,
    verbose: int = 0,
) -> LayerErrors:
    """Errors of a network with all filters of some layers and without each of them.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    layers : sequence of str
    data : ValidationData
    ablation : {"zero", "mean"}
    is_deterministic : bool, default=False
        As in `select_strategies`.
    verbose : int, default=0
        Whether to show a progress bar.

    Raises
    ------
    ValueError
        If scores with all filters, or the log loss without one, are not finite.

    Notes
    -----
    For "mean", another pass measures the mean activations.
    """
    check_ablation(network.module, layers, ablation)
    data = data.normalized()
    _, batch = next(network.batches(data.images, data.indices))
    strategies, replacements = select_strategies(
        network, layers, batch, is_deterministic=is_deterministic
    )
    if ablation == "mean":
        replacements = mean_activations(network, layers, data)
    sums = sum_errors(network, strategies, replacements, data, verbose)
    for index, layer in enumerate(layers):
        if sums[index] is None:
            network.memo.forget()
            # Masking is always exact.
            strategies[index] = NetworkMasking(
                network.module, layer, strategies[index].layout
            )
            (sums[index],) = sum_errors(
                network, [strategies[index]], [replacements[index]], data, verbose
            )
    exact = [layer_sums for layer_sums in sums if layer_sums is not None]
    for layer, layer_sums in zip(layers, exact, strict=True):
        _check_finite(layer, layer_sums)
    _add_silent_filters(exact[-1], network, strategies[-1], data)
    return LayerErrors(
        methods=[strategy.method for strategy in strategies],
        sums=exact,
        absent_activations=np.concatenate([r.cpu().numpy() for r in replacements]),
    )


def check_ablation(module: nn.Module, layers: Sequence[str], ablation: str) -> None:
    """Raise ValueError where the mean cannot stand for an absent filter.

    That of a head is a vector, and filters are replaced by a number.
    """
    for layer in layers:
        if ablation == "mean" and find_heads(module.get_submodule(layer)):
            raise ValueError(
                f"ablation='mean' is not possible for layer {layer!r}, whose filters "
                "are attention heads; pass ablation='zero', or name the projection in "
                "this layer, whose filters are channels."
            )


def sum_errors(
    network: TrainedNetwork,
    strategies: Sequence[AblationStrategy],
    replacements: Sequence[torch.Tensor],
    data: ValidationData,
    verbose: int = 0,
) -> list[ErrorSums | None]:
    """The errors by several strategies; None for one that turns out to be inexact."""
    exact = {
        position: ErrorSums.zeros(len(replacement), network.n_classes)
        for position, replacement in enumerate(replacements)
    }
    batches = with_progress(
        network.batches(data.images, data.indices),
        "importances",
        len(data.indices),
        "image",
        verbose,
        size=lambda batch: len(batch[0]),
    )
    for indices, batch in batches:
        if not exact:
            break
        # One pass for all layers.
        recorded = record_pass(network.module, batch, [strategies[i] for i in exact])
        for position, sums in list(exact.items()):
            strategy, replacement = strategies[position], replacements[position]
            try:
                without = strategy.without_each(recorded, replacement)
                outputs = chain([recorded.output[None]], without)
                activations = _recorded_maps(recorded, strategy)
                ablated = _ablated_means(activations, replacement)
                _add_errors(sums, network, outputs, ablated, indices, data)
            except NotExact:
                del exact[position]
    return [exact.get(position) for position in range(len(strategies))]


def _add_errors(
    sums: ErrorSums,
    network: TrainedNetwork,
    outputs: Iterable[torch.Tensor],
    ablated: torch.Tensor,
    indices: np.ndarray,
    data: ValidationData,
) -> None:
    """Add the errors on a batch, with all filters and without each of them.

    Parameters
    ----------
    sums : ErrorSums
        Changed in place; of no use after an exception.
    network : TrainedNetwork
    outputs : iterable of tensor of shape (n_in_chunk, n_in_batch, n_classes)
        The output with all filters, and chunks of those without each.
    ablated : tensor of shape (n_in_batch, n_filters)
        Mean activations that are ablated, see `_ablated_means`.
    indices : ndarray of shape (n_in_batch,)
        Positions of the images of the batch.
    data : ValidationData

    Raises
    ------
    ValueError
        If the scores of an image with all filters are not finite.
    """
    y = data.y[indices]
    weight = torch.from_numpy(data.weights[indices])
    sums.weight[:] += np.bincount(y, weight.numpy(), minlength=network.n_classes)
    labels, row = torch.from_numpy(y), 0
    ablated = ablated.double().cpu()
    weighted = ablated * weight[:, None]
    sums.ablated_squares[:] += (weighted * ablated).sum(dim=0).numpy()
    for chunk in outputs:
        log_proba = network.log_probabilities(chunk.flatten(0, 1))
        scores = at_least_single(chunk)
        if network.returns_probabilities:
            scores = log_proba.unflatten(0, chunk.shape[:2])
        if row == 0:
            check_finite(log_proba, indices, "scores")
            with_all = scores[0]
        else:
            filters = slice(row - 1, row - 1 + len(chunk))
            factors = weighted.T[filters, None].to(scores)
            drops = torch.bmm(factors, with_all - scores)[:, 0]
            sums.score_drops[filters] += drops.double().cpu().numpy()
        rows = slice(row, row + len(chunk))
        on_device = labels.to(log_proba.device)
        errors = _errors(log_proba, on_device).double().cpu() * weight
        for total, error in zip((sums.log_loss, sums.error), errors, strict=True):
            torch.from_numpy(total[rows]).index_add_(1, labels, error)
        n_competing = sums.log_proba.shape[2]
        if n_competing < network.n_classes:
            log_proba = log_proba.mean(dim=1, keepdim=True)
        weighted_log_proba = log_proba.cpu().double().unflatten(0, (-1, len(y)))
        weighted_log_proba *= weight[:, None]
        by_class = torch.from_numpy(sums.log_proba[rows])
        by_class.index_add_(1, labels, weighted_log_proba)
        row = rows.stop


def _recorded_maps(recorded: RecordedPass, strategy: AblationStrategy) -> torch.Tensor:
    """Feature maps of a strategy's layer, n_images x n_filters x height x width."""
    maps = recorded.feature_maps(strategy)
    return at_least_single(maps[: len(recorded.images)])


def _ablated_means(
    activations: torch.Tensor, replacement: torch.Tensor
) -> torch.Tensor:
    """Mean positive activations less those that replace them, n_images x n_filters."""
    means = activations.relu().mean(dim=(2, 3))
    return means - replacement.to(means).relu()


def _errors(log_proba: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log loss and misclassification, 2 x n_in_chunk x n_images."""
    each = log_proba.unflatten(0, (-1, len(labels)))
    log_loss = -each.gather(2, labels[:, None].expand(len(each), -1, 1))[..., 0]
    return torch.stack([log_loss, (each.argmax(dim=2) != labels).to(log_loss)])


def _add_silent_filters(
    sums: ErrorSums,
    network: TrainedNetwork,
    strategy: AblationStrategy,
    data: ValidationData,
) -> None:
    """Add score drops of filters without any activation: they get one on some images.

    A class of which there are no images may owe its score to them.
    """
    silent = sums.ablated_squares == 0
    if not silent.any():
        return
    few = data.indices[:_N_PROBES]
    indices, batch = next(network.batches(data.images, few))
    recorded = record_pass(network.module, batch, [strategy])
    activations = _recorded_maps(recorded, strategy)
    # The mean activation of the others, or 1 if there are none.
    level = activations.relu().mean(dtype=torch.float64) / (~silent).mean()
    level = float(level) if level > 0 else 1.0
    values = recorded.outputs[strategy.layer]
    if isinstance(values, HeadOutputs):
        # Nothing can be put in the place of a head.
        return
    replacement = values.new_full((len(silent),), level)
    given = ErrorSums.zeros(len(silent), network.n_classes)
    try:
        without = strategy.without_each(recorded, replacement)
        outputs = chain([recorded.output[None]], without)
        ablated = _ablated_means(activations, replacement)
        _add_errors(given, network, outputs, ablated, indices, data)
    except NotExact:
        return
    sums.score_drops[silent] = given.score_drops[silent]
    sums.ablated_squares[silent] = given.ablated_squares[silent]


def _check_finite(layer: str, sums: ErrorSums) -> None:
    """Raise ValueError where the log loss without a filter is not finite."""
    bad = np.flatnonzero(~np.isfinite(sums.log_loss).all(axis=1))
    if len(bad):
        raise ValueError(
            "The log loss on the validation images is not finite without filter "
            f"{bad[0] - 1} of layer {layer!r}; look for a division by the sum of "
            "activations."
        )


def mean_activations(
    network: TrainedNetwork, layers: Sequence[str], data: ValidationData
) -> list[torch.Tensor]:
    """Weighted mean activation of each filter of layers, over images and positions."""
    sums: list[Any] = [0.0] * len(layers)
    for indices, batch in network.batches(data.images, data.indices):
        batch_sums = _weighted_sums(network, layers, batch, data.weights[indices])
        sums = [total + part for total, part in zip(sums, batch_sums, strict=True)]
    maps = extract_activations(network.module, layers, batch[:1], "pooled")
    return [
        (total / data.weights[data.indices].sum()).to(m.activations.dtype)
        for total, m in zip(sums, maps, strict=True)
    ]


def _weighted_sums(
    network: TrainedNetwork,
    layers: Sequence[str],
    batch: torch.Tensor,
    weights: np.ndarray,
) -> list[torch.Tensor]:
    """Sums over a batch of the mean activations in each image times its weight."""
    maps = extract_activations(network.module, layers, batch, "pooled")
    activations = [m.activations for m in maps]
    if len(np.unique(weights)) == 1:
        means = [
            values.mean(dim=(0, 2, 3), dtype=torch.float64) for values in activations
        ]
        return [weights.sum() * mean for mean in means]
    if all(len(values) == len(batch) for values in activations):
        means = [values.mean(dim=(2, 3), dtype=torch.float64) for values in activations]
        return [torch.from_numpy(weights).to(mean) @ mean for mean in means]
    # The layer gets parts of images, or several images as one, so that weights cannot
    # be assigned to its outputs: images of equal weight are run by themselves.
    parts = [
        _weighted_sums(
            network,
            layers,
            batch[torch.from_numpy(weights == weight).to(batch.device)],
            weights[weights == weight],
        )
        for weight in np.unique(weights)
    ]
    return [sum(sums[1:], sums[0]) for sums in zip(*parts, strict=True)]

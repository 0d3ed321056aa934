"""The class scores of single images without each filter, and with it alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from .._images.images import Images
from .._network.forward import at_least_single
from .._network.trained import TrainedNetwork, check_finite
from .importances import choose_strategies
from .strategies import (
    AblationStrategy,
    NetworkMasking,
    NotedPass,
    NotExact,
    run_noting,
    sweeps,
)


class FilterAblation(NamedTuple):
    """Class scores of single images, and what each filter has to do with them.

    Attributes
    ----------
    scores : ndarray of shape (n_images, n_classes)
        What the network returns (logits) with all filters.
    drops : ndarray of shape (n_images, n_classes, n_filters)
        Score with all filters less the score without this one: the filter's importance
        in the image.
    alone : ndarray of shape (n_images, n_classes, n_filters)
        Score with this filter alone less the score without any filter. Where no
        nonlinear layer follows, it equals `drops`.

    With a label for each image, the axis of the classes is missing.
    """

    scores: np.ndarray
    drops: np.ndarray
    alone: np.ndarray


def ablate_images(
    network: TrainedNetwork,
    layers: Sequence[str],
    images: Images,
    absent: np.ndarray,
    classes: np.ndarray | None,
) -> FilterAblation:
    """Scores of single images with each filter of some layers absent, and alone.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    layers : sequence of str
    images : Images
        All of the trained size.
    absent : ndarray of shape (n_filters,)
        Activations of absent filters, one layer after the other.
    classes : ndarray of shape (n_images,) or None
        Class whose score is asked for in each image; None: all.

    Returns
    -------
    FilterAblation
        The filters of all layers, one layer after the other.
    """
    parts: list[list[np.ndarray]] = []
    order: list[np.ndarray] = []
    strategies: list[AblationStrategy] = []
    values: Sequence[torch.Tensor] = []
    for indices, batch in network.batches(images):
        if not strategies:
            strategies, zeros = choose_strategies(network, layers, batch, alone=True)
            values = torch.from_numpy(absent).to(zeros[0]).split([*map(len, zeros)])
        noted = run_noting(network.module, batch, strategies)
        changes = []
        for position, layer in enumerate(layers):
            try:
                change = _changes(strategies[position], noted, values[position])
            except NotExact:
                strategies[position] = NetworkMasking(network.module, layer)
                change = _changes(strategies[position], noted, values[position])
            changes.append(change)
        scores = changes[0][0]
        check_finite(scores, indices, "scores")
        found = [scores, *(torch.cat([c[i] for c in changes], dim=2) for i in (1, 2))]
        if classes is not None:
            rows = np.arange(len(indices)), classes[indices]
            found = [value[rows] for value in found]
        order.append(indices)
        parts.append([value.cpu().numpy() for value in found])
    positions = np.argsort(np.concatenate(order))
    joined = (np.concatenate(values)[positions] for values in zip(*parts, strict=True))
    return FilterAblation(*joined)


def _changes(
    strategy: AblationStrategy, noted: NotedPass, replacement: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores of some images, and their changes by each filter, filters last."""
    found = sweeps(strategy.run(noted, replacement, True))
    scores, without, empty, alone = map(at_least_single, found)
    return scores, (scores - without).permute(1, 2, 0), (alone - empty).permute(1, 2, 0)

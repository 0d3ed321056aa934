"""The class scores of single images without each filter, and with it alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from .._images.images import Images
from .._network.forward import at_least_single
from .._network.trained import TrainedNetwork, check_finite
from .selection import select_strategies
from .strategies import (
    AblationStrategy,
    NetworkMasking,
    NotExact,
    RecordedPass,
    record_pass,
)


class FilterAblation(NamedTuple):
    """Class scores of single images, and the part that each filter has in them.

    Attributes
    ----------
    scores : ndarray of shape (n_images, n_classes)
        Output of the network (logits) with all filters.
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
        Class whose score is returned for each image; None: all classes.

    Returns
    -------
    FilterAblation
        Of the filters of all layers, one layer after the other.
    """
    parts: list[list[np.ndarray]] = []
    order: list[np.ndarray] = []
    strategies: list[AblationStrategy] = []
    replacements: Sequence[torch.Tensor] = []
    for indices, batch in network.batches(images):
        if not strategies:
            strategies, zeros = select_strategies(
                network, layers, batch, needs_alone=True
            )
            n_filters = [len(values) for values in zeros]
            replacements = torch.from_numpy(absent).to(zeros[0]).split(n_filters)
        recorded = record_pass(network.module, batch, strategies)
        changes = []
        for position, layer in enumerate(layers):
            replacement = replacements[position]
            try:
                change = _changes(strategies[position], recorded, replacement)
            except NotExact:
                network.memo.forget()
                layout = strategies[position].layout
                strategies[position] = NetworkMasking(network.module, layer, layout)
                change = _changes(strategies[position], recorded, replacement)
            changes.append(change)
        scores = at_least_single(recorded.output)
        check_finite(scores, indices, "scores")
        drops, alone = (torch.cat(c, dim=2) for c in zip(*changes, strict=True))
        values = [scores, drops, alone]
        if classes is not None:
            rows = np.arange(len(indices)), classes[indices]
            values = [value[rows] for value in values]
        order.append(indices)
        parts.append([value.cpu().numpy() for value in values])
    positions = np.argsort(np.concatenate(order))
    joined = (np.concatenate(values)[positions] for values in zip(*parts, strict=True))
    return FilterAblation(*joined)


def _changes(
    strategy: AblationStrategy, recorded: RecordedPass, replacement: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Drops of the scores, and scores with each filter alone, filters last."""
    without = torch.cat([*strategy.without_each(recorded, replacement)])
    empty, alone = strategy.alone(recorded, replacement)
    drops = at_least_single(recorded.output) - at_least_single(without)
    gains = at_least_single(alone) - at_least_single(empty)
    return drops.permute(1, 2, 0), gains.permute(1, 2, 0)

"""Whether a network in evaluation mode scores an image the same way every time."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from .._compat import is_out_of_memory
from .._images.images import Images
from .._images.messages import warn_user
from .activations import extract_activations
from .forward import first_line, run_network
from .trained import TrainedNetwork

# Largest difference between scores that counts as rounding, as a share of the largest.
_ROUNDING = 1e-3
_N_PROBES = 3


def check_regularity(
    network: TrainedNetwork, layers: Sequence[str], images: Images
) -> bool:
    """Warn of a network with which importances and heatmaps cannot be exact.

    Returns
    -------
    bool
        Whether there was nothing to warn of.

    Raises
    ------
    ValueError
        If the network cannot take one image alone, or keeps values for the next images.
    """
    _, batch = next(network.batches(images, np.arange(min(_N_PROBES, len(images)))))
    with network.evaluation():
        irregularity = find_irregularity(network.module, layers, batch)
    if irregularity is not None:
        warn_user(
            f"In evaluation mode, {irregularity}; importances and heatmaps are not "
            "exact.",
        )
    return irregularity is None


def find_irregularity(
    module: nn.Module, layers: Sequence[str], images: torch.Tensor
) -> str | None:
    """Why the same image gets different scores, if it does.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layers : sequence of str
    images : tensor of shape (n_images, n_channels, height, width)
    """
    # Different images, or what depends on the others would not show.
    probes = torch.cat([images, images.flip(3), images / 2])
    first = run_network(module, probes)
    if not _is_same_after_interruption(module, layers, probes, first):
        if _same(run_network(module, probes), run_network(module, probes)):
            raise _not_interruptible("keeps values of one forward pass for the next")
        return (
            "the network scores the same images differently each time, as it is "
            "random or keeps a state"
        )
    try:
        alone = module(probes[:1].clone())
    except (RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"The network takes {len(probes)} images together, but not one alone "
            f"({first_line(error)}); layers must not use statistics of the batch in "
            "evaluation mode (track_running_stats=False does)."
        ) from error
    if not _same(first[:1], alone):
        return (
            "the network's scores of an image depend on the other images of its batch "
            "(batch normalisation with track_running_stats=False does that)"
        )
    return None


def _is_same_after_interruption(
    module: nn.Module, layers: Sequence[str], images: torch.Tensor, scores: torch.Tensor
) -> bool:
    """Whether images get the same scores again after a pass that ends half-way.

    Raises
    ------
    ValueError
        If they get none.
    """
    # Heatmaps end it where they have the activations, of other images.
    extract_activations(module, layers, images.flip(0), "pooled")
    try:
        return _same(scores, module(images.clone()))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _not_interruptible(
            f"fails in its next forward pass ({type(error).__name__}: "
            f"{first_line(error)})"
        ) from error


def _not_interruptible(found: str) -> ValueError:
    return ValueError(
        f"The network {found}, and heatmaps end a pass at the layer; let forward clear "
        "what it keeps before it starts."
    )


def _same(scores: torch.Tensor, others: torch.Tensor) -> bool:
    if scores.shape != others.shape:
        return False
    difference, largest = (scores - others).abs().max(), scores.abs().max()
    return not bool(difference > _ROUNDING * largest)

"""Selection of the cheapest ablation strategy that is exact for a network."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from .._compat import is_out_of_memory
from .._network.activations import FeatureMaps, extract_activations
from .._network.attention import find_heads
from .._network.checks import find_nondeterminism
from .._network.trained import TrainedNetwork
from .cross_channel import first_cross_channel_layers
from .graph import LayerGraph, NotTraceable
from .strategies import (
    AblationStrategy,
    HeadMasking,
    LinearShortcut,
    NetworkMasking,
    NotExact,
    check_exact,
    only,
    record_pass,
)

# Number of images on which strategies are compared, and number of filters whose masking
# they are compared with, for each replacement.
_N_PROBES = 3
_N_COMPARED = 4


def select_strategies(
    network: TrainedNetwork,
    layers: Sequence[str],
    images: torch.Tensor,
    needs_alone: bool = False,
    is_deterministic: bool = False,
) -> tuple[list[AblationStrategy], list[torch.Tensor]]:
    """The cheapest exact strategy for each layer, and zeros for its absent filters.

    They are kept with the network until it changes.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    layers : sequence of str
    images : tensor of shape (n_images, n_channels, height, width)
        Strategies are compared on the first ones.
    needs_alone : bool, default=False
        Whether the outputs with each filter alone are also needed.
    is_deterministic : bool, default=False
        Whether `check_determinism` has established that the network is.
    """
    key = "ablation", tuple(layers), images.shape[1:], images.dtype, needs_alone
    find = partial(
        _find_strategies, network, layers, images, needs_alone, is_deterministic
    )
    strategies, zeros = network.memo.get(network.module, key, find)
    # Callers replace strategies that turn out to be inexact.
    return list(strategies), zeros


def _find_strategies(
    network: TrainedNetwork,
    layers: Sequence[str],
    images: torch.Tensor,
    needs_alone: bool,
    is_deterministic: bool,
) -> tuple[list[AblationStrategy], list[torch.Tensor]]:
    """As `select_strategies`, anew."""
    module, probes = network.module, images[:_N_PROBES].clone()
    maps = extract_activations(module, layers, probes.clone(), "pooled")
    zeros = [torch.zeros_like(m.activations[0, :, 0, 0]) for m in maps]
    # The values of a random network are not those of its traced graph.
    if not is_deterministic and find_nondeterminism(module, layers, probes) is not None:
        random: list[AblationStrategy] = [
            NetworkMasking(module, layer, m.layout)
            for layer, m in zip(layers, maps, strict=True)
        ]
        return random, zeros
    strategies = [
        select_strategy(module, layer, probes, m, needs_alone)
        for layer, m in zip(layers, maps, strict=True)
    ]
    return strategies, zeros


def select_strategy(
    module: nn.Module,
    layer: str,
    images: torch.Tensor,
    maps: FeatureMaps,
    needs_alone: bool = False,
) -> AblationStrategy:
    """The cheapest strategy that is exact for a network in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
    layer : str
        Path of the layer whose filters are ablated.
    images : tensor of shape (n_images, n_channels, height, width)
        A few images on which strategies are compared.
    maps : FeatureMaps
        Those of the layer for these images.
    needs_alone : bool, default=False
        Whether the outputs with each filter alone are also needed.
    """
    try:
        graph = LayerGraph.trace(module, layer, images)
    except NotTraceable:
        return NetworkMasking(module, layer, maps.layout)
    can_stack = not graph.bypasses()
    masking = NetworkMasking(module, layer, maps.layout, can_stack)
    candidates: list[AblationStrategy] = [HeadMasking(graph, maps.layout)]
    has_heads = find_heads(module.get_submodule(layer)) is not None
    if maps.layout.is_channels_first and not has_heads:
        n_filters = maps.activations.shape[1]
        layers = first_cross_channel_layers(graph, images, n_filters)
        if layers:
            candidates.insert(0, LinearShortcut(graph, layers))
    for strategy in candidates:
        if _agrees(strategy, masking, images, maps.activations, needs_alone):
            return strategy
    return masking


def _agrees(
    strategy: AblationStrategy,
    masking: NetworkMasking,
    images: torch.Tensor,
    activations: torch.Tensor,
    needs_alone: bool,
) -> bool:
    """Whether a strategy equals masking, for some filters and unusual replacements."""
    low, high = images.amin(), images.amax()
    # Inverted, and without contrast.
    extremes = [low + high - images[:1], torch.full_like(images[:1], float(high))]
    images = torch.cat([images, *extremes])
    n_filters = activations.shape[1]
    n_compared = min(n_filters, _N_COMPARED)
    compared = torch.linspace(0, n_filters - 1, n_compared).long().tolist()
    ramp = torch.linspace(0, 1, n_filters).to(activations)
    largest = activations.abs().amax()
    replacements = [ramp, -largest * ramp - 1, 8 * largest + ramp]
    if find_heads(masking.module.get_submodule(masking.layer)):
        # A head is taken out, and nothing is put in its place.
        replacements = replacements[:1]
    try:
        recorded = record_pass(masking.module, images, [strategy])
        if not recorded.output.isfinite().all():
            return False
        outputs, masks = [], []
        for replacement in replacements:
            without = strategy.without_each(recorded, replacement, compared)
            outputs += [output for chunk in without for output in chunk]
            masks += [(replacement, only(index, replacement)) for index in compared]
            # The same parts of the network: one comparison of them is enough.
            if needs_alone:
                _, alone = strategy.alone(recorded, replacement)
                outputs.append(alone[0])
                masks.append((replacement, ~only(0, replacement)))
        check_exact(outputs, masking.run_each(images, masks))
    except NotExact:
        return False
    # The user's code ran on values that it was not made for.
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False
    return True

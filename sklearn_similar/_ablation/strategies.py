"""Ablation strategies: a network's output without each filter of a layer in turn.

Three strategies give the same numbers:

- "linear": where, on every path from the layer, only channel-separable operations come
  before a linear layer that is cross-channel, ablating filter i changes the output z of
  that linear layer by a known amount, z_-i = z - A_i (u_i - u'_i), with u_i the linear
  layer's input from filter i and u'_i the same from the replaced activations. Only
  the operations after z are run for each filter.
- "head": the activations of the filter are replaced, and all operations after the layer
  are run.
- "network": the same, and all of the network is run.
"""

from collections.abc import Iterator, Set
from typing import Protocol

import torch
from torch import nn

from .._network.activations import output_hook
from .cross_channel import CrossChannelLayer, first_cross_channel_layers
from .graph import LayerGraph, NotTraceable

# Values of the largest tensor that follows, for all filters that are run at once.
_MAX_VALUES = 2**22


class AblationStrategy(Protocol):
    """Runs a network in which each filter of a layer is absent in turn."""

    method: str

    def run(
        self, images: torch.Tensor, replacement: torch.Tensor
    ) -> Iterator[torch.Tensor]:
        """Yield the output with all filters, then the outputs without each of them.

        Parameters
        ----------
        images : tensor of shape (n_images, n_channels, height, width)
        replacement : tensor of shape (n_filters,)
            Activations that replace those of an absent filter, at every position.

        Yields
        ------
        tensor of shape (n_images, n_classes), then some of shape (n_filters_in_chunk, \
                n_images, n_classes), the filters in order
        """
        ...


def choose_strategy(
    module: nn.Module, layer: str, images: torch.Tensor, activations: torch.Tensor
) -> AblationStrategy:
    """The cheapest strategy that is exact for a network in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
    layer : str
        Path of the layer whose filters are ablated.
    images : tensor of shape (n_images, n_channels, height, width)
        A few images on which strategies are compared.
    activations : tensor of shape (n_images, n_filters, ...)
        Activations of the layer for these images.
    """
    masking = NetworkMasking(module, layer)
    try:
        graph = LayerGraph.trace(module, layer, images)
    except NotTraceable:
        return masking
    n_filters = activations.shape[1]
    layers = first_cross_channel_layers(graph, images, n_filters)
    if layers:
        shortcut = LinearShortcut(graph, layers)
        if _agree(shortcut, masking, images, n_filters):
            return shortcut
    head = HeadMasking(graph)
    return head if _agree(head, masking, images, n_filters) else masking


class NetworkMasking:
    """All of the network is run for each filter."""

    method = "network"

    def __init__(self, module: nn.Module, layer: str):
        self.module = module
        self.layer = layer

    def run(self, images, replacement):
        yield self.module(images)
        for index in range(len(replacement)):
            yield self.run_without(images, replacement, index)[None]

    def run_without(self, images, replacement, index):
        """The output without one filter, n_images x n_classes."""

        def replace(activations):
            return _without(activations, index, replacement[index])

        with output_hook(self.module, self.layer, replace):
            return self.module(images)


class HeadMasking:
    """All operations after the layer are run for each filter."""

    method = "head"

    def __init__(self, graph: LayerGraph):
        start = [graph.activations]
        constants = graph.constants_of(start, graph.dependent.difference(start))
        self.trunk = graph.part(
            [graph.images], [graph.output, graph.activations, *constants]
        )
        self.head = graph.part([graph.activations, *constants], [graph.output])

    def run(self, images, replacement):
        output, activations, *constants = self.trunk(images)
        yield output
        for index, value in enumerate(replacement):
            yield self.head(_without(activations, index, value), *constants)[0][None]


class LinearShortcut:
    """All operations after the first cross-channel layers are run for each filter."""

    method = "linear"

    def __init__(self, graph: LayerGraph, layers: list[CrossChannelLayer]):
        self.layers = layers
        nodes = [layer.node for layer in layers]
        sources = [layer.source for layer in layers]
        separable = _dependencies(sources, graph.dependent)
        follows = graph.dependent - separable
        before = graph.constants_of([graph.activations], separable)
        after = graph.constants_of(nodes, follows)
        wanted = [graph.activations, *sources, *nodes, *before, *after]
        self.trunk = graph.part([graph.images], [graph.output, *wanted])
        self.separable = graph.part([graph.activations, *before], sources)
        self.tail = graph.part([*nodes, *after], [graph.output])
        self.n_before = len(before)
        # Values from elsewhere have the number of the images, not of stacked ones.
        self.can_stack = not after
        self.n_values = max(graph.n_values[node] for node in follows)

    def run(self, images, replacement):
        output, activations, *values = self.trunk(images)
        yield output
        n_layers = len(self.layers)
        sources, outputs = values[:n_layers], values[n_layers : 2 * n_layers]
        before = values[2 * n_layers : 2 * n_layers + self.n_before]
        after = values[2 * n_layers + self.n_before :]
        # The replacement is the same for all images, unless values from elsewhere (a
        # residual) are added to it.
        n_absent = len(images) if before else 1
        absent = replacement[:, None, None].expand(n_absent, *activations.shape[1:])
        changes = [
            layer.inputs(source - absent_source)
            for layer, source, absent_source in zip(
                self.layers, sources, self.separable(absent, *before), strict=True
            )
        ]
        n_filters, n_at_once = len(replacement), 1
        if self.can_stack:
            n_at_once = max(1, _MAX_VALUES // (self.n_values * len(images)))
        for first in range(0, n_filters, n_at_once):
            filters = slice(first, min(first + n_at_once, n_filters))
            without = [
                layer.without(value, change, filters).flatten(0, 1)
                for layer, value, change in zip(
                    self.layers, outputs, changes, strict=True
                )
            ]
            (stacked,) = self.tail(*without, *after)
            yield stacked.unflatten(0, (-1, len(images)))


def _without(
    activations: torch.Tensor, index: int, value: torch.Tensor
) -> torch.Tensor:
    activations = activations.clone()
    activations[:, index] = value
    return activations


def _dependencies(nodes, candidates: Set) -> set:
    """Some nodes and all that they are computed from, among the candidates."""
    dependencies: set = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node in candidates and node not in dependencies:
            dependencies.add(node)
            todo.extend(node.all_input_nodes)
    return dependencies


def _agree(
    strategy: AblationStrategy,
    masking: NetworkMasking,
    images: torch.Tensor,
    n_filters: int,
) -> bool:
    """Whether a strategy equals masking, for some of the filters.

    The graph was traced on placeholders; a network that overwrites values so that the
    graph does not show it is caught here.
    """
    images = images[:2]
    replacement = torch.linspace(0, 1, n_filters).to(images)
    try:
        output, *chunks = strategy.run(images, replacement)
    except RuntimeError:
        return False
    without = torch.cat(chunks)
    if not output.isfinite().all():
        return False
    checked = {0, n_filters // 2, n_filters - 1}
    return len(without) == n_filters and all(
        torch.allclose(
            actual, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )
        for actual, expected in [
            (output, masking.module(images)),
            *(
                (without[index], masking.run_without(images, replacement, index))
                for index in checked
            ),
        ]
    )

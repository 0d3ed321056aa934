"""What follows a layer in a network, run without each of the layer's filters in turn.

Three ways give the same numbers:

- "linear": where, on all ways from the layer, only operations that keep channels apart
  come before a linear layer that mixes them, blocking filter i changes the output z of
  that linear layer by a known amount, z_-i = z - A_i (u_i - u'_i), with u_i the linear
  layer's input from filter i and u'_i the same from what replaces the responses. Only
  what follows z is run for each filter.
- "head": the responses of the filter are replaced, and what follows them is run.
- "network": the same, and all of the network is run.
"""

from collections.abc import Iterator, Set
from typing import Protocol

import torch
from torch import nn

from .._network.activations import output_hook
from .cross_channel import Mixing, find_mixing
from .graph import LayerGraph, NotTraceable

# Values of the largest tensor that follows, for all filters that are run at once.
_MAX_VALUES = 2**22


class Head(Protocol):
    """A way to run a network in which each filter of a layer is absent in turn."""

    method: str

    def run(
        self, images: torch.Tensor, replacement: torch.Tensor
    ) -> Iterator[torch.Tensor]:
        """Yield the output with all filters, then the outputs without each of them.

        Parameters
        ----------
        images : tensor of shape (n_images, n_channels, height, width)
        replacement : tensor of shape (n_filters,)
            What the filters' responses become at every position.

        Yields
        ------
        tensor of shape (n_images, n_classes), then some of shape (n_filters_in_chunk, \
                n_images, n_classes), the filters in order
        """
        ...


def make_head(
    module: nn.Module, layer: str, images: torch.Tensor, responses: torch.Tensor
) -> Head:
    """The cheapest way that is exact for a network in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
    layer : str
        Path of the layer whose filters are ablated.
    images : tensor of shape (n_images, n_channels, height, width)
        A few images on which the ways are compared.
    responses : tensor of shape (n_images, n_filters, ...)
        Of the layer to these images.
    """
    masking = NetworkMasking(module, layer)
    try:
        graph = LayerGraph.trace(module, layer, images)
    except NotTraceable:
        return masking
    mixing = find_mixing(graph, images, responses.shape[1])
    if mixing:
        shortcut = LinearShortcut(graph, mixing)
        if _agree(shortcut, masking, images, responses):
            return shortcut
    head = HeadMasking(graph)
    return head if _agree(head, masking, images, responses) else masking


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

        def replace(responses):
            return _without(responses, index, replacement[index])

        with output_hook(self.module, self.layer, replace):
            return self.module(images)


class HeadMasking:
    """What follows the layer is run for each filter."""

    method = "head"

    def __init__(self, graph: LayerGraph):
        start = [graph.responses]
        constants = graph.constants_of(start, graph.dependent.difference(start))
        self.trunk = graph.part(
            [graph.images], [graph.output, graph.responses, *constants]
        )
        self.head = graph.part([graph.responses, *constants], [graph.output])

    def run(self, images, replacement):
        output, responses, *constants = self.trunk(images)
        yield output
        for index, value in enumerate(replacement):
            yield self.head(_without(responses, index, value), *constants)[0][None]


class LinearShortcut:
    """What follows the first linear layers that mix channels is run for each filter."""

    method = "linear"

    def __init__(self, graph: LayerGraph, mixing: list[Mixing]):
        self.mixing = mixing
        nodes = [layer.node for layer in mixing]
        sources = [layer.source for layer in mixing]
        apart = _dependencies(sources, graph.dependent)
        follows = graph.dependent - apart
        before = graph.constants_of([graph.responses], apart)
        after = graph.constants_of(nodes, follows)
        wanted = [graph.responses, *sources, *nodes, *before, *after]
        self.trunk = graph.part([graph.images], [graph.output, *wanted])
        self.apart = graph.part([graph.responses, *before], sources)
        self.tail = graph.part([*nodes, *after], [graph.output])
        self.n_before = len(before)
        # Values from elsewhere have the number of the images, not of stacked ones.
        self.can_stack = not after
        self.n_values = max(graph.n_values[node] for node in follows)

    def run(self, images, replacement):
        output, responses, *values = self.trunk(images)
        yield output
        n_mixing = len(self.mixing)
        sources, mixed = values[:n_mixing], values[n_mixing : 2 * n_mixing]
        before = values[2 * n_mixing : 2 * n_mixing + self.n_before]
        after = values[2 * n_mixing + self.n_before :]
        # What replaces the responses is the same for all images, unless values from
        # elsewhere (a residual) are added to it.
        n_absent = len(images) if before else 1
        absent = replacement[:, None, None].expand(n_absent, *responses.shape[1:])
        changes = [
            layer.inputs(source - of_absent)
            for layer, source, of_absent in zip(
                self.mixing, sources, self.apart(absent, *before), strict=True
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
                    self.mixing, mixed, changes, strict=True
                )
            ]
            (outputs,) = self.tail(*without, *after)
            yield outputs.unflatten(0, (-1, len(images)))


def _without(responses: torch.Tensor, index: int, value: torch.Tensor) -> torch.Tensor:
    responses = responses.clone()
    responses[:, index] = value
    return responses


def _dependencies(nodes, among: Set) -> set:
    """Some nodes and all that they are computed from, as far as it is in `among`."""
    found: set = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node in among and node not in found:
            found.add(node)
            todo.extend(node.all_input_nodes)
    return found


def _agree(
    way: Head, masking: NetworkMasking, images: torch.Tensor, responses: torch.Tensor
) -> bool:
    """Whether a way gives what masking gives, for some of the filters.

    The graph is what the network did with placeholders; a network that overwrites
    values so that the graph does not show it is caught here.
    """
    images, n_filters = images[:2], responses.shape[1]
    replacement = torch.linspace(0, 1, n_filters).to(responses)
    try:
        output, *chunks = way.run(images, replacement)
    except RuntimeError:
        return False
    without = torch.cat(chunks)
    if not output.isfinite().all():
        return False
    checked = {0, n_filters // 2, n_filters - 1}
    return len(without) == n_filters and all(
        torch.allclose(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
        for found, wanted in [
            (output, masking.module(images)),
            *(
                (without[index], masking.run_without(images, replacement, index))
                for index in checked
            ),
        ]
    )

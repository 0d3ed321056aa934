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

The network itself gives the output with all filters and the values that the first two
start from. What they do with these must give that output again, on every image.
"""

from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack
from functools import partial
from typing import Protocol

import torch
from torch import nn

from .._compat import is_out_of_memory
from .._network.hooks import forward_hook, output_hook
from .cross_channel import CrossChannelLayer, first_cross_channel_layers
from .graph import LayerGraph, NotTraceable

# Values of the largest tensor that follows, for all filters that are run at once.
_MAX_VALUES = 2**22
# Largest difference that counts as rounding, as a share of an image's largest value.
_ROUNDING = 1e-4
# Filters that are compared with masking, for each of the replacements.
_N_COMPARED = 4


class NotExact(Exception):
    """A strategy does not give the network's output on some image."""


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
    layers = first_cross_channel_layers(graph, images, activations.shape[1])
    if layers:
        shortcut = LinearShortcut(graph, layers)
        if _agree(shortcut, masking, images, activations):
            return shortcut
    head = HeadMasking(graph)
    return head if _agree(head, masking, images, activations) else masking


class NetworkMasking:
    """All of the network is run for each filter."""

    method = "network"

    def __init__(self, module: nn.Module, layer: str):
        self.module = module
        self.layer = layer

    def run(self, images, replacement):
        # Some networks normalise their images in place.
        yield self.module(images.clone())
        for index in range(len(replacement)):
            yield self.run_without(images, replacement, index)[None]

    def run_without(self, images, replacement, index):
        """The output without one filter, n_images x n_classes."""

        def replace(activations):
            return _without(activations, index, replacement[index])

        with output_hook(self.module, self.layer, replace):
            return self.module(images.clone())


class HeadMasking:
    """All operations after the layer are run for each filter."""

    method = "head"

    def __init__(self, graph: LayerGraph):
        self.module = graph.module
        self.layer = graph.path_of(graph.activations)
        start = [graph.activations]
        constants = graph.constants_of(start, graph.dependent.difference(start))
        self.constants = graph.part([graph.images], constants)
        self.head = graph.part([graph.activations, *constants], [graph.output])

    def run(self, images, replacement):
        output, activations, _, _ = _run_noting(self.module, self.layer, [], images)
        yield output
        constants = self.constants(images)
        _check_exact(self.head(activations, *constants), [output])
        for index, value in enumerate(replacement):
            yield self.head(_without(activations, index, value), *constants)[0][None]


class LinearShortcut:
    """All operations after the first cross-channel layers are run for each filter."""

    method = "linear"

    def __init__(self, graph: LayerGraph, layers: list[CrossChannelLayer]):
        self.module = graph.module
        self.layer = graph.path_of(graph.activations)
        self.layers = {graph.path_of(layer.node): layer for layer in layers}
        nodes = [layer.node for layer in layers]
        sources = [layer.source for layer in layers]
        separable = _dependencies(sources, graph.dependent)
        follows = graph.dependent - separable
        before = graph.constants_of([graph.activations], separable)
        after = graph.constants_of(nodes, follows)
        self.constants = graph.part([graph.images], [*before, *after])
        self.separable = graph.part([graph.activations, *before], sources)
        self.tail = graph.part([*nodes, *after], [graph.output])
        self.n_before = len(before)
        # Values from elsewhere have the number of the images, not of stacked ones.
        self.can_stack = not after
        self.n_values = max(graph.n_values[node] for node in follows)

    def run(self, images, replacement):
        output, activations, sources, outputs = _run_noting(
            self.module, self.layer, list(self.layers), images
        )
        yield output
        constants = self.constants(images)
        before, after = constants[: self.n_before], constants[self.n_before :]
        _check_exact(self.separable(activations, *before), sources)
        _check_exact(self.tail(*outputs, *after), [output])
        # The replacement is the same for all images, unless values from elsewhere (a
        # residual) are added to it.
        n_absent = len(images) if before else 1
        absent = replacement[:, None, None].expand(n_absent, *activations.shape[1:])
        absent_sources = self.separable(absent, *before)
        changes = [
            layer.inputs(source - absent_source)
            for layer, source, absent_source in zip(
                self.layers.values(), sources, absent_sources, strict=True
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
                    self.layers.values(), outputs, changes, strict=True
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


def _run_noting(
    module: nn.Module, layer: str, followers: Sequence[str], images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Run a network, and note values on the way.

    Returns
    -------
    output : tensor
        Output of the network.
    activations : tensor
        Output of the layer.
    sources, outputs : list of tensor
        Input and output of each of the followers.
    """
    noted: dict[str, tuple[torch.Tensor, ...]] = {}

    def note(path, inputs, output):
        values = (output,) if path == layer else (*inputs, output)
        # What follows could overwrite them.
        noted[path] = tuple(value.clone() for value in values)

    with ExitStack() as stack:
        for path in (layer, *followers):
            child = module.get_submodule(path)
            stack.enter_context(forward_hook(child, partial(note, path)))
        network_output = module(images.clone())
    sources, outputs = ([noted[path][i] for path in followers] for i in (0, 1))
    return network_output, *noted[layer], sources, outputs


def _check_exact(
    values: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]
) -> None:
    """Raise NotExact unless values equal the expected ones, up to rounding.

    Scores that are not finite, which no strategy can mend, are reported elsewhere.
    """
    for value, other in zip(values, expected, strict=True):
        if value.shape != other.shape:
            raise NotExact
        # In most cases they are the same operations on the same values.
        if torch.equal(value, other):
            continue
        difference = (value - other).abs().flatten(1).amax(dim=1)
        if (difference > _ROUNDING * other.abs().flatten(1).amax(dim=1)).any():
            raise NotExact


def _agree(
    strategy: AblationStrategy,
    masking: NetworkMasking,
    images: torch.Tensor,
    activations: torch.Tensor,
) -> bool:
    """Whether a strategy equals masking, for some filters and unusual replacements."""
    low, high = images.amin(), images.amax()
    # Inverted, and without contrast.
    extremes = [low + high - images[:1], torch.full_like(images[:1], float(high))]
    images = torch.cat([images, *extremes])
    n_filters = activations.shape[1]
    compared = torch.linspace(0, n_filters - 1, min(n_filters, _N_COMPARED)).long()
    ramp = torch.linspace(0, 1, n_filters).to(activations)
    largest = activations.abs().amax()
    for replacement in (ramp, -largest * ramp - 1, 8 * largest + ramp):
        try:
            output, *chunks = strategy.run(images, replacement)
            without = torch.cat(chunks)
            if not output.isfinite().all():
                return False
            for index in compared.tolist():
                expected = masking.run_without(images, replacement, index)
                _check_exact([without[index]], [expected])
        except NotExact:
            return False
        # The user's code ran on what it was not made for.
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return False
    return True

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
start from, in one pass for the strategies of all layers. What they do with these must
give that output again, on every image.
"""

from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple, Protocol

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


class NotedPass(NamedTuple):
    """A forward pass of a network, with values that were noted on the way.

    Attributes
    ----------
    images : tensor of shape (n_images, n_channels, height, width)
    output : tensor of shape (n_images, n_classes)
    inputs, outputs : dict of str to tensor
        By paths of submodules.
    """

    images: torch.Tensor
    output: torch.Tensor
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]


class AblationStrategy(Protocol):
    """Runs a network in which each filter of a layer is absent in turn.

    Attributes
    ----------
    method : str
    noted_inputs, noted_outputs : tuple of str
        Paths of the submodules whose input, whose output it starts from.
    """

    method: str
    noted_inputs: tuple[str, ...]
    noted_outputs: tuple[str, ...]

    def run(
        self, noted: NotedPass, replacement: torch.Tensor, alone: bool = False
    ) -> Iterator[torch.Tensor]:
        """Yield the output with all filters, then the outputs without each of them.

        Parameters
        ----------
        noted : NotedPass
            With what the strategy starts from.
        replacement : tensor of shape (n_filters,)
            Activations that replace those of an absent filter, at every position.
        alone : bool, default=False
            Then also yield the output without any filter, and those with each alone.

        Yields
        ------
        tensor of shape (n_images, n_classes), then some of shape (n_filters_in_chunk, \
                n_images, n_classes), the filters in order; twice if `alone`
        """
        ...


def choose_strategy(
    module: nn.Module,
    layer: str,
    images: torch.Tensor,
    activations: torch.Tensor,
    alone: bool = False,
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
    alone : bool, default=False
        Whether each filter alone is going to be asked for, too.
    """
    try:
        graph = LayerGraph.trace(module, layer, images)
    except NotTraceable:
        return NetworkMasking(module, layer)
    masking = NetworkMasking(module, layer, can_stack=not graph.bypasses())
    layers = first_cross_channel_layers(graph, images, activations.shape[1])
    if layers:
        shortcut = LinearShortcut(graph, layers)
        if _agree(shortcut, masking, images, activations, alone):
            return shortcut
    head = HeadMasking(graph)
    return head if _agree(head, masking, images, activations, alone) else masking


class NetworkMasking:
    """All of the network is run for each filter."""

    method = "network"
    noted_inputs: tuple[str, ...] = ()
    noted_outputs: tuple[str, ...] = ()

    def __init__(self, module: nn.Module, layer: str, can_stack: bool = False):
        self.module = module
        self.layer = layer
        # Whether the layer's output is all that the rest of the network needs, so that
        # it can be that of more images than the network was given.
        self.can_stack = can_stack

    def run(self, noted, replacement, alone=False):
        images = noted.images
        yield noted.output
        for index in range(len(replacement)):
            yield self.run_masked(images, replacement, _only(index, replacement))[None]
        if alone:
            everything = torch.ones_like(replacement, dtype=torch.bool)
            yield self.run_masked(images, replacement, everything)
            for index in range(len(replacement)):
                others = ~_only(index, replacement)
                yield self.run_masked(images, replacement, others)[None]

    def run_masked(self, images, replacement, absent):
        """The output without the filters that are True in `absent`."""

        def replace(activations):
            return _without(activations, absent, replacement)

        # Some networks normalise their images in place.
        with output_hook(self.module, self.layer, replace):
            return self.module(images.clone())

    def run_each(self, images, masks):
        """The outputs with each of some masks, (replacement, absent).

        In one pass, if it can be: what comes before the layer is run once.
        """
        if not self.can_stack:
            return [self.run_masked(images, *mask) for mask in masks]

        def replace(activations):
            return torch.cat([_without(activations, a, r) for r, a in masks])

        with output_hook(self.module, self.layer, replace):
            outputs = self.module(images.clone()).split(len(images))
        # Code of the user's could do something else with as many images.
        for index in (0, len(masks) // 2, -1):
            alone = self.run_masked(images, *masks[index])
            _check_exact([outputs[index]], [alone])
        return outputs


class HeadMasking:
    """All operations after the layer are run for each filter."""

    method = "head"
    noted_inputs: tuple[str, ...] = ()

    def __init__(self, graph: LayerGraph):
        self.layer = graph.path_of(graph.activations)
        self.noted_outputs: tuple[str, ...] = (self.layer,)
        constants = graph.bypasses()
        self.constants = graph.part([graph.images], constants)
        self.head = graph.part([graph.activations, *constants], [graph.output])

    def run(self, noted, replacement, alone=False):
        yield noted.output
        activations = noted.outputs[self.layer]
        constants = self.constants(noted.images)
        _check_exact(self.head(activations, *constants), [noted.output])

        def run_without(absent):
            masked = _without(activations, absent, replacement)
            return self.head(masked, *constants)[0]

        for index in range(len(replacement)):
            yield run_without(_only(index, replacement))[None]
        if alone:
            yield run_without(torch.ones_like(replacement, dtype=torch.bool))
            for index in range(len(replacement)):
                yield run_without(~_only(index, replacement))[None]


class LinearShortcut:
    """All operations after the first cross-channel layers are run for each filter."""

    method = "linear"

    def __init__(self, graph: LayerGraph, layers: list[CrossChannelLayer]):
        self.layer = graph.path_of(graph.activations)
        self.layers = layers
        self.noted_inputs = tuple(graph.path_of(layer.node) for layer in layers)
        self.noted_outputs = (self.layer, *self.noted_inputs)
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

    def run(self, noted, replacement, alone=False):
        yield noted.output
        activations, *outputs = (noted.outputs[path] for path in self.noted_outputs)
        sources = [noted.inputs[path] for path in self.noted_inputs]
        constants = self.constants(noted.images)
        before, after = constants[: self.n_before], constants[self.n_before :]
        _check_exact(self.separable(activations, *before), sources)
        _check_exact(self.tail(*outputs, *after), [noted.output])
        # The replacement is the same for all images, unless values from elsewhere (a
        # residual) are added to it.
        n_absent = len(activations) if before else 1
        absent = replacement[:, None, None].expand(n_absent, *activations.shape[1:])
        absent_sources = self.separable(absent, *before)
        changes = [
            layer.inputs(source - absent_source)
            for layer, source, absent_source in zip(
                self.layers, sources, absent_sources, strict=True
            )
        ]
        yield from self._run_changed(outputs, changes, after)
        if alone:
            # z' + A_i (u_i - u'_i), from the output z' without any filter.
            empty = [
                layer.layer(source).expand_as(with_all)
                for layer, source, with_all in zip(
                    self.layers, absent_sources, outputs, strict=True
                )
            ]
            yield self.tail(*empty, *after)[0]
            yield from self._run_changed(empty, [-change for change in changes], after)

    def _run_changed(self, outputs, changes, after):
        """The network's outputs after each filter's change is taken from the layers."""
        n_images, n_filters, n_at_once = len(outputs[0]), changes[0].shape[1], 1
        if self.can_stack:
            n_at_once = max(1, _MAX_VALUES // (self.n_values * n_images))
        for first in range(0, n_filters, n_at_once):
            filters = slice(first, min(first + n_at_once, n_filters))
            changed = [
                layer.without(value, change, filters).flatten(0, 1)
                for layer, value, change in zip(
                    self.layers, outputs, changes, strict=True
                )
            ]
            (stacked,) = self.tail(*changed, *after)
            yield stacked.unflatten(0, (-1, n_images))


def _only(index: int, replacement: torch.Tensor) -> torch.Tensor:
    """Boolean tensor that is True for one filter."""
    return torch.arange(len(replacement), device=replacement.device) == index


def _without(
    activations: torch.Tensor, absent: torch.Tensor, replacement: torch.Tensor
) -> torch.Tensor:
    """Activations in which those of some filters are replaced."""
    return torch.where(absent[:, None, None], replacement[:, None, None], activations)


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


def run_noting(
    module: nn.Module, images: torch.Tensor, strategies: Sequence[AblationStrategy]
) -> NotedPass:
    """Run a network once, and note all that some strategies start from."""
    inputs: dict[str, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}
    input_paths = {path for s in strategies for path in s.noted_inputs}
    output_paths = {path for s in strategies for path in s.noted_outputs}

    def note(path, given, output):
        # What follows could overwrite them.
        if path in input_paths:
            inputs[path] = given[0].clone()
        if path in output_paths:
            outputs[path] = output.clone()

    with ExitStack() as stack:
        for path in sorted(input_paths | output_paths):
            child = module.get_submodule(path)
            stack.enter_context(forward_hook(child, partial(note, path)))
        output = module(images.clone())
    return NotedPass(images, output, inputs, outputs)


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


def sweeps(outputs: Iterator[torch.Tensor]) -> list[torch.Tensor]:
    """What a strategy yields, chunks joined.

    Returns
    -------
    list of tensor
        Output with all filters, n_images x n_classes, and without each of them,
        n_filters x n_images x n_classes. Then, if asked for, output without any filter
        and with each alone.
    """
    joined: list[list[torch.Tensor]] = []
    for output in outputs:
        if output.ndim == 2:
            joined.extend(([output[None]], []))
        else:
            joined[-1].append(output)
    return [
        torch.cat(parts)[0] if index % 2 == 0 else torch.cat(parts)
        for index, parts in enumerate(joined)
    ]


def _agree(
    strategy: AblationStrategy,
    masking: NetworkMasking,
    images: torch.Tensor,
    activations: torch.Tensor,
    alone: bool,
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
    try:
        noted = run_noting(masking.module, images, [strategy])
        if not noted.output.isfinite().all():
            return False
        outputs, masks = [], []
        for replacement in (ramp, -largest * ramp - 1, 8 * largest + ramp):
            _, without, *rest = sweeps(strategy.run(noted, replacement, alone))
            for index in compared.tolist():
                outputs.append(without[index])
                masks.append((replacement, _only(index, replacement)))
            # The same parts of the network: one comparison of them is enough.
            if rest:
                outputs.append(rest[1][0])
                masks.append((replacement, ~_only(0, replacement)))
        _check_exact(outputs, masking.run_each(images, masks))
    except NotExact:
        return False
    # The user's code ran on what it was not made for.
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False
    return True

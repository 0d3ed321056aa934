"""Ablation strategies: a network's output without each filter of a layer in turn.

Three strategies give the same numbers:

- "linear": where, on every path from the layer, only channel-separable operations come
  before a linear layer that is cross-channel, ablating filter i changes the output z of
  that linear layer by a known amount, z_-i = z - A_i (u_i - u'_i), with u_i the linear
  layer's input from filter i and u'_i the same from the replaced activations. Only
  the operations after z are run for each filter.
- "head": the activations of the filter are replaced, and all operations after the layer
  are run.
- "network": the same, and the whole network is run.

A recorded forward pass of the network gives the output with all filters, and the values
from which the first two strategies start, for the strategies of all layers at once. On
every image, each strategy has to reproduce that output from these values.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from .._images.images import batch_slices
from .._images.memory import within_working_memory
from .._network.attention import HeadOutputs, feature_maps_of, find_heads
from .._network.forward import forward_hook, output_hook
from .._network.layout import CHANNELS_FIRST, Layout
from .cross_channel import CrossChannelLayer
from .graph import LayerGraph

# Largest rounding difference, as a share of an image's largest value.
_ROUNDING = 1e-4


class NotExact(Exception):
    """A strategy does not reproduce the network's output for some image."""


class RecordedPass(NamedTuple):
    """A forward pass of a network, with the inputs and outputs of some submodules.

    Attributes
    ----------
    images : tensor of shape (n_images, n_channels, height, width)
    output : tensor of shape (n_images, n_classes)
    inputs : dict of str to tensor
    outputs : dict of str to tensor or HeadOutputs
        Both by paths of submodules.
    """

    images: torch.Tensor
    output: torch.Tensor
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, Any]

    def value(self, kind: str, path: str) -> Any:
        """The "input" or "output" of a submodule, as the network has it."""
        value = (self.inputs if kind == "input" else self.outputs)[path]
        return value.output if isinstance(value, HeadOutputs) else value

    def feature_maps(self, strategy: "AblationStrategy") -> torch.Tensor:
        """Those of a strategy's layer, n_images x n_filters x height x width."""
        return feature_maps_of(self.outputs[strategy.layer], strategy.layout)


class AblationStrategy(Protocol):
    """Runs a network in which each filter of a layer is absent in turn.

    Both methods raise NotExact where the strategy is not exact.

    Attributes
    ----------
    method : str
    layout : Layout
        How the layer's output holds its filters.
    layer : str
        Path of the layer whose filters are absent; its output is recorded.
    recorded_inputs, recorded_outputs : tuple of str
        Paths of the submodules whose inputs and outputs are recorded.
    """

    method: str
    layout: Layout
    layer: str
    recorded_inputs: tuple[str, ...]
    recorded_outputs: tuple[str, ...]

    def without_each(
        self,
        recorded: RecordedPass,
        replacement: torch.Tensor,
        filters: Sequence[int] | None = None,
    ) -> Iterator[torch.Tensor]:
        """Yield the outputs without each filter, in chunks of filters.

        Parameters
        ----------
        recorded : RecordedPass
        replacement : tensor of shape (n_filters,)
            Activations that replace those of an absent filter, at every position.
        filters : sequence of int, optional
            The filters; all by default.

        Yields
        ------
        tensor of shape (n_filters_in_chunk, n_images, n_classes)
        """
        ...

    def alone(
        self, recorded: RecordedPass, replacement: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The output without any filter, and the outputs with each filter alone.

        Returns
        -------
        empty : tensor of shape (n_images, n_classes)
        alone : tensor of shape (n_filters, n_images, n_classes)
        """
        ...


# Runs the network, or its head, without the filters that are True in a mask.
MaskedRun = Callable[[torch.Tensor], torch.Tensor]


class _Masking(ABC):
    """A strategy that replaces the activations of absent filters."""

    layout: Layout

    @abstractmethod
    def masked_run(
        self, recorded: RecordedPass, replacement: torch.Tensor
    ) -> MaskedRun:
        """A function from a mask of absent filters to the output without them."""

    def without_each(
        self,
        recorded: RecordedPass,
        replacement: torch.Tensor,
        filters: Sequence[int] | None = None,
    ) -> Iterator[torch.Tensor]:
        run = self.masked_run(recorded, replacement)
        for index in range(len(replacement)) if filters is None else filters:
            yield run(only(index, replacement))[None]

    def alone(
        self, recorded: RecordedPass, replacement: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        run = self.masked_run(recorded, replacement)
        empty = run(torch.ones_like(replacement, dtype=torch.bool))
        alone = [run(~only(index, replacement)) for index in range(len(replacement))]
        return empty, torch.stack(alone)


class NetworkMasking(_Masking):
    """The whole network is run for each filter.

    Parameters
    ----------
    module : torch.nn.Module
    layer : str
    layout : Layout, default=CHANNELS_FIRST
        How the layer's output holds its filters.
    can_stack : bool, default=False
        Whether the rest of the network needs the layer's output alone, which can then
        be that of more images than the network was given.
    """

    method = "network"
    recorded_inputs: tuple[str, ...] = ()

    def __init__(
        self,
        module: nn.Module,
        layer: str,
        layout: Layout = CHANNELS_FIRST,
        can_stack: bool = False,
    ):
        self.module = module
        self.layer = layer
        self.layout = layout
        self.recorded_outputs: tuple[str, ...] = (layer,)
        self.can_stack = can_stack

    def masked_run(
        self, recorded: RecordedPass, replacement: torch.Tensor
    ) -> MaskedRun:
        return lambda absent: self.run_masked(recorded.images, replacement, absent)

    def run_masked(
        self, images: torch.Tensor, replacement: torch.Tensor, absent: torch.Tensor
    ) -> torch.Tensor:
        """The output without the filters that are True in `absent`."""

        def replace(activations):
            return _without(activations, absent, replacement, self.layout)

        # Some networks normalise their images in place.
        with output_hook(self.module, self.layer, replace):
            return self.module(images.clone())

    def run_each(
        self, images: torch.Tensor, masks: Sequence[tuple[torch.Tensor, torch.Tensor]]
    ) -> Sequence[torch.Tensor]:
        """The outputs with each of some masks, (replacement, absent).

        In one pass, where possible: the operations before the layer are run once.
        """
        if not self.can_stack:
            return [self.run_masked(images, *mask) for mask in masks]

        def replace(activations):
            parts = [_without(activations, a, r, self.layout) for r, a in masks]
            return torch.cat(parts)

        with output_hook(self.module, self.layer, replace):
            outputs = self.module(images.clone()).split(len(images))
        # A user's code could treat many images differently.
        for index in (0, len(masks) // 2, -1):
            single = self.run_masked(images, *masks[index])
            check_exact([outputs[index]], [single])
        return outputs


class HeadMasking(_Masking):
    """All operations after the layer are run for each filter.

    The output of attention without a head, z - W_h v_h, is known from a recorded pass.
    """

    method = "head"

    def __init__(self, graph: LayerGraph, layout: Layout):
        self.layer = graph.path_of(graph.activations)
        self.layout = layout
        constants = graph.bypasses()
        self.constants = _Constants(graph, constants)
        self.recorded_inputs = self.constants.recorded_inputs
        self.recorded_outputs = (self.layer, *self.constants.recorded_outputs)
        self.head = graph.part([graph.activations, *constants], [graph.output])
        if find_heads(graph.module.get_submodule(self.layer)):
            self.method = "linear"

    def masked_run(
        self, recorded: RecordedPass, replacement: torch.Tensor
    ) -> MaskedRun:
        activations = recorded.outputs[self.layer]
        constants = self.constants(recorded)
        whole = recorded.value("output", self.layer)
        check_exact(self.head(whole, *constants), [recorded.output])

        def without(absent: torch.Tensor) -> Any:
            if isinstance(activations, HeadOutputs):
                return activations.without(absent)
            return _without(activations, absent, replacement, self.layout)

        if isinstance(activations, HeadOutputs) and activations.values is None:
            raise NotExact

        def run(absent: torch.Tensor) -> torch.Tensor:
            return self.head(without(absent), *constants)[0]

        return run


class LinearShortcut:
    """All operations after the first cross-channel layers are run for each filter."""

    method = "linear"
    layout = CHANNELS_FIRST

    def __init__(self, graph: LayerGraph, layers: list[CrossChannelLayer]):
        self.layer = graph.path_of(graph.activations)
        self.layers = layers
        self.paths = tuple(graph.path_of(layer.node) for layer in layers)
        nodes = [layer.node for layer in layers]
        sources = [layer.source for layer in layers]
        separable = _dependencies(sources, graph.dependent)
        tail = graph.dependent - separable
        before = graph.constants_of([graph.activations], separable)
        after = graph.constants_of(nodes, tail)
        self.constants = _Constants(graph, [*before, *after])
        self.recorded_inputs = (*self.paths, *self.constants.recorded_inputs)
        self.recorded_outputs = (
            self.layer,
            *self.paths,
            *self.constants.recorded_outputs,
        )
        self.n_before = len(before)
        self.separable = graph.part([graph.activations, *before], sources)
        self.tail = graph.part([*nodes, *after], [graph.output])
        # Values that come past the layers have the number of the images, not that of
        # several copies of them.
        self.can_stack = not after
        self.n_values = max(graph.n_values[node] for node in tail)

    def without_each(
        self,
        recorded: RecordedPass,
        replacement: torch.Tensor,
        filters: Sequence[int] | None = None,
    ) -> Iterator[torch.Tensor]:
        terms = self._terms(recorded, replacement)
        if filters is None:
            filters = range(len(replacement))
        yield from self._outputs_less(
            terms.outputs, terms.changes, terms.constants, filters
        )

    def alone(
        self, recorded: RecordedPass, replacement: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        terms = self._terms(recorded, replacement)
        # z' + A_i (u_i - u'_i), from the output z' without any filter.
        empty = [
            layer.layer(source).expand_as(output)
            for layer, source, output in zip(
                self.layers, terms.absent_sources, terms.outputs, strict=True
            )
        ]
        changes = [-change for change in terms.changes]
        (output,) = self.tail(*empty, *terms.constants)
        filters = range(len(replacement))
        each = self._outputs_less(empty, changes, terms.constants, filters)
        return output, torch.cat([*each])

    def _terms(self, recorded: RecordedPass, replacement: torch.Tensor) -> "_Terms":
        """The terms of z - A_i (u_i - u'_i) for the images of a recorded pass."""
        activations = recorded.outputs[self.layer]
        outputs = [recorded.outputs[path] for path in self.paths]
        sources = [recorded.inputs[path] for path in self.paths]
        constants = self.constants(recorded)
        before, after = constants[: self.n_before], constants[self.n_before :]
        check_exact(self.separable(activations, *before), sources)
        check_exact(self.tail(*outputs, *after), [recorded.output])
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
        return _Terms(outputs, absent_sources, changes, after)

    def _outputs_less(
        self,
        outputs: Sequence[torch.Tensor],
        changes: Sequence[torch.Tensor],
        constants: Sequence[torch.Tensor],
        filters: Sequence[int],
    ) -> Iterator[torch.Tensor]:
        """Yield the network's outputs less each filter's change of the layers."""
        n_images, n_at_once = len(outputs[0]), 1
        if self.can_stack:
            # All tensors that follow are to be no larger than this number of values.
            n_values = within_working_memory(2**20)
            n_at_once = max(1, n_values // (self.n_values * n_images))
        for part in batch_slices(len(filters), n_at_once):
            chunk = filters[part]
            changed = [
                layer.without(output, change, chunk).flatten(0, 1)
                for layer, output, change in zip(
                    self.layers, outputs, changes, strict=True
                )
            ]
            (stacked,) = self.tail(*changed, *constants)
            yield stacked.unflatten(0, (-1, n_images))


class _Constants:
    """Values that come past a layer: recorded where a submodule gets or gives them.

    The network is run for the others.
    """

    def __init__(self, graph: LayerGraph, nodes: Sequence):
        self.places = [graph.recorded_at(node) for node in nodes]
        unrecorded = [
            node
            for node, place in zip(nodes, self.places, strict=True)
            if place is None
        ]
        self.rest = graph.part([graph.images], unrecorded) if unrecorded else None
        places = [place for place in self.places if place is not None]
        self.recorded_inputs = tuple(path for kind, path in places if kind == "input")
        self.recorded_outputs = tuple(path for kind, path in places if kind == "output")

    def __call__(self, recorded: RecordedPass) -> list[torch.Tensor]:
        rest = iter(self.rest(recorded.images) if self.rest is not None else ())
        return [
            next(rest) if place is None else recorded.value(*place)
            for place in self.places
        ]


class _Terms(NamedTuple):
    """Terms of the output z - A_i (u_i - u'_i) of each cross-channel layer.

    Attributes
    ----------
    outputs : list of tensor
        z of each layer.
    absent_sources : tuple of tensor
        The input of each layer without any filter.
    changes : list of tensor of shape (n_images, n_filters, n_per_filter, ...)
        u_i - u'_i of each layer.
    constants : tuple of tensor
        Values that come past the layers.
    """

    outputs: list[torch.Tensor]
    absent_sources: Sequence[torch.Tensor]
    changes: list[torch.Tensor]
    constants: Sequence[torch.Tensor]


def only(index: int, replacement: torch.Tensor) -> torch.Tensor:
    """Boolean tensor that is True for one filter."""
    return torch.arange(len(replacement), device=replacement.device) == index


def _without(
    activations: torch.Tensor | HeadOutputs,
    absent: torch.Tensor,
    replacement: torch.Tensor,
    layout: Layout,
) -> Any:
    """The output of a layer in which the activations of absent filters are replaced.

    Heads are taken out of the output of attention.
    """
    if isinstance(activations, HeadOutputs):
        return activations.masked(absent)
    replaced = layout.along_filters(replacement).to(activations.dtype)
    return torch.where(layout.along_filters(absent), replaced, activations)


def _dependencies(nodes, candidates: Set) -> set:
    """Some nodes and all nodes that they are computed from, among the candidates."""
    dependencies: set = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node in candidates and node not in dependencies:
            dependencies.add(node)
            todo.extend(node.all_input_nodes)
    return dependencies


def record_pass(
    module: nn.Module, images: torch.Tensor, strategies: Sequence[AblationStrategy]
) -> RecordedPass:
    """Run a network once, and record the values from which some strategies start."""
    inputs: dict[str, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}
    input_paths = {path for s in strategies for path in s.recorded_inputs}
    output_paths = {path for s in strategies for path in s.recorded_outputs}

    # Later operations could overwrite them.
    def record_input(path, given, _output):
        inputs[path] = given[0].clone()

    def record_output(path, output):
        outputs[path] = output.clone()

    with ExitStack() as stack:
        for path in sorted(input_paths):
            child = module.get_submodule(path)
            stack.enter_context(forward_hook(child, partial(record_input, path)))
        for path in sorted(output_paths):
            record = partial(record_output, path)
            stack.enter_context(output_hook(module, path, record))
        output = module(images.clone())
    return RecordedPass(images, output, inputs, outputs)


def check_exact(
    values: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]
) -> None:
    """Raise NotExact unless values equal the expected ones, up to rounding.

    Scores that are not finite, which no strategy can mend, are reported elsewhere.
    """
    for value, reference in zip(values, expected, strict=True):
        if value.shape != reference.shape:
            raise NotExact
        # In most cases they are the same operations on the same values.
        if torch.equal(value, reference):
            continue
        difference = (value - reference).abs().flatten(1).amax(dim=1)
        largest = reference.abs().flatten(1).amax(dim=1)
        if (difference > _ROUNDING * largest).any():
            raise NotExact

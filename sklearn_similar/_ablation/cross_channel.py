"""The first cross-channel layers after a layer, and each filter's addend there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.parametrize import is_parametrized

from .._compat import is_out_of_memory
from .graph import LayerGraph

# Packages whose functions are traced as operations.
_OPERATIONS = {"torch", "_operator", "builtins", "math"}


class FilterChannels(NamedTuple):
    """Channels (dimension 1) of a value that each filter occupies.

    Attributes
    ----------
    positions : slice or tensor of shape (n_filters * n_per_filter,)
        The channels of filter 0, those of filter 1, and so on.
    n_per_filter : int
    """

    positions: slice | torch.Tensor
    n_per_filter: int


@dataclass(frozen=True)
class CrossChannelLayer:
    """A linear layer that sums over the channels of several filters.

    Attributes
    ----------
    node, source : torch.fx.Node
        The layer's output and input.
    channels : FilterChannels
        Channels of the filters in `source`.
    layer : torch.nn.Linear or torch.nn.Conv2d
        In the network itself.
    """

    node: fx.Node
    source: fx.Node
    channels: FilterChannels
    layer: nn.Linear | nn.Conv2d

    def inputs(self, values: torch.Tensor) -> torch.Tensor:
        """The inputs u of all filters, from a tensor of the shape of `source`.

        Returns
        -------
        tensor of shape (n_images, n_filters, n_per_filter, ...)
        """
        filters = values[:, self.channels.positions]
        return filters.unflatten(1, (-1, self.channels.n_per_filter))

    def without(
        self, output: torch.Tensor, inputs: torch.Tensor, filters: Sequence[int]
    ) -> torch.Tensor:
        """The layer's output without each of some filters: z - A_i u_i.

        Parameters
        ----------
        output : tensor of shape (n_images, n_outputs, ...)
            z, the output with all filters.
        inputs : tensor of shape (n_images, n_filters, n_per_filter, ...)
        filters : sequence of int
            A range is not copied.

        Returns
        -------
        tensor of shape (n_filters, n_images, n_outputs, ...)
        """
        chosen = _as_index(filters)
        inputs = inputs[:, chosen]
        if isinstance(self.layer, nn.Linear):
            weight = self.layer.weight[:, self.channels.positions]
            weight = weight.unflatten(1, (-1, self.channels.n_per_filter))[:, chosen]
            return torch.baddbmm(
                output.expand(inputs.shape[1], -1, -1),
                inputs.transpose(0, 1),
                weight.permute(1, 2, 0),
                alpha=-1,
            )
        channels = _input_channels(self.layer, self.channels)[chosen]
        group, index_in_group = _split_by_group(self.layer, channels)
        by_group = self.layer.weight.unflatten(0, (self.layer.groups, -1))
        weight = by_group[group, :, index_in_group].transpose(1, 2)
        # One group for each filter gives the addends of the filters separately.
        parts = F.conv2d(
            inputs.flatten(1, 2),
            weight.flatten(0, 1),
            None,
            self.layer.stride,
            self.layer.padding,
            self.layer.dilation,
            groups=len(weight),
        )
        parts = parts.unflatten(1, weight.shape[:2]).transpose(0, 1)
        if self.layer.groups == 1:
            return output - parts
        outputs = output.repeat(len(weight), *[1] * output.ndim)
        outputs_by_group = outputs.unflatten(2, (self.layer.groups, -1))
        outputs_by_group[torch.arange(len(weight)), :, group[:, 0]] -= parts
        return outputs


def _as_index(filters: Sequence[int]) -> slice | list[int]:
    """An index of tensors, which gives a view for a range."""
    if isinstance(filters, range):
        return slice(filters.start, filters.stop, filters.step)
    return list(filters)


def _input_channels(layer: nn.Conv2d, channels: FilterChannels) -> torch.Tensor:
    """Input channels of a convolution, n_filters x n_per_filter."""
    indices = torch.arange(layer.in_channels, device=layer.weight.device)
    return indices[channels.positions].unflatten(0, (-1, channels.n_per_filter))


def _split_by_group(
    layer: nn.Conv2d, channels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Groups of input channels of a convolution, and their indices in the groups."""
    n_inputs = layer.in_channels // layer.groups
    return channels // n_inputs, channels % n_inputs


def first_cross_channel_layers(
    graph: LayerGraph, images: torch.Tensor, n_filters: int
) -> list[CrossChannelLayer]:
    """The linear layers that sum over filters first, on all paths to the output.

    Parameters
    ----------
    graph : LayerGraph
    images : tensor of shape (n_images, n_channels, height, width)
        The network is run on the first one.
    n_filters : int

    Returns
    -------
    list of CrossChannelLayer
        Empty if a nonlinear operation combines filters first, or none ever does.
    """
    propagation = _NaNPropagation(graph, n_filters, images.device)
    # The layer's NaN mask makes copies of one image, unless values come past it.
    n_copies = propagation.n_copies if graph.bypasses() else 1
    try:
        propagation.run(images[:1].repeat(n_copies, 1, 1, 1))
    # Some operations fail with NaN.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return []
    separable, layers = {graph.activations}, []
    for node in graph.operations.nodes:
        sources = graph.dependent.intersection(node.all_input_nodes)
        if node not in graph.dependent or separable.isdisjoint(sources):
            continue
        is_separable = node in propagation.channels and separable.issuperset(sources)
        if is_separable and _is_pytorch(graph, node):
            separable.add(node)
            continue
        layer = _cross_channel_layer(graph, node, sources, propagation)
        if layer is None:
            return []
        layers.append(layer)
    return [] if graph.output in separable else layers


def _cross_channel_layer(
    graph: LayerGraph, node: fx.Node, sources, propagation: "_NaNPropagation"
) -> CrossChannelLayer | None:
    """The linear layer at a node, if it sums over whole filters."""
    layer = _as_linear(graph, node)
    if layer is None:
        return None
    (source,) = sources
    channels = propagation.channels[source]
    if propagation.n_dims[source] != (4 if isinstance(layer, nn.Conv2d) else 2):
        return None
    if isinstance(layer, nn.Conv2d):
        group, _ = _split_by_group(layer, _input_channels(layer, channels))
        if (group != group[:, :1]).any():
            return None
    return CrossChannelLayer(node=node, source=source, channels=channels, layer=layer)


class _NaNPropagation(fx.Interpreter):
    """Runs a network on activations with NaN to find channel-separable values.

    Notes
    -----
    In each copy of one image, the activations of half of the filters are NaN: those
    with a 1 at one binary digit of their index, or all others. The copies in which a
    value is NaN therefore spell the filter that it depends on, and a value that depends
    on several is NaN in both copies of a binary digit. The last copy has no NaN.
    Operations that turn NaN into something else (comparisons) are not
    channel-separable.
    """

    def __init__(self, graph: LayerGraph, n_filters: int, device):
        super().__init__(graph.root, graph=graph.operations)
        self.network = graph
        self.n_filters = n_filters
        self.bits = 2 ** torch.arange(max(1, (n_filters - 1).bit_length()))
        ones = torch.arange(n_filters) & self.bits[:, None] > 0
        no_nan = torch.zeros(1, n_filters, dtype=torch.bool)
        self.is_nan = torch.cat([ones, ~ones, no_nan]).to(device)
        self.n_copies = len(self.is_nan)
        self.channels: dict[fx.Node, FilterChannels] = {}
        self.n_dims: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node):
        value = super().run_node(n)
        if n is self.network.activations:
            value = value.masked_fill(self.is_nan[..., None, None], torch.nan)
        if n in self.network.dependent:
            channels = self._read(value)
            if channels is not None:
                self.channels[n], self.n_dims[n] = channels, value.ndim
        return value

    def _read(self, value) -> FilterChannels | None:
        """Channels of the filters in a value; None if it is not channel-separable."""
        if not isinstance(value, torch.Tensor) or value.ndim < 2:
            return None
        if len(value) != self.n_copies or not value.is_floating_point():
            return None
        is_nan = value.isnan()
        # An operation that swallows NaN from several filters changes other values.
        leaked = ~is_nan & ~torch.isclose(value, value[-1:], rtol=1e-3, atol=1e-6)
        if is_nan[-1].any() or leaked.any():
            return None
        spelt = is_nan.flatten(2).any(dim=2) if value.ndim > 2 else is_nan
        ones, zeros = spelt[:-1].cpu().unflatten(0, (2, -1))
        is_single = (ones ^ zeros).all(dim=0)
        if not torch.equal(is_single, (ones | zeros).any(dim=0)):
            return None
        index = is_single.nonzero()[:, 0]
        filters = (ones * self.bits[:, None]).sum(dim=0)[index]
        counts = filters.bincount(minlength=self.n_filters)
        n_per_filter = int(counts[0])
        if n_per_filter == 0 or (counts != n_per_filter).any():
            return None
        index = index[filters.argsort(stable=True)]
        first = int(index[0])
        if torch.equal(index, torch.arange(first, first + len(index))):
            return FilterChannels(slice(first, first + len(index)), n_per_filter)
        return FilterChannels(index.to(value.device), n_per_filter)


def _is_pytorch(graph: LayerGraph, node: fx.Node) -> bool:
    """Whether a node is an operation of PyTorch or Python, in which NaN stays NaN.

    A user's function could compare values, and hide a dependence on NaN.
    """
    if node.op == "call_module":
        layer = graph.module.get_submodule(graph.path_of(node))
        return "forward" not in vars(layer)
    origin = getattr(node.target, "__module__", None) or ""
    return node.op == "call_method" or origin.split(".")[0] in _OPERATIONS


def _as_linear(graph: LayerGraph, node: fx.Node) -> nn.Linear | nn.Conv2d | None:
    """The linear layer of a node, if the node alone runs it and gives A u + b."""
    if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return None
    path = graph.path_of(node)
    layer = graph.module.get_submodule(path)
    if [n.target for n in graph.operations.nodes].count(node.target) > 1:
        return None
    # Subclasses can compute something else, except those of parametrized layers.
    kind = type(layer).__base__ if is_parametrized(layer) else type(layer)
    if kind not in (nn.Linear, nn.Conv2d) or "forward" in vars(layer):
        return None
    is_padded_otherwise = getattr(layer, "padding_mode", "zeros") != "zeros"
    return None if is_padded_otherwise else cast(nn.Linear | nn.Conv2d, layer)

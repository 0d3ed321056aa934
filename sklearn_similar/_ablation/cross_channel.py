"""The first linear layers in which a layer's filters meet, and what each adds."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import fx, nn

from .graph import LayerGraph


class Layout(NamedTuple):
    """Where the filters are along dimension 1 of a value.

    Attributes
    ----------
    places : slice or tensor of shape (n_filters * width,)
        The places of filter 0, those of filter 1, and so on.
    width : int
        Places of each filter.
    """

    places: slice | torch.Tensor
    width: int


@dataclass(frozen=True)
class Mixing:
    """A linear layer in which filters meet.

    Attributes
    ----------
    node, source : torch.fx.Node
        The layer's output and input.
    layout : Layout
        Where the filters are in `source`.
    layer : torch.nn.Linear or torch.nn.Conv2d
    """

    node: fx.Node
    source: fx.Node
    layout: Layout
    layer: nn.Linear | nn.Conv2d

    def inputs(self, values: torch.Tensor) -> torch.Tensor:
        """The filters' inputs u side by side, from a tensor of the shape of `source`.

        Returns
        -------
        tensor of shape (n_images, n_filters, width, ...)
        """
        return values[:, self.layout.places].unflatten(1, (-1, self.layout.width))

    def without(
        self, mixed: torch.Tensor, inputs: torch.Tensor, filters: slice
    ) -> torch.Tensor:
        """The layer's output without each of some filters: z - A_i u_i.

        Parameters
        ----------
        mixed : tensor of shape (n_images, n_outputs, ...)
            z, the output with all filters.
        inputs : tensor of shape (n_images, n_filters, width, ...)
        filters : slice

        Returns
        -------
        tensor of shape (n_filters_in_slice, n_images, n_outputs, ...)
        """
        inputs = inputs[:, filters]
        if isinstance(self.layer, nn.Linear):
            weight = self.layer.weight[:, self.layout.places]
            weight = weight.unflatten(1, (-1, self.layout.width))[:, filters]
            return torch.baddbmm(
                mixed.expand(inputs.shape[1], -1, -1),
                inputs.transpose(0, 1),
                weight.permute(1, 2, 0),
                alpha=-1,
            )
        places = _places_of_filters(self.layer, self.layout)[filters]
        group, place_in_group = _split_places(self.layer, places)
        by_group = self.layer.weight.unflatten(0, (self.layer.groups, -1))
        weight = by_group[group, :, place_in_group].transpose(1, 2)
        # One group for each filter keeps apart what they add.
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
            return mixed - parts
        outputs = mixed.repeat(len(weight), *[1] * mixed.ndim)
        outputs_by_group = outputs.unflatten(2, (self.layer.groups, -1))
        outputs_by_group[torch.arange(len(weight)), :, group[:, 0]] -= parts
        return outputs


def _places_of_filters(layer: nn.Conv2d, layout: Layout) -> torch.Tensor:
    """Input channels of a convolution, n_filters x width."""
    places = torch.arange(layer.in_channels, device=layer.weight.device)
    return places[layout.places].unflatten(0, (-1, layout.width))


def _split_places(
    layer: nn.Conv2d, places: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Groups that input channels of a convolution are in, and places in the groups."""
    n_inputs = layer.in_channels // layer.groups
    return places // n_inputs, places % n_inputs


def find_mixing(
    graph: LayerGraph, images: torch.Tensor, n_filters: int
) -> list[Mixing]:
    """The linear layers in which the filters first meet, on all ways to the output.

    Returns
    -------
    list of Mixing
        Empty if the filters also meet in anything that is not linear, or never.
    """
    dye = _Dye(graph, n_filters, images.device)
    dye.run(images[:1].repeat(dye.n_copies, 1, 1, 1))
    apart, mixing = {graph.responses}, []
    for node in graph.operations.nodes:
        sources = graph.dependent.intersection(node.all_input_nodes)
        if node not in graph.dependent or apart.isdisjoint(sources):
            continue
        if node in dye.layouts and apart.issuperset(sources):
            apart.add(node)
            continue
        layer = _as_linear(graph.root, node)
        if layer is None:
            return []
        (source,) = sources
        layout = dye.layouts[source]
        if isinstance(layer, nn.Conv2d):
            group, _ = _split_places(layer, _places_of_filters(layer, layout))
            if (group != group[:, :1]).any():
                return []
        mixing.append(Mixing(node, source, layout, layer))
    return [] if graph.output in apart else mixing


class _Dye(fx.Interpreter):
    """Runs a network on dyed responses, and finds where filters are still apart.

    Notes
    -----
    In each copy of one image, the responses of some filters are NaN: of those with a
    1 at one binary place of their index, or of all others. The copies in which a value
    is NaN therefore spell the filter that it depends on, and a value that depends on
    several is NaN in both copies of a binary place. No filter is dyed in the last
    copy. Operations that turn NaN into something else (comparisons) are none that keep
    filters apart.
    """

    def __init__(self, graph: LayerGraph, n_filters: int, device):
        super().__init__(graph.root, graph=graph.operations)
        self.network = graph
        self.n_filters = n_filters
        self.bits = 2 ** torch.arange(max(1, (n_filters - 1).bit_length()))
        ones = torch.arange(n_filters) & self.bits[:, None] > 0
        undyed = torch.zeros(1, n_filters, dtype=torch.bool)
        self.is_dyed = torch.cat([ones, ~ones, undyed]).to(device)
        self.n_copies = len(self.is_dyed)
        self.layouts: dict[fx.Node, Layout] = {}

    def run_node(self, n: fx.Node):
        value = super().run_node(n)
        if n is self.network.responses:
            value = value.masked_fill(self.is_dyed[..., None, None], torch.nan)
        if n in self.network.dependent:
            layout = self._read(value)
            if layout is not None:
                self.layouts[n] = layout
        return value

    def _read(self, value) -> Layout | None:
        """Where the filters are in a value; None if they are not apart."""
        if not isinstance(value, torch.Tensor) or value.ndim < 2:
            return None
        if len(value) != self.n_copies or not value.is_floating_point():
            return None
        dyed = value.isnan()
        # An operation that swallows NaN from other filters shows in other values.
        leaked = ~dyed & ~torch.isclose(value, value[-1:], rtol=1e-3, atol=1e-6)
        if dyed[-1].any() or leaked.any():
            return None
        spelt = dyed.flatten(2).any(dim=2) if value.ndim > 2 else dyed
        ones, zeros = spelt[:-1].cpu().unflatten(0, (2, -1))
        of_one = (ones ^ zeros).all(dim=0)
        if not torch.equal(of_one, (ones | zeros).any(dim=0)):
            return None
        places = of_one.nonzero()[:, 0]
        filters = (ones * self.bits[:, None]).sum(dim=0)[places]
        counts = filters.bincount(minlength=self.n_filters)
        width = int(counts[0])
        if width == 0 or (counts != width).any():
            return None
        places = places[filters.argsort(stable=True)]
        first, last = int(places[0]), int(places[-1])
        if torch.equal(places, torch.arange(first, last + 1)):
            return Layout(slice(first, last + 1), width)
        return Layout(places.to(value.device), width)


def _as_linear(root: nn.Module, node: fx.Node) -> nn.Linear | nn.Conv2d | None:
    layer = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    # Layers of other houses are traced through, so that these are PyTorch's own.
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros":
        return layer
    return layer if isinstance(layer, nn.Linear) else None

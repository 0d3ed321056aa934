"""The first linear layers in which a layer's filters meet, and what each filter adds."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import fx, nn

from ._graph import LayerGraph, run


class Layout(NamedTuple):
    """Along dimension 1 of a value, filter i has `width` places from start + i width."""

    start: int
    width: int

    def places(self, filters: slice) -> slice:
        """The places of some filters."""
        return slice(
            self.start + filters.start * self.width,
            self.start + filters.stop * self.width,
        )


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

    def contributions(self, values: torch.Tensor, filters: slice) -> torch.Tensor:
        """What some filters add to the output: A_i u_i.

        Parameters
        ----------
        values : tensor of the shape of `source`
            u, of all filters.
        filters : slice

        Returns
        -------
        tensor of shape (n_filters, n_images, ...)
        """
        n_filters = filters.stop - filters.start
        places = self.layout.places(filters)
        weight = self.layer.weight
        if isinstance(self.layer, nn.Linear):
            parts = values[:, places].unflatten(1, (n_filters, -1)).transpose(0, 1)
            return parts @ weight[:, places].unflatten(1, (n_filters, -1)).permute(
                1, 2, 0
            )
        window = {
            "stride": self.layer.stride,
            "padding": self.layer.padding,
            "dilation": self.layer.dilation,
        }
        if self.layer.groups > 1:
            alone = values.new_zeros(n_filters, *values.shape)
            for index in range(n_filters):
                own = self.layout.places(
                    slice(filters.start + index, filters.start + index + 1)
                )
                alone[index][:, own] = values[:, own]
            parts = F.conv2d(
                alone.flatten(0, 1), weight, **window, groups=self.layer.groups
            )
            return parts.unflatten(0, (n_filters, -1))
        # One group for each filter keeps apart what they add.
        weight = weight[:, places].unflatten(1, (n_filters, -1))
        parts = F.conv2d(
            values[:, places],
            weight.transpose(0, 1).flatten(0, 1),
            **window,
            groups=n_filters,
        )
        return parts.unflatten(1, (n_filters, -1)).transpose(0, 1)


def find_mixing(graph: LayerGraph, images: torch.Tensor) -> list[Mixing]:
    """The linear layers in which the filters first meet, on all ways to the output.

    Notes
    -----
    Three filters' responses are replaced by NaN, each in a copy of one image, and
    the rest of the network is run: a value that becomes NaN depends on the filter.
    Operations that turn NaN into something else (comparisons) count as mixing.

    Returns
    -------
    list of Mixing
        Empty if the filters also meet in anything that is not linear, or never.
    """
    values, filters = _dyed_values(graph, images)
    layouts = {graph.responses: Layout(0, 1)}
    mixing = []
    for node in graph.traced.graph.nodes:
        sources = [given for given in node.all_input_nodes if given in graph.dependent]
        if node is graph.responses or not any(s in layouts for s in sources):
            continue
        if all(source in layouts for source in sources) and node.op != "output":
            layout = _read_layout(values[node], filters)
            if layout is not None:
                layouts[node] = layout
                continue
        layer = _as_linear(graph.traced, node)
        if layer is None or len(sources) > 1:
            return []
        mixing.append(Mixing(node, sources[0], layouts[sources[0]], layer))
    return mixing


def _dyed_values(graph: LayerGraph, images: torch.Tensor):
    """Values for copies of an image, and the filter that is NaN in each copy."""
    copies = images[:1].repeat(3, 1, 1, 1)
    values = run(graph.traced, {}, copies)
    responses = values[graph.responses].clone()
    n_filters = responses.shape[1]
    filters = [0, n_filters // 2, n_filters - 1]
    for copy, index in enumerate(filters):
        responses[copy, index] = torch.nan
    known = {node: values[node] for node in values if node not in graph.dependent}
    known.pop(list(graph.traced.graph.nodes)[-1], None)
    return run(graph.traced, {**known, graph.responses: responses}, copies), filters


def _read_layout(value, filters: list[int]) -> Layout | None:
    """Where the filters of each copy are; None if they are not apart."""
    if not isinstance(value, torch.Tensor) or value.ndim < 2 or len(value) != 3:
        return None
    found = value.isnan().flatten(2).any(dim=2) if value.ndim > 2 else value.isnan()
    places = [row.nonzero().flatten().tolist() for row in found]
    layout = Layout(min(places[0], default=0), len(places[0]))
    n_places = layout.places(slice(0, filters[-1] + 1)).stop
    if layout.width == 0 or n_places > value.shape[1]:
        return None
    for index, own in zip(filters, places, strict=True):
        wanted = layout.places(slice(index, index + 1))
        if own != list(range(wanted.start, wanted.stop)):
            return None
    return layout


def _as_linear(traced: fx.GraphModule, node: fx.Node) -> nn.Linear | nn.Conv2d | None:
    layer = traced.get_submodule(node.target) if node.op == "call_module" else None
    is_plain = type(layer) is nn.Linear or (
        type(layer) is nn.Conv2d and layer.padding_mode == "zeros"
    )
    return layer if is_plain else None

"""Heads of attention: where a network has them, and its output without some of them.

The values v_h of the heads lie one after the other in the input of the attention's
projection, which is linear. So its output is z = b + sum_h W_h v_h, with W_h the
columns of its weights for head h, and without a head it is z - W_h v_h.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .._compat import tree_map_only
from .copying import deep_copy
from .layout import Layout

# Names in PyTorch, torchvision and timm.
_NUMBERS = ("num_heads", "n_heads")
_PROJECTIONS = ("proj", "out_proj", "merge")
# Largest rounding difference, as a share of the largest value.
_ROUNDING = 1e-4


class Heads(NamedTuple):
    """The heads of a module with attention.

    Attributes
    ----------
    number : int
    projection : str
        Name of the linear layer that adds them up.
    """

    number: int
    projection: str


def find_heads(module: nn.Module) -> Heads | None:
    """The heads of a module, if it is attention; None for blocks that contain it."""
    numbers = [getattr(module, name, None) for name in _NUMBERS]
    names = [
        name
        for name in _PROJECTIONS
        if isinstance(getattr(module, name, None), nn.Linear)
    ]
    number = next((n for n in numbers if type(n) is int and n > 0), None)
    if number is None or not names:
        return None
    layer = getattr(module, names[0])
    n_channels = layer.out_features
    # The projection of a block that also adds up something else is not square.
    if layer.in_features != n_channels or n_channels % number:
        return None
    parts = [part for part in module.modules() if part is not module]
    # A block with attention in its code comes back from the width of its perceptron.
    is_block = any(
        isinstance(part, nn.Linear)
        and part.out_features == n_channels < part.in_features
        for part in parts
    )
    if is_block or any(find_heads(part) for part in parts):
        return None
    return Heads(number, names[0])


@dataclass(frozen=True)
class HeadOutputs:
    """The output of attention, and the heads that it is the sum of.

    Attributes
    ----------
    output : tensor, or tuple of which the first is the tensor
        z, as the network goes on with it.
    weight : tensor of shape (n_channels, n_channels)
        Of the projection.
    values : tensor of the shape of the output, or None
        v, the values of all heads; None if the output is not their projection alone.
    n_heads : int
    project : callable
        Runs the attention with other weights of its projection.
    """

    output: Any
    weight: torch.Tensor
    values: torch.Tensor | None
    n_heads: int
    project: Callable[[torch.Tensor], torch.Tensor]

    @property
    def tensor(self) -> torch.Tensor:
        """The output z."""
        return tensor_of(self.output)

    def clone(self) -> "HeadOutputs":
        """A copy that later operations do not overwrite."""
        return replace(self, output=self._with(self.tensor.clone()))

    def without(self, absent: torch.Tensor) -> Any:
        """The output without the heads that are True in `absent`, z - W_h v_h."""
        return self._with(self.tensor - self._addend(absent))

    def masked(self, absent: torch.Tensor) -> Any:
        """The same by another run of the attention, with weights of 0."""
        return self._with(self.project(self.weight * ~self._columns(absent)))

    def lengths(self, axis: int) -> torch.Tensor:
        """The length of W_h v_h at each place.

        Parameters
        ----------
        axis : int
            That of the filters in the output.

        Returns
        -------
        tensor of the shape of the output, with one value for each head on this axis
        """
        heads = torch.eye(self.n_heads, dtype=torch.bool, device=self.weight.device)
        lengths = [self._addend(head).norm(dim=axis, keepdim=True) for head in heads]
        return torch.cat(lengths, dim=axis)

    def _addend(self, heads: torch.Tensor) -> torch.Tensor:
        if self.values is None:
            return self.tensor - self.project(self.weight * ~self._columns(heads))
        columns = self._columns(heads)
        return F.linear(self.values[..., columns], self.weight[:, columns])

    def _columns(self, heads: torch.Tensor) -> torch.Tensor:
        return heads.repeat_interleave(self.weight.shape[1] // self.n_heads)

    def _with(self, tensor: torch.Tensor) -> Any:
        if isinstance(self.output, torch.Tensor):
            return tensor
        return (tensor, *self.output[1:])


def head_outputs(attention: nn.Module) -> Callable[..., HeadOutputs] | None:
    """A function from a call of attention and its output to the outputs of its heads.

    None if the module is not attention. Its arguments are those of the call, a tuple
    and a dictionary, and the output.
    """
    heads = find_heads(attention)
    if heads is None:
        return None
    # A copy that shares all weights but those of the projection.
    other = deep_copy(attention, [*attention.parameters(), *attention.buffers()])
    layer = getattr(attention, heads.projection)
    projection = getattr(other, heads.projection)
    if "weight" not in dict(projection.named_parameters(recurse=False)):
        # Its weight is computed from parameters, and has been computed.
        sizes = layer.in_features, layer.out_features
        has_bias = layer.bias is not None
        projection = nn.utils.skip_init(nn.Linear, *sizes, bias=has_bias)
        setattr(other, heads.projection, projection)

    def run(args, kwargs, weight, bias) -> torch.Tensor:
        projection.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            projection.bias = nn.Parameter(bias, requires_grad=False)
        return tensor_of(other(*args, **kwargs))

    def outputs_of(args, kwargs, output) -> HeadOutputs:
        weight, bias = layer.weight, layer.bias
        values = run(
            args,
            kwargs,
            torch.eye(len(weight)).to(weight),
            None if bias is None else torch.zeros_like(bias),
        )
        is_projected = _is_projected(values, layer, output)
        if not is_projected:
            # The network may overwrite them before the attention runs again.
            args, kwargs = tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
        return HeadOutputs(
            output=output,
            weight=weight,
            values=values if is_projected else None,
            n_heads=heads.number,
            project=lambda changed: run(args, kwargs, changed, bias),
        )

    return outputs_of


def _is_projected(values: torch.Tensor, layer: nn.Linear, output) -> bool:
    """Whether the output is the projection of the values, and nothing else."""
    tensor = tensor_of(output)
    if values.shape != tensor.shape or values.shape[-1] != layer.in_features:
        return False
    again = F.linear(values, layer.weight, layer.bias)
    tolerance = _ROUNDING * float(tensor.abs().amax())
    return torch.allclose(again, tensor, rtol=0, atol=tolerance)


def tensor_of(output) -> Any:
    """The output of a layer, or the first of several."""
    return output[0] if isinstance(output, tuple) and output else output


def feature_maps_of(output: Any, layout: Layout) -> torch.Tensor:
    """Feature maps of a layer, n_images x n_filters x height x width.

    Parameters
    ----------
    output : tensor or HeadOutputs
        The filters of attention are its heads; their activation is the length of what
        they add to the output.
    layout : Layout
        That of the output.
    """
    if isinstance(output, HeadOutputs):
        lengths = output.lengths(layout.filter_axis)
        return layout.with_filters(output.n_heads).maps(lengths)
    return layout.maps(output)

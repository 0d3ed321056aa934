"""The outputs of a network's layers in a forward pass, by which layers are chosen."""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from .activations import tracked
from .attention import find_heads, tensor_of
from .forward import forward_hook
from .layout import Layout, layout_of


@dataclass(frozen=True, kw_only=True)
class LayerOutput:
    """The output of a submodule in a forward pass.

    Attributes
    ----------
    name : str
        Path of the submodule.
    tensor : (int, int)
        Identity of the tensor and of the last write to it.
    shape : tuple of int, or str
        The name of its type if it is not a tensor.
    layout : Layout or None
        None if it does not hold feature maps, or it is not known where.
    is_unchanged : bool
        Whether a submodule without parts returns the output of an earlier one.
    is_block : bool
        Whether the submodule has parts with convolutions.
    is_pooling : bool
        Whether the submodule has no convolution, and pools or changes the size.
    is_convolution : bool
        Whether it makes filters from those at each place, and around it.
    is_attention : bool
        Whether its filters are heads.
    has_positions : bool
        Whether it has weights that it uses at several positions.
    """

    name: str
    tensor: tuple[int, int]
    shape: tuple[int, ...] | str
    layout: Layout | None
    is_unchanged: bool
    is_block: bool
    is_pooling: bool
    is_convolution: bool
    is_attention: bool
    has_positions: bool

    @property
    def n_filters(self) -> int:
        """Number of feature maps."""
        if self.layout is None or isinstance(self.shape, str):
            return 0
        return self.shape[self.layout.filter_axis]

    @property
    def n_places(self) -> int:
        """Height times width of the feature maps."""
        return 0 if self.layout is None else math.prod(self.layout.grid)


def layer_outputs(
    module: nn.Module, images: torch.Tensor, named: str | None = None
) -> list[LayerOutput]:
    """Outputs of all submodules, in the order in which they end.

    Those with several tensors have no layout, except attention that was named.
    """
    recorder = _Recorder(named)
    with ExitStack() as stack:
        marked = stack.enter_context(tracked(module, images.clone()))
        for name, child in module.named_modules():
            if name:
                record = partial(recorder.record, name, child)
                stack.enter_context(forward_hook(child, record))
        module(marked)
    return recorder.outputs


class _Recorder:
    """Records the outputs of submodules.

    Parameters
    ----------
    named : str or None
        Path of the layer that the user named.
    """

    def __init__(self, named: str | None):
        self.outputs: list[LayerOutput] = []
        self._named = named
        # References keep a new tensor from taking the identity of a freed one.
        self._references: list[Any] = []
        # Linear layers that are applied at each place of a feature map.
        self._convolutions: set[nn.Module] = set()

    def record(self, name: str, child: nn.Module, inputs: tuple, output: Any) -> None:
        """Record the output of a submodule, as a forward hook."""
        is_attention = find_heads(child) is not None
        if is_attention and name == self._named:
            output = tensor_of(output)
        self._references.append(output)
        is_tensor = isinstance(output, torch.Tensor)
        tensor = (id(output), output._version if is_tensor else 0)
        layout = layout_of(output) if is_tensor else None
        if layout is not None and isinstance(child, nn.Linear):
            self._convolutions.add(child)
        is_convolution = isinstance(child, nn.Conv2d) or child in self._convolutions
        is_block = _is_block(child, has_maps=layout is not None)
        # A part that returns its input unchanged (dropout) makes no feature map.
        is_unchanged = next(child.children(), None) is None and any(
            tensor == earlier.tensor for earlier in self.outputs
        )
        is_pooling = (
            not (is_block or is_convolution)
            and layout is not None
            and _is_pooling(child, inputs, layout)
        )
        self.outputs.append(
            LayerOutput(
                name=name,
                tensor=tensor,
                shape=tuple(output.shape) if is_tensor else type(output).__name__,
                layout=layout,
                is_unchanged=is_unchanged,
                is_block=is_block,
                is_pooling=is_pooling,
                is_convolution=is_convolution,
                is_attention=is_attention,
                has_positions=is_tensor
                and isinstance(child, (nn.Linear, nn.LayerNorm, nn.Conv1d))
                and output.shape[1:-1].numel() > 1,
            )
        )


def _is_block(child: nn.Module, has_maps: bool) -> bool:
    """Whether a module has parts that make filters at each place of its maps."""
    # Attention uses the weights of its linear parts without running them.
    kinds = (nn.Conv2d, nn.Linear) if has_maps else nn.Conv2d
    return any(isinstance(part, kinds) for part in child.modules() if part is not child)


def _is_pooling(child: nn.Module, inputs: tuple, layout: Layout) -> bool:
    """Whether a module without convolutions pools, or changes the size otherwise."""
    grids = [
        before.grid
        for value in inputs
        if isinstance(value, torch.Tensor) and (before := layout_of(value))
    ]
    return type(child).__module__ == nn.MaxPool2d.__module__ or any(
        grid != layout.grid for grid in grids
    )

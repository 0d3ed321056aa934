"""The outputs of a network's layers in a forward pass, by which layers are chosen."""

from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from .activations import tracked
from .attention import find_heads, tensor_of
from .forward import forward_hook
from .layout import Layout, layout_of


class LayerOutput(NamedTuple):
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
    n_filters, n_places : int
        Of the feature maps; the places are height times width.
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
    n_filters: int
    n_places: int
    is_unchanged: bool
    is_block: bool
    is_pooling: bool
    is_convolution: bool
    is_attention: bool
    has_positions: bool


def layer_outputs(
    module: nn.Module, images: torch.Tensor, named: str | None = None
) -> list[LayerOutput]:
    """Outputs of all submodules, in the order in which they end.

    Those with several tensors have no layout, except attention that was named.
    """
    outputs: list[LayerOutput] = []
    # References keep a new tensor from taking the identity of a freed one.
    references: list[torch.Tensor] = []
    # Linear layers that are applied at each place of a feature map.
    convolutions: set[nn.Module] = set()

    def record(name: str, child: nn.Module, inputs, output) -> None:
        is_attention = find_heads(child) is not None
        if is_attention and name == named:
            output = tensor_of(output)
        references.append(output)
        is_tensor = isinstance(output, torch.Tensor)
        tensor = (id(output), output._version if is_tensor else 0)
        layout = layout_of(output) if is_tensor else None
        parts = list(child.children())
        # A part that returns its input unchanged (dropout) makes no feature map.
        is_unchanged = not parts and any(tensor == other.tensor for other in outputs)
        if layout is not None and isinstance(child, nn.Linear):
            convolutions.add(child)
        is_convolution = isinstance(child, nn.Conv2d) or child in convolutions
        # Attention uses the weights of its parts without running them.
        is_block = any(
            isinstance(m, nn.Conv2d)
            or (isinstance(m, nn.Linear) and layout is not None)
            for part in parts
            for m in part.modules()
        )
        shape = tuple(output.shape) if is_tensor else type(output).__name__
        n_filters, n_places = (0, 0)
        if layout is not None:
            n_filters = output.shape[layout.filter_axis]
            n_places = layout.grid[0] * layout.grid[1]
        outputs.append(
            LayerOutput(
                name=name,
                tensor=tensor,
                shape=shape,
                layout=layout,
                n_filters=n_filters,
                n_places=n_places,
                is_unchanged=is_unchanged,
                is_block=is_block,
                is_pooling=not (is_block or is_convolution)
                and _is_pooling(child, inputs, layout),
                is_convolution=is_convolution,
                is_attention=is_attention,
                has_positions=is_tensor
                and isinstance(child, (nn.Linear, nn.LayerNorm, nn.Conv1d))
                and output.shape[1:-1].numel() > 1,
            )
        )

    with ExitStack() as stack:
        marked = stack.enter_context(tracked(module, images.clone()))
        for name, child in module.named_modules():
            if name:
                stack.enter_context(forward_hook(child, partial(record, name, child)))
        module(marked)
    return outputs


def _is_pooling(child: nn.Module, inputs: tuple, layout: Layout | None) -> bool:
    """Whether a module without convolutions pools, or changes the size otherwise."""
    if layout is None:
        return False
    grids = [
        before.grid
        for value in inputs
        if isinstance(value, torch.Tensor) and (before := layout_of(value))
    ]
    return type(child).__module__ == nn.MaxPool2d.__module__ or any(
        grid != layout.grid for grid in grids
    )

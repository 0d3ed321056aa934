"""The layers of a network: those that the user names, and the default ones."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from .forward import forward_hook, output_hook


def find_layers(
    module: nn.Module, layer: str | Sequence[str] | None, images: torch.Tensor
) -> str | list[str]:
    """The checked path of a layer, or paths of several layers; see `find_layer`."""
    if layer is None or isinstance(layer, str):
        return find_layer(module, layer, images)
    is_named = all(isinstance(name, str) for name in layer)
    if not layer or not is_named or len(set(layer)) < len(layer):
        raise ValueError(
            f"layer is {layer!r}; pass the path of a layer, or a list of different "
            "paths."
        )
    return [find_layer(module, name, images) for name in layer]


def find_layer(module: nn.Module, layer: str | None, images: torch.Tensor) -> str:
    """The checked path of a layer; None finds the last convolutional block.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layer : str or None
        The path that the user asked for.
    images : tensor of shape (n_images, n_channels, height, width)
        The network is run on them once, to inspect the layer's output.

    Raises
    ------
    ValueError
        If the layer does not exist or has no N x n_filters x height x width output.
    """
    if layer is None:
        return _last_convolutional_block(module, images)
    names = [name for name, _ in module.named_modules() if name]
    if layer not in names:
        close = get_close_matches(layer, names, n=1)
        raise ValueError(
            f"layer {layer!r} is not in the network"
            + (f"; did you mean {close[0]!r}?" if close else "")
            + f" It has {', '.join(names)}."
        )
    outputs: list[torch.Tensor] = []
    with output_hook(module, layer, outputs.append):
        module(images.clone())
    if len(outputs) != 1:
        raise ValueError(
            f"layer {layer!r} runs {len(outputs)} times in a forward pass; name a "
            "layer that runs once."
        )
    if not isinstance(outputs[0], torch.Tensor) or outputs[0].ndim != 4:
        shape = tuple(getattr(outputs[0], "shape", ())) or type(outputs[0]).__name__
        raise ValueError(
            f"layer {layer!r} gives {shape}, not n_images x n_filters x height x "
            "width; name a convolutional layer."
        )
    return layer


def _last_convolutional_block(module: nn.Module, images: torch.Tensor) -> str:
    """Path of the last feature map that a convolution and not a pooling has made.

    A block is one unit (a residual block includes its skip connection), as is a
    convolution with the normalisation and activation that follow it.
    """
    outputs = _outputs(module, images)
    n_runs = Counter(output.name for output in outputs)
    largest = max((output.n_places for output in outputs), default=0)
    # Convolutions on globally pooled maps (squeeze-and-excitation) locate nothing.
    maps = [o for o in outputs if o.n_places > 1 or largest == 1]
    pooled = {
        output.tensor
        for previous, output in zip([None, *maps][:-1], maps, strict=True)
        # A block that is smaller than the output of its last part ends in a pooling.
        if output.is_pooling
        or (output.is_block and previous and previous.n_places > output.n_places)
    }
    candidates = [o for o in maps if o.tensor not in pooled and n_runs[o.name] == 1]
    has_convolutions = any(isinstance(m, nn.Conv2d) for m in module.modules())
    if not candidates or not has_convolutions:
        raise ValueError(
            "The network has no two-dimensional convolution that runs once in a "
            "forward pass; pass layer, the path of a layer with N x n_filters x height "
            "x width output."
        )
    # A block and its last part return the same tensor; the part is ablated exactly.
    return next(o.name for o in candidates if o.tensor == candidates[-1].tensor)


def find_first_block(module: nn.Module, layer: str, images: torch.Tensor) -> str | None:
    """The first feature map of a network, with normalisation and activation.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    layer : str
        Path of the layer that heatmaps are made from.
    images : tensor of shape (n_images, n_channels, height, width)

    Returns
    -------
    str or None
        None if `layer` belongs to this first block itself.
    """
    outputs = _outputs(module, images)
    n_runs = Counter(output.name for output in outputs)
    block: list[_Output] = []
    for output in outputs:
        if output.is_block or (not block and not output.is_convolution):
            continue
        if block and (output.is_convolution or output.n_places != block[-1].n_places):
            break
        block.append(output)
    # The layer can be a module that returns the output of its last part.
    tensors = {output.tensor for output in outputs if output.name == layer}
    if any(o.tensor in tensors or n_runs[o.name] > 1 for o in block):
        return None
    return block[-1].name if block else None


class _Output(NamedTuple):
    """The output of a submodule in a forward pass.

    Attributes
    ----------
    name : str
        Path of the submodule.
    tensor : (int, int)
        Identity of the tensor and of the last write to it.
    n_places : int
        Height times width.
    is_block : bool
        Whether the submodule has parts with convolutions.
    is_pooling : bool
        Whether the submodule has no convolution, and pools or changes the size.
    is_convolution : bool
    """

    name: str
    tensor: tuple[int, int]
    n_places: int
    is_block: bool
    is_pooling: bool
    is_convolution: bool


def _outputs(module: nn.Module, images: torch.Tensor) -> list[_Output]:
    """Outputs N x n_filters x height x width of all submodules, in order."""
    outputs: list[_Output] = []
    # References keep a new tensor from taking the identity of a freed one.
    references: list[torch.Tensor] = []

    def record(name: str, child: nn.Module, inputs, output) -> None:
        if not isinstance(output, torch.Tensor) or output.ndim != 4:
            return
        tensor = (id(output), output._version)
        parts = list(child.children())
        # A part that returns its input unchanged (dropout) makes no feature map.
        if not parts and any(tensor == earlier.tensor for earlier in outputs):
            return
        references.append(output)
        is_block = any(isinstance(m, nn.Conv2d) for p in parts for m in p.modules())
        is_convolution = isinstance(child, nn.Conv2d)
        outputs.append(
            _Output(
                name=name,
                tensor=tensor,
                n_places=output.shape[2:].numel(),
                is_block=is_block,
                is_pooling=not (is_block or is_convolution)
                and _is_pooling(child, inputs, output),
                is_convolution=is_convolution,
            )
        )

    with ExitStack() as stack:
        for name, child in module.named_modules():
            if name:
                stack.enter_context(forward_hook(child, partial(record, name, child)))
        module(images.clone())
    return outputs


def _is_pooling(child: nn.Module, inputs: tuple, output: torch.Tensor) -> bool:
    """Whether a module without convolutions pools, or changes the size otherwise."""
    return type(child).__module__ == nn.MaxPool2d.__module__ or any(
        isinstance(value, torch.Tensor) and value.shape[2:] != output.shape[2:]
        for value in inputs
    )

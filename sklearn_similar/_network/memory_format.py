"""Whether a network is given images channels last, which is faster on a CPU."""

import torch
from torch import nn

from .hooks import has_hooks_of_others


def safe_memory_format(module: nn.Module) -> torch.memory_format:
    """Channels last where that is known to be safe, else PyTorch's usual format.

    Code of others may depend on the order in memory (``x.view(len(x), -1)`` does), so
    that only networks of layers of PyTorch and this package are given channels last.
    PyTorch's backward pass of a strided 1x1 convolution with few input channels writes
    past the end of its buffer in that format (oneDNN, on a CPU).
    """
    layers = list(module.modules())
    is_unsafe = any(_has_code_of_others(m) or _is_strided_1x1(m) for m in layers)
    if is_unsafe or has_hooks_of_others(module):
        return torch.contiguous_format
    return torch.channels_last


def _has_code_of_others(layer: nn.Module) -> bool:
    known = ("torch", __name__.split(".")[0])
    owner = type(layer).forward.__module__.split(".")[0]
    return owner not in known or "forward" in vars(layer)


def _is_strided_1x1(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and max(layer.kernel_size) == 1
        and max(layer.stride) > 1
    )

"""Whether a network is given images channels last, which is faster on a CPU."""

import torch
from torch import nn

from .._compat import has_hooks


def safe_memory_format(module: nn.Module) -> torch.memory_format:
    """Channels last where that is known to be safe, else PyTorch's usual format.

    Code of others may depend on the order in memory (``x.view(len(x), -1)`` does), so
    that only networks of layers of PyTorch and this package are given channels last.
    PyTorch's backward pass of a strided 1x1 convolution with few input channels writes
    past the end of its buffer in that format (oneDNN, on a CPU).
    """
    layers = list(module.modules())
    if any(_has_code_of_others(layer) or _is_strided_1x1(layer) for layer in layers):
        return torch.contiguous_format
    return torch.channels_last


def _has_code_of_others(layer: nn.Module) -> bool:
    package = __name__.split(".")[0]
    owner = type(layer).forward.__module__.split(".")[0]
    return (
        owner not in ("torch", package) or "forward" in vars(layer) or has_hooks(layer)
    )


def _is_strided_1x1(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and max(layer.kernel_size) == 1
        and max(layer.stride) > 1
    )

"""A forward pass whose failure is reported in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .._compat import is_out_of_memory
from .._images.messages import count, shape_text
from .hooks import has_hooks_of_others


def run_network(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The output of a network; ValueError if it fails.

    Parameters
    ----------
    module : torch.nn.Module
    images : tensor of shape (n_images, n_channels, height, width)
    """
    try:
        # Some networks normalise their images in place.
        return module(images.clone())
    except Exception as error:
        if is_out_of_memory(error):
            raise
        message = (
            f"The network cannot take images of {count(images.shape[1], 'channel')} "
            f"and {shape_text(images.shape[2:])} pixels; change module or the images "
            f"({type(error).__name__}: {first_line(error)})."
        )
        if has_hooks_of_others(module):
            message += (
                " It has hooks: if they refer to the module that was passed, its copy, "
                "which is trained, goes without; pass a class that registers them."
            )
        raise ValueError(message) from error


def at_least_single(values: torch.Tensor) -> torch.Tensor:
    """Values in single or double precision, as sums of half precision lose too much."""
    is_enough = values.dtype in (torch.float32, torch.float64)
    return values if is_enough else values.float()


@contextmanager
def explained_batch_error(batch_size: int) -> Iterator[None]:
    """Raise one MemoryError, which says what to do, where PyTorch's memory runs out."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            f"A batch of up to {count(batch_size, 'image')} does not fit into the "
            "device's memory; pass a smaller batch_size, or smaller images "
            f"({first_line(error)})."
        ) from error


def first_line(error: Exception) -> str:
    """The first line of what an exception says, without a full stop."""
    return (str(error).splitlines() or [""])[0].rstrip(".")

"""A forward pass whose failure is reported in a sentence."""

import torch
from torch import nn

from .._compat import is_out_of_memory
from .._inputs.images import count, shape_text
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


def first_line(error: Exception) -> str:
    """The first line of what an exception says, without a full stop."""
    return (str(error).splitlines() or [""])[0].rstrip(".")

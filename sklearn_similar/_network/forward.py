"""Forward passes: evaluation mode, hooks, and errors that say what to do."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import torch
from torch import nn

from .._compat import global_forward_hooks, is_out_of_memory
from .._images.messages import count, shape_text
from .attention import head_outputs
from .isolation import undone_at_end


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode without gradients; the mode of each submodule is restored."""
    in_training = [child for child in module.modules() if child.training]

    def restore():
        for child in in_training:
            child.training = True

    # Inference mode is hardly faster, and marks tensors that a network stores.
    with undone_at_end(restore), torch.no_grad():
        if in_training:
            module.eval()
        yield module


class _Hook:
    """Forward hook that is called only inside its block and in the block's thread."""

    def __init__(self, function: Callable):
        self.function = function
        # A network that several threads run has the hooks of all of them at once.
        self.thread = threading.get_ident()
        self.is_active = False

    def __call__(self, _module, *call):
        if not self.is_active or threading.get_ident() != self.thread:
            return None
        return self.function(*call)

    def __deepcopy__(self, memo):
        # The function may hold tensors, or the network itself; a copy is not called.
        return _Hook(self.function)


@contextmanager
def forward_hook(
    module: nn.Module, function: Callable, with_kwargs: bool = False
) -> Iterator[None]:
    """Call a function with a module's inputs and output in each forward pass.

    With keyword arguments, if asked for, between them. Its result replaces the output,
    unless it is None.
    """
    hook = _Hook(function)
    with undone_at_end(partial(_remove, module, hook)):
        module.register_forward_hook(hook, with_kwargs=with_kwargs)
        hook.is_active = True
        yield


def _remove(module: nn.Module, hook: _Hook) -> None:
    hook.is_active = False
    for key, registered in list(module._forward_hooks.items()):
        if registered is hook:
            module._forward_hooks.pop(key, None)
            module._forward_hooks_with_kwargs.pop(key, None)


def output_hook(
    module: nn.Module, layer: str, function: Callable
) -> AbstractContextManager[None]:
    """Call a function with the output of a layer; its result replaces the output.

    The output of attention is `HeadOutputs`.
    """
    child = module.get_submodule(layer)
    outputs_of = head_outputs(child)
    if outputs_of is None:
        return forward_hook(child, lambda _inputs, output: function(output))

    def split(inputs, kwargs, output):
        return function(outputs_of(inputs, kwargs, output))

    return forward_hook(child, split, with_kwargs=True)


def has_foreign_hooks(module: nn.Module) -> bool:
    """Whether the forward pass of a submodule runs hooks that are not this package's.

    PyTorch's hooks (weight and spectral normalisation, pruning) only set a weight, and
    do not count.
    """
    hooks = [
        hook
        for child in module.modules()
        for hooks in (child._forward_pre_hooks, child._forward_hooks)
        for hook in list(hooks.values())
    ]
    return any(
        not isinstance(hook, _Hook)
        and not type(hook).__module__.startswith("torch.nn.utils.")
        for hook in [*hooks, *global_forward_hooks()]
    )


def run_network(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The output of a network.

    Parameters
    ----------
    module : torch.nn.Module
    images : tensor of shape (n_images, n_channels, height, width)

    Raises
    ------
    ValueError
        If the network fails.
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
        if has_foreign_hooks(module):
            message += (
                " It has hooks: if they refer to the module that was passed, they do "
                "not see its copy, which is trained; pass a class that registers them."
            )
        raise ValueError(message) from error


@contextmanager
def explained_batch_error(batch_size: int) -> Iterator[None]:
    """Raise a MemoryError that says what to do where PyTorch runs out of memory."""
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
    """The first line of an exception's message, without a full stop."""
    return (str(error).splitlines() or [""])[0].rstrip(".")


def at_least_single(values: torch.Tensor) -> torch.Tensor:
    """Values in single or double precision, as sums of half precision lose too much."""
    is_enough = values.dtype in (torch.float32, torch.float64)
    return values if is_enough else values.float()

"""Forward hooks: our own, which keep to their block and thread, and those of others."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from .._compat import global_forward_hooks


class _Hook:
    """Forward hook that acts only inside its block, and only in the block's thread.

    An interrupt can leave it registered; it does nothing then, and the next hook takes
    it along.
    """

    def __init__(self, function: Callable):
        self.function = function
        # A network that is shared by threads has all their hooks at once.
        self.owner = threading.get_ident()
        self.is_active = False

    def __call__(self, _module, inputs, output):
        if not self.is_active or threading.get_ident() != self.owner:
            return None
        return self.function(inputs, output)

    def __deepcopy__(self, memo):
        # The function may hold tensors, or the network itself.
        return self


@contextmanager
def forward_hook(module: nn.Module, function: Callable) -> Iterator[None]:
    """Call the function with a module's inputs and output.

    Its result replaces the output, unless it is None.
    """
    hook = _Hook(function)
    # Whatever line an interrupt strikes at, the hook is gone or does nothing.
    try:
        module.register_forward_hook(hook)
        try:
            hook.is_active = True
            yield
        finally:
            hook.is_active = False
    finally:
        for key, found in list(module._forward_hooks.items()):
            if not isinstance(found, _Hook) or found.owner != hook.owner:
                continue
            if found is hook or not found.is_active:
                module._forward_hooks.pop(key, None)


@contextmanager
def output_hook(module: nn.Module, layer: str, function: Callable) -> Iterator[None]:
    """Call the function with the output of a layer; what it returns replaces it."""
    child = module.get_submodule(layer)
    with forward_hook(child, lambda _inputs, output: function(output)):
        yield


def has_hooks_of_others(module: nn.Module) -> bool:
    """Whether code from elsewhere runs with the forward pass of any submodule.

    PyTorch's own hooks (weight and spectral normalisation, pruning) only set a weight.
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

"""Forward hooks: our own, which keep to their block and thread, and those of others."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from torch import nn

from .._compat import global_forward_hooks
from .isolation import undone_at_end


class _Hook:
    """Forward hook that acts only inside its block, and only in the block's thread."""

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
    with undone_at_end(partial(_remove, module, hook)):
        module.register_forward_hook(hook)
        hook.is_active = True
        yield


def _remove(module: nn.Module, hook: _Hook) -> None:
    hook.is_active = False
    for key, found in list(module._forward_hooks.items()):
        if found is hook:
            module._forward_hooks.pop(key, None)


def output_hook(
    module: nn.Module, layer: str, function: Callable
) -> AbstractContextManager[None]:
    """Call the function with the output of a layer; what it returns replaces it."""
    child = module.get_submodule(layer)
    return forward_hook(child, lambda _inputs, output: function(output))


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

"""Random numbers of PyTorch that come from a seed, not from its global generator."""

import threading
from functools import cache, partial

import numpy as np
import torch

from .._compat import TorchDispatchMode, tree_leaves
from .isolation import undone_at_end

_global_generator = threading.Lock()


@cache
def _is_random(operation: torch._ops.OpOverload) -> bool:
    return torch.Tag.nondeterministic_seeded in operation.tags


@cache
def _takes_generator(operation: torch._ops.OpOverload) -> bool:
    return any(arg.name == "generator" for arg in operation._schema.arguments)


class seeded(TorchDispatchMode):  # noqa: N801, used as a context manager
    """Context in which PyTorch's random numbers come from one seed.

    Initialisation and dropout of any module draw from generators that belong to
    the context, and PyTorch's global generator stays as it is. Fits are therefore
    reproducible in threads and next to other code that draws random numbers
    (`torch.random.fork_rng` is not: all threads share what it forks).

    Parameters
    ----------
    seed : int
        Where the random numbers start.

    Notes
    -----
    PyTorch tags the operations that draw random numbers. Most of them take a
    generator; the others draw from the global one, which is given the context's state
    for the one call.
    """

    def __init__(self, seed: int):
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device) -> torch.Generator:
        """The context's generator of a device."""
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if device not in self._generators:
            generator = torch.Generator(device).manual_seed(self._seed)
            self._generators[device] = generator
        return self._generators[device]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not _is_random(func):
            return func(*args, **kwargs)
        generator = self.generator(_device(args, kwargs))
        if not _takes_generator(func):
            return _with_global_state(generator, func, args, kwargs)
        if kwargs.get("generator") is None:
            kwargs = {**kwargs, "generator": generator}
        return func(*args, **kwargs)


def _with_global_state(generator: torch.Generator, func, args, kwargs):
    """Call what draws from the global generator with the state of another one."""
    shared = torch.default_generator
    if generator.device.type == "cuda":
        shared = torch.cuda.default_generators[generator.device.index]
    with (
        _global_generator,
        undone_at_end(partial(shared.set_state, shared.get_state())),
    ):
        shared.set_state(generator.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            generator.set_state(shared.get_state())


def _device(args, kwargs) -> torch.device:
    """Device on which an operation draws random numbers."""
    for arg in tree_leaves((args, kwargs)):
        if isinstance(arg, torch.Tensor):
            return arg.device
    return torch.device(kwargs.get("device") or torch.get_default_device())


def random_seed(random_state: np.random.RandomState) -> int:
    """A seed for `seeded` from a NumPy random state."""
    return int(random_state.randint(np.iinfo(np.int32).max))

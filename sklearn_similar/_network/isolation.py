"""PyTorch's state (modes, hooks, random generators) stays as it was for other code.

A context manager restores what it changed, unless an interrupt strikes in the few
lines that do so, PyTorch's among them. Public methods therefore restore it once more.
Where an interrupt strikes there, nothing has been changed or everything is restored.
"""

import functools
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import torch

from .._compat import TorchDispatchMode, leave_modes, n_modes, tree_leaves
from .threads import usable_threads

_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")

Method = TypeVar("Method", bound=Callable[..., Any])


class _Changes(threading.local):
    """Functions that undo the changes in this thread, in the order of the changes."""

    def __init__(self) -> None:
        self.undo: list[Callable[[], object]] = []


_changes = _Changes()


@contextmanager
def undone_at_end(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` at the end of a block, which changes what the function restores.

    After an interrupt it may be called twice.
    """
    pending = _changes.undo
    try:
        pending.append(undo)
        yield
    finally:
        # A block inside this one may have been interrupted at its end.
        while undo in pending:
            pending[-1]()
            pending.pop()


def restores_torch_state(method: Method) -> Method:
    """Decorator: a method leaves PyTorch's state as it was, whatever it raises.

    In a forked process the method runs in one thread, see `usable_threads`. Inside
    `torch.autocast`, it computes as outside: that caches the casts of weights until its
    block ends, so that changed weights would have no effect.
    """

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        pending = _changes.undo
        n_pending, modes = len(pending), n_modes()
        is_grad_enabled = torch.is_grad_enabled()
        try:
            with usable_threads(), _without_autocast():
                return method(*args, **kwargs)
        except BaseException as error:
            if not isinstance(error, Exception):
                _close_generators(error)
            leave_modes(modes)
            while len(pending) > n_pending:
                pending.pop()()
            torch.set_grad_enabled(is_grad_enabled)
            raise

    return wrapped  # type: ignore[return-value]


@contextmanager
def _without_autocast() -> Iterator[None]:
    with ExitStack() as stack:
        for device in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def _close_generators(error: BaseException | None) -> None:
    """Close the context managers that an interrupt has left open.

    PyTorch's would otherwise change the state again when the traceback is freed.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


_global_generator = threading.Lock()


@cache
def _is_random(operation: torch._ops.OpOverload) -> bool:
    return torch.Tag.nondeterministic_seeded in operation.tags


@cache
def _takes_generator(operation: torch._ops.OpOverload) -> bool:
    return any(arg.name == "generator" for arg in operation._schema.arguments)


class seeded(TorchDispatchMode):  # noqa: N801, used as a context manager
    """Context in which all of PyTorch's random numbers come from one seed.

    Initialisation and dropout of any module draw from generators of the context, and
    PyTorch's global generator stays as it is. Fits are therefore reproducible in
    threads and next to other code that draws random numbers
    (`torch.random.fork_rng` is not: all threads share what it forks).

    Parameters
    ----------
    seed : int

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
        """The context's generator for a device."""
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
    """Call an operation while the global generator has the state of another one."""
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
    """A seed for `seeded`, drawn from a NumPy random state."""
    return int(random_state.randint(np.iinfo(np.int32).max))

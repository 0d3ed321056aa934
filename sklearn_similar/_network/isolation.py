"""PyTorch's state of a thread, which comes back even if Ctrl-C strikes.

A context manager restores what it changed, unless an interrupt strikes in the few
lines that do so, PyTorch's own among them. Public methods therefore restore it once
more. Where an interrupt strikes there, nothing has been changed or all is restored.
"""

import functools
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from .._compat import leave_modes, n_modes
from .threads import usable_threads

Method = TypeVar("Method", bound=Callable[..., Any])


class _Changes(threading.local):
    """Functions that undo what has been changed in this thread, the last one last."""

    def __init__(self) -> None:
        self.undo: list[Callable[[], object]] = []


_changes = _Changes()


@contextmanager
def undone_at_end(undo: Callable[[], object]) -> Iterator[None]:
    """Call a function at the end of a block, which changes what the function restores.

    After an interrupt it may be called twice.
    """
    own = _changes.undo
    try:
        own.append(undo)
        yield
    finally:
        # A block inside this one may have been interrupted at its end.
        while undo in own:
            own[-1]()
            own.pop()


def restores_torch_state(method: Method) -> Method:
    """Let a method leave PyTorch's state of the thread as it was, whatever it raises.

    In a forked process it has one thread, see `usable_threads`.
    """

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        own = _changes.undo
        modes, is_grad_enabled, n_changes = n_modes(), torch.is_grad_enabled(), len(own)
        try:
            with usable_threads():
                return method(*args, **kwargs)
        except BaseException as error:
            if not isinstance(error, Exception):
                _close_generators(error)
            leave_modes(modes)
            while len(own) > n_changes:
                own.pop()()
            torch.set_grad_enabled(is_grad_enabled)
            raise

    return wrapped  # type: ignore[return-value]


def _close_generators(error: BaseException | None) -> None:
    """Close the context managers that an interrupt has left open.

    PyTorch's own would change the state again when they are closed with the frames of
    the traceback.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__

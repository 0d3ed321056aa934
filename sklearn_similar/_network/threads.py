"""The number of threads of PyTorch: limited in workers, and in a forked process."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .._images.messages import warn_user

_PROCESS_OF_IMPORT = os.getpid()


@contextmanager
def usable_threads() -> Iterator[None]:
    """One thread in a forked process, and as many as before everywhere else.

    A pool of threads does not survive a fork: PyTorch would wait for it forever.
    """
    n_threads = torch.get_num_threads()
    if os.getpid() == _PROCESS_OF_IMPORT or n_threads == 1:
        yield
        return
    warn_user(
        f"This process was forked from one in which PyTorch has {n_threads} threads, "
        "which it would wait for forever; one thread is used instead. Start processes "
        "by 'spawn', or with joblib's default backend, to have more.",
    )
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


class _Limits:
    """Number of threads of PyTorch before any limit, and number of active limits."""

    lock = threading.Lock()
    n_active = 0
    n_before = 1


@contextmanager
def limited_threads(n_threads: int) -> Iterator[None]:
    """Limit the number of threads that PyTorch uses in this thread.

    The number belongs to a thread, and the last number that was set is that of threads
    that begin later. So each thread that leaves sets the number from before the first
    one entered.
    """
    # A thread takes the number over when it first asks for it.
    n_before = torch.get_num_threads()
    with _Limits.lock:
        if _Limits.n_active == 0:
            _Limits.n_before = n_before
        _Limits.n_active += 1
        torch.set_num_threads(min(n_threads, _Limits.n_before))
    try:
        yield
    finally:
        with _Limits.lock:
            torch.set_num_threads(_Limits.n_before)
            _Limits.n_active -= 1


@contextmanager
def same_threads_later() -> Iterator[None]:
    """Give threads that begin afterwards as many threads of PyTorch as this one has.

    After an error or an interrupt, workers that are threads finish their tasks, and
    their limit would be that of threads begun meanwhile.
    """
    try:
        yield
    finally:
        with _Limits.lock:
            torch.set_num_threads(torch.get_num_threads())


if hasattr(os, "register_at_fork"):

    def _forget_limits() -> None:
        """A forked process lacks the threads that would leave."""
        _Limits.lock, _Limits.n_active = threading.Lock(), 0

    os.register_at_fork(after_in_child=_forget_limits)

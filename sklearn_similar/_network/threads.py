"""PyTorch in a forked process, where the threads of its pool are missing."""

import os
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

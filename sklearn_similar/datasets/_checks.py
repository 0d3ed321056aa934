"""Checks of the sizes, the ranges and the memory that data sets are asked for."""

import math
import os
from numbers import Integral, Real

import numpy as np

from .._images.messages import shape_text


def allocate(shape: tuple[int, ...], dtype: type, name: str) -> np.ndarray:
    """Return an array to be filled, or raise for one that no memory can hold.

    A system that promises more memory than it has would end the process while the
    array is being filled.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= _physical_memory():
        try:
            return np.empty(shape, dtype=dtype)
        except MemoryError:
            pass
    raise ValueError(
        f"{name}={shape[0]} images of {shape_text(shape[1:])} take "
        f"{n_bytes / 2**30:,.0f} GiB, more than there is memory: make fewer or smaller "
        "ones at a time."
    )


def _physical_memory() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # unknown to this system
        return math.inf


def check_size(size) -> tuple[int, int]:
    """Return (height, width) as two positive integers."""
    values = _values(size)
    if len(values) != 2 or not all(
        isinstance(v, Integral) and int(v) > 0 for v in values
    ):
        raise ValueError(
            f"size must be two positive integers (height, width), found {size!r}."
        )
    return int(values[0]), int(values[1])


def check_range(value, name: str, *, low=None, high=np.inf, kind: type = Real):
    """Return (minimum, maximum) of a pair, or of a single value for both.

    Both must be finite and lie between `low` and `high`; None is "above 0".
    """
    values = _values(value)
    pair = values * 2 if len(values) == 1 else values
    valid = len(pair) == 2 and all(isinstance(v, kind) for v in pair)
    valid = valid and pair[0] <= pair[1] <= high and _is_finite(pair[1])
    if not valid or not (pair[0] > 0 if low is None else pair[0] >= low):
        noun = "integers" if kind is Integral else "finite numbers"
        bounds = "above 0" if low is None else f"of at least {low}"
        bounds += f" and at most {high}" if high < np.inf else ""
        raise ValueError(
            f"{name} must be one or two {noun} {bounds}, the minimum first, found "
            f"{value!r}."
        )
    return pair[0], pair[1]


def _values(value) -> list:
    """The numbers of a sequence, or a number alone; empty for anything else."""
    if isinstance(value, Real):
        return [value]
    array = np.asarray(value, dtype=object)
    return array.tolist() if array.ndim == 1 else []


def _is_finite(value) -> bool:
    """Whether a number fits into a float; integers may be larger."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False

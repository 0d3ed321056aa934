"""Estimators that another estimator calls, by public methods, on images it made.

What the outer estimator has said about its images is not said again. This ends where
images that are made inside are passed as tensors, which nothing checks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class NestedInput:
    """What an estimator is told about the images that it gets.

    Attributes
    ----------
    check_range : bool
        Whether to warn of values unlike those of the training images.
    owner : str
        Where messages count images, as in " of the crops".
    """

    check_range: bool = True
    owner: str = ""


_INPUT: ContextVar[NestedInput | None] = ContextVar("_INPUT", default=None)


def nested_input() -> NestedInput:
    """What the outer estimator says; by default, that there is none."""
    return _INPUT.get() or NestedInput()


@contextmanager
def ranges_are_checked(owner: str = "") -> Iterator[None]:
    """Let estimators inside another one not repeat its warnings.

    Parameters
    ----------
    owner : str
        Where messages count the images that they get, as in " of the crops".
    """
    token = _INPUT.set(NestedInput(check_range=False, owner=owner))
    try:
        yield
    finally:
        _INPUT.reset(token)

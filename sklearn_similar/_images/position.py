"""Names of images in messages, where X comes in parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PART = ContextVar("_PART", default=(0, ""))


@contextmanager
def part_of_images(first: int, owner: str = "") -> Iterator[None]:
    """Let messages say which image it is among all, not in this part.

    Parameters
    ----------
    first : int
        Position of the first image.
    owner : str
        What that is counted in, as in " of partition 3"; else the part around this one.
    """
    outer_first, outer_owner = _PART.get()
    part = (first, owner) if owner else (outer_first + first, outer_owner)
    token = _PART.set(part)
    try:
        yield
    finally:
        _PART.reset(token)


def image_name(index: int, noun: str = "Image") -> str:
    """The name of an image of the present part: Image 7, or Image 7 of partition 3."""
    first, owner = _PART.get()
    return f"{noun} {first + index}{owner}"

"""Warnings that name the user's line of code, and the wording of messages."""

import contextlib
import os
import sys
import warnings
from dataclasses import dataclass, replace
from typing import Any

import sklearn

# Frames of these packages lie between the user's call and the warning: decorators of
# methods, pipelines and searches.
_SKIPPED = (
    os.path.dirname(os.path.dirname(__file__)),
    os.path.dirname(sklearn.__file__),
    contextlib.__file__,
)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called the package from outside.

    In a task on a worker of Dask, that is the line that asked for the result.
    """
    if _is_dask_task():
        sys.modules["distributed.worker"].warn(message, category)
        return
    level = 2
    while sys._getframe(level - 1).f_code.co_filename.startswith(_SKIPPED):
        if sys._getframe(level - 1).f_back is None:
            break
        level += 1
    warnings.warn(message, category, stacklevel=level)


def _is_dask_task() -> bool:
    """Whether this process, or thread, is a worker of Dask at a task."""
    if "distributed.worker" not in sys.modules:
        return False
    try:
        sys.modules["distributed.worker"].get_worker()
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class ImageNames:
    """Names of images in messages, where X may be a part of all images.

    Attributes
    ----------
    first : int
        Position among all images of the first one in X.
    noun : str
    owner : str
        Where positions are counted, as in " of partition 3"; empty for all images.
    """

    first: int = 0
    noun: str = "Image"
    owner: str = ""

    def name(self, index: int) -> str:
        """Name the image at an index of X: Image 7, or Image 7 of partition 3."""
        return f"{self.noun} {self.first + index}{self.owner}"

    def after(self, n_images: int) -> "ImageNames":
        """Names for a part of X that begins after a number of images."""
        return replace(self, first=self.first + n_images)

    def with_noun(self, noun: str) -> "ImageNames":
        """The same positions with another noun."""
        return replace(self, noun=noun)


def shape_text(shape) -> str:
    """A shape as people write it: 28x28."""
    return "x".join(str(length) for length in shape)


def count(number: int, noun: str) -> str:
    """A number of things: 1 channel, 2 channels."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def type_text(value: Any) -> str:
    """The type of a value with its article."""
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"

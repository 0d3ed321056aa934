"""A scene that was made, and what those who make scenes share."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Largest part of a scene that an image may take, along each axis.
LARGEST_PART = 0.6
# More instances in a scene than this, of images of a few pixels, teach nothing new.
MAX_INSTANCES = 200


class Scene(NamedTuple):
    """A scene and the instances in it, which are bright.

    Attributes
    ----------
    pixels : ndarray of shape (height, width) or (height, width, n_channels), uint8
    boxes : ndarray of shape (n_instances, 4)
    labels : ndarray of int of shape (n_instances,)
        The row of the image that each instance shows; -1: nothing is an instance.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def drawn_scene(
    canvas: np.ndarray, boxes: Sequence[tuple[int, ...]], rows: Sequence[int]
) -> Scene:
    """The scene of a canvas of floats from 0 to 255, perhaps without any instances."""
    pixels = np.rint(canvas).astype(np.uint8)
    return Scene(pixels, np.reshape(boxes, (-1, 4)), np.array(rows, int))


def scale_within(scale: tuple[float, float], largest: float) -> tuple[float, float]:
    """A range of scales, cut to a largest one; it never becomes a single scale."""
    return min(scale[0], largest / 2), min(scale[1], largest)

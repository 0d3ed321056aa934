"""Scenes whose instances are as bright as what is behind them, to train on.

Beside bright objects, a recogniser has to know objects that differ from their ground in
colour alone.
"""

import numpy as np

from .._images.images import LUMA
from .._images.reading import with_channels
from .rendering import resize_to_cover

# Grey levels by which the colour of an instance has to change some channel.
_LEAST_COLOUR = 25


def enlarged_to_cover(
    backgrounds: list[np.ndarray], size: tuple[int, int]
) -> list[np.ndarray]:
    """Backgrounds in colour, at least as large as a scene."""
    return [
        resize_to_cover(with_channels(image, 3), size, f"backgrounds[{index}]")
        for index, image in enumerate(backgrounds)
    ]


def make_ground(
    backgrounds: list[np.ndarray], size: tuple[int, int], rng: np.random.RandomState
) -> np.ndarray:
    """A part of one of the backgrounds, from its plain mean to its full contrast."""
    image = backgrounds[rng.randint(len(backgrounds))]
    y, x = rng.randint(0, np.subtract(image.shape[:2], size) + 1)
    part = image[y : y + size[0], x : x + size[1]].astype(np.float32)
    mean = part.mean(axis=(0, 1))
    return mean + np.float32(rng.uniform()) * (part - mean)


def paste_in_luma_of(
    ground: np.ndarray, on_black: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """Instances in boxes that were pasted on black, on a ground, each of its luma.

    On black, a pixel's brightest channel is its opacity. Instances whose colour alone
    is hardly seen keep their own luma.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    opacity = on_black.max(axis=2, keepdims=True) / np.float32(255)
    change = on_black - opacity * ground
    luma = change @ np.array(LUMA, np.float32)
    for x_min, y_min, x_max, y_max in boxes.astype(int):
        own = slice(y_min, y_max), slice(x_min, x_max)
        colour = change[own] - luma[own][..., np.newaxis]
        if np.abs(colour).max() < _LEAST_COLOUR:
            luma[own] = 0
    pasted = ground + change - luma[..., np.newaxis]
    return np.rint(np.clip(pasted, 0, 255)).astype(np.uint8)

"""Scenes in which each instance touches or overlaps its neighbours, to train on."""

import numpy as np

from .._images.images import VISIBLE_SHARE
from .rendering import brightest_channel, resize
from .scene import LARGEST_PART, MAX_INSTANCES, Scene, drawn_scene, scale_within

# Size of a row's instances, in parts of their images', and its variation in a row.
_SCALE = (0.7, 2.0)
_VARIATION = 0.15
_ROW_HEIGHT = 1.2
# Pixels by which the strokes of neighbours overlap; -1 leaves a seam.
_OVERLAPS = (-1, 0, 1, 2)
_CONTRAST = (0.4, 1.0)


def make_touching_scene(
    images: np.ndarray, size: tuple[int, int], rng: np.random.RandomState
) -> Scene:
    """Rows of instances on black, each so near the last that their strokes meet.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, n_channels)
        Bright objects on black, uint8.
    size : (int, int)
        Height and width of the scene.
    rng : RandomState

    Returns
    -------
    Scene
    """
    scene = np.zeros((*size, *images.shape[3:]), np.float32)
    boxes: list[tuple[int, ...]] = []
    rows: list[int] = []
    largest = LARGEST_PART * min(size) / max(images.shape[1:3])
    scales = np.log(scale_within(_SCALE, largest))
    top = 0
    while len(rows) < MAX_INSTANCES:
        scale = np.exp(rng.uniform(*scales))
        height = max(1, int(_ROW_HEIGHT * scale * images.shape[1]))
        if top + height > size[0]:
            break
        x = rng.randint(images.shape[2])
        while len(rows) < MAX_INSTANCES:
            row = rng.randint(len(images))
            picture = _cut_out(images[row], scale, height, rng)
            y = top + rng.randint(height - len(picture) + 1)
            below = scene[y : y + len(picture)]
            if below.any():
                # An instance never covers the last one.
                overlap = min(rng.choice(_OVERLAPS), picture.shape[1] - 1)
                x = _meeting_column(below, picture) - overlap
            right = max(0, x) + picture.shape[1]
            if right > size[1]:
                break
            part = below[:, right - picture.shape[1] : right]
            np.maximum(part, picture, out=part)
            boxes.append((right - picture.shape[1], y, right, y + len(picture)))
            rows.append(row)
        top += height
    scene *= rng.uniform(*_CONTRAST)
    return drawn_scene(scene, boxes, rows)


def _cut_out(image: np.ndarray, scale: float, height: int, rng) -> np.ndarray:
    """What is visible in an image, resized, at most so high."""
    scales = scale * rng.uniform(1 - _VARIATION, 1 + _VARIATION, size=2)
    shape = np.maximum(1, np.rint(scales * image.shape[:2])).astype(int)
    resized = resize(image, (int(shape[0]), int(shape[1])))
    ink = _ink(resized)
    y, x = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return resized[y[0] : min(y[-1] + 1, y[0] + height), x[0] : x[-1] + 1]


def _ink(picture: np.ndarray) -> np.ndarray:
    strength = brightest_channel(picture)
    return strength >= VISIBLE_SHARE * strength.max()


def _meeting_column(below: np.ndarray, picture: np.ndarray) -> int:
    """Leftmost column for a picture right of all strokes in a band of its height."""
    ink, own = _ink(below), _ink(picture)
    is_in_both = np.flatnonzero(ink.any(axis=1) & own.any(axis=1))
    if not len(is_in_both):
        ink, own = (np.tile(mask.any(axis=0), (len(ink), 1)) for mask in (ink, own))
        is_in_both = np.arange(len(ink))
    last = ink.shape[1] - ink[:, ::-1].argmax(axis=1)
    first = own.argmax(axis=1)
    return int((last - first)[is_in_both].max())

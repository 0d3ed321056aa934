"""Line drawings: instances in strokes of a pixel or two, whatever their size."""

from itertools import pairwise

import numpy as np
from scipy import ndimage

from .rendering import brightest_channel, resize
from .scene import MAX_INSTANCES, Scene, drawn_scene, scale_within

# Share of the greatest value above which a pixel is part of a stroke.
_STROKE_SHARE = 0.4
# Widest part of what is a stroke, in parts of an image.
_STROKE_WIDTH = 0.25
# Size of the instances in parts of their images', largest side of these in pixels, and
# pixels between them.
_SCALE = (0.8, 4.5)
_LARGEST = 126
_GAP = 5
# Share of the instances that have strokes of two pixels.
_WIDER = 0.3
_CONTRAST = (0.4, 1.0)
# A scene is full when the first instance of so many rows did not fit.
_FULL_AFTER = 5
# Neighbours of a pixel, clockwise from the one above: shifts along both axes.
_NEIGHBOURS = (
    *((-1, 0), (-1, 1), (0, 1), (1, 1)),
    *((1, 0), (1, -1), (0, -1), (-1, -1)),
)


def is_of_strokes(image: np.ndarray) -> bool:
    """Whether nothing bright in an image is as wide as a quarter of it."""
    side = 2 * (int(_STROKE_WIDTH * min(image.shape[:2])) // 2) + 1
    core = ndimage.grey_erosion(brightest_channel(image), (side, side))
    return bool(core.max() < image.max() / 4)


def thin(mask: np.ndarray) -> np.ndarray:
    """Lines a pixel wide in the middle of strokes, connected as these are.

    Parameters
    ----------
    mask : ndarray of bool of shape (height, width)

    Returns
    -------
    ndarray of bool of shape (height, width)

    References
    ----------
    Zhang and Suen (1984): A fast parallel algorithm for thinning digital patterns.
    """
    lines = np.pad(mask, 1)
    has_changed = True
    while has_changed:
        has_changed = False
        # First from the lower right, then from the upper left.
        for from_lower_right in (True, False):
            y, x = np.nonzero(lines)
            near = np.stack([lines[y + dy, x + dx] for dy, dx in _NEIGHBOURS])
            count = near.sum(axis=0)
            rises = sum(~a & b for a, b in pairwise([*near, near[0]]))
            above, right, below, left = near[::2]
            if from_lower_right:
                keeps = (above & right & below) | (right & below & left)
            else:
                keeps = (above & right & left) | (above & below & left)
            goes = (count >= 2) & (count <= 6) & (rises == 1) & ~keeps
            lines[y[goes], x[goes]] = False
            has_changed |= bool(goes.any())
    return lines[1:-1, 1:-1]


def draw_lines(image: np.ndarray, factor: float, width: int) -> np.ndarray:
    """An image of strokes, resized, its strokes so many pixels wide.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels)
    factor : float
        Size of the new image in parts of the old one.
    width : int

    Returns
    -------
    ndarray of float32
        Black but for the lines.
    """
    shape = [max(1, round(factor * length)) for length in image.shape[:2]]
    large = resize(image, (shape[0], shape[1]))
    strength = brightest_channel(large)
    mask = strength > _STROKE_SHARE * strength.max()
    lines = thin(mask)
    if not lines.any():
        # A square of two pixels vanishes.
        lines = mask
    if width > 1:
        lines = ndimage.binary_dilation(lines, np.ones((width, width)))
    return large * lines.reshape(*lines.shape, *(1,) * (image.ndim - 2))


def make_line_scene(
    images: np.ndarray, size: tuple[int, int], rng: np.random.RandomState
) -> Scene:
    """Rows of line drawings on black.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, n_channels)
        Bright strokes on black, uint8.
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
    room = max(1, min(size) - 2 * _GAP)
    largest = min(room, _LARGEST) / max(images.shape[1:3])
    scales = np.log(scale_within(_SCALE, largest))
    top = _GAP
    n_missed = 0
    while n_missed < _FULL_AFTER and len(rows) < MAX_INSTANCES:
        factor = np.exp(rng.uniform(*scales))
        left, bottom = _GAP, top
        while len(rows) < MAX_INSTANCES:
            row = rng.randint(len(images))
            width = 1 + (rng.uniform() < _WIDER)
            drawn = _cut_out(draw_lines(images[row], factor, width))
            height, width = drawn.shape[:2]
            if top + height + _GAP > size[0] or left + width + _GAP > size[1]:
                break
            part = scene[top : top + height, left : left + width]
            part[:] = drawn * (rng.uniform(*_CONTRAST) * 255 / max(drawn.max(), 1))
            boxes.append((left, top, left + width, top + height))
            rows.append(row)
            left += width + _GAP
            bottom = max(bottom, top + height + _GAP)
        n_missed = n_missed + 1 if bottom == top else 0
        top = bottom
    return drawn_scene(scene, boxes, rows)


def _cut_out(image: np.ndarray) -> np.ndarray:
    y, x = (np.flatnonzero(brightest_channel(image).any(axis=axis)) for axis in (1, 0))
    return image[y[0] : y[-1] + 1, x[0] : x[-1] + 1]

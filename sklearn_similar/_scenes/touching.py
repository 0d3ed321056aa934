"""Training scenes in which each instance touches or overlaps its neighbours."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .._images.images import VISIBLE_SHARE
from .rendering import brightest_channel, resize
from .scene import (
    MAX_INSTANCE_SHARE,
    MAX_INSTANCES,
    KindRecipe,
    Scene,
    SceneImages,
    scale_within,
)


@dataclass(frozen=True, kw_only=True)
class TouchingRecipe(KindRecipe):
    """Rows of instances whose strokes meet, on black.

    Ranges are (minimum, maximum). Figures without a source
    were chosen on scenes of digits.

    Attributes
    ----------
    share : float, default=0.0015
        Twice as many scenes cost precision on scenes whose instances are apart.
    side : int, default=320
    scale : (float, float), default=(0.7, 2.0)
        Range of the factor by which the images of a row are resized, drawn uniformly on
        a logarithmic scale.
    scale_jitter : float, default=0.15
        Maximum relative change of that factor for one instance, along each axis.
    row_height : float, default=1.2
        Height of a row, as a share of the resized images'.
    overlaps : tuple of int, default=(-1, 0, 1, 2)
        Pixels by which the strokes of neighbours overlap; -1 leaves a seam.
    contrast : (float, float), default=(0.4, 1.0)
        Range of the brightness of a scene.
    """

    share: float = 0.0015
    side: int = 320
    scale: tuple[float, float] = (0.7, 2.0)
    scale_jitter: float = 0.15
    row_height: float = 1.2
    overlaps: tuple[int, ...] = (-1, 0, 1, 2)
    contrast: tuple[float, float] = (0.4, 1.0)


def touching_scenes(
    images: SceneImages,
    recipe: TouchingRecipe,
    n_scenes: int,
    rng: np.random.RandomState,
) -> Iterator[Scene]:
    """Scenes of touching instances."""
    for _ in range(n_scenes):
        yield touching_scene(images.instances, recipe, rng)


def touching_scene(
    images: np.ndarray, recipe: TouchingRecipe, rng: np.random.RandomState
) -> Scene:
    """Fill a scene with rows of touching instances.

    The images are bright objects on black, uint8.
    """
    levels = np.zeros((recipe.side, recipe.side, *images.shape[3:]), np.float32)
    boxes: list[np.ndarray] = []
    labels: list[int] = []
    max_scale = MAX_INSTANCE_SHARE * recipe.side / max(images.shape[1:3])
    log_scales = np.log(scale_within(recipe.scale, max_scale))
    top = 0
    while len(labels) < MAX_INSTANCES:
        scale = np.exp(rng.uniform(*log_scales))
        height = max(1, int(recipe.row_height * scale * images.shape[1]))
        if top + height > recipe.side:
            break
        band = levels[top : top + height]
        n_max = MAX_INSTANCES - len(labels)
        for label, box in _fill_band(band, images, scale, n_max, recipe, rng):
            labels.append(label)
            boxes.append(box + np.array([0, top, 0, top]))
        top += height
    levels *= rng.uniform(*recipe.contrast)
    return Scene.from_levels(levels, boxes, labels)


def _fill_band(
    band: np.ndarray,
    images: np.ndarray,
    scale: float,
    n_max: int,
    recipe: TouchingRecipe,
    rng: np.random.RandomState,
) -> list[tuple[int, np.ndarray]]:
    """Paste a row of instances into a band of a scene; their labels and boxes in it."""
    instances: list[tuple[int, np.ndarray]] = []
    left = rng.randint(images.shape[2])
    while len(instances) < n_max:
        label = rng.randint(len(images))
        jitter = rng.uniform(1 - recipe.scale_jitter, 1 + recipe.scale_jitter, size=2)
        patch = _resize_and_trim(images[label], scale * jitter, len(band))
        top = rng.randint(len(band) - len(patch) + 1)
        rows = band[top : top + len(patch)]
        if rows.any():
            # An instance never hides the previous instance.
            overlap = min(rng.choice(recipe.overlaps), patch.shape[1] - 1)
            left = _contact_column(rows, patch) - overlap
        left = max(0, left)
        right = left + patch.shape[1]
        if right > band.shape[1]:
            break
        target = rows[:, left:right]
        np.maximum(target, patch, out=target)
        instances.append((label, np.array([left, top, right, top + len(patch)])))
    return instances


def _resize_and_trim(
    image: np.ndarray, scales: np.ndarray, max_height: int
) -> np.ndarray:
    """The visible part of a resized image, without its lowest rows if it is higher."""
    shape = np.maximum(1, np.rint(scales * image.shape[:2])).astype(int)
    resized = resize(image, (int(shape[0]), int(shape[1])))
    strokes = _visible(resized)
    y, x = (np.flatnonzero(strokes.any(axis=axis)) for axis in (1, 0))
    return resized[y[0] : min(y[-1] + 1, y[0] + max_height), x[0] : x[-1] + 1]


def _visible(image: np.ndarray) -> np.ndarray:
    brightness = brightest_channel(image)
    return brightness >= VISIBLE_SHARE * brightness.max()


def _contact_column(rows: np.ndarray, patch: np.ndarray) -> int:
    """Leftmost column at which a patch is right of all strokes in its rows.

    Where no row holds strokes of both, their extents along x count.
    """
    before, after = _visible(rows), _visible(patch)
    shared = np.flatnonzero(before.any(axis=1) & after.any(axis=1))
    if not len(shared):
        before, after = (
            np.tile(mask.any(axis=0), (len(mask), 1)) for mask in (before, after)
        )
        shared = np.arange(len(before))
    last = before.shape[1] - before[:, ::-1].argmax(axis=1)
    first = after.argmax(axis=1)
    return int((last - first)[shared].max())

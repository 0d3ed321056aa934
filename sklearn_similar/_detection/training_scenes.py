"""Scenes made of labelled images, and images without instances, to train on."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from .._boxes import BOX_COLUMNS
from ..datasets._pixels import with_channels
from ..datasets._scenes import make_scenes
from ..datasets._textures import make_textures, vary_views
from .line_drawings import draw_lines, is_of_strokes, make_line_scene
from .touching_scenes import make_touching_scene

_TEXTURE_SIZE = (320, 320)
_SCALE = (0.4, 2.0)
# Share of images of strokes that are thinned to their skeletons.
_SKELETONS = 0.2
# Share of images that are thickened or thinned a little.
_OTHER_STROKES = 0.2
# Colours in the palette of a texture, and how far they are from grey.
_N_COLOURS = 10
_SATURATION = (10, 90)
# One of so many scenes on images is noisy, with a deviation in grey levels.
_NOISY = 6
_NOISE = (10, 60)
# Images by which it is known whether all are of strokes.
_N_SAMPLES = 100
# One of so many scenes is searched in the wrong polarity as well, where nothing is
# an instance.
_WRONG_POLARITY = 4


class _Scenes(NamedTuple):
    """Scenes of one kind; `share` is their number for each instance wanted."""

    background: str
    share: float
    size: tuple[int, int]
    n_instances: tuple[int, int]
    contrast: tuple[float, float]
    background_brightness: tuple[float, float]


_SCENES = (
    _Scenes("black", 0.01, (352, 352), (25, 45), (0.3, 1), (0, 0)),
    _Scenes("images", 0.032, (272, 272), (8, 20), (0.7, 1), (0.2, 1)),
    _Scenes("noise", 0.003, (320, 320), (8, 20), (0.8, 1), (0.1, 0.8)),
)


# Number of scenes of touching instances for each instance wanted, and their size.
_TOUCHING_SHARE = 0.0015
_TOUCHING_SIZE = (320, 320)
# The same for line drawings.
_LINES_SHARE = 0.0015
_LINES_SIZE = (320, 320)


class Scene(NamedTuple):
    """A scene, uint8, its instances bright, and their boxes and labels."""

    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def make_backgrounds(
    n_textures: int,
    images: list[np.ndarray],
    n_channels: int | None,
    rng: np.random.RandomState,
) -> list[np.ndarray]:
    """Textures, and views of background images; in colour where `n_channels` is 3.

    Half of them are negatives, as instances may be the dark part of a scene.
    """
    textures = make_textures(n_textures, _TEXTURE_SIZE, rng)
    if n_channels == 3:
        textures = _coloured(textures, rng)
    backgrounds = [*textures, *vary_views(images, rng)]
    return [
        with_channels(255 - image if rng.uniform() < 0.5 else image, n_channels)
        for image in backgrounds
    ]


def _coloured(textures: list[np.ndarray], rng) -> list[np.ndarray]:
    """Grey textures in colours.

    Either each grey level gets a colour, as surfaces have one, or each channel is
    another mixture of two textures.
    """
    coloured = []
    for texture in textures:
        if rng.uniform() < 0.5:
            coloured.append(_palette(rng)[texture])
            continue
        other = textures[rng.randint(len(textures))]
        share = rng.uniform(size=3)
        mixed = share * texture[..., np.newaxis] + (1 - share) * other[..., np.newaxis]
        coloured.append(np.rint(mixed).astype(np.uint8))
    return coloured


def _palette(rng) -> np.ndarray:
    """A colour for each of 256 grey levels, near levels alike, uint8."""
    knots = np.linspace(0, 255, _N_COLOURS)
    deviation = rng.normal(0, rng.uniform(*_SATURATION), size=(_N_COLOURS, 3))
    channels = [np.interp(np.arange(256), knots, knots + own) for own in deviation.T]
    return np.rint(np.clip(channels, 0, 255)).T.astype(np.uint8)


def n_views(images: np.ndarray, n_instances: int) -> int:
    """Number of the scenes of `make_training_scenes`."""
    counts = [_n_scenes(kind.share, n_instances) for kind in _SCENES]
    n_others = _n_scenes(_TOUCHING_SHARE, n_instances)
    if _are_of_strokes(images):
        n_others += _n_scenes(_LINES_SHARE, n_instances)
    return sum(n + -(-n // _WRONG_POLARITY) for n in counts) + n_others


def _are_of_strokes(images: np.ndarray) -> bool:
    """Whether most images are, by a few of them."""
    few = images[:: -(-len(images) // _N_SAMPLES)]
    return bool(np.mean([is_of_strokes(image) for image in few]) > 0.5)


def _n_scenes(share: float, n_instances: int) -> int:
    return max(1, round(share * n_instances))


def make_training_scenes(
    images: np.ndarray,
    backgrounds: list[np.ndarray],
    n_instances: int,
    rotation: float,
    rng: np.random.RandomState,
) -> Iterator[Scene]:
    """Scenes with about as many instances; labels are rows of `images`.

    Most are turned by at most `rotation` degrees. In a scene of the wrong polarity, all
    labels are -1.
    """
    for kind in _SCENES:
        scenes, truth = make_scenes(
            images,
            np.arange(len(images)),
            n_scenes=_n_scenes(kind.share, n_instances),
            size=kind.size,
            n_instances=kind.n_instances,
            scale=_SCALE,
            background_images=(
                backgrounds if kind.background == "images" else kind.background
            ),
            background_brightness=kind.background_brightness,
            contrast=kind.contrast,
            rotation=rotation,
            random_state=rng,
        )
        for index, scene in enumerate(scenes):
            boxes, labels = boxes_and_labels(truth, index)
            if kind.background == "images" and index % _NOISY == 1:
                scene = _noisy(scene, rng)
            yield Scene(scene, boxes, labels)
            if index % _WRONG_POLARITY == 0:
                yield Scene(255 - scene, boxes, np.full(len(boxes), -1))
    for _ in range(_n_scenes(_TOUCHING_SHARE, n_instances)):
        yield Scene(*make_touching_scene(images, _TOUCHING_SIZE, rng))
    if _are_of_strokes(images):
        for _ in range(_n_scenes(_LINES_SHARE, n_instances)):
            yield Scene(*make_line_scene(images, _LINES_SIZE, rng))


def _noisy(scene: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    noise = rng.normal(0, rng.uniform(*_NOISE), size=scene.shape)
    return np.rint(np.clip(scene + noise, 0, 255)).astype(np.uint8)


def boxes_and_labels(truth: pd.DataFrame, image: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and labels of the instances of one scene in a table of several."""
    own = truth[truth["image"] == image]
    boxes = own[list(BOX_COLUMNS)].to_numpy(np.float64)
    return boxes, own["label"].to_numpy()


def restyle(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Shear and stretch an image a little; sometimes thicken or thin its strokes."""
    picture = image / 255
    extra = (1,) * (image.ndim - 2)
    style = rng.uniform()
    is_thin = style < _SKELETONS and is_of_strokes(image)
    if is_thin:
        picture = draw_lines(picture, 2, 1 + (rng.uniform() < 0.5))
    elif style < _SKELETONS + _OTHER_STROKES:
        change = ndimage.grey_dilation if rng.uniform() < 0.5 else ndimage.grey_erosion
        picture = ndimage.zoom(picture, (2, 2, *extra), order=1)
        picture = change(picture, (*rng.randint(2, 4, size=2), *extra))
    shape = np.array(picture.shape[:2])
    matrix = np.eye(image.ndim)
    matrix[:2, :2] += rng.uniform(-0.15, 0.15, size=(2, 2))
    offset = np.zeros(image.ndim)
    offset[:2] = (shape - 1) / 2 - matrix[:2, :2] @ ((shape - 1) / 2)
    picture = ndimage.affine_transform(picture, matrix, offset, order=1)
    if len(picture) > len(image):
        halves = (image.shape[0], 2, image.shape[1], 2, *image.shape[2:])
        picture = picture.reshape(halves).mean(axis=(1, 3))
    if is_thin:
        picture = picture * (image.max() / 255 / max(picture.max(), 1e-6))
    restyled = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    # Thin strokes can vanish.
    return restyled if restyled.max() >= image.max() / 2 else image

"""Scenes made of labelled images, and images without instances, to train on."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from scipy import ndimage

from .._images.images import batch_slices
from .._images.reading import with_channels
from .._tables.boxes import BOX_COLUMNS
from ..datasets._scenes import make_scenes
from .isoluminant import enlarged_to_cover, make_ground, paste_in_luma_of
from .lines import draw_lines, is_of_strokes, make_line_scene
from .scene import LARGEST_PART, Scene, scale_within
from .textures import make_textures, vary_views
from .touching import make_touching_scene

_TEXTURE_SIZE = (320, 320)
_SCALE = (0.4, 2.0)
# Share of images of strokes that become line drawings.
_LINE_DRAWINGS = 0.2
# Side of the largest images that are thinned at twice their size.
_MAX_ENLARGED = 64
# Share of images that are thickened or thinned a little.
_OTHER_STROKES = 0.2
# Colours in the palette of a texture, and how far they are from grey.
_N_COLOURS = 10
_SATURATION = (10, 90)
# Share of scenes on images that are noisy, and the deviation in grey levels.
_NOISY = 0.17
_NOISE = (10, 60)
# Images by which it is known whether most are of strokes.
_N_SAMPLES = 100
# One of so many scenes is searched in the wrong polarity as well, where nothing is
# an instance.
_WRONG_POLARITY = 4


_MakeScene = Callable[[np.ndarray, tuple[int, int], np.random.RandomState], Scene]


class _Scenes(NamedTuple):
    """Scenes of one kind: a square's side, and how many for each instance wanted."""

    share: float
    side: int


class _PastedScenes(NamedTuple):
    """The same, for instances that are pasted at random.

    A `background` of "luma" are images whose luma the instances have.
    """

    background: str
    share: float
    side: int
    n_instances: tuple[int, int]
    contrast: tuple[float, float]
    background_brightness: tuple[float, float]


# For images of this side; others have other scenes, see `_for_images`.
_IMAGE_SIDE = 28
_PASTED = (
    _PastedScenes("black", 0.01, 352, (25, 45), (0.3, 1), (0, 0)),
    _PastedScenes("images", 0.032, 272, (8, 20), (0.7, 1), (0.2, 1)),
    _PastedScenes("noise", 0.003, 320, (8, 20), (0.8, 1), (0.1, 0.8)),
)
# In colour, a third of the scenes on images have instances of the images' luma. With
# these, 3 to 4 % more of held-out tinted clothes are recognised in their true boxes on
# photographs that are not dimmed, or whose luma they have, and no fewer on others.
_PASTED_IN_COLOUR = (
    _PASTED[0],
    _PASTED[1]._replace(share=0.022),
    _PastedScenes("luma", 0.01, 272, (8, 20), (0.5, 1), (0, 0)),
    _PASTED[2],
)
_TOUCHING = _Scenes(0.0015, 320)
_LINES = _Scenes(0.0015, 320)
_MAX_GROWTH = 3
# Pixels of scenes that are made together.
_PIXELS_AT_ONCE = 2**27


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


def n_views(images: np.ndarray, n_instances: int, fills_frame: bool = False) -> int:
    """Number of the scenes of `make_training_scenes`."""
    side = max(images.shape[1:3])
    n_pasted = n_others = 0
    for kind in _pasted_kinds(images, fills_frame):
        n = _n_scenes(_for_images(kind, side), n_instances)
        n_pasted += n + _has_polarity(kind) * -(-n // _WRONG_POLARITY)
    for other, _ in _other_scenes(images, fills_frame):
        n_others += _n_scenes(_for_images(other, side), n_instances)
    return n_pasted + n_others


def _pasted_kinds(images: np.ndarray, fills_frame: bool) -> tuple[_PastedScenes, ...]:
    """Kinds of scenes of instances that are pasted at random."""
    is_in_colour = images.ndim == 4 and images.shape[3] == 3
    return _PASTED_IN_COLOUR if is_in_colour and not fills_frame else _PASTED


def _has_polarity(kind: _PastedScenes) -> bool:
    """Whether nothing is an instance in the negative: of one luma, none is darker."""
    return kind.background != "luma"


def _other_scenes(
    images: np.ndarray, fills_frame: bool
) -> list[tuple[_Scenes, _MakeScene]]:
    """Kinds of scenes that are not pasted at random, and what makes one of each."""
    if fills_frame:
        return []
    others: list[tuple[_Scenes, _MakeScene]] = [(_TOUCHING, make_touching_scene)]
    if _are_of_strokes(images):
        others.append((_LINES, make_line_scene))
    return others


def _are_of_strokes(images: np.ndarray) -> bool:
    """Whether most images are, by a few of them."""
    few = images[:: -(-len(images) // _N_SAMPLES)]
    return bool(np.mean([is_of_strokes(image) for image in few]) > 0.5)


Kind = TypeVar("Kind", _Scenes, _PastedScenes)


def _for_images(kind: Kind, side: int) -> Kind:
    """Scenes for images of a side: for large ones larger scenes, of fewer instances."""
    growth = side / _IMAGE_SIDE
    if growth <= 1:
        return kind
    larger = min(growth**0.5, _MAX_GROWTH)
    share_left = (larger / growth) ** 2
    found = kind._replace(side=round(larger * kind.side), share=kind.share / share_left)
    if isinstance(found, _PastedScenes):
        most = max(1, round(share_left * found.n_instances[1]))
        return found._replace(n_instances=(1, most))
    return found


def _n_scenes(kind: _Scenes | _PastedScenes, n_instances: int) -> int:
    return max(1, round(kind.share * n_instances))


def make_training_scenes(
    images: np.ndarray,
    backgrounds: list[np.ndarray],
    n_instances: int,
    rotation: float,
    rng: np.random.RandomState,
    fills_frame: bool = False,
) -> Iterator[Scene]:
    """Scenes with about as many instances; labels are rows of `images`.

    Most are turned by at most `rotation` degrees. In a scene of the wrong polarity, all
    labels are -1. Images that fill their frame cover what is behind them.
    """
    side = max(images.shape[1:3])
    masks = cut_outs(images.shape[:3], rng) if fills_frame else None
    for kind in _pasted_kinds(images, fills_frame):
        kind = _for_images(kind, side)
        found = _pasted_scenes(
            images, masks, backgrounds, kind, n_instances, rotation, rng
        )
        for index, scene in enumerate(found):
            if kind.background == "images" and rng.uniform() < _NOISY:
                scene = scene._replace(pixels=_noisy(scene.pixels, rng))
            yield scene
            if _has_polarity(kind) and index % _WRONG_POLARITY == 0:
                nothing = np.full(len(scene.boxes), -1)
                yield Scene(255 - scene.pixels, scene.boxes, nothing)
    for other, make_scene in _other_scenes(images, fills_frame):
        own = _for_images(other, side)
        for _ in range(_n_scenes(own, n_instances)):
            yield make_scene(images, (own.side, own.side), rng)


def cut_outs(shape: tuple[int, ...], rng: np.random.RandomState) -> np.ndarray:
    """Masks, n x height x width, that keep all of an image, or an ellipse in it."""
    n, height, width = shape
    y, x = ((2 * np.arange(length) + 1) / length - 1 for length in (height, width))
    radius = np.hypot(y[:, np.newaxis], x)
    ellipse = np.clip((1 - radius) * min(height, width) / 2 + 0.5, 0, 1)
    kinds = np.stack([np.full((height, width), 255), np.rint(255 * ellipse)])
    return kinds.astype(np.uint8)[rng.randint(2, size=n)]


def _pasted_scenes(
    images: np.ndarray,
    masks: np.ndarray | None,
    backgrounds: list[np.ndarray],
    kind: _PastedScenes,
    n_instances: int,
    rotation: float,
    rng: np.random.RandomState,
) -> Iterator[Scene]:
    """Scenes of instances on one kind of background."""
    size = kind.side, kind.side
    largest = LARGEST_PART * kind.side / max(images.shape[1:3])
    n_at_once = max(1, _PIXELS_AT_ONCE // kind.side**2)
    of_luma = kind.background == "luma"
    grounds = enlarged_to_cover(backgrounds, size) if of_luma else []
    behind = {"images": backgrounds, "luma": "black"}
    for part in batch_slices(_n_scenes(kind, n_instances), n_at_once):
        scenes, truth = make_scenes(
            images,
            np.arange(len(images)),
            masks=masks,
            n_scenes=part.stop - part.start,
            size=size,
            n_instances=kind.n_instances,
            scale=scale_within(_SCALE, largest),
            background_images=behind.get(kind.background, kind.background),
            background_brightness=kind.background_brightness,
            contrast=kind.contrast if masks is None else 1,
            rotation=rotation,
            random_state=rng,
        )
        for index, scene in enumerate(scenes):
            boxes, labels = boxes_and_labels(truth, index)
            if of_luma:
                ground = make_ground(grounds, size, rng)
                scene = paste_in_luma_of(ground, scene, boxes)
            yield Scene(scene, boxes, labels)


def _noisy(scene: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    noise = rng.normal(0, rng.uniform(*_NOISE), size=scene.shape)
    return np.rint(np.clip(scene + noise, 0, 255)).astype(np.uint8)


def boxes_and_labels(truth: pd.DataFrame, image: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and labels of the instances of one scene in a table of several."""
    own = truth[truth["image"] == image]
    boxes = own[list(BOX_COLUMNS)].to_numpy(np.float64)
    return boxes, own["label"].to_numpy()


def restyle(
    image: np.ndarray, rng: np.random.RandomState, fills_frame: bool = False
) -> np.ndarray:
    """Shear and stretch an image a little; sometimes thicken or thin its strokes."""
    picture = image / 255
    extra = (1,) * (image.ndim - 2)
    # What fills its frame has no strokes, and its edges go on.
    style = 1.0 if fills_frame else rng.uniform()
    mode = "nearest" if fills_frame else "constant"
    is_thin = style < _LINE_DRAWINGS and is_of_strokes(image)
    if is_thin:
        factor = 2 if max(image.shape[:2]) <= _MAX_ENLARGED else 1
        picture = draw_lines(picture, factor, 1 + (rng.uniform() < 0.5))
    elif style < _LINE_DRAWINGS + _OTHER_STROKES:
        change = ndimage.grey_dilation if rng.uniform() < 0.5 else ndimage.grey_erosion
        picture = ndimage.zoom(picture, (2, 2, *extra), order=1)
        picture = change(picture, (*rng.randint(2, 4, size=2), *extra))
    shape = np.array(picture.shape[:2])
    matrix = np.eye(image.ndim)
    matrix[:2, :2] += rng.uniform(-0.15, 0.15, size=(2, 2))
    offset = np.zeros(image.ndim)
    offset[:2] = (shape - 1) / 2 - matrix[:2, :2] @ ((shape - 1) / 2)
    picture = ndimage.affine_transform(picture, matrix, offset, order=1, mode=mode)
    if len(picture) > len(image):
        halves = (image.shape[0], 2, image.shape[1], 2, *image.shape[2:])
        picture = picture.reshape(halves).mean(axis=(1, 3))
    if is_thin:
        picture = picture * (image.max() / 255 / max(picture.max(), 1e-6))
    restyled = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    # Thin strokes can vanish.
    return restyled if restyled.max() >= image.max() / 2 else image

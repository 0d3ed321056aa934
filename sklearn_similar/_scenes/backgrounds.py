"""Images without instances: synthetic textures, and views of background images."""

from collections.abc import Sequence

import numpy as np

from .._images.reading import with_channels
from .recipe import TrainingSceneRecipe
from .rendering import resize, to_uint8
from .textures import make_textures


def make_backgrounds(
    n_textures: int,
    images: Sequence[np.ndarray],
    n_channels: int | None,
    recipe: TrainingSceneRecipe,
    rng: np.random.RandomState,
    *,
    n_views: int | None = None,
    max_side: int | None = None,
) -> list[np.ndarray]:
    """Textures and views of background images, some of them as negatives.

    Parameters
    ----------
    n_textures : int
    images : sequence of ndarray of shape (height, width) or (height, width, n_channels)
        Background images of any sizes, uint8.
    n_channels : int or None
        Channels of the backgrounds; None for grey images without such an axis. With
        three, textures are in colour.
    recipe : TrainingSceneRecipe
    rng : RandomState
    n_views, max_side : int, default=None
        As in `vary_views`.

    Returns
    -------
    list of ndarray of shape (height, width) or (height, width, n_channels), uint8
        The textures, and the views.
    """
    textures = make_textures(n_textures, recipe.texture_size, rng)
    if n_channels == 3:
        textures = _coloured(textures, recipe, rng)
    backgrounds = [*textures, *vary_views(images, rng, n_views, max_side)]
    return [
        with_channels(
            255 - image if rng.uniform() < recipe.negative_share else image, n_channels
        )
        for image in backgrounds
    ]


def vary_views(
    images: Sequence[np.ndarray],
    rng: np.random.RandomState,
    n_views: int | None = None,
    max_side: int | None = None,
) -> list[np.ndarray]:
    """Views of images in turn: rotated or mirrored, of random size and gamma.

    Parameters
    ----------
    images : sequence of ndarray
        Of any sizes, uint8.
    rng : RandomState
    n_views : int, default=None
        Number of views of all images together. If there are fewer than images, some
        images at random are left out. None: eight of each.
    max_side : int, default=None
        Maximum height and width of a view, which shows a random part of an image that
        is larger. None: views show whole images.
    """
    if n_views is None:
        n_views = 8 * len(images)
    order = rng.permutation(len(images))
    views = []
    for number in range(n_views if len(images) else 0):
        turn, position = divmod(number, len(images))
        image = images[order[position]]
        scale = np.exp(rng.uniform(np.log(0.5), np.log(1.5)))
        if max_side is not None:
            image = _random_part(image, max(1, int(max_side / scale)), rng)
        rotated = np.rot90(image[:, :: -1 if turn % 2 else 1], turn // 2)
        height, width = (max(1, round(scale * n)) for n in rotated.shape[:2])
        resized = resize(rotated, (height, width)) / 255
        views.append(to_uint8(resized ** rng.uniform(0.7, 1.4)))
    return views


def _random_part(
    image: np.ndarray, max_side: int, rng: np.random.RandomState
) -> np.ndarray:
    y, x = (rng.randint(max(1, n - max_side + 1)) for n in image.shape[:2])
    return image[y : y + max_side, x : x + max_side]


def _coloured(
    textures: Sequence[np.ndarray],
    recipe: TrainingSceneRecipe,
    rng: np.random.RandomState,
) -> list[np.ndarray]:
    """Grey textures in colour: by a palette, or by mixing two of them."""
    coloured = []
    for texture in textures:
        if rng.uniform() < recipe.palette_share:
            coloured.append(_palette(recipe, rng)[texture])
            continue
        second = textures[rng.randint(len(textures))]
        share = rng.uniform(size=3)
        mixed = share * texture[..., np.newaxis] + (1 - share) * second[..., np.newaxis]
        coloured.append(np.rint(mixed).astype(np.uint8))
    return coloured


def _palette(recipe: TrainingSceneRecipe, rng: np.random.RandomState) -> np.ndarray:
    """A colour for each of 256 grey levels, similar for similar levels, uint8."""
    knots = np.linspace(0, 255, recipe.n_colours)
    spread = rng.uniform(*recipe.saturation)
    deviations = rng.normal(0, spread, size=(recipe.n_colours, 3))
    channels = [
        np.interp(np.arange(256), knots, knots + deviation)
        for deviation in deviations.T
    ]
    return np.rint(np.clip(channels, 0, 255)).T.astype(np.uint8)

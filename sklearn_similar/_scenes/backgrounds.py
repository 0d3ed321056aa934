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

    Returns
    -------
    list of ndarray of shape (height, width) or (height, width, n_channels), uint8
        The textures, and eight views of each image.
    """
    textures = make_textures(n_textures, recipe.texture_size, rng)
    if n_channels == 3:
        textures = _coloured(textures, recipe, rng)
    backgrounds = [*textures, *vary_views(images, rng)]
    return [
        with_channels(
            255 - image if rng.uniform() < recipe.negative_share else image, n_channels
        )
        for image in backgrounds
    ]


def vary_views(
    images: Sequence[np.ndarray], rng: np.random.RandomState
) -> list[np.ndarray]:
    """Eight views of each image: rotated or mirrored, of random size and gamma."""
    views = []
    for image in images:
        for view in range(8):
            rotated = np.rot90(image[:, :: -1 if view % 2 else 1], view // 2)
            scale = np.exp(rng.uniform(np.log(0.5), np.log(1.5)))
            height, width = (max(1, round(scale * n)) for n in rotated.shape[:2])
            resized = resize(rotated, (height, width)) / 255
            views.append(to_uint8(resized ** rng.uniform(0.7, 1.4)))
    return views


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

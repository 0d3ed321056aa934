"""Training scenes of instances that have the luma of the background behind them.

Next to bright objects, a recogniser has to know objects that differ from their
background in colour alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .._images.images import to_grey
from .pasting import cover_scenes, paste_scenes
from .rendering import random_crop
from .scattered import ScatteredRecipe
from .scene import Scene, SceneImages


@dataclass(frozen=True, kw_only=True)
class IsoluminantRecipe(ScatteredRecipe):
    """Scenes of instances in the luma of their background.

    Attributes
    ----------
    background : {"black"}
        Instances are pasted on black first, which shows their opacity.
    negative_every : int, default=0
        In the negative, instances would be no darker than the background.
    min_colour : float, default=25 / 255
        Minimum change of any channel by the colour of an instance: an instance
        whose colour alone is hardly visible keeps its luma.
    """

    background: str = "black"
    negative_every: int = 0
    min_colour: float = 25 / 255


def isoluminant_scenes(
    images: SceneImages,
    recipe: IsoluminantRecipe,
    n_scenes: int,
    rng: np.random.RandomState,
) -> Iterator[Scene]:
    """Scenes on background images, from their plain mean to their full contrast."""
    size = recipe.side, recipe.side
    backgrounds = cover_scenes(images.backgrounds, size, 3)
    for on_black in paste_scenes(images, recipe.scene_recipe(images), n_scenes, rng):
        background = faded_crop(backgrounds, size, rng)
        yield paste_in_luma_of(background, on_black, recipe.min_colour)


def faded_crop(
    backgrounds: Sequence[np.ndarray],
    size: tuple[int, int],
    rng: np.random.RandomState,
) -> torch.Tensor:
    """A random part of one of the images, 3 x height x width, of random contrast."""
    image = backgrounds[rng.randint(len(backgrounds))]
    crop = random_crop(image, size, rng).astype(np.float32)
    mean = crop.mean(axis=(0, 1))
    return Scene.from_levels(mean + np.float32(rng.uniform()) * (crop - mean)).pixels


def paste_in_luma_of(
    background: torch.Tensor, on_black: Scene, min_colour: float
) -> Scene:
    """Move instances from black onto a background, 3 x height x width, in its luma.

    On black, the brightest channel of a pixel is its opacity. Instances whose colour
    changes every channel by less than `min_colour` keep their luma.
    """
    opacity = on_black.pixels.amax(dim=0, keepdim=True)
    change = on_black.pixels - opacity * background
    luma = to_grey(change)[np.newaxis]
    for x_min, y_min, x_max, y_max in on_black.boxes.astype(int):
        box = np.s_[:, y_min:y_max, x_min:x_max]
        if (change[box] - luma[box]).abs().max() < min_colour:
            luma[box] = 0
    pixels = (background + change - luma).clamp(0, 1)
    return replace(on_black, pixels=pixels)

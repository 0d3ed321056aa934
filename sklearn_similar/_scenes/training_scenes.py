"""Scenes that a localizer is trained on, of all kinds."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .isoluminant import IsoluminantRecipe, isoluminant_scenes
from .lines import LineRecipe, line_scenes
from .recipe import TrainingSceneRecipe
from .scattered import ScatteredRecipe, scattered_scenes
from .scene import KindRecipe, Scene, SceneImages
from .touching import TouchingRecipe, touching_scenes

# (images, recipe of the kind, number of scenes, random generator) -> scenes
MakeScenes = Callable[[SceneImages, Any, int, np.random.RandomState], Iterator[Scene]]

# A new kind of scene is a recipe and a function in a file, and an entry here.
SCENE_KINDS: dict[type[KindRecipe], MakeScenes] = {
    ScatteredRecipe: scattered_scenes,
    IsoluminantRecipe: isoluminant_scenes,
    TouchingRecipe: touching_scenes,
    LineRecipe: line_scenes,
}


def training_scenes(
    images: np.ndarray,
    backgrounds: Sequence[np.ndarray],
    n_instances: int,
    rotation: float,
    recipe: TrainingSceneRecipe,
    rng: np.random.RandomState,
) -> Iterator[Scene]:
    """Scenes with about so many instances, kind by kind.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, n_channels)
        One object each, uint8; labels of the scenes are their rows.
    backgrounds : sequence of ndarray
        Images without instances, of any sizes, uint8.
    n_instances : int
        Training crops of instances that are asked for.
    rotation : float
        Maximum angle of an instance in degrees, either way; those that touch, and line
        drawings, stand upright.
    recipe : TrainingSceneRecipe
    rng : RandomState

    Yields
    ------
    Scene
    """
    masks = cut_out_masks(images.shape[:3], rng) if recipe.has_masks else None
    scene_images = SceneImages(images, backgrounds, masks)
    for kind in recipe.kinds_for(images):
        kind = kind.adapted_to(scene_images.side, rotation)
        make_scenes = SCENE_KINDS[type(kind)]
        scenes = make_scenes(scene_images, kind, kind.n_scenes(n_instances), rng)
        for index, scene in enumerate(scenes):
            scene = scene.rounded(recipe.n_levels)
            yield scene
            if kind.negative_every and index % kind.negative_every == 0:
                yield scene.negative()


def n_scenes(images: np.ndarray, n_instances: int, recipe: TrainingSceneRecipe) -> int:
    """Number of the scenes of `training_scenes`, negatives among them."""
    total = 0
    for kind in recipe.kinds_for(images):
        n = kind.adapted_to(max(images.shape[1:3]), 0).n_scenes(n_instances)
        total += n + kind.n_negatives(n)
    return total


def cut_out_masks(shape: tuple[int, ...], rng: np.random.RandomState) -> np.ndarray:
    """Masks, n x height x width, of all of an image, or of an ellipse in it."""
    n, height, width = shape
    y, x = ((2 * np.arange(length) + 1) / length - 1 for length in (height, width))
    radius = np.hypot(y[:, np.newaxis], x)
    ellipse = np.clip((1 - radius) * min(height, width) / 2 + 0.5, 0, 1)
    masks = np.stack([np.full((height, width), 255), np.rint(255 * ellipse)])
    return masks.astype(np.uint8)[rng.randint(2, size=n)]

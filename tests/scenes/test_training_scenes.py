"""Scenes of all kinds, for images of any size."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from sklearn_similar._scenes.isoluminant import IsoluminantRecipe
from sklearn_similar._scenes.lines import LineRecipe
from sklearn_similar._scenes.recipe import TrainingSceneRecipe, scene_recipe
from sklearn_similar._scenes.scene import KindRecipe, Scene
from sklearn_similar._scenes.textures import make_textures
from sklearn_similar._scenes.training_scenes import (
    SCENE_KINDS,
    cut_out_masks,
    n_scenes,
    training_scenes,
)
from sklearn_similar.datasets import load_mnist_sample

IMAGES = load_mnist_sample().X_train[::50]
ON_BLACK, WITH_CONTEXT = scene_recipe(False), scene_recipe(True)


def scenes(images=IMAGES, n_instances=200, rotation=10.0, recipe=ON_BLACK):
    rng = np.random.RandomState(0)
    backgrounds = make_textures(3, (100, 100), rng)
    return list(
        training_scenes(images, backgrounds, n_instances, rotation, recipe, rng)
    )


@pytest.fixture(scope="module")
def digit_scenes():
    return scenes()


def test_as_many_scenes_are_made_as_announced(digit_scenes):
    assert len(digit_scenes) == n_scenes(IMAGES, 200, ON_BLACK)
    n_instances = sum((scene.labels >= 0).sum() for scene in digit_scenes)
    assert 150 < n_instances < 500


def test_nothing_is_an_instance_in_the_wrong_polarity(digit_scenes):
    wrong = [i for i, scene in enumerate(digit_scenes) if (scene.labels == -1).all()]
    assert len(wrong) >= 3
    for index in wrong:
        bright, dark = digit_scenes[index - 1 : index + 1]
        assert_array_equal(dark.pixels, 1 - bright.pixels)
        assert_array_equal(dark.boxes, bright.boxes)


def test_the_last_scenes_of_strokes_are_line_drawings_and_of_surfaces_are_not(
    digit_scenes,
):
    disc = np.uint8(255 * (np.hypot(*np.mgrid[-14:14, -14:14] + 0.5) < 11))
    for made, has_lines in ((digit_scenes, True), (scenes(disc[np.newaxis]), False)):
        levels = made[-1].pixels[0].numpy()
        is_wide = ndimage.binary_erosion(levels > 0, np.ones((3, 3)))
        assert (is_wide.sum() < 0.02 * (levels > 0).sum()) == has_lines


@pytest.mark.parametrize("n_channels", [None, 1, 3])
def test_images_decide_on_the_kinds_of_scenes(n_channels):
    images = IMAGES
    if n_channels is not None:
        images = np.repeat(IMAGES[..., np.newaxis], n_channels, axis=3)
    kinds = [type(kind) for kind in ON_BLACK.kinds_for(images)]
    assert (IsoluminantRecipe in kinds) == (n_channels == 3)
    assert LineRecipe in kinds
    # Crops with their surroundings have no strokes and no luma on black.
    kinds = {type(kind) for kind in WITH_CONTEXT.kinds_for(images)}
    assert len(kinds) == 1


def test_in_colour_a_third_of_the_scenes_on_images_are_isoluminant():
    share = {kind.background: kind.share for kind in ON_BLACK.kinds[:3]}
    shares = [kind.share for kind in ON_BLACK.kinds_in_colour[1:3]]
    assert sum(shares) == pytest.approx(share["images"])
    assert shares[1] / sum(shares) == pytest.approx(1 / 3, abs=0.03)


def test_images_with_context_hide_the_background():
    images = np.full((5, 28, 28), 100, np.uint8)
    kinds = tuple(replace(kind, noisy_share=0) for kind in WITH_CONTEXT.kinds)
    recipe = replace(WITH_CONTEXT, kinds=kinds)
    made = scenes(images, recipe=recipe)
    assert len(made) == n_scenes(images, 200, recipe)
    shares = []
    for scene in made:
        for box, label in zip(scene.boxes.astype(int), scene.labels, strict=True):
            if label >= 0:
                x_min, y_min, x_max, y_max = box
                inside = 255 * scene.pixels[0, y_min:y_max, x_min:x_max].numpy()
                height, width = inside.shape
                middle = inside[height // 4 : -height // 4, width // 4 : -width // 4]
                assert_allclose(middle, 100, atol=0.01)
                shares.append((abs(inside - 100) < 2).mean())
    assert min(shares) < 0.85 < max(shares)


def test_masks_are_of_the_whole_image_or_of_an_ellipse():
    masks = cut_out_masks((200, 20, 30), np.random.RandomState(0))
    whole, ellipse = np.unique(masks, axis=0)[::-1]
    assert (whole == 255).all()
    assert abs(ellipse.mean() / 255 - np.pi / 4) < 0.03
    assert ellipse[0, 0] == 0
    assert min(ellipse[10, 0], ellipse[0, 15]) > 255 * 0.2
    assert 60 < (masks == 255).all(axis=(1, 2)).sum() < 140


@pytest.mark.parametrize(("side", "rotation"), [(40, 45), (128, 0), (200, 45)])
def test_images_that_are_full_to_the_edges_find_room(side, rotation):
    images = np.full((3, side, side), 255, np.uint8)
    made = scenes(images, 60, rotation)
    assert sum(len(scene.boxes) for scene in made) > 20


@pytest.mark.parametrize("side", [1, 6, 60, 200])
def test_images_of_any_size_have_about_their_size_in_scenes(side):
    images = np.stack([ndimage.zoom(image, side / 28, order=1) for image in IMAGES[:5]])
    images = np.maximum(images, 1)
    made = scenes(images, 20)
    assert len(made) == n_scenes(images, 20, ON_BLACK)
    boxes = np.concatenate([scene.boxes for scene in made])
    heights = boxes[:, 3] - boxes[:, 1]
    assert len(boxes) > 10
    assert heights.max() < 2.5 * side + 1
    assert heights.max() > 0.7 * side
    for scene in made:
        assert len(scene.boxes) == len(scene.labels)
        height, width = scene.pixels.shape[1:]
        assert (scene.boxes >= 0).all()
        assert (scene.boxes <= [width, height, width, height]).all()


def test_a_new_kind_is_a_recipe_and_an_entry(monkeypatch):
    class Plain(KindRecipe):
        pass

    def plain_scenes(images, recipe, n_scenes, rng):
        assert images.instances is IMAGES
        for _ in range(n_scenes):
            yield Scene.from_levels(np.full((recipe.side, recipe.side), 51))

    monkeypatch.setitem(SCENE_KINDS, Plain, plain_scenes)
    kinds = (Plain(share=0.01, side=30, negative_every=2),)
    recipe = TrainingSceneRecipe(kinds=kinds)
    made = scenes(n_instances=300, recipe=recipe)
    levels = [round(scene.pixels.unique().item(), 3) for scene in made]
    assert levels == [0.2, 0.8, 0.2, 0.2, 0.8]
    assert replace(recipe, kinds=()).kinds_for(IMAGES) == []

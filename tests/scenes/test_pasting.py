"""Scenes of float pixels; `make_scenes`, which rounds them, has the other tests."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar._scenes.pasting import (
    SceneRecipe,
    cover_scenes,
    paste,
    paste_scenes,
)
from sklearn_similar._scenes.scene import SceneImages
from sklearn_similar.datasets import load_mnist_sample

IMAGES = load_mnist_sample().X_train[::50]
RECIPE = SceneRecipe(
    size=(90, 120), n_instances=(2, 6), scale=(0.5, 1.5), contrast=(0.3, 0.9)
)


def rng():
    return np.random.RandomState(0)


@pytest.mark.parametrize("background", ["black", "noise", "images"])
@pytest.mark.parametrize("polarity", ["bright", "dark"])
def test_8_bit_scenes_are_rounded_scenes(background, polarity):
    texture = rng().randint(256, size=(100, 130)).astype(np.uint8)
    images = SceneImages(IMAGES, [texture])
    recipe = replace(RECIPE, background=background, polarity=polarity)
    scene = paste(images, recipe, rng())
    rounded = paste(images, replace(recipe, is_8_bit=True), rng())
    assert scene.pixels.shape == (1, 90, 120)
    assert 0 <= scene.pixels.min() < scene.pixels.max() <= 1
    levels = 255 * rounded.pixels.numpy()
    assert_allclose(levels, np.rint(levels), atol=1e-4)
    assert_allclose(levels, 255 * scene.pixels, atol=0.5001)
    assert_array_equal(rounded.boxes, scene.boxes)
    assert_array_equal(rounded.labels, scene.labels)


def test_an_instance_is_its_image_at_the_contrast_over_the_background():
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 6:22] = 255
    background = np.full((90, 120), 51, np.uint8)
    recipe = replace(
        RECIPE,
        n_instances=(1, 1),
        scale=(1, 1),
        contrast=(0.5, 0.5),
        background="images",
    )
    scene = paste(SceneImages(image, [background]), recipe, rng())
    (x_min, y_min, x_max, y_max) = scene.boxes[0].astype(int)
    assert (x_max - x_min, y_max - y_min) == (16, 20)
    pixels = scene.pixels[0].clone()
    assert_allclose(pixels[y_min:y_max, x_min:x_max], 0.5 * 1 + 0.5 * 0.2, atol=1e-6)
    pixels[y_min:y_max, x_min:x_max] = 0.2
    assert_allclose(pixels, 0.2, atol=1e-6)


def test_a_scene_is_the_same_however_many_follow_it():
    images = SceneImages(IMAGES)
    few, many = (list(paste_scenes(images, RECIPE, n, rng())) for n in (2, 4))
    for first, second in zip(few, many, strict=False):
        assert_array_equal(first.pixels, second.pixels)
        assert_array_equal(first.boxes, second.boxes)
    assert not np.array_equal(many[0].pixels, many[1].pixels)


def test_backgrounds_get_the_channels_and_cover_the_scene():
    colour = np.zeros((30, 40, 3), np.uint8)
    colour[..., 1] = 100
    for n_channels, shape in ((None, ()), (1, (1,)), (3, (3,))):
        grey, covered = cover_scenes([colour[..., 1], colour], (60, 50), n_channels)
        for image in (grey, covered):
            assert image.shape[0] >= 60
            assert image.shape[1] >= 50
            assert image.shape[2:] == shape
        assert np.unique(covered[..., 0] if n_channels == 3 else covered).tolist() == (
            [0] if n_channels == 3 else [59]
        )


def test_a_scene_is_full_after_so_many_misses_in_a_row():
    images = SceneImages(np.full((1, 20, 20), 255, np.uint8))
    recipe = SceneRecipe(size=(40, 40), n_instances=(1, 60), scale=(0.1, 1))
    n_instances = [
        sum(
            len(scene.boxes)
            for scene in paste_scenes(images, replace(recipe, max_misses=n), 5, rng())
        )
        for n in (1, 5, 20)
    ]
    assert n_instances == sorted(set(n_instances))

"""Variants of training images."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from sklearn_similar._scenes.recipe import scene_recipe
from sklearn_similar._scenes.restyling import restyle

ON_BLACK, WITH_CONTEXT = scene_recipe(False), scene_recipe(True)
RADIUS = np.hypot(*np.mgrid[-14:14, -14:14] + 0.5)


def variants(image, recipe, n):
    rng = np.random.RandomState(0)
    return np.array([restyle(image, recipe, rng) for _ in range(n)])


def test_images_with_context_continue_beyond_their_edges():
    image = np.full((28, 28), 100, np.uint8)
    for variant in variants(image, WITH_CONTEXT, 20):
        assert_array_equal(variant, image)
    assert (variants(image, ON_BLACK, 20) == 0).any()


@pytest.mark.parametrize("shape", [(28, 20), (15, 30, 1), (28, 28, 3)])
def test_variants_have_the_shape_and_type_of_the_image(shape):
    image = np.zeros(shape, np.uint8)
    image[3:10, 4:16] = 200
    for recipe in (ON_BLACK, WITH_CONTEXT):
        made = variants(image, recipe, 20)
        assert made.dtype == np.uint8
        assert made.shape == (20, *shape)
        assert (made != image).any()


def test_some_strokes_become_a_pixel_wide_and_mostly_stay_whole():
    ring = np.uint8(255 * ((RADIUS > 7) & (RADIUS < 11)))
    made = variants(ring, ON_BLACK, 300)
    is_thin = np.array(
        [
            not ndimage.binary_erosion(image > 60, np.ones((3, 3))).any()
            for image in made
        ]
    )
    assert 0.1 < is_thin.mean() < 0.4
    thin = made[is_thin]
    assert (thin.max(axis=(1, 2)) == 255).all()
    n_parts = [ndimage.label(image > 60, np.ones((3, 3)))[1] for image in thin]
    assert np.mean(np.array(n_parts) == 1) > 0.9


def test_surfaces_are_not_thinned():
    disc = np.uint8(255 * (RADIUS < 11))
    made = variants(disc, ON_BLACK, 100)
    assert ((made > 127).sum(axis=(1, 2)) > 200).all()


def test_strokes_that_vanish_stay_as_they_are():
    dot = np.zeros((28, 28), np.uint8)
    dot[10, 10] = 255
    assert (variants(dot, ON_BLACK, 50).max(axis=(1, 2)) >= 127).all()

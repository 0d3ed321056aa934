"""The scene, and recipes of its kinds for images of any size."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar._scenes.scene import KindRecipe, Scene, scale_within


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_levels_become_channels_between_0_and_1(shape, dtype):
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    before = levels.copy()
    scene = Scene.from_levels(levels, [(1, 2, 3, 4)], [9])
    assert scene.pixels.dtype == torch.float32
    assert scene.pixels.is_contiguous()
    expected = np.atleast_3d(levels).transpose(2, 0, 1).astype(np.float32) / 255
    assert_array_equal(scene.pixels, expected)
    assert_array_equal(levels, before)
    assert scene.boxes.dtype == np.float64
    assert scene.boxes.tolist() == [[1, 2, 3, 4]]
    assert scene.labels.tolist() == [9]


def test_a_scene_may_be_empty():
    scene = Scene.from_levels(np.zeros((4, 5)))
    assert scene.boxes.shape == (0, 4)
    assert scene.labels.shape == (0,)
    assert np.issubdtype(scene.labels.dtype, np.integer)


def test_nothing_is_an_instance_in_the_negative():
    scene = Scene.from_levels(np.float32([[0, 51], [255, 300]]), [(0, 0, 1, 2)], [4])
    negative = scene.negative()
    assert_allclose(negative.pixels, [[[1, 0.8], [0, 0]]], atol=1e-6)
    assert_array_equal(negative.boxes, scene.boxes)
    assert negative.labels.tolist() == [-1]
    assert scene.labels.tolist() == [4]


@pytest.mark.parametrize(
    ("image_side", "side", "n_scenes"),
    # The side grows with the root, and threefold at most; in each scene of images of
    # 112 pixels, there is room for a quarter of the instances.
    [(6, 320, 10), (28, 320, 10), (112, 640, 40), (1120, 960, 1778)],
)
def test_scenes_of_large_images_are_larger_and_more(image_side, side, n_scenes):
    adapted = KindRecipe(share=0.01, side=320).adapted_to(image_side, rotation=0)
    assert adapted.side == side
    assert adapted.n_scenes(1000) == n_scenes


def test_there_is_a_negative_of_the_first_of_so_many_scenes():
    kind = KindRecipe(share=0.01, side=320, negative_every=4)
    assert [kind.n_negatives(n) for n in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]
    assert KindRecipe(share=0.01, side=320).n_negatives(8) == 0


def test_a_range_of_scales_stays_a_range_below_its_maximum():
    assert scale_within((0.4, 2.0), 5) == (0.4, 2.0)
    assert scale_within((0.4, 2.0), 1) == (0.4, 1)
    assert scale_within((0.4, 2.0), 0.5) == (0.25, 0.5)

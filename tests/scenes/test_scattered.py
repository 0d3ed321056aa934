"""Training scenes of scattered instances."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_similar._scenes.scattered import (
    ScatteredRecipe,
    add_noise,
    scattered_scenes,
)
from sklearn_similar._scenes.scene import Scene, SceneImages
from sklearn_similar.datasets import load_mnist_sample

IMAGES = load_mnist_sample().X_train[::50]


def recipe(**figures):
    return ScatteredRecipe(
        **{
            "background": "images",
            "share": 0.01,
            "side": 120,
            "n_instances": (3, 6),
            "contrast": (0.5, 1),
            **figures,
        }
    )


def scenes(kind, n_scenes=6, images=IMAGES, backgrounds=()):
    rng = np.random.RandomState(0)
    return list(scattered_scenes(SceneImages(images, backgrounds), kind, n_scenes, rng))


def test_instances_are_bright_in_their_boxes():
    for background in ("black", "noise", "images"):
        dim = {"background": background, "background_brightness": (0.2, 0.3)}
        texture = np.random.default_rng(0).integers(256, size=(50, 60), dtype=np.uint8)
        made = scenes(recipe(**dim), backgrounds=[texture])
        assert len(made) == 6
        for scene in made:
            assert scene.pixels.shape == (1, 120, 120)
            assert 3 <= len(scene.boxes) == len(scene.labels) <= 6
            for x_min, y_min, x_max, y_max in scene.boxes.astype(int):
                inside = scene.pixels[0, y_min:y_max, x_min:x_max]
                assert inside.max() > np.median(scene.pixels)


def test_as_many_scenes_are_noisy_as_asked_for():
    plain = np.full((130, 130), 100, np.uint8)
    for share, n_noisy in ((0, {0}), (0.5, range(5, 16)), (1, {20})):
        made = scenes(recipe(noisy_share=share), 20, backgrounds=[plain])
        # Between instances, a scene is as even as the image behind it.
        steps = [np.abs(np.diff(scene.pixels)) > 0.01 for scene in made]
        assert sum(step.mean() > 0.5 for step in steps) in n_noisy


@pytest.mark.parametrize("n_channels", [1, 3])
def test_noise_has_its_deviation_in_each_channel(n_channels):
    scene = Scene.from_levels(np.full((200, 210, n_channels), 128))
    noisy = add_noise(scene, 0.1, np.random.RandomState(0)).pixels
    assert noisy.shape == scene.pixels.shape
    assert_allclose(noisy.mean(axis=(1, 2)), 128 / 255, atol=0.01)
    assert_allclose(noisy.std(axis=(1, 2)), 0.1, atol=0.005)
    loud = add_noise(scene, 2.0, np.random.RandomState(0)).pixels
    assert loud.min() == 0
    assert loud.max() == 1


def test_scenes_of_large_images_hold_fewer_instances():
    adapted = recipe(n_instances=(8, 20)).adapted_to(112, rotation=30)
    assert adapted.n_instances == (1, 5)
    assert adapted.rotation == 30
    unchanged = recipe(n_instances=(8, 20)).adapted_to(20, rotation=30)
    assert unchanged.n_instances == (8, 20)
    assert unchanged.rotation == 30


def test_instances_are_rotated_by_the_angle_asked_for():
    bar = np.zeros((1, 28, 28), np.uint8)
    bar[:, 13:15, 4:24] = 255
    for rotation, is_upright in ((0.0, False), (90.0, True)):
        kind = recipe(background="black").adapted_to(28, rotation)
        boxes = np.concatenate([scene.boxes for scene in scenes(kind, 4, bar)])
        width, height = (boxes[:, 2:] - boxes[:, :2]).T
        assert (height > width).any() == is_upright


def test_even_the_largest_instance_leaves_room():
    images = np.full((2, 200, 200), 255, np.uint8)
    for scene in scenes(recipe(background="black", n_instances=(1, 3)), 4, images):
        sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
        assert len(sides) >= 1
        assert sides.max() <= 0.6 * 120 + 1

"""Training scenes of instances that differ from the background in colour alone."""

import numpy as np
import torch
from numpy.testing import assert_allclose

from sklearn_similar._scenes.isoluminant import (
    IsoluminantRecipe,
    faded_crop,
    isoluminant_scenes,
    paste_in_luma_of,
)
from sklearn_similar._scenes.scene import Scene, SceneImages
from sklearn_similar.datasets import load_mnist_sample

DIGITS = load_mnist_sample().X_train[::50]
LUMA = torch.tensor([0.299, 0.587, 0.114])


def luma(pixels):
    return torch.tensordot(LUMA, pixels, 1)


def scenes(colour):
    """Scenes of digits in one colour on a plain grey image."""
    images = np.uint8(DIGITS[..., np.newaxis] * np.array(colour))
    plain = np.full((130, 130), 100, np.uint8)
    recipe = IsoluminantRecipe(
        share=0.01, side=120, n_instances=(3, 6), contrast=(0.5, 1)
    )
    rng = np.random.RandomState(0)
    return list(isoluminant_scenes(SceneImages(images, [plain]), recipe, 5, rng))


def test_coloured_instances_have_the_luma_of_the_background():
    for scene in scenes((1, 0.4, 0.4)):
        assert_allclose(luma(scene.pixels), 100 / 255, atol=0.004)
        assert (scene.labels >= 0).all()
        for x_min, y_min, x_max, y_max in scene.boxes.astype(int):
            inside = scene.pixels[:, y_min:y_max, x_min:x_max]
            assert np.ptp(inside.numpy(), axis=0).max() > 0.1


def test_instances_without_a_colour_keep_their_luma():
    for scene in scenes((1, 1, 1)):
        for x_min, y_min, x_max, y_max in scene.boxes.astype(int):
            assert luma(scene.pixels)[y_min:y_max, x_min:x_max].max() > 0.6


def test_the_background_shows_around_the_instances():
    on_black = Scene.from_levels(np.zeros((20, 30, 3)), [(5, 5, 15, 15)], [0])
    on_black.pixels[0, 5:15, 5:15] = 0.5
    background = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    background = 0.4 + 0.2 * background
    pasted = paste_in_luma_of(background, on_black, 25 / 255)
    is_outside = (on_black.pixels == 0).all(dim=0)
    assert torch.equal(pasted.pixels[:, is_outside], background[:, is_outside])
    assert_allclose(luma(pasted.pixels), luma(background), atol=1e-6)
    # Half red over the background, less the change of luma.
    red = 0.5 * background[:, 5:15, 5:15]
    red[0] += 0.5
    red -= luma(red - background[:, 5:15, 5:15])
    assert_allclose(pasted.pixels[:, 5:15, 5:15], red, atol=1e-6)


def test_backgrounds_fade_between_their_mean_and_their_full_contrast():
    image = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    rng = np.random.RandomState(0)
    crops = torch.stack([faded_crop([image], (60, 60), rng) for _ in range(30)])
    assert_allclose(crops.mean(dim=(1, 2, 3)), image.mean() / 255, atol=0.01)
    deviation = crops.std(dim=(1, 2, 3)) / (image.std() / 255)
    assert deviation.min() < 0.2
    assert 0.8 < deviation.max() < 1.05

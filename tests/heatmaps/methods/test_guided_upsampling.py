"""Guided upsampling of heatmaps, against ridge regression by scikit-learn."""

import numpy as np
import pytest
import torch
from heat import draw
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from sklearn_similar._heatmaps.methods.guided_upsampling import upsample_guided
from sklearn_similar._network.activations import FeatureMaps
from sklearn_similar._network.receptive_field import ReceptiveField


def by_scikit_learn(activations, heat):
    """Heat on the grid of the activations of an image, as those predict it."""
    features = np.maximum(activations, 0).reshape(len(activations), -1).T
    scaled = StandardScaler().fit_transform(features.astype(float))
    ridge = Ridge(alpha=0.1 * len(scaled)).fit(scaled, heat.ravel())
    return np.maximum(ridge.predict(scaled), 0).reshape(heat.shape)


def test_guided_upsamplings_are_what_ridge_regression_predicts():
    maps, heat = draw(np.random.default_rng(0))
    result = upsample_guided(heat, maps, (24, 27))
    assert result.shape == heat.shape
    for index in range(3):
        on_grid = heat[index, 0, ::2, ::3].numpy()
        expected = by_scikit_learn(maps.activations[index].numpy(), on_grid)
        np.testing.assert_allclose(
            result[index, 0, ::2, ::3], expected, rtol=1e-3, atol=1e-5
        )


def test_constant_filters_and_blank_images_change_nothing():
    maps, heat = draw(np.random.default_rng(1))
    maps.activations[:, 2] = 0.7
    maps.activations[1] = -1
    result = upsample_guided(heat, maps, (24, 27))
    activations = np.delete(maps.activations[0].numpy(), 2, axis=0)
    expected = by_scikit_learn(activations, heat[0, 0, ::2, ::3].numpy())
    np.testing.assert_allclose(result[0, 0, ::2, ::3], expected, rtol=1e-3, atol=1e-5)
    # In a blank image, the mean heat is predicted at every place.
    mean = heat[1, 0, ::2, ::3].mean().expand(24, 27)
    torch.testing.assert_close(result[1, 0], mean)


@pytest.mark.parametrize("is_bright", [True, False])
def test_coarse_heat_gets_the_edges_of_bright_and_of_dark_objects(is_bright):
    """A mean of early activations would only get those of bright ones."""
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 10:24] = 1
    brightness = mask if is_bright else 1 - mask
    activations = torch.cat([brightness, torch.rand(1, 3, 32, 32)], dim=1)
    maps = FeatureMaps(activations, ReceptiveField((1, 1), (0.0, 0.0)), False)
    coarse = torch.nn.functional.avg_pool2d(mask, 9, 1, 4)
    result = upsample_guided(coarse, maps, (32, 32))
    inside, outside = result[mask > 0], result[mask == 0]
    assert inside.min() > outside.max()


def test_an_outline_does_not_depend_on_the_other_images():
    maps, heat = draw(np.random.default_rng(2), shape=(9, 5, 12, 9))
    every = upsample_guided(heat, maps, (24, 27))
    alone = upsample_guided(
        heat[4:5], maps._replace(activations=maps.activations[4:5]), (24, 27)
    )
    assert torch.equal(every[4:5], alone)


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_very_bright_and_very_dark_images_have_the_same_outlines(scale):
    maps, heat = draw(np.random.default_rng(3))
    expected = upsample_guided(heat, maps, (24, 27))
    scaled = maps._replace(activations=maps.activations * scale)
    torch.testing.assert_close(upsample_guided(heat, scaled, (24, 27)), expected)

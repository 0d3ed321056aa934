"""Pooling of boxes, against loops over cells."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn import config_context

from sklearn_similar._network.backbone import FeatureMap
from sklearn_similar._search.pooling import PooledMaps, PoolingRecipe

RECIPE = PoolingRecipe(n_bins=3, context=2.0)


def feature_map(shape=(2, 13, 17), stride=8.0, start=3.5, seed=0):
    values = torch.from_numpy(
        np.random.default_rng(seed).random((1, *shape)).astype(np.float32)
    )
    return FeatureMap(values, (stride, stride), (start, start))


def naive_mean(values, x_min, y_min, x_max, y_max):
    """Mean of cells, weighted by their area in a box; cell i covers i to i + 1."""
    total, area = np.zeros(len(values)), 0.0
    for row in range(values.shape[1]):
        height = min(y_max, row + 1) - max(y_min, row)
        for column in range(values.shape[2]):
            width = min(x_max, column + 1) - max(x_min, column)
            if height > 0 and width > 0:
                total += height * width * values[:, row, column]
                area += height * width
    return total / area


def naive_features(feature, box, scale=1.0, origin=(0.0, 0.0), recipe=RECIPE):
    """Bins from the top, row by row, then the bin of the context."""
    values = feature.values[0].numpy().astype(np.float64)
    pixels = (np.reshape(box, (2, 2)) - origin) * scale
    # The centre of a cell is the centre of the pixel start + stride * index.
    first = np.array(feature.start[::-1]) + 0.5 - np.array(feature.stride[::-1]) / 2
    (x_min, y_min), (x_max, y_max) = (pixels - first) / feature.stride[::-1]
    x = np.linspace(x_min, x_max, recipe.n_bins + 1)
    y = np.linspace(y_min, y_max, recipe.n_bins + 1)
    bins = [
        naive_mean(values, x[j], y[i], x[j + 1], y[i + 1])
        for i in range(recipe.n_bins)
        for j in range(recipe.n_bins)
    ]
    centre, half = (
        np.array([x_min + x_max, y_min + y_max]) / 2,
        np.array([x_max - x_min, y_max - y_min]) / 2 * recipe.context,
    )
    return np.concatenate(
        [*bins, naive_mean(values, *(centre - half), *(centre + half))]
    )


def boxes_inside(n, seed=1):
    """Boxes with sides of 24 to 50 pixels, whose context is in 136 x 104 pixels."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(24, 50, (n, 2))
    corner = sides / 2 + rng.uniform(0, 1, (n, 2)) * ([136, 104] - 2 * sides)
    return np.hstack([corner, corner + sides])


def test_bins_are_means_weighted_by_area():
    feature = feature_map()
    boxes = boxes_inside(20)
    features = PooledMaps([feature], 1.0, (0, 0), RECIPE).features(boxes)
    assert features.dtype == np.float32
    assert features.shape == (20, 2 * 10)
    expected = [naive_features(feature, box) for box in boxes]
    assert_allclose(features, expected, atol=2e-5)


def test_maps_of_several_strides_follow_one_another():
    maps = [feature_map(), feature_map((3, 7, 9), 16.0, 7.5, seed=2)]
    boxes = boxes_inside(6)
    pooled = PooledMaps(maps, 1.0, (0, 0), RECIPE)
    assert pooled.n_features == 5 * 10
    expected = [
        np.concatenate([naive_features(feature, box) for feature in maps])
        for box in boxes
    ]
    assert_allclose(pooled.features(boxes), expected, atol=2e-5)


def test_boxes_are_in_pixels_of_the_image_that_was_resized_and_cut():
    feature = feature_map()
    boxes = boxes_inside(6) * 2 + np.tile([40, 24], 2)
    pooled = PooledMaps([feature], 0.5, (40, 24), RECIPE)
    expected = [naive_features(feature, box, 0.5, (40, 24)) for box in boxes]
    assert_allclose(pooled.features(boxes), expected, atol=2e-5)


def test_strides_of_both_axes_count():
    feature = FeatureMap(feature_map().values, (8.0, 4.0), (3.5, 1.0))
    boxes = boxes_inside(6) * [0.5, 1, 0.5, 1]
    pooled = PooledMaps([feature], 1.0, (0, 0), RECIPE)
    expected = [naive_features(feature, box) for box in boxes]
    assert_allclose(pooled.features(boxes), expected, atol=2e-5)


def test_a_number_of_bins_and_a_context_may_be_chosen():
    recipe = PoolingRecipe(n_bins=2, context=1.5)
    feature, boxes = feature_map(), boxes_inside(4)
    expected = [naive_features(feature, box, recipe=recipe) for box in boxes]
    pooled = PooledMaps([feature], 1.0, (0, 0), recipe)
    assert_allclose(pooled.features(boxes), expected, atol=2e-5)


def test_details_are_pooled_by_a_mean_and_a_generalised_mean():
    values = feature_map((3, 13, 17), seed=4).values
    values = torch.cat([values, values - 0.6], dim=1)
    details = FeatureMap(values, (8.0, 8.0), (3.5, 3.5))
    feature, boxes = feature_map((2, 7, 9), 16.0, 7.5), boxes_inside(8)
    recipe = PoolingRecipe(power=4.0)
    pooled = PooledMaps([feature], 1.0, (0, 0), recipe, details)
    positive = values[0].clamp(min=0).numpy().astype(np.float64)
    # Cell i covers 8 i to 8 i + 8 pixels, as its centre is that of pixel 8 i + 3.5.
    mean = [naive_mean(positive, *box / 8) for box in boxes]
    of_powers = [naive_mean(positive**4, *box / 8) for box in boxes]
    expected = np.hstack([pooled.features(boxes), mean, np.power(of_powers, 1 / 4)])
    result = pooled.features_and_details(boxes)
    assert result.dtype == np.float32
    assert_allclose(result, expected, atol=2e-6)


def test_details_of_large_and_of_no_boxes():
    feature = feature_map()
    pooled = PooledMaps([feature], 1.0, (0, 0), RECIPE, feature)
    assert pooled.features_and_details(np.empty((0, 4))).shape == (0, 20 + 4)
    boxes = np.array([[0, 0, 136, 104], [-40, -40, -10, -10], [50, 50, 50.1, 50.1]])
    values = feature.values[0].numpy()
    result = pooled.features_and_details(boxes)[:, -4:-2]
    assert_allclose(result[0], values.mean(axis=(1, 2)), rtol=1e-6)
    # The nearest half cell.
    assert_allclose(result[1], values[:, 0, 0], rtol=1e-6)
    assert_allclose(result[2], values[:, 6, 6], rtol=1e-6)
    with config_context(working_memory=0.01):
        assert_allclose(pooled.features_and_details(boxes)[:, -4:-2], result)


def test_generalised_means_of_weak_activations_are_exact():
    # The cubes of the strong activation are 10^15 times as large as those in the box.
    values = torch.full((1, 1, 200, 200), 0.01)
    values[0, 0, 3, 3] = 1000.0
    details = FeatureMap(values, (8.0, 8.0), (3.5, 3.5))
    pooled = PooledMaps([details], 1.0, (0, 0), RECIPE, details)
    box = np.array([[1504.0, 1504, 1544, 1544]])
    mean, generalised = pooled.features_and_details(box)[0, -2:]
    assert_allclose([mean, generalised], 0.01, rtol=0.02)


def test_large_maps_lose_no_precision():
    # Sums over a large map are a million times the smallest bin.
    feature = feature_map((3, 400, 500), 4.0, 1.5)
    boxes = np.array([[1900.0, 1500, 1930, 1540], [1960, 1560, 1964, 1563]])
    corners = feature.values[0, :, -60:, -60:]
    near = FeatureMap(corners[None], feature.stride, (1.5 + 4 * 340, 1.5 + 4 * 440))
    features = PooledMaps([feature], 1.0, (0, 0), RECIPE).features(boxes)
    expected = [naive_features(near, boxes[0])]
    assert_allclose(features[:1], expected, atol=1e-4)
    assert features[1].min() >= -1e-4
    assert features[1].max() <= 1 + 1e-4


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 136, 104),
        (0, 0, 2, 2),
        (130, 100, 136, 104),
        (-40, -40, -10, -10),
        (136, 104, 150, 130),
        (50, 50, 50.1, 50.1),
        (0, 40, 136, 42),
    ],
)
def test_features_of_any_box_are_within_the_range_of_the_map(box):
    feature = feature_map()
    features = PooledMaps([feature], 1.0, (0, 0), RECIPE).features(np.array([box]))
    values = feature.values.numpy()
    for filter_ in range(2):
        of_filter = features[0, filter_::2]
        assert of_filter.min() >= values[0, filter_].min() - 1e-5
        assert of_filter.max() <= values[0, filter_].max() + 1e-5


def test_beyond_the_border_are_the_values_at_the_border():
    values = torch.arange(17.0).expand(1, 1, 13, 17)
    feature = FeatureMap(values, (8.0, 8.0), (3.5, 3.5))
    boxes = np.array([[136.0, 40, 160, 64], [-24, 40, 0, 64]])
    features = PooledMaps([feature], 1.0, (0, 0), RECIPE).features(boxes)
    assert features[0].min() > 14.9
    assert features[1].max() < 1.2


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 9), (2, 2, 3)])
def test_tiny_maps_give_finite_features(shape):
    pooled = PooledMaps([feature_map(shape)], 1.0, (0, 0), RECIPE)
    features = pooled.features(np.array([[0.0, 0, 8, 8], [2, 3, 5, 5]]))
    assert np.isfinite(features).all()
    assert features.min() >= 0
    assert features.max() <= 1 + 1e-5


def test_no_boxes_have_no_features():
    pooled = PooledMaps([feature_map()], 1.0, (0, 0), RECIPE)
    assert pooled.features(np.empty((0, 4))).shape == (0, 20)
    assert pooled.pool(np.empty((0, 4))).shape == (0, 20)


def test_little_memory_changes_no_features():
    pooled = PooledMaps([feature_map()], 1.0, (0, 0), RECIPE)
    boxes = boxes_inside(30)
    whole = pooled.features(boxes)
    with config_context(working_memory=1e-3):
        assert_allclose(pooled.features(boxes), whole, rtol=1e-6)


def test_boxes_of_several_images_are_pooled_in_their_image():
    maps = [feature_map(seed=seed) for seed in range(3)]
    together = FeatureMap(
        torch.cat([feature.values for feature in maps]), (8.0, 8.0), (3.5, 3.5)
    )
    boxes, image = boxes_inside(9), np.arange(9) % 3
    pooled = PooledMaps([together], 1.0, (0, 0), RECIPE).pool(boxes, image)
    for number, feature in enumerate(maps):
        alone = PooledMaps([feature], 1.0, (0, 0), RECIPE)
        expected = alone.features(boxes[image == number])
        assert_allclose(pooled[image == number], expected, atol=2e-5)


def test_gradients_reach_the_cells_of_the_box():
    values = feature_map().values.requires_grad_()
    feature = FeatureMap(values, (8.0, 8.0), (3.5, 3.5))
    recipe = PoolingRecipe(n_bins=1, context=1.0)
    pooled = PooledMaps([feature], 1.0, (0, 0), recipe)
    pooled.pool(np.array([[16.0, 24, 40, 56]])).sum().backward()
    # 3 x 4 cells, each in the bin and in the bin of the context.
    expected = np.zeros(values.shape, np.float32)
    expected[:, :, 3:7, 2:5] = 2 / 12
    assert_allclose(values.grad, expected, atol=1e-6)

"""Weighted sums, smoothing and interpolation to pixels, against naive loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter

from sklearn_similar._heatmaps.maps import (
    interpolate_to_pixels,
    median_maximum,
    normalize_per_image,
    smooth,
    weighted_sum,
)
from sklearn_similar._network.activations import FeatureMaps
from sklearn_similar._network.receptive_field import ReceptiveField


def draw_maps(shape, stride=(1, 1), offset=(0.0, 0.0), dense=False):
    activations = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return FeatureMaps(activations, ReceptiveField(stride, offset), dense)


def test_weights_can_differ_between_images():
    maps = draw_maps((3, 5, 4, 6))
    weights = torch.rand(3, 2, 5)
    together = weighted_sum(maps, weights)
    for index in range(3):
        image = maps._replace(activations=maps.activations[index : index + 1])
        alone = weighted_sum(image, weights[index])
        np.testing.assert_allclose(together[index], alone[0], rtol=1e-6)


def test_weighted_sums_are_sums_of_positive_activations():
    maps = draw_maps((3, 5, 4, 6))
    weights = torch.rand(2, 5)
    result = weighted_sum(maps, weights)
    assert result.shape == (3, 2, 4, 6)
    for image, index, row, column in np.ndindex(3, 2, 4, 6):
        expected = sum(
            float(weights[index, i])
            * max(float(maps.activations[image, i, row, column]), 0)
            for i in range(5)
        )
        assert float(result[image, index, row, column]) == pytest.approx(expected)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (1.5, -0.5), (-2.0, 7.0)])
def test_pooled_heat_is_interpolated_between_the_centres_of_cells(stride, offset):
    maps = draw_maps((1, 1, 4, 6), stride, offset)
    heat = maps.activations
    result = interpolate_to_pixels(heat, maps, (17, 19))[0, 0]
    grid = [
        offset[axis] + stride[axis] * np.arange(heat.shape[axis + 2]) for axis in (0, 1)
    ]
    # Linear interpolation along one axis, then along the other.
    rows = np.array(
        [np.interp(np.arange(17), grid[0], column) for column in heat[0, 0].T.numpy()]
    ).T
    expected = np.array([np.interp(np.arange(19), grid[1], row) for row in rows])
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (1.5, 2.0), (-0.5, -3.0)])
def test_dense_heat_is_moved_by_whole_pixels(offset):
    maps = draw_maps((1, 1, 9, 8), (4, 4), offset, dense=True)
    result = interpolate_to_pixels(maps.activations, maps, (9, 8))
    for row, column in np.ndindex(9, 8):
        source = [
            min(max(pixel - int(start), 0), length - 1)
            for pixel, start, length in zip((row, column), offset, (9, 8), strict=True)
        ]
        assert result[0, 0, row, column] == maps.activations[0, 0, source[0], source[1]]


HEAT = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
)


@given(HEAT)
@settings(max_examples=60)
def test_heat_normalised_per_image_reaches_from_0_to_1(heat):
    result = normalize_per_image(heat)
    assert result.dtype == np.float32
    for index in np.ndindex(heat.shape[:-2]):
        actual, expected = result[index], heat[index]
        if expected.max() == expected.min():
            assert (actual == 0).all()
            continue
        assume(expected.max() - expected.min() > 1e-30)
        assert actual.min() == 0
        assert actual.max() == 1
        order = np.argsort(expected, axis=None)
        assert (np.diff(actual.flatten()[order]) >= 0).all()


@pytest.mark.parametrize(
    ("maxima", "expected"),
    [([1, 2, 9], 2), ([4, 1], 2.5), ([0, 0, 3], 1), ([], 1), ([0.25], 0.25)],
)
def test_median_maximum_is_the_median_or_1(maxima, expected):
    assert median_maximum(np.array(maxima, dtype=np.float32)) == expected


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("smoothing", [(3.5, 3.5), (2.0, 7.0), (0.125, 40.0)])
@pytest.mark.parametrize("size", [(20, 17), (1, 5), (64, 65), (150, 193)])
def test_smoothing_is_a_gaussian_filter_over_pixels(size, smoothing, stride, dense):
    maps = draw_maps((2, 3, *size), stride, dense=dense)
    result = smooth(maps.activations, maps, smoothing)
    sigma = np.array(smoothing) / (1 if dense else stride)
    radius = [math.ceil(3 * deviation) for deviation in sigma]
    for index in np.ndindex(2, 3):
        heat = maps.activations[index].numpy().astype(float)
        expected = gaussian_filter(heat, sigma, mode="nearest", radius=radius)
        np.testing.assert_allclose(result[index], expected, rtol=1e-4, atol=1e-5)

"""Weights, weighted sums and their way to pixels, against naive loops."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sklearn_similar._heatmaps.maps import (
    interpolate_to_pixels,
    median_maximum,
    normalize_per_image,
    weighted_sum,
)
from sklearn_similar._heatmaps.weights import filter_weights
from sklearn_similar._network.activations import FeatureMaps
from sklearn_similar._network.receptive_field import ReceptiveField

IMPORTANCES = hnp.arrays(
    float,
    st.one_of(
        st.tuples(st.integers(1, 20)), st.tuples(st.integers(1, 4), st.integers(1, 20))
    ),
    elements=st.floats(-10, 10),
)
TEMPERATURES = st.floats(5e-324, 1e300)
WEIGHTINGS = st.sampled_from(["softmax", "linear", "uniform"])


@given(IMPORTANCES, WEIGHTINGS, TEMPERATURES)
@pytest.mark.filterwarnings("error")
def test_weights_are_shares(importances, weighting, temperature):
    weights = filter_weights(importances, weighting, temperature)
    assert weights.shape == importances.shape
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1)


@given(IMPORTANCES, WEIGHTINGS, TEMPERATURES)
def test_more_important_filters_weigh_no_less(importances, weighting, temperature):
    weights = filter_weights(importances, weighting, temperature)
    for row, own in zip(
        np.atleast_2d(importances), np.atleast_2d(weights), strict=True
    ):
        assert (np.diff(own[np.argsort(row)]) >= 0).all()


@given(IMPORTANCES, st.floats(0.1, 10), st.floats(-5, 5))
def test_softmax_is_that_of_the_paper(importances, temperature, shift):
    weights = filter_weights(importances, "softmax", temperature)
    exponentials = np.exp(importances / temperature)
    expected = exponentials / exponentials.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights, expected, rtol=1e-9, atol=1e-200)
    shifted = filter_weights(importances + shift, "softmax", temperature)
    np.testing.assert_allclose(shifted, expected, rtol=1e-6, atol=1e-30)


@given(IMPORTANCES)
def test_linear_weights_are_the_positive_importances(importances):
    rows = np.atleast_2d(importances)
    weights = np.atleast_2d(filter_weights(importances, "linear", 1.0))
    for row, own in zip(rows, weights, strict=True):
        positive = [max(value, 0.0) for value in row]
        expected = [
            value / sum(positive) if sum(positive) else 1 / len(row)
            for value in positive
        ]
        np.testing.assert_allclose(own, expected)


@pytest.mark.parametrize("importances", [[0.0, 0.0], [-1.0, -2.0, 0.0], [-0.0]])
def test_linear_weights_are_uniform_where_nothing_is_important(importances):
    weights = filter_weights(np.array(importances), "linear", 1.0)
    assert weights.tolist() == [1 / len(importances)] * len(importances)


def test_a_tiny_temperature_gives_all_to_the_most_important():
    weights = filter_weights(np.array([0.1, 0.3, -5.0, 0.3]), "softmax", 1e-310)
    assert weights.tolist() == [0, 0.5, 0, 0.5]


def test_each_image_can_have_its_own_weights():
    maps = draw_maps((3, 5, 4, 6))
    weights = torch.rand(3, 2, 5)
    together = weighted_sum(maps, weights)
    for index in range(3):
        own = maps._replace(activations=maps.activations[index : index + 1])
        alone = weighted_sum(own, weights[index])
        np.testing.assert_allclose(together[index], alone[0], rtol=1e-6)


def draw_maps(shape, stride=(1, 1), offset=(0.0, 0.0), dense=False):
    activations = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return FeatureMaps(activations, ReceptiveField(stride, offset), dense)


def test_weighted_sums_are_sums_of_what_is_positive():
    maps = draw_maps((3, 5, 4, 6))
    weights = torch.rand(2, 5)
    found = weighted_sum(maps, weights)
    assert found.shape == (3, 2, 4, 6)
    for image, index, row, column in np.ndindex(3, 2, 4, 6):
        expected = sum(
            float(weights[index, i])
            * max(float(maps.activations[image, i, row, column]), 0)
            for i in range(5)
        )
        assert float(found[image, index, row, column]) == pytest.approx(expected)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (1.5, -0.5), (-2.0, 7.0)])
def test_pooled_heat_is_interpolated_between_the_centres_of_cells(stride, offset):
    maps = draw_maps((1, 1, 4, 6), stride, offset)
    heat = maps.activations
    found = interpolate_to_pixels(heat, maps, (17, 19))[0, 0]
    grid = [
        offset[axis] + stride[axis] * np.arange(heat.shape[axis + 2]) for axis in (0, 1)
    ]
    # Linear interpolation along one axis, then along the other.
    rows = np.array(
        [np.interp(np.arange(17), grid[0], column) for column in heat[0, 0].T.numpy()]
    ).T
    expected = np.array([np.interp(np.arange(19), grid[1], row) for row in rows])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (1.5, 2.0), (-0.5, -3.0)])
def test_dense_heat_is_moved_by_whole_pixels(offset):
    maps = draw_maps((1, 1, 9, 8), (4, 4), offset, dense=True)
    found = interpolate_to_pixels(maps.activations, maps, (9, 8))
    for row, column in np.ndindex(9, 8):
        source = [
            min(max(pixel - int(start), 0), length - 1)
            for pixel, start, length in zip((row, column), offset, (9, 8), strict=True)
        ]
        assert found[0, 0, row, column] == maps.activations[0, 0, source[0], source[1]]


HEAT = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
)


@given(HEAT)
@settings(max_examples=60)
def test_heat_normalised_per_image_reaches_from_0_to_1(heat):
    found = normalize_per_image(heat)
    assert found.dtype == np.float32
    for index in np.ndindex(heat.shape[:-2]):
        own, expected = found[index], heat[index]
        if expected.max() == expected.min():
            assert (own == 0).all()
            continue
        assume(expected.max() - expected.min() > 1e-30)
        assert own.min() == 0
        assert own.max() == 1
        order = np.argsort(expected, axis=None)
        assert (np.diff(own.flatten()[order]) >= 0).all()


@pytest.mark.parametrize(
    ("peaks", "expected"),
    [([1, 2, 9], 2), ([4, 1], 2.5), ([0, 0, 3], 1), ([], 1), ([0.25], 0.25)],
)
def test_median_maximum_is_the_median_or_1(peaks, expected):
    assert median_maximum(np.array(peaks, dtype=np.float32)) == expected


def test_a_callable_weighs_each_row_of_importances_by_itself():
    importances = np.array([[0.1, -0.2, 0.3], [3.0, 4.0, 0.0]])
    weights = filter_weights(importances, np.square, 1.0)
    squares = importances**2
    np.testing.assert_allclose(weights, squares / squares.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        (lambda importances: importances[:2], r"the shape \(2,\) for 3 importances"),
        (lambda importances: importances - 1, "weights from -0.9 to -0.7"),
        (lambda importances: importances * 0, "weights from 0 to 0"),
        (lambda importances: importances * np.nan, "weights from nan to nan"),
    ],
)
def test_a_callable_that_gives_no_weights_is_refused(weighting, message):
    with pytest.raises(ValueError, match=message):
        filter_weights(np.array([0.1, 0.2, 0.3]), weighting, 1.0)


def test_a_callable_can_stand_for_each_name():
    importances = np.array([0.1, -0.2, 0.3])
    for name, own in {
        "uniform": np.ones_like,
        "linear": lambda values: values.clip(0),
        "softmax": lambda values: np.exp(values / 0.5),
    }.items():
        np.testing.assert_allclose(
            filter_weights(importances, own, 1.0),
            filter_weights(importances, name, 0.5),
        )

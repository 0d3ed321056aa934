"""Weights of filters, against naive loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sklearn_similar._heatmaps.weights import filter_weights

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
    for row, weight in zip(
        np.atleast_2d(importances), np.atleast_2d(weights), strict=True
    ):
        assert (np.diff(weight[np.argsort(row)]) >= 0).all()


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
    for row, weight in zip(rows, weights, strict=True):
        positive = [max(value, 0.0) for value in row]
        expected = [
            value / sum(positive) if sum(positive) else 1 / len(row)
            for value in positive
        ]
        np.testing.assert_allclose(weight, expected)


@pytest.mark.parametrize("importances", [[0.0, 0.0], [-1.0, -2.0, 0.0], [-0.0]])
def test_linear_weights_are_uniform_where_no_filter_is_important(importances):
    weights = filter_weights(np.array(importances), "linear", 1.0)
    assert weights.tolist() == [1 / len(importances)] * len(importances)


def test_a_tiny_temperature_gives_all_to_the_most_important():
    weights = filter_weights(np.array([0.1, 0.3, -5.0, 0.3]), "softmax", 1e-310)
    assert weights.tolist() == [0, 0.5, 0, 0.5]


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
    for name, function in {
        "uniform": np.ones_like,
        "linear": lambda values: values.clip(0),
        "softmax": lambda values: np.exp(values / 0.5),
    }.items():
        np.testing.assert_allclose(
            filter_weights(importances, function, 1.0),
            filter_weights(importances, name, 0.5),
        )

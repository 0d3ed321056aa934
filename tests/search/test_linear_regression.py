"""Linear box regression: offsets, and models that are known beforehand."""

import numpy as np
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_similar._search.linear_regression import (
    LinearBoxRegression,
    PredictedOverlap,
    offsets,
)
from sklearn_similar._tables.boxes import paired_iou


def boxes(n, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 80, (n, 2))
    return np.hstack([corner, corner + rng.uniform(10, 40, (n, 2))])


def near(boxes, seed=1):
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    rng = np.random.default_rng(seed)
    return boxes + rng.uniform(-0.2, 0.2, boxes.shape) * sides


def test_offsets_are_shares_of_the_box_and_logarithms_of_factors():
    (moves,) = offsets(np.array([[10.0, 10, 30, 50]]), np.array([[15.0, 20, 25, 100]]))
    assert_allclose(moves, [0, 30 / 40, np.log(0.5), np.log(2)])


def test_boxes_are_moved_to_their_targets_where_features_tell_the_offsets():
    targets = boxes(60)
    start = near(targets)
    rng = np.random.default_rng(2)
    # A mixture of the offsets, of very different scales, and noise.
    mixture = rng.normal(size=(4, 6)) * np.logspace(-3, 3, 6)
    features = offsets(start, targets) @ mixture + np.logspace(-3, 3, 6)
    regression = LinearBoxRegression.fit(features, start, targets, penalty=1e-6)
    moved = regression(features, start)
    assert paired_iou(moved, targets).min() > 0.99
    assert regression.weight.dtype == regression.bias.dtype == np.float32


def test_regression_is_ridge_regression_of_standardised_features():
    targets = boxes(40)
    start = near(targets)
    features = np.random.default_rng(2).normal(3, 5, (40, 7))
    regression = LinearBoxRegression.fit(features, start, targets, penalty=30.0)
    model = make_pipeline(StandardScaler(), Ridge(30.0))
    model.fit(features, offsets(start, targets))
    expected = model.predict(features)
    assert_allclose(offsets(start, regression(features, start)), expected, atol=1e-5)


def test_constant_features_are_met():
    targets = boxes(10)
    regression = LinearBoxRegression.fit(np.ones((10, 3)), near(targets), targets, 1.0)
    assert np.isfinite(regression(np.ones((10, 3)), targets)).all()


def test_moves_are_limited():
    weight = np.full((1, 4), 1e6, np.float32)
    regression = LinearBoxRegression(weight, np.zeros(4, np.float32))
    (moved,) = regression(np.ones((1, 1)), np.array([[0.0, 0, 10, 20]]))
    assert_allclose(moved[2:] - moved[:2], np.e * np.array([10, 20]))
    assert_allclose((moved[2:] + moved[:2]) / 2, [15, 30])


def test_overlap_is_predicted_by_ridge_regression():
    rng = np.random.default_rng(0)
    features, iou = rng.normal(3, 5, (200, 4)), rng.uniform(0, 1, 200)
    predictor = PredictedOverlap.fit(
        features, iou, np.arange(len(iou)), 10.0, missed=0.05
    )
    expected = make_pipeline(StandardScaler(), Ridge(10.0)).fit(features, iou)
    assert_allclose(predictor(features), expected.predict(features), atol=1e-5)


def test_a_share_of_the_boxes_around_objects_is_missed():
    rng = np.random.default_rng(0)
    iou = rng.uniform(0, 1, 1000)
    features = (iou + rng.normal(0, 0.1, 1000))[:, np.newaxis]
    for missed in (0.0, 0.05, 0.5):
        predictor = PredictedOverlap.fit(features, iou, np.arange(1000), 1.0, missed)
        is_dropped = predictor(features) < predictor.threshold
        assert abs(is_dropped[iou >= 0.5].mean() - missed) < 0.01
        assert is_dropped[iou < 0.1].mean() > 0.95 * (missed > 0)


def test_objects_that_were_learnt_by_heart_do_not_raise_the_threshold():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 4)
    # Features of as many values as objects tell each object, and nothing of others.
    features = np.eye(30)[groups] + rng.normal(0, 0.1, (120, 30))
    iou = np.where(groups < 15, 0.9, 0.1)
    by_heart = PredictedOverlap.fit(features, iou, np.arange(120), 1.0, missed=0.05)
    of_objects = PredictedOverlap.fit(features, iou, groups, 1.0, missed=0.05)
    assert by_heart.threshold > of_objects.threshold + 0.1


def test_no_box_is_dropped_where_none_has_an_object():
    predictor = PredictedOverlap.fit(
        np.ones((5, 2)), np.zeros(5), np.arange(5), 1.0, missed=0.05
    )
    assert (predictor(np.ones((5, 2))) >= predictor.threshold).all()

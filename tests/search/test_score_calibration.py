"""Calibration of scores against outcomes that are drawn from known probabilities."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit

from sklearn_similar._search.score_calibration import (
    UNCALIBRATED,
    ScoreCalibration,
    fit_calibration,
)


def outcomes(n, slope, objectness_slope, intercept, seed=0):
    rng = np.random.RandomState(seed)
    objectness = rng.uniform(0.02, 1, n)
    probability = objectness * rng.uniform(0.3, 1, n)
    log_odds = slope * logit(probability) + objectness_slope * logit(objectness)
    return probability, objectness, rng.uniform(size=n) < expit(log_odds + intercept)


def expected_calibration_error(score, is_right):
    number = np.minimum((score * 10).astype(int), 9)
    gaps = [
        np.abs(score[number == i].mean() - is_right[number == i].mean())
        * (number == i).mean()
        for i in np.unique(number)
    ]
    return sum(gaps)


def test_slopes_and_intercept_of_the_log_odds_are_recovered():
    found = fit_calibration(*outcomes(40_000, 0.6, 0.4, -0.8))
    assert_allclose(found, (0.6, 0.4, -0.8), atol=0.06)


def test_a_weight_counts_instances():
    given = outcomes(300, 0.6, 0.4, -0.8)
    weight = np.random.RandomState(0).randint(0, 4, size=300)
    found = fit_calibration(*given, weight)
    repeated = fit_calibration(*(np.repeat(values, weight) for values in given))
    assert_allclose(found, repeated, rtol=1e-3, atol=1e-4)


def test_scores_that_are_too_sure_become_the_share_of_right_ones():
    calibration = fit_calibration(*outcomes(2000, 0.5, 0.0, -1))
    score, objectness, is_right = outcomes(20_000, 0.5, 0.0, -1, seed=1)
    assert expected_calibration_error(score, is_right) > 0.12
    calibrated = calibration(score, objectness)
    assert expected_calibration_error(calibrated, is_right) < 0.03


def test_a_doubtful_label_of_a_sure_instance_is_no_doubtful_instance():
    rng = np.random.RandomState(0)
    # Of two classes that are alike, half of the labels are right; background never is.
    is_instance = rng.uniform(size=4000) < 0.5
    objectness = np.where(is_instance, 0.95, 0.5)
    probability = np.where(is_instance, 0.475, 0.45)
    is_right = is_instance & (rng.uniform(size=4000) < 0.5)
    calibrated = fit_calibration(probability, objectness, is_right)
    assert_allclose(calibrated(0.475, 0.95), 0.5, atol=0.05)
    assert calibrated(0.45, 0.5) < 0.1


def test_the_order_of_scores_stays_where_higher_ones_are_wrong():
    score, objectness, is_right = outcomes(500, 1, 0, 0)
    calibrated = fit_calibration(score, objectness, ~is_right)
    probability = np.linspace(0, 0.9, 50)
    # Of one class, or of several with what the others have.
    for any_class in (0.9, probability, probability + 0.1):
        scores = calibrated(probability, any_class)
        assert (np.diff(scores) >= 0).all()
        assert ((scores >= 0) & (scores <= 1)).all()


def test_few_instances_change_little():
    nothing = fit_calibration(*np.empty((2, 0)), np.empty(0, bool))
    assert_allclose(nothing, UNCALIBRATED, atol=1e-3)
    score, objectness = np.array([0.9, 0.95]), np.array([0.93, 0.97])
    one = fit_calibration(score, objectness, np.array([True, True]))
    assert np.abs(one(score, objectness) - score).max() < 0.05


def test_without_a_calibration_scores_are_what_the_estimator_says():
    score = np.array([0, 1e-9, 0.3, 1])
    assert_array_equal(UNCALIBRATED(score, np.ones(4)), score)
    changed = ScoreCalibration(1.0, 0.0, 0.1)
    assert not np.array_equal(changed(score, np.ones(4)), score)

"""Calibration of scores against outcomes that are drawn from known probabilities."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit

from sklearn_similar._detection.score_calibration import (
    UNCALIBRATED,
    ScoreCalibration,
    fit_calibration,
)


def outcomes(n, slope, intercept, seed=0):
    rng = np.random.RandomState(seed)
    score = rng.uniform(0.02, 1, n)
    return score, rng.uniform(size=n) < expit(slope * logit(score) + intercept)


def expected_calibration_error(score, is_right):
    number = np.minimum((score * 10).astype(int), 9)
    gaps = [
        np.abs(score[number == i].mean() - is_right[number == i].mean())
        * (number == i).mean()
        for i in np.unique(number)
    ]
    return sum(gaps)


def test_slope_and_intercept_of_the_log_odds_are_recovered():
    found = fit_calibration(*outcomes(20_000, 0.6, -0.8))
    assert_allclose(found, (0.6, -0.8), atol=0.05)


def test_a_weight_counts_instances():
    score, is_right = outcomes(300, 0.6, -0.8)
    weight = np.random.RandomState(0).randint(0, 4, size=300)
    repeated = np.repeat(score, weight), np.repeat(is_right, weight)
    found = fit_calibration(score, is_right, weight)
    assert_allclose(found, fit_calibration(*repeated), rtol=1e-3)


def test_scores_that_are_too_sure_become_the_share_of_right_ones():
    calibration = fit_calibration(*outcomes(2000, 0.5, -1))
    score, is_right = outcomes(20_000, 0.5, -1, seed=1)
    assert expected_calibration_error(score, is_right) > 0.15
    assert expected_calibration_error(calibration(score), is_right) < 0.03


def test_the_order_of_scores_stays_where_higher_ones_are_wrong():
    score, is_right = outcomes(500, 1, 0)
    calibrated = fit_calibration(score, ~is_right)(np.linspace(0, 1, 50))
    assert (np.diff(calibrated) >= 0).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_few_instances_change_little():
    nothing = fit_calibration(np.empty(0), np.empty(0, bool))
    assert_allclose(nothing, UNCALIBRATED, atol=1e-3)
    score = np.array([0.9, 0.95])
    one = fit_calibration(score, np.array([True, True]))(score)
    assert np.abs(one - score).max() < 0.05


def test_without_a_calibration_scores_are_what_the_estimator_says():
    score = np.array([0, 1e-9, 0.3, 1])
    assert_array_equal(UNCALIBRATED(score), score)
    assert not np.array_equal(ScoreCalibration(1.0, 0.1)(score), score)

"""Scores that are probabilities of a right detection, by logistic regression."""

from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.optimize import minimize

# Probabilities are clipped to [eps, 1 - eps].
_EPS = 1e-6
# Strength of the prior that probabilities are calibrated already, in detections.
_PRIOR = 4.0


class ScoreCalibration(NamedTuple):
    """The probability that a detection is right, from those of a classifier.

    Its log-odds are ``slope`` times those of the label, plus ``objectness_slope`` times
    those of any class, plus ``intercept``. Where classes resemble each other, an object
    may be certain and its label doubtful.
    """

    slope: float = 1.0
    objectness_slope: float = 0.0
    intercept: float = 0.0

    def __call__(self, probability: np.ndarray, objectness: np.ndarray) -> np.ndarray:
        """Calibrated scores."""
        if self == UNCALIBRATED:
            return probability
        of_label = self.slope * log_odds(probability)
        of_any = self.objectness_slope * log_odds(objectness)
        return special.expit(of_label + of_any + self.intercept)


UNCALIBRATED = ScoreCalibration()


def fit_calibration(
    probability: np.ndarray,
    objectness: np.ndarray,
    is_right: np.ndarray,
    weight: np.ndarray | float = 1.0,
) -> ScoreCalibration:
    """Maximum a posteriori calibration; with few detections, it is near the identity.

    Parameters
    ----------
    probability : ndarray of shape (n_detections,)
        Probability of the label.
    objectness : ndarray of shape (n_detections,)
        Probability of any class.
    is_right : ndarray of bool of shape (n_detections,)
    weight : float or ndarray of shape (n_detections,)
        Sample weights.
    """
    of_label, of_any = log_odds(probability), log_odds(objectness)
    sign = np.where(is_right, -1, 1)

    def loss(parameters: np.ndarray) -> float:
        log_slope, objectness_slope, intercept = parameters
        calibrated = (
            np.exp(log_slope) * of_label + objectness_slope * of_any + intercept
        )
        misfit = (weight * np.logaddexp(0, sign * calibrated)).sum()
        return misfit + _PRIOR / 2 * (parameters**2).sum()

    # No slope is negative: a higher probability must not lower the score.
    bounds = [(None, None), (0, None), (None, None)]
    log_slope, objectness_slope, intercept = minimize(
        loss, np.zeros(3), bounds=bounds
    ).x.tolist()
    return ScoreCalibration(np.exp(log_slope).item(), objectness_slope, intercept)


def log_odds(score: np.ndarray) -> np.ndarray:
    """Finite log-odds of scores."""
    return special.logit(np.clip(score, _EPS, 1 - _EPS))

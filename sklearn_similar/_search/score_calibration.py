"""Scores of instances as the share of right ones among such, by logistic regression."""

from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.optimize import minimize

# Scores nearer to 0 or 1 count as this near.
_LEAST = 1e-6
# Strength of the prior that scores are right as they are, in instances.
_PRIOR = 4.0


class ScoreCalibration(NamedTuple):
    """How probable it is that an instance is right, from its probabilities.

    The log-odds are ``slope`` times those of its label, plus ``objectness_slope`` times
    those of its being any instance at all, plus ``intercept``: where classes resemble
    each other, an instance is surely one, and its label may be doubtful.
    """

    slope: float = 1.0
    objectness_slope: float = 0.0
    intercept: float = 0.0

    def __call__(self, probability: np.ndarray, objectness: np.ndarray) -> np.ndarray:
        """Calibrated scores."""
        if self == UNCALIBRATED:
            return probability
        own = self.slope * log_odds(probability)
        return special.expit(
            own + self.objectness_slope * log_odds(objectness) + self.intercept
        )


UNCALIBRATED = ScoreCalibration()


def fit_calibration(
    probability: np.ndarray,
    objectness: np.ndarray,
    is_right: np.ndarray,
    weight: np.ndarray | float = 1.0,
) -> ScoreCalibration:
    """The calibration under which the outcomes of some instances are most probable.

    With few instances, it is near to none.

    Parameters
    ----------
    probability : ndarray of shape (n_instances,)
        That of the label.
    objectness : ndarray of shape (n_instances,)
        Probability that it is an instance of any class.
    is_right : ndarray of bool of shape (n_instances,)
    weight : float or ndarray of shape (n_instances,)
        Of how many instances each is an example.
    """
    own, any_class = log_odds(probability), log_odds(objectness)
    sign = np.where(is_right, -1, 1)

    def loss(parameters: np.ndarray) -> float:
        log_slope, objectness_slope, intercept = parameters
        calibrated = np.exp(log_slope) * own + objectness_slope * any_class + intercept
        misfit = (weight * np.logaddexp(0, sign * calibrated)).sum()
        return misfit + _PRIOR / 2 * (parameters**2).sum()

    # No slope is negative, as what is more probable is to have the higher score.
    bounds = [(None, None), (0, None), (None, None)]
    log_slope, *others = minimize(loss, np.zeros(3), bounds=bounds).x
    return ScoreCalibration(float(np.exp(log_slope)), *map(float, others))


def log_odds(score: np.ndarray) -> np.ndarray:
    """Log-odds of scores, finite ones."""
    return special.logit(np.clip(score, _LEAST, 1 - _LEAST))

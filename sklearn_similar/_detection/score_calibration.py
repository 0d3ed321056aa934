"""Scores of instances as the share of right ones among such (Platt scaling)."""

from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.optimize import minimize

# Scores nearer to 0 or 1 count as this near.
_LEAST = 1e-6
# Strength of the prior that scores are right as they are, in instances.
_PRIOR = 4.0


class ScoreCalibration(NamedTuple):
    """log-odds of a calibrated score: slope * log-odds of the score + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """Calibrated scores."""
        if self == UNCALIBRATED:
            return score
        return special.expit(self.slope * _log_odds(score) + self.intercept)


UNCALIBRATED = ScoreCalibration()


def fit_calibration(
    score: np.ndarray, is_right: np.ndarray, weight: np.ndarray | float = 1.0
) -> ScoreCalibration:
    """The calibration under which the outcomes of some instances are most probable.

    With few instances, it is near to none.

    Parameters
    ----------
    score : ndarray of shape (n_instances,)
    is_right : ndarray of bool of shape (n_instances,)
    weight : float or ndarray of shape (n_instances,)
        Of how many instances each is an example.
    """
    log_odds = _log_odds(score)
    sign = np.where(is_right, -1, 1)

    def loss(parameters: np.ndarray) -> float:
        # The slope stays positive, as the order of scores is to stay.
        log_slope, intercept = parameters
        errors = sign * (np.exp(log_slope) * log_odds + intercept)
        misfit = (weight * np.logaddexp(0, errors)).sum()
        return misfit + _PRIOR / 2 * (parameters**2).sum()

    log_slope, intercept = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return ScoreCalibration(float(np.exp(log_slope)), float(intercept))


def _log_odds(score: np.ndarray) -> np.ndarray:
    return special.logit(np.clip(score, _LEAST, 1 - _LEAST))

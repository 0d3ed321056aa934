"""Numbers of objects, from the calibrated scores of detections.

Each detection is an object with the probability that its score states. If detections
are independent, the number of objects has a Poisson binomial distribution.
"""

import math

import numpy as np
import pandas as pd
from scipy import special

from .._tables.values import infer_type
from .detections import Detections

# Minimum score of a detection that is counted. Detections with lower scores are mostly
# repetitions of other detections.
MIN_SCORE = 0.05
# Number of detections up to which the distribution is exact.
_MAX_EXACT = 500


def counts_table(
    detections: list[Detections], classes: np.ndarray, confidence: float
) -> pd.DataFrame:
    """Expected number of objects and its interval, for each image and class.

    Parameters
    ----------
    detections : list of Detections
        Those of each image, including low scores.
    classes : ndarray
    confidence : float
        Probability of the intervals, in (0, 1).
    """
    scores = [
        of_image.score[of_image.label == label]
        for of_image in detections
        for label in range(len(classes))
    ]
    intervals = [count_interval(probability, confidence) for probability in scores]
    return pd.DataFrame(
        {
            "image": np.repeat(np.arange(len(detections)), len(classes)),
            "label": infer_type(pd.Series(classes)).array[
                np.tile(np.arange(len(classes)), len(detections))
            ],
            "count": np.array([score.sum() for score in scores], np.float64),
            "lower": np.array([lower for lower, _ in intervals], np.int64),
            "upper": np.array([upper for _, upper in intervals], np.int64),
        }
    )


def count_interval(probability: np.ndarray, confidence: float) -> tuple[int, int]:
    """Central interval of a Poisson binomial distribution.

    Parameters
    ----------
    probability : ndarray of shape (n,)
        Success probabilities of independent trials.
    confidence : float

    Returns
    -------
    lower, upper : int
        Quantiles of the number of successes at (1 - confidence) / 2 and (1 +
        confidence) / 2. For more than 500 trials, they are those of the normal
        approximation with a continuity correction.
    """
    n = len(probability)
    levels = (1 - confidence) / 2, (1 + confidence) / 2
    if n > _MAX_EXACT:
        mean = probability.sum()
        deviation = math.sqrt((probability * (1 - probability)).sum())
        lower, upper = (
            math.ceil(mean + special.ndtri(level) * deviation - 0.5) for level in levels
        )
    else:
        cumulative = np.cumsum(poisson_binomial(probability))
        lower, upper = np.searchsorted(cumulative, levels).tolist()
    # The cumulative probability of all trials may be less than 1 by a rounding error.
    return max(0, lower), min(n, upper)


def poisson_binomial(probability: np.ndarray) -> np.ndarray:
    """Probability of 0 to n successes in n independent trials, by convolution."""
    distribution = np.ones(1)
    for success in probability.tolist():
        distribution = np.convolve(distribution, [1 - success, success])
    return distribution

"""The classifier of feature vectors: the head of a backbone."""

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .._classifier import SimilarNetClassifier


def default_head() -> Any:
    """The classifier of feature vectors unless the user names another.

    A hidden layer tells background from objects better than a linear classifier, on
    training photographs of cells and cards.
    """
    return make_pipeline(
        StandardScaler(),
        _ShortTrainedPerceptron(
            (128,), alpha=10.0, learning_rate_init=1e-3, max_iter=12
        ),
    )


class _ShortTrainedPerceptron(MLPClassifier):
    """A perceptron whose few epochs are intended, and no reason for a warning."""

    def fit(self, *args: Any, **kwargs: Any) -> "_ShortTrainedPerceptron":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().fit(*args, **kwargs)


def check_head(estimator: Any) -> None:
    """Raise ValueError for an estimator that cannot learn feature vectors."""
    if isinstance(estimator, (SimilarNetClassifier, FrozenEstimator)):
        name = type(estimator).__name__
        raise ValueError(
            f"estimator is a {name}, but where y is a table of boxes, it is trained on "
            "feature vectors; pass None or a classifier such as LogisticRegression(), "
            "and a network as backbone."
        )

"""The classifier of feature vectors."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from sklearn_similar import SimilarNetClassifier
from sklearn_similar._learning.heads import check_head, default_head


@pytest.mark.parametrize("n", [150, 500])
def test_the_default_head_learns_without_warnings(n):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    y = np.where(X[:, 0] > 0, "a", "b")
    X[:, 0] *= 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head = clone(default_head())
        head[-1].set_params(random_state=0)
        head.fit(X, y)
    assert (head.predict(X) == y).mean() > 0.75
    assert head.predict_proba(X).shape == (n, 2)
    loaded = pickle.loads(pickle.dumps(head))
    assert (loaded.predict(X) == head.predict(X)).all()


def test_classifiers_of_feature_vectors_pass():
    check_head(default_head())
    check_head(LogisticRegression())


@pytest.mark.parametrize(
    "estimator", [SimilarNetClassifier(), FrozenEstimator(LogisticRegression())]
)
def test_other_classifiers_are_refused(estimator):
    name = type(estimator).__name__
    with pytest.raises(ValueError, match=f"estimator is a {name}, but where y is a"):
        check_head(estimator)

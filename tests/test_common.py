"""scikit-learn's own checks of estimators."""

import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier

# The suite's data sets are small, so that the paper's recipe would make too few steps.
# All images of a check in one batch: how a matrix product rounds depends on the number
# of its rows.
ESTIMATOR = SimilarNetClassifier(lr=0.02, batch_size=64, max_epochs=15, random_state=0)

LOCALIZER = InstanceLocalizer(
    GaussianNB(),
    n_instance_crops=10,
    n_background_crops=20,
    n_mining_rounds=0,
    random_state=0,
)


@pytest.mark.usefixtures("small_scenes")
@parametrize_with_checks([ESTIMATOR, LOCALIZER])
def test_estimator_check(estimator, check):
    generator = torch.get_rng_state()
    check(estimator)
    assert torch.equal(torch.get_rng_state(), generator)

"""Training in stages, by this package's classifier and by any other."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.naive_bayes import GaussianNB

from sklearn_similar import SimilarNetClassifier, load, save
from sklearn_similar._images.scaling import BY_TYPE
from sklearn_similar._learning.stages import StagedTraining

SHARES = {"epoch_share": 0.3, "min_last_share": 0.5, "scaling": BY_TYPE}


@pytest.fixture(scope="module")
def crops(digits):
    return digits.X[:100], digits.y[:100]


def network(**parameters):
    return SimilarNetClassifier(
        **{"max_epochs": 4, "batch_size": 25, "random_state": 0} | parameters
    )


def test_a_stage_goes_on_from_the_weights_of_the_one_before(crops, weights_of):
    stages = StagedTraining(estimator=network(lr_decay=0.0), **SHARES)
    first = stages.fit(*crops)
    # Two epochs, as shares are rounded up; nothing is measured between stages.
    assert len(first.net_.history) == 2
    assert not hasattr(first, "filter_importances_")
    last = stages.fit_last(*crops)
    assert len(last.net_.history) == 2
    assert last.net_.history[0]["train_loss"] < first.net_.history[1]["train_loss"]


def test_only_the_last_stage_warns_that_nothing_was_learnt(crops):
    stages = StagedTraining(estimator=network(lr=1e-9), **SHARES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stages.fit(*crops)
        stages.fit(*crops)
    with pytest.warns(ConvergenceWarning, match="90 training images were tried"):
        stages.fit_last(*crops)


def test_all_stages_see_about_as_many_crops_as_a_single_training(crops):
    X, y = crops
    # Two epochs of half of the crops are one; after four of all, the minimum is left.
    for n_crops, n_stages, n_left in ((50, 1, 3), (100, 2, 2)):
        stages = StagedTraining(estimator=network(), **SHARES)
        for _ in range(n_stages):
            stages.fit(X[:n_crops], y[:n_crops])
        assert len(stages.fit_last(X, y).net_.history) == n_left


def test_a_single_stage_is_a_plain_fit(crops, weights_of):
    last = StagedTraining(estimator=network(), **SHARES).fit_last(*crops)
    plain = network().fit(*crops)
    assert_array_equal(weights_of(last), weights_of(plain))
    assert_array_equal(last.filter_importances_, plain.filter_importances_)


def test_importances_are_measured_on_crops_that_no_stage_was_trained_on(crops):
    X, y = crops
    stages = StagedTraining(
        estimator=network(max_epochs=1, validation_fraction=0.3), **SHARES
    )
    rows = stages.hold_out(X, y, np.random.RandomState(0))
    assert len(rows) == 70
    stages.fit(X[rows], y[rows])
    last = stages.fit_last(X[rows], y[rows])
    others = np.setdiff1d(np.arange(100), rows)
    importances = last.filter_importances_
    last.fit_importance(X[others], y[others])
    assert_array_equal(importances, last.filter_importances_)


def test_without_a_validation_part_nothing_is_held_out(crops):
    X, y = crops
    stages = StagedTraining(
        estimator=network(max_epochs=1, validation_fraction=None), **SHARES
    )
    assert len(stages.hold_out(X, y, np.random.RandomState(0))) == 100
    stages.fit(X, y)
    assert not hasattr(stages.fit_last(X, y), "filter_importances_")


def test_an_estimator_that_was_trained_in_stages_is_like_any_other(crops, tmp_path):
    X, y = crops
    stages = StagedTraining(estimator=network(max_epochs=1), **SHARES)
    rows = stages.hold_out(X, y, np.random.RandomState(0))
    stages.fit(X[rows], y[rows])
    last = stages.fit_last(X[rows], y[rows])
    assert last.get_params() == stages.estimator.get_params()
    assert set(vars(last)) == set(vars(network(max_epochs=1).fit(X, y)))
    save(last, tmp_path / "last.safetensors")
    loaded = load(tmp_path / "last.safetensors")
    assert_array_equal(loaded.predict_proba(X[:5]), last.predict_proba(X[:5]))


def test_the_cache_knows_the_stage_before(crops, tmp_path, weights_of):
    estimator = network(memory=tmp_path, max_epochs=1)
    weights = []
    for _ in range(2):
        stages = StagedTraining(estimator=estimator, **SHARES)
        weights += [weights_of(stages.fit(*crops)) for _ in range(2)]
    assert (weights[0] != weights[1]).any()
    assert_array_equal(weights[2], weights[0])
    assert_array_equal(weights[3], weights[1])


def test_other_estimators_are_trained_from_the_start(crops):
    X, y = crops[0].reshape(100, -1), crops[1]
    stages = StagedTraining(estimator=GaussianNB(), **SHARES)
    assert len(stages.hold_out(X, y, np.random.RandomState(0))) == 100
    stages.fit(X[:60], y[:60])
    expected = GaussianNB().fit(X, y).theta_
    assert_array_equal(stages.fit_last(X, y).theta_, expected)


def test_no_copy_of_a_crop_to_train_on_is_held_out(crops):
    X, y = (np.concatenate([part, part]) for part in crops)
    stages = StagedTraining(estimator=network(validation_fraction=0.2), **SHARES)
    rows = stages.hold_out(X, y, np.random.RandomState(0))
    learnt = {crop.tobytes() for crop in X[rows]}
    held_out, _ = stages._held_out
    assert 10 <= len(held_out) <= 30
    assert not learnt & {crop.tobytes() for crop in held_out}
    assert len(rows) == 2 * (100 - len(held_out))

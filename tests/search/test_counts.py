"""Numbers of objects and their intervals, from the scores of detections."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from scipy.stats import binom
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer
from sklearn_similar._search.counts import (
    count_interval,
    counts_table,
    poisson_binomial,
)
from sklearn_similar._search.detections import Detections
from sklearn_similar._search.proposals import Proposals
from sklearn_similar.datasets import load_mnist_sample, make_scenes

DIGITS = load_mnist_sample()


def detections(labels, scores):
    n = len(labels)
    return Detections(
        proposals=Proposals.from_boxes(np.tile([0, 0, 4, 4], (n, 1))),
        label=np.array(labels, int),
        probability=np.array(scores, float),
        objectness=np.array(scores, float),
        score=np.array(scores, float),
        heat=np.full(n, np.nan),
    )


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(DIGITS.X_test, DIGITS.y_test, n_scenes=8, random_state=0)


class TestPoissonBinomial:
    def test_is_the_sum_over_all_outcomes(self):
        probability = np.array([0.1, 0.5, 0.95, 0.3])
        expected = np.zeros(5)
        for outcome in product([0, 1], repeat=4):
            factors = np.where(outcome, probability, 1 - probability)
            expected[sum(outcome)] += factors.prod()
        assert_allclose(poisson_binomial(probability), expected)

    def test_is_binomial_for_equal_probabilities(self):
        found = poisson_binomial(np.full(300, 0.3))
        assert_allclose(found, binom(300, 0.3).pmf(np.arange(301)), atol=1e-14)


class TestInterval:
    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
    @pytest.mark.parametrize("n", [1, 20, 500, 501, 2000])
    def test_is_that_of_the_binomial_distribution(self, n, confidence):
        found = count_interval(np.full(n, 0.37), confidence)
        expected = binom(n, 0.37).interval(confidence)
        # The normal approximation may be off by one.
        assert np.abs(np.subtract(found, expected)).max() <= (n > 500)

    @pytest.mark.parametrize("n", [3, 700])
    def test_has_no_width_where_all_is_certain(self, n):
        certain = np.repeat([1.0, 0.0], n)
        assert count_interval(certain, 0.9) == (n, n)
        assert count_interval(np.zeros(n), 0.9) == (0, 0)
        assert count_interval(np.empty(0), 0.9) == (0, 0)

    def test_stays_within_the_number_of_detections(self):
        for n in (2, 1000):
            lower, upper = count_interval(np.full(n, 1 - 1e-9), 1 - 1e-12)
            assert 0 <= lower <= upper <= n

    def test_covers_at_least_its_confidence(self):
        rng = np.random.default_rng(0)
        probability = rng.uniform(0.05, 1, 40)
        lower, upper = count_interval(probability, 0.9)
        successes = (rng.uniform(size=(20_000, 40)) < probability).sum(axis=1)
        assert 0.9 <= ((lower <= successes) & (successes <= upper)).mean() < 0.96


def test_the_table_has_all_images_and_labels():
    of_images = [detections([1, 1, 0], [0.9, 0.8, 0.1]), detections([], [])]
    table = counts_table(of_images, np.array(["a", "b"]), 0.8)
    expected = pd.DataFrame(
        {
            "image": [0, 0, 1, 1],
            "label": ["a", "b", "a", "b"],
            "count": [0.1, 1.7, 0.0, 0.0],
            "lower": [0, 1, 0, 0],
            "upper": [0, 2, 0, 0],
        }
    )
    assert_frame_equal(table, expected)
    empty = counts_table([], np.array([3, 5]), 0.8)
    assert_frame_equal(empty, table.iloc[:0].assign(label=np.empty(0, int)))


class TestCount:
    def test_is_near_the_true_number(self, fitted_localizer, scenes):
        images, truth = scenes
        counts = fitted_localizer.count(images)
        assert len(counts) == 80
        true = truth.groupby(["image", "label"]).size()
        true = true.reindex(pd.MultiIndex.from_frame(counts[["image", "label"]]))
        true = true.fillna(0).to_numpy()
        assert_allclose(counts["count"].sum(), len(truth), rtol=0.15)
        assert np.abs(counts["count"] - true).mean() < 0.2
        is_inside = (counts["lower"] <= true) & (true <= counts["upper"])
        assert is_inside.mean() > 0.9
        assert (counts["lower"] <= counts["upper"]).all()

    def test_does_not_depend_on_the_score_threshold(self, fitted_localizer, scenes):
        images = scenes[0][:2]
        strict = InstanceLocalizer.__new__(InstanceLocalizer)
        strict.__setstate__(fitted_localizer.__getstate__())
        strict.set_params(score_threshold=0.99)
        assert_frame_equal(strict.count(images), fitted_localizer.count(images))
        assert strict.score_threshold == 0.99
        strict.set_params(score_threshold=0.05)
        sums = strict.localize(images).groupby("image")["score"].sum()
        counts = strict.count(images).groupby("image")["count"].sum()
        assert_allclose(counts, sums)

    def test_intervals_grow_with_the_confidence(self, fitted_localizer, scenes):
        images = scenes[0][:2]
        wide = fitted_localizer.count(images, confidence=0.999)
        narrow = fitted_localizer.count(images, confidence=0.2)
        width = wide["upper"] - wide["lower"] - (narrow["upper"] - narrow["lower"])
        assert (width >= 0).all()
        assert width.sum() > 0

    def test_an_iterator_gives_a_table_of_each_image(self, fitted_localizer, scenes):
        images = scenes[0][:2]
        tables = fitted_localizer.count(iter(images))
        first = next(tables)
        assert len(first) == 10
        together = pd.concat([first, *tables], ignore_index=True)
        assert_frame_equal(together, fitted_localizer.count(images))

    def test_dask_collections_give_the_same_table(self, fitted_localizer, scenes):
        da = pytest.importorskip("dask.array", reason="needs Dask")
        pytest.importorskip("dask.dataframe", reason="needs dask.dataframe")
        images = np.stack(scenes[0][:3])
        lazy = fitted_localizer.count(
            da.from_array(images, chunks=(2, -1, -1)), confidence=0.5
        )
        found = lazy.compute().reset_index(drop=True)
        assert_frame_equal(found, fitted_localizer.count(images, confidence=0.5))

    def test_uncalibrated_scores_get_one_warning(self, fitted_localizer, scenes):
        X, y = DIGITS.X_train[::40], DIGITS.y_train[::40]
        frozen = FrozenEstimator(fitted_localizer.estimator_)
        localizer = InstanceLocalizer(frozen).fit(X, y)
        with pytest.warns(UserWarning, match="Scores are not calibrated") as caught:
            localizer.count(scenes[0][:2])
        assert len(caught) == 1

    @pytest.mark.parametrize("confidence", [0, 1, 1.5, "high", None])
    def test_a_confidence_outside_0_to_1_is_refused(self, fitted_localizer, confidence):
        with pytest.raises(
            ValueError, match=r"'confidence' .* InstanceLocalizer.count"
        ):
            fitted_localizer.count([np.zeros((30, 30))], confidence=confidence)

    def test_a_localizer_that_is_not_fitted_is_refused(self):
        with pytest.raises(NotFittedError):
            InstanceLocalizer().count([np.zeros((30, 30))])

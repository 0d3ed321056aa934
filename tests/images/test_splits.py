"""Which images are held out, and which stand for the others."""

import numpy as np
import pytest

from sklearn_similar._images.splits import hold_out, spread_over_classes


def split(y, fraction, seed=0, weights=None):
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    return hold_out(np.asarray(y), weights, fraction, np.random.RandomState(seed))


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    "counts", [[100, 100, 100], [500, 20, 3, 1], [2, 2], [7, 1, 1, 1], [1, 2]]
)
def test_parts_share_all_images_and_each_class_is_trained_on(counts, fraction):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    training, validation = split(y, fraction)
    together = np.concatenate([training, validation])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(y)))
    assert set(y[training]) == set(range(len(counts)))
    n_wanted = min(max(1, round(fraction * len(y))), len(y) - len(counts))
    assert len(validation) == n_wanted


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_each_class_gives_its_share_to_the_nearest_image(fraction):
    counts = np.array([500, 103, 40, 21])
    y = np.repeat(np.arange(4), counts)
    _, validation = split(y, fraction)
    given = np.bincount(y[validation], minlength=4)
    assert (np.abs(given - fraction * counts) <= 1).all()


def test_a_class_with_one_image_is_never_held_out():
    y = np.array([0] * 20 + [1])
    for seed in range(20):
        training, validation = split(y, 0.5, seed)
        assert 20 in training
        assert 20 not in validation


def test_where_every_class_has_one_image_all_are_in_both_parts():
    training, validation = split([0, 1, 2], 0.5)
    assert training.tolist() == validation.tolist() == [0, 1, 2]


def test_random_state_decides_which_images():
    y = np.repeat([0, 1], 50)
    same, again, other = (split(y, 0.2, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(same, again)
    assert same.tolist() != other.tolist()


def test_all_images_of_a_class_come_up_equally_often():
    y = np.repeat([0, 1], [10, 30])
    times = np.zeros(40)
    for seed in range(400):
        times[split(y, 0.3, seed)[1]] += 1
    # Binomial(400, 0.3) has a standard deviation of 9.
    assert (np.abs(times - 120) < 45).all()


def test_chosen_images_are_as_many_of_each_class_as_there_are():
    y = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [1000, 50, 2]))
    chosen = spread_over_classes(y, 60)
    assert len(set(chosen)) == len(chosen) <= 60
    assert np.bincount(y[chosen]).tolist() == [29, 29, 2]


def test_chosen_images_of_a_class_are_evenly_spaced():
    chosen = spread_over_classes(np.zeros(101, dtype=int), 5)
    assert chosen.tolist() == [0, 25, 50, 75, 100]


@pytest.mark.parametrize("n_most", [1, 3, 128])
def test_every_class_is_among_the_chosen_images(n_most):
    y = np.array([3, 0, 5, 5, 0, 5])
    assert set(y[spread_over_classes(y, n_most)]) == {0, 3, 5}


def test_few_images_are_all_chosen():
    y = np.array([1, 0, 1, 1])
    assert spread_over_classes(y, 4).tolist() == [0, 1, 2, 3]
    assert spread_over_classes(y, 128).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(20))
def test_an_image_that_is_most_of_its_class_is_trained_on(seed):
    y, weights = np.repeat([0, 1], [10, 90]), np.ones(100)
    weights[3] = 500
    training, validation = split(y, 0.2, seed, weights)
    assert 3 in training
    assert len(validation) == 20
    assert (y[validation] == 0).any()


@pytest.mark.parametrize("weight", [1.0, 0.1, 1 / 3, 1e-7])
def test_the_unit_of_weights_does_not_matter(weight):
    y = np.repeat([0, 1, 2], [49, 7, 3])
    expected = split(y, 0.1)
    for found, wanted in zip(
        split(y, 0.1, weights=np.full(59, weight)), expected, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)

"""Which images are copies, sampled and held out, against naive counts and loops."""

import numpy as np
import pytest
from sklearn import config_context

from sklearn_similar._images.images import Images
from sklearn_similar._images.splits import (
    distinct_images,
    hold_out,
    rank_within,
    sampling_indices,
    spread_over_classes,
)


def draw(n, shape=(6, 5, 1), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8)


def distinct(pixels, y, weights=None, n_channels=1):
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    return distinct_images(Images(pixels, "images"), n_channels, np.array(y), weights)


def test_copies_have_the_sum_of_their_weights():
    pixels = draw(3)[[0, 1, 0, 2, 1, 0]]
    chosen, weights = distinct(pixels, [0, 1, 0, 1, 1, 0], [1, 2, 0.5, 4, 8, 16])
    assert sorted(chosen) == [0, 1, 3]
    assert weights.tolist() == [17.5, 10, 0, 4, 0, 0]


def test_equal_images_of_two_classes_stay_two():
    chosen, weights = distinct(draw(1)[[0, 0, 0]], [0, 1, 0])
    assert sorted(chosen) == [0, 1]
    assert weights.tolist() == [2, 1, 0]


def test_images_that_weigh_nothing_are_left_out():
    pixels = draw(3)[[0, 1, 0, 2]]
    chosen, weights = distinct(pixels, [0, 0, 0, 1], [0, 1, 3, 0])
    assert sorted(chosen) == [1, 2]
    assert weights.tolist() == [0, 1, 3, 0]


def test_the_order_is_that_of_the_images_and_not_the_user_s():
    pixels, y = draw(50), np.arange(50) % 3
    chosen, _ = distinct(pixels, y)
    assert chosen.tolist() != sorted(chosen)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(50)
        again, _ = distinct(pixels[order], y[order])
        np.testing.assert_array_equal(order[again], chosen)


@pytest.mark.parametrize(
    "as_user",
    [
        lambda pixels: pixels / 255,
        lambda pixels: (pixels / 255).astype(np.float32),
        lambda pixels: pixels.astype(np.uint16) * 257,
        lambda pixels: pixels.astype(">i4"),
        np.asfortranarray,
        list,
    ],
)
def test_images_are_compared_by_the_input_of_the_network(as_user):
    pixels, y = draw(20), np.arange(20) % 2
    chosen, _ = distinct(pixels, y)
    again, _ = distinct(as_user(pixels), y)
    np.testing.assert_array_equal(again, chosen)


@pytest.mark.parametrize("as_user", [np.asarray, list])
def test_large_images_are_read_in_parts(as_user):
    pixels, y = draw(4, (40, 5, 3))[[0, 1, 2, 3, 1]], [0, 1, 0, 1, 1]
    whole, weights = distinct(pixels, y, n_channels=3)
    assert len(whole) == 4
    # Parts of 35 pixels.
    with config_context(working_memory=35 / 2048):
        parts, again = distinct(as_user(pixels), y, n_channels=3)
        assert len(parts) == 4
        np.testing.assert_array_equal(again, weights)
        # A difference in any part counts.
        for row in (0, 20, 39):
            pixels[4] = pixels[1]
            pixels[4, row] ^= 1
            assert len(distinct(as_user(pixels), y, n_channels=3)[0]) == 5


def weights_at(indices, values, n=9):
    weights = np.zeros(n)
    weights[indices] = values
    return weights


class TestSamplingIndices:
    indices = np.array([5, 2, 7])

    def sample(self, values, are_copies=False):
        return sampling_indices(
            self.indices, weights_at(self.indices, values), are_copies
        )

    def test_whole_weights_are_copies(self):
        samples, loss_weights = self.sample([3, 1, 2])
        assert samples.tolist() == [5, 5, 5, 2, 7, 7]
        assert loss_weights is None

    def test_copies_are_copies_however_many(self):
        samples, loss_weights = self.sample([100, 1, 2], are_copies=True)
        assert np.bincount(samples).tolist() == [0, 0, 1, 0, 0, 100, 0, 2]
        assert loss_weights is None

    @pytest.mark.parametrize("values", [[100, 1, 2], [0.5, 1.25, 2], [1e-9, 1, 1e9]])
    def test_samples_times_loss_weights_are_the_weights(self, values):
        samples, loss_weights = self.sample(values)
        assert len(samples) <= 6
        assert set(samples) == {2, 5, 7}
        counts = np.bincount(samples, minlength=9)[self.indices]
        shares = counts * loss_weights[self.indices]
        np.testing.assert_allclose(shares / shares.sum(), values / np.sum(values), 1e-6)
        assert loss_weights[samples].mean() == pytest.approx(1)
        assert loss_weights.max() < 3


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


@pytest.mark.parametrize("with_key", [True, False])
def test_ranks_are_those_of_a_loop_over_the_groups(with_key):
    rng = np.random.default_rng(0)
    group = rng.integers(5, size=40)
    # Few values, so that there are ties.
    key = rng.integers(3, size=40) if with_key else np.zeros(40)
    expected = np.empty(40, dtype=int)
    for value in set(group):
        members = [row for row in range(40) if group[row] == value]
        for rank, row in enumerate(sorted(members, key=lambda row: key[row])):
            expected[row] = rank
    np.testing.assert_array_equal(
        rank_within(group, key if with_key else None), expected
    )


def test_no_rows_have_no_ranks():
    assert rank_within(np.empty(0, dtype=int)).shape == (0,)


def test_images_of_large_weight_are_spread_over_the_classes():
    y = np.repeat([0, 1], 50)
    equal = spread_over_classes(y, 20, np.full(100, 0.3))
    np.testing.assert_array_equal(np.bincount(y[equal]), [10, 10])
    assert (np.diff(equal) == 5).all()
    heavy = np.arange(100) % 5 == 2
    chosen = spread_over_classes(y, 20, np.where(heavy, 1, 1e-4))
    assert chosen.tolist() == np.flatnonzero(heavy).tolist()

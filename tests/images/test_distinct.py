"""Copies of images become one, in an order that does not depend on the user's."""

import numpy as np
import pytest

from sklearn_similar._images import images as images_module
from sklearn_similar._images.distinct import distinct_images, draws_of
from sklearn_similar._images.images import Images


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
def test_what_the_network_sees_decides(as_user):
    pixels, y = draw(20), np.arange(20) % 2
    chosen, _ = distinct(pixels, y)
    again, _ = distinct(as_user(pixels), y)
    np.testing.assert_array_equal(again, chosen)


@pytest.mark.parametrize("as_user", [np.asarray, list])
def test_large_images_are_read_in_parts(as_user, monkeypatch):
    pixels, y = draw(4, (40, 5, 3))[[0, 1, 2, 3, 1]], [0, 1, 0, 1, 1]
    whole, weights = distinct(pixels, y, n_channels=3)
    assert len(whole) == 4
    monkeypatch.setattr(images_module, "_MAX_PIXELS", 100)
    monkeypatch.setattr(images_module, "_MAX_PART", 35)
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


class TestDraws:
    indices = np.array([5, 2, 7])

    def draws(self, values, are_copies=False):
        return draws_of(self.indices, weights_at(self.indices, values), are_copies)

    def test_whole_weights_are_copies(self):
        draws, loss_weights = self.draws([3, 1, 2])
        assert draws.tolist() == [5, 5, 5, 2, 7, 7]
        assert loss_weights is None

    def test_copies_are_copies_however_many(self):
        draws, loss_weights = self.draws([100, 1, 2], are_copies=True)
        assert np.bincount(draws).tolist() == [0, 0, 1, 0, 0, 100, 0, 2]
        assert loss_weights is None

    @pytest.mark.parametrize("values", [[100, 1, 2], [0.5, 1.25, 2], [1e-9, 1, 1e9]])
    def test_draws_times_loss_weights_are_the_weights(self, values):
        draws, loss_weights = self.draws(values)
        assert len(draws) <= 6
        assert set(draws) == {2, 5, 7}
        counts = np.bincount(draws, minlength=9)[self.indices]
        shares = counts * loss_weights[self.indices]
        np.testing.assert_allclose(shares / shares.sum(), values / np.sum(values), 1e-6)
        assert loss_weights[draws].mean() == pytest.approx(1)
        assert loss_weights.max() < 3

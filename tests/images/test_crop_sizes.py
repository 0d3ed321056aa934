"""Crops of several sizes are scaled to one."""

import numpy as np
import pytest

from sklearn_similar._images.crops import crops_of_one_size, fit_into_square

RNG = np.random.default_rng(0)


def test_scaling_keeps_the_mean_and_the_type():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (100, 100, 3), np.uint8)
    scaled = fit_into_square(pixels, 10)
    assert scaled.dtype == np.uint8
    assert abs(scaled.mean() - pixels.mean()) < 2


def test_floats_are_scaled_without_rounding():
    pixels = RNG.random((40, 20)).astype(np.float32)
    scaled = fit_into_square(pixels, 10)
    assert scaled.dtype == np.float32
    assert (scaled[:, :2] == 0).all()
    assert abs(scaled[:, 3:7].mean() - pixels.mean()) < 0.05


def test_crops_of_one_size_stay_and_others_are_scaled():
    crops = [np.full((9, 9), 7, np.uint8)] * 2
    same, are_scaled = crops_of_one_size(crops, None)
    assert not are_scaled
    np.testing.assert_array_equal(same, crops)
    scaled, are_scaled = crops_of_one_size([*crops, np.zeros((4, 6), np.uint8)], None)
    assert are_scaled
    assert scaled.shape == (3, 28, 28)
    assert crops_of_one_size(crops, 5)[0].shape == (2, 5, 5)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (np.zeros((4, 4)), "of one data type, but that of image 0 of X is uint8, and"),
        (np.zeros((4, 4, 2), np.uint8), "of one number of channels, but that of image"),
    ],
)
def test_crops_that_differ_otherwise_are_refused(other, message):
    with pytest.raises(ValueError, match=message):
        crops_of_one_size([np.zeros((9, 9), np.uint8), other], None)

"""Synthetic textures that stand in for photographs."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from sklearn_similar._scenes.textures import (
    _clouds,
    _leaves,
    _strands,
    make_textures,
)


@pytest.mark.parametrize("size", [(60, 91), (9, 40), (1, 1)])
def test_textures_have_the_size_and_use_the_range(size):
    textures = make_textures(14, size, np.random.RandomState(0))
    assert len(textures) == 14
    for texture in textures:
        assert texture.shape == size
        assert texture.dtype == np.uint8
        assert np.ptp(texture) > 200 or size == (1, 1)


def test_the_same_random_state_gives_the_same_textures():
    first, second = (
        make_textures(7, (50, 50), np.random.RandomState(3)) for _ in range(2)
    )
    assert_array_equal(first, second)


def test_clouds_have_all_scales_and_more_of_the_large_ones():
    rng = np.random.RandomState(0)
    stds = []
    for _ in range(20):
        clouds = _clouds((256, 256), rng)
        smooth = [ndimage.gaussian_filter(clouds, sigma) for sigma in (0, 1, 4, 16)]
        stds.append([(a - b).std() for a, b in pairwise(smooth)])
    fine, middle, coarse = np.median(stds, axis=0)
    assert fine > 0.01
    assert coarse > middle > fine


def test_leaves_are_plain_inside_and_have_sharp_edges():
    rng = np.random.RandomState(0)
    shares = []
    for _ in range(10):
        leaves = _leaves((200, 200), rng)
        slope = np.hypot(ndimage.sobel(leaves, 0), ndimage.sobel(leaves, 1)) / 4
        shares.append([(slope < 0.03).mean(), (slope > 0.1).mean()])
    plain, edges = np.median(shares, axis=0)
    assert plain > 0.1
    assert 0.05 < edges < 0.5


def direction_share(texture):
    """Share of the slopes that have the direction of their neighbours."""
    right, down = ndimage.sobel(texture, 1), ndimage.sobel(texture, 0)
    products = (right * right, down * down, right * down)
    xx, yy, xy = (ndimage.gaussian_filter(product, 3) for product in products)
    return np.hypot(xx - yy, 2 * xy).sum() / (xx + yy).sum()


def test_strands_are_longer_than_wide():
    rng = np.random.RandomState(0)
    strands, leaves = (
        np.median([direction_share(make((200, 200), rng)) for _ in range(10)])
        for make in (_strands, _leaves)
    )
    assert strands > 0.6
    assert leaves < 0.55

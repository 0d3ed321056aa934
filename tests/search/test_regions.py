"""Regions of an image that comes in tiles, against those of the whole."""

import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import ndimage

from sklearn_similar._search.proposals import Stability, extremal_regions
from sklearn_similar._search.regions import RegionTiles

FULL_SIZE = Stability.of_channel(1)


def boxes_of_tiles(values, height, width, n_thresholds, stability=FULL_SIZE):
    tiles = RegionTiles(values.shape, n_thresholds, stability)
    for top in range(0, values.shape[0], height):
        band = values[top : top + height]
        columns = range(0, values.shape[1], width)
        tiles.add_row([band[:, left : left + width] for left in columns])
    return tiles.proposals()


def noise(rng, shape, smoothing):
    values = rng.uniform(size=shape)
    if smoothing:
        values = ndimage.gaussian_filter(values, smoothing)
    return ((values - values.min()) / np.ptp(values)).astype(np.float32)


@given(
    st.integers(0, 10_000),
    st.tuples(st.integers(15, 120), st.integers(15, 120)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from([0, 1, 3, 8]),
    st.sampled_from([1, 6, 31]),
    st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_regions_are_those_of_the_whole_image_in_their_order(
    seed, shape, tile, smoothing, n_thresholds, downsampling
):
    # Each tile takes milliseconds, however small it is.
    assume(math.prod(-(-np.array(shape) // tile)) <= 100)
    values = noise(np.random.RandomState(seed), shape, smoothing)
    stability = Stability.of_channel(downsampling)
    expected = extremal_regions(values, n_thresholds, stability)["box"]
    found = boxes_of_tiles(values, *tile, n_thresholds, stability)
    assert_array_equal(found, expected)


def test_an_object_across_many_tiles_is_found_once():
    values = np.zeros((200, 230), np.float32)
    values[30:180, 20:200] = 0.5
    values[50:160, 60:190] = 0.9
    found = boxes_of_tiles(values, 16, 16, 31)
    assert_array_equal(found, [[20, 30, 200, 180], [60, 50, 190, 160]])


def test_only_regions_along_the_cuts_are_kept():
    values = noise(np.random.RandomState(0), (512, 256), 1)
    tiles = RegionTiles(values.shape, 31, FULL_SIZE)
    kept = []
    for top in range(0, 512, 64):
        tiles.add_row([values[top : top + 64, left : left + 64] for left in (0, 64)] + [
            values[top : top + 64, 128:]])  # fmt: skip
        kept.append(len(tiles._waiting))
    assert max(kept) < 3 * 256
    assert kept[-1] == 0

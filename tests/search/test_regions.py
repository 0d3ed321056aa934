"""Extremal regions, against plain labelling, and of tiles against the whole."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import ndimage
from search_cases import smooth_image, square
from sklearn import config_context

from sklearn_similar._search.regions import (
    RegionRecipe,
    Regions,
    StableRegions,
    connected_regions,
    heat_regions,
    stable_regions,
)


def box_set(boxes):
    return {tuple(box) for box in boxes.astype(int).tolist()}


@pytest.mark.parametrize("seed", range(5))
def test_regions_of_each_threshold_are_those_of_a_plain_labelling(seed):
    image = smooth_image(seed)
    thresholds = np.array([0.3, 0.5, 0.7])
    regions = connected_regions(image, thresholds)
    for level, threshold in enumerate(thresholds):
        labels, _ = ndimage.label(image > threshold, np.ones((3, 3)))
        expected = sorted(
            (
                x.start,
                y.start,
                x.stop,
                y.stop,
                np.float32(image[labels == number].max()),
            )
            for number, (y, x) in enumerate(ndimage.find_objects(labels), start=1)
        )
        exists = (regions.death <= level) & (level < regions.birth)
        rows = np.column_stack([regions.box, regions.peak])[exists]
        assert sorted(map(tuple, rows.tolist())) == expected


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_a_parent_comes_before_its_child_and_contains_it(seed):
    regions = connected_regions(smooth_image(seed), np.linspace(0.1, 0.9, 9))
    children = np.flatnonzero(regions.parent >= 0)
    parents = regions.parent[children]
    assert (parents < children).all()
    inner, outer = regions.box[children], regions.box[parents]
    assert (outer[:, :2] <= inner[:, :2]).all()
    assert (outer[:, 2:] >= inner[:, 2:]).all()
    assert_array_equal(regions.birth[parents], regions.death[children])
    assert_array_equal(regions.death == 0, regions.parent < 0)


def test_the_parent_of_a_selected_region_is_its_nearest_selected_ancestor():
    # A small square on a larger one, on a larger one.
    image = square(box=(5, 5, 45, 45), level=0.3)
    image += square(box=(10, 10, 40, 40), level=0.3)
    image += square(box=(20, 20, 30, 30), level=0.3)
    regions = connected_regions(image, np.array([0.1, 0.4, 0.7]))
    assert_array_equal(regions.parent, [-1, 0, 1])
    assert_array_equal(regions.select(np.array([True, False, True])).parent, [-1, 0])
    assert_array_equal(regions.select(np.array([False, False, True])).parent, [-1])


def test_parents_of_concatenated_regions_stay_in_their_part():
    image = square(box=(5, 5, 45, 45), level=0.3)
    image += square(box=(10, 10, 40, 40), level=0.3)
    regions = connected_regions(image, np.array([0.1, 0.4]))
    both = Regions.concatenate([regions, Regions.empty(), regions])
    assert_array_equal(both.parent, [-1, 0, -1, 2])
    assert_array_equal(both.box, np.tile(regions.box, (2, 1)))


def test_a_bright_square_is_a_region_with_its_box():
    assert_array_equal(stable_regions(square(), 15), [[10, 20, 25, 40]])


def test_a_single_threshold_proposes_brighter_regions():
    image = square() + square(box=(30, 5, 45, 15), level=0.3)
    assert_array_equal(stable_regions(image, 1), [[10, 20, 25, 40]])


def test_a_faint_square_next_to_a_bright_one_is_proposed_too():
    image = square() + square(box=(30, 5, 45, 15), level=0.3)
    boxes = stable_regions(image, 15)
    assert box_set(boxes) == {(10, 20, 25, 40), (30, 5, 45, 15)}


def test_squares_joined_by_a_faint_bridge_are_proposed_apart_and_together():
    image = square(box=(5, 10, 15, 30)) + square(box=(25, 10, 35, 30))
    image[18:22, 15:25] = 0.5
    boxes = stable_regions(image, 15)
    assert box_set(boxes) == {(5, 10, 15, 30), (25, 10, 35, 30), (5, 10, 35, 30)}


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_image_has_no_regions(value):
    boxes = stable_regions(np.full((40, 40), value), 15)
    assert boxes.shape == (0, 4)
    assert boxes.dtype == np.float32


@pytest.mark.parametrize("level", [0.45, 0.5])
def test_downsampled_channels_propose_fainter_regions(level):
    # Brighter than its background by little more than 0.06, or by enough.
    image = np.full((60, 60), 0.37)
    image[10:30, 20:40] = level
    n_regions = [
        len(stable_regions(image, 31, RegionRecipe().for_channel(downsampling)))
        for downsampling in (1, 2)
    ]
    assert n_regions == [int(level == 0.5), 1]


def test_a_region_with_a_longer_side_below_the_minimum_is_left_out():
    image = square(box=(10, 10, 16, 16))
    assert not len(stable_regions(image, 15))
    assert len(stable_regions(image, 15, RegionRecipe(min_side=6))) == 1
    assert len(stable_regions(square(box=(10, 10, 17, 12)), 15)) == 1


def test_heat_regions_are_tightened_around_bright_pixels():
    image = square(box=(20, 15, 40, 35))
    heat = square(box=(14, 10, 46, 40))
    assert_array_equal(heat_regions(heat, image, 0.15, 15), [[20, 15, 40, 35]])


def test_heat_over_a_dark_image_gives_no_region():
    assert not len(heat_regions(square(), np.zeros((50, 60)), 0.15, 15))


def test_heat_regions_do_not_depend_on_the_working_memory():
    heat, image = smooth_image(0), smooth_image(1)
    boxes = heat_regions(heat, image, 0.15, 15)
    assert len(boxes) > 5
    with config_context(working_memory=1):
        assert_array_equal(heat_regions(heat, image, 0.15, 15), boxes)


def boxes_of_tiles(values, height, width, n_thresholds, recipe):
    regions = StableRegions(values.shape, n_thresholds, recipe)
    for top in range(0, values.shape[0], height):
        band = values[top : top + height]
        columns = range(0, values.shape[1], width)
        regions.add_row([band[:, left : left + width] for left in columns])
    return regions.boxes()


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
    st.sampled_from([RegionRecipe(), RegionRecipe().for_channel(2)]),
)
@settings(max_examples=40)
def test_regions_of_tiles_are_those_of_the_whole_image_in_their_order(
    seed, shape, tile, smoothing, n_thresholds, recipe
):
    # Each tile takes milliseconds, however small it is.
    assume(math.prod(-(-np.array(shape) // tile)) <= 100)
    values = noise(np.random.RandomState(seed), shape, smoothing)
    expected = stable_regions(values, n_thresholds, recipe)
    boxes = boxes_of_tiles(values, *tile, n_thresholds, recipe)
    assert_array_equal(boxes, expected)


def test_an_object_across_many_tiles_is_proposed_once():
    values = np.zeros((200, 230), np.float32)
    values[30:180, 20:200] = 0.5
    values[50:160, 60:190] = 0.9
    boxes = boxes_of_tiles(values, 16, 16, 31, RegionRecipe())
    assert_array_equal(boxes, [[20, 30, 200, 180], [60, 50, 190, 160]])


def test_only_regions_at_the_lower_edge_of_a_row_stay_in_memory():
    values = noise(np.random.RandomState(0), (512, 256), 1)
    regions = StableRegions(values.shape, 31, RegionRecipe())
    n_pending = []
    for top in range(0, 512, 64):
        band = values[top : top + 64]
        regions.add_row([band[:, :64], band[:, 64:128], band[:, 128:]])
        n_pending.append(len(regions._pending.regions))
    assert max(n_pending) < 3 * 256
    assert n_pending[-1] == 0

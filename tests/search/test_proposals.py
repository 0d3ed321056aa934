"""Component trees and extremal regions, against labelling at each threshold."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import ndimage

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.channels import shared_channels
from sklearn_similar._search.large_images import propose_in_tiles
from sklearn_similar._search.proposals import (
    REGION,
    Stability,
    ancestors,
    as_proposals,
    connected_regions,
    extremal_regions,
    heat_regions,
    parts_of,
    propose,
    select_regions,
)
from sklearn_similar._tables.boxes import paired_iou


def smooth_image(seed, shape=(60, 80)):
    noise = np.random.RandomState(seed).standard_normal(shape)
    image = ndimage.gaussian_filter(noise, 4)
    return (image - image.min()) / np.ptp(image)


def boxes_of(regions):
    return {tuple(region["box"].astype(int).tolist()) for region in regions}


def square(shape=(50, 60), box=(10, 20, 25, 40), level=1.0, background=0.0):
    image = np.full(shape, background)
    x_min, y_min, x_max, y_max = box
    image[y_min:y_max, x_min:x_max] = level
    return image


@pytest.mark.parametrize("seed", range(5))
def test_components_of_each_threshold_are_those_of_a_plain_labelling(seed):
    image = smooth_image(seed)
    thresholds = np.array([0.3, 0.5, 0.7])
    regions = connected_regions(image, thresholds)
    for threshold in thresholds:
        labels, n_labels = ndimage.label(image > threshold, np.ones((3, 3)))
        expected = {}
        slices = ndimage.find_objects(labels)
        for number, (y, x) in zip(range(1, n_labels + 1), slices, strict=True):
            box = (x.start, y.start, x.stop, y.stop)
            if max(box[2] - box[0], box[3] - box[1]) >= 7:
                expected[box] = np.float32(image[labels == number].max())
        found = regions[
            (regions["threshold"] <= np.float32(threshold))
            & (regions["last_threshold"] >= np.float32(threshold))
        ]
        assert len(found) == len(expected)
        peaks = {
            tuple(region["box"].astype(int).tolist()): region["peak"]
            for region in found
        }
        assert peaks == expected


def test_each_component_has_its_own_peak():
    image = square(box=(5, 5, 15, 15), level=0.6) + square(box=(30, 20, 45, 40))
    peaks = {
        tuple(region["box"].astype(int).tolist()): float(region["peak"])
        for region in connected_regions(image, np.array([0.5]))
    }
    assert peaks == {(5, 5, 15, 15): pytest.approx(0.6), (30, 20, 45, 40): 1.0}


@given(st.integers(0, 10_000))
def test_a_parent_comes_before_its_child_and_holds_it(seed):
    regions = connected_regions(smooth_image(seed), np.linspace(0.1, 0.9, 9))
    children = np.flatnonzero(regions["parent"] >= 0)
    parents = regions["parent"][children]
    assert (parents < children).all()
    inner, outer = regions["box"][children], regions["box"][parents]
    assert (outer[:, :2] <= inner[:, :2]).all()
    assert (outer[:, 2:] >= inner[:, 2:]).all()
    assert (regions["threshold"][parents] < regions["threshold"][children]).all()
    assert (
        (regions["threshold"] == regions["threshold"].min()) == (regions["parent"] < 0)
    ).all()


def test_a_bright_square_is_one_region_with_its_box():
    (region,) = extremal_regions(square(), 15)
    assert boxes_of([region]) == {(10, 20, 25, 40)}
    assert region["peak"] == 1
    assert region["threshold"] == pytest.approx(1 / 16)


def test_a_single_threshold_finds_brighter_regions():
    image = square() + square(box=(30, 5, 45, 15), level=0.3)
    assert boxes_of(extremal_regions(image, 1)) == {(10, 20, 25, 40)}


def test_a_faint_square_beside_a_bright_one_is_found_too():
    image = square() + square(box=(30, 5, 45, 15), level=0.3)
    assert boxes_of(extremal_regions(image, 15)) == {(10, 20, 25, 40), (30, 5, 45, 15)}


def test_squares_joined_by_a_faint_bridge_are_found_apart_and_together():
    image = square(box=(5, 10, 15, 30)) + square(box=(25, 10, 35, 30))
    image[18:22, 15:25] = 0.5
    regions = extremal_regions(image, 15)
    assert boxes_of(regions) == {(5, 10, 15, 30), (25, 10, 35, 30), (5, 10, 35, 30)}
    whole = np.flatnonzero(regions["box"][:, 2] - regions["box"][:, 0] > 20).tolist()
    assert_array_equal(np.delete(regions["parent"], whole), whole * 2)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_image_has_no_regions(value):
    regions = extremal_regions(np.full((40, 40), value), 15)
    assert regions.dtype == REGION
    assert not len(regions)


@pytest.mark.parametrize("level", [0.45, 0.5])
def test_smaller_channels_propose_what_is_fainter(level):
    # Brighter than its ground by little more than 0.06, or by enough.
    image = np.full((60, 60), 0.37)
    image[10:30, 20:40] = level
    found = [
        len(extremal_regions(image, 31, Stability.of_channel(downsampling)))
        for downsampling in (1, 2)
    ]
    assert found == [int(level == 0.5), 1]


def test_a_part_smaller_than_seven_pixels_is_left_out():
    assert not len(extremal_regions(square(box=(10, 10, 16, 16)), 15))
    assert len(extremal_regions(square(box=(10, 10, 17, 12)), 15)) == 1


def test_heat_regions_are_tightened_around_bright_pixels():
    image = square(box=(20, 15, 40, 35))
    heat = square(box=(14, 10, 46, 40))
    (region,) = heat_regions(heat, image, 0.15, 15)
    assert boxes_of([region]) == {(20, 15, 40, 35)}


def test_heat_over_nothing_bright_gives_no_region():
    assert not len(heat_regions(square(), np.zeros((50, 60)), 0.15, 15))


def test_parents_of_selected_regions_are_their_nearest_selected_ancestors():
    regions = np.zeros(5, REGION)
    regions["parent"] = [-1, 0, 1, 2, 0]
    selected = select_regions(regions, np.array([True, False, False, True, True]))
    assert_array_equal(selected["parent"], [-1, 0, 0])
    selected = select_regions(regions, np.array([False, True, False, True, True]))
    assert_array_equal(selected["parent"], [-1, 0, -1])


def test_ancestors_lead_to_the_root():
    found = ancestors(np.array([-1, 0, 1, -1]))
    assert_array_equal(found[2][:3], [1, 0, -1])
    assert set(found[3]) == {-1}


def luma(colour):
    return np.dot(colour, (0.299, 0.587, 0.114))


def reaches(proposals, box):
    """Whether a proposal overlaps a box well."""
    return paired_iou(proposals["box"], np.array(box, np.float32)).max(initial=0) > 0.7


def tensor(image):
    return torch.from_numpy(image.astype(np.float32))


def test_an_object_that_differs_in_colour_alone_is_proposed():
    red, green = np.array([0.8, 0.2, 0.3]), np.array([0.2, 0.5, 0.3])
    green *= luma(red) / luma(green)
    image = np.empty((60, 80, 3))
    image[:] = green
    image[20:44, 30:60] = red
    pixels = tensor(image).permute(2, 0, 1)
    (grey,) = propose(pixels, (False,), "grey", 31)
    (all_channels,) = propose(pixels, (False,), "image", 31)
    assert not reaches(grey, [30, 20, 60, 44])
    assert reaches(all_channels, [30, 20, 60, 44])


def test_an_object_of_no_one_brightness_but_with_an_outline_is_proposed():
    # As bright as the background on average, darker on one side and brighter on the
    # other, so that no threshold sets it apart as a whole.
    image = np.full((100, 120), 0.5)
    image[30:70, 30:90] = np.linspace(0.1, 0.9, 60)
    image[28:72, [28, 29, 90, 91]] = image[[28, 29, 70, 71], 28:92] = 0.5
    image[26:28, 26:94] = image[72:74, 26:94] = 0.9
    image[26:74, 26:28] = image[26:74, 92:94] = 0.9
    image += np.tile(np.linspace(0, 0.1, 120), (100, 1))
    pixels = tensor(image.clip(0, 1))[None]
    (found,) = propose(pixels, (False,), "image", 31)
    assert reaches(found, [28, 28, 92, 72])


def test_regions_of_few_edges_are_proposed_for_an_image_and_its_negative():
    image = tensor(smooth_image(0))[None]
    (edges,) = shared_channels(image)
    boxes = 2 * extremal_regions(edges.values, 31)["box"]
    assert len(boxes) > 0
    for found in propose(image, (False, True), "image", 31):
        for box in boxes:
            # It may have a near duplicate among the grey regions.
            assert paired_iou(found["box"], box).max() > 0.7


def test_faint_objects_are_proposed():
    image = np.full((80, 90), 0.2, np.float32)
    image[30:50, 30:50] = 0.33
    (found,) = propose(tensor(image)[None], (False,), "image", 31)
    assert paired_iou(found["box"], np.float32([30, 30, 50, 50])).max(initial=0) > 0.7


@pytest.mark.parametrize("negative", [False, True])
def test_noise_hides_no_object(negative):
    image = np.full((80, 90), 0.2, np.float32)
    image[30:50, 30:50] = 0.5
    overlap = []
    for seed in range(10):
        noise = np.random.RandomState(seed).normal(0, 0.15, image.shape)
        noisy = np.abs(negative - image + noise).clip(0, 1)
        (found,) = propose(tensor(noisy)[None], (negative,), "image", 31)
        box = np.float32([30, 30, 50, 50])
        overlap.append(paired_iou(found["box"], box).max(initial=0))
    # Of grey levels at full size alone, it is 0.76.
    assert np.mean(overlap) > 0.8


@given(st.integers(0, 10_000), st.integers(40, 61), st.integers(40, 61))
def test_proposals_lie_inside_the_image_and_are_not_empty(seed, height, width):
    image = tensor(
        np.stack([smooth_image(seed + i, (height, width)) for i in range(3)])
    )
    for found in propose(image, (False, True), "image", 31):
        boxes = found["box"]
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= [width, height]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_no_two_proposals_have_the_same_box():
    image = tensor(np.stack([smooth_image(i) for i in range(3)]))
    (found,) = propose(image, (False,), "image", 31)
    assert len(np.unique(found["box"], axis=0)) == len(found)


@pytest.mark.parametrize("proposals", ["grey", "image"])
def test_with_any_contrast_darker_regions_are_proposed_as_well(proposals):
    bright, dark = (10, 20, 25, 40), (40, 12, 55, 33)
    image = np.full((60, 70), 0.5, np.float32)
    image[20:40, 10:25], image[12:33, 40:55] = 0.9, 0.1
    pixels = torch.from_numpy(image)[None]
    (of_bright,) = propose(pixels, (False,), "grey", 31)
    assert bright in boxes_of(of_bright)
    assert dark not in boxes_of(of_bright)
    found = propose(pixels, (False, True), proposals, 31, any_contrast=True)
    for own in found:
        assert {bright, dark} <= boxes_of(own)
    of_tiles = propose_in_tiles(
        Raster.from_tensor(pixels), (False,), proposals, 31, True
    )
    assert boxes_of(of_tiles[0]) == boxes_of(found[0])


@pytest.mark.parametrize(
    ("box", "parts"),
    [
        ((10, 20, 26, 40), [(10, 20, 18, 40), (18, 20, 26, 40)]),
        (
            (10, 20, 41, 40),
            [
                *((10, 20, 26, 40), (25, 20, 41, 40)),
                *((10, 20, 21, 40), (20, 20, 31, 40), (30, 20, 41, 40)),
            ],
        ),
        ((10, 20, 20, 40), [(10, 20, 20, 30), (10, 30, 20, 40)]),
        ((10, 20, 22, 40), []),
        # Parts that are too small to be recognised.
        ((10, 20, 16, 24), []),
    ],
)
def test_wide_and_tall_regions_are_cut(box, parts):
    found = parts_of(as_proposals(np.array([box, [0, 0, 30, 45]])))
    assert boxes_of(found) == set(parts)
    assert (found["downsampling"] == 1).all()


def test_of_two_that_touch_each_is_a_part():
    image = np.maximum(
        square((50, 60), (10, 10, 24, 32)), square((50, 60), (24, 12, 38, 34))
    )
    pixels = torch.from_numpy(image.astype(np.float32))[None]
    (found,) = propose(pixels, (False,), "grey", 31)
    assert boxes_of(found) == {(10, 10, 38, 34)}
    assert {(10, 10, 24, 34), (24, 10, 38, 34)} <= boxes_of(parts_of(found))

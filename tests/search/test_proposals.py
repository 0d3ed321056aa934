"""Region proposals of images with objects of known boxes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.channels import shared_channels
from sklearn_similar._search.large_images import propose_in_tiles
from sklearn_similar._search.proposals import as_proposals, parts_of, propose
from sklearn_similar._search.regions import stable_regions
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
    boxes = 2 * stable_regions(edges.values, 31)
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
@settings(max_examples=30, deadline=None)
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

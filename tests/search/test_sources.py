"""Sources of region proposals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from search_cases import smooth_image
from sklearn import config_context

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.channels import shared_channels
from sklearn_similar._search.regions import RegionRecipe, stable_regions
from sklearn_similar._search.settings import ProposalSettings
from sklearn_similar._search.sources import propose
from sklearn_similar._search.views import Views
from sklearn_similar._tables.boxes import paired_iou


def proposals_of(pixels, source, negatives=(False,), any_contrast=False):
    """Proposals in each view of an image n_channels x height x width."""
    views = Views([Raster.from_tensor(pixels)], negatives, any_contrast)
    proposals = propose(views, ProposalSettings(source=source, n_thresholds=31))
    return [proposals.select(proposals.view == n) for n in range(len(negatives))]


def boxes_of(proposals):
    return set(map(tuple, proposals.boxes.astype(int).tolist()))


def luma(colour):
    return np.dot(colour, (0.299, 0.587, 0.114))


def reaches(proposals, box):
    """Whether a proposal overlaps a box well."""
    return paired_iou(proposals.boxes, np.array(box, np.float32)).max(initial=0) > 0.7


def tensor(image):
    return torch.from_numpy(image.astype(np.float32))


def test_an_object_that_differs_in_colour_alone_is_proposed():
    red, green = np.array([0.8, 0.2, 0.3]), np.array([0.2, 0.5, 0.3])
    green *= luma(red) / luma(green)
    image = np.empty((60, 80, 3))
    image[:] = green
    image[20:44, 30:60] = red
    pixels = tensor(image).permute(2, 0, 1)
    (grey,) = proposals_of(pixels, "grey")
    (all_channels,) = proposals_of(pixels, "image")
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
    (found,) = proposals_of(pixels, "image")
    assert reaches(found, [28, 28, 92, 72])


def test_regions_of_few_edges_are_proposed_for_an_image_and_its_negative():
    image = tensor(smooth_image(0))[None]
    (edges,) = shared_channels(image)
    boxes = 2 * stable_regions(edges.values, 31, RegionRecipe().for_channel(2))
    assert len(boxes) > 0
    for found in proposals_of(image, "image", (False, True)):
        for box in boxes:
            # It may have a near duplicate among the grey regions.
            assert paired_iou(found.boxes, box).max() > 0.7


def test_faint_objects_are_proposed():
    image = np.full((80, 90), 0.2, np.float32)
    image[30:50, 30:50] = 0.33
    (found,) = proposals_of(tensor(image)[None], "image")
    assert paired_iou(found.boxes, np.float32([30, 30, 50, 50])).max(initial=0) > 0.7


@pytest.mark.parametrize("negative", [False, True])
def test_noise_hides_no_object(negative):
    image = np.full((80, 90), 0.2, np.float32)
    image[30:50, 30:50] = 0.5
    overlap = []
    for seed in range(10):
        noise = np.random.RandomState(seed).normal(0, 0.15, image.shape)
        noisy = np.abs(negative - image + noise).clip(0, 1)
        (found,) = proposals_of(tensor(noisy)[None], "image", (negative,))
        box = np.float32([30, 30, 50, 50])
        overlap.append(paired_iou(found.boxes, box).max(initial=0))
    # Of grey levels at full size alone, it is 0.76.
    assert np.mean(overlap) > 0.8


@given(st.integers(0, 10_000), st.integers(40, 61), st.integers(40, 61))
def test_proposals_lie_inside_the_image_and_are_not_empty(seed, height, width):
    image = tensor(
        np.stack([smooth_image(seed + i, (height, width)) for i in range(3)])
    )
    for found in proposals_of(image, "image", (False, True)):
        boxes = found.boxes
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= [width, height]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_no_two_proposals_have_the_same_box():
    image = tensor(np.stack([smooth_image(i) for i in range(3)]))
    (found,) = proposals_of(image, "image")
    assert len(np.unique(found.boxes, axis=0)) == len(found)


@pytest.mark.parametrize("proposals", ["grey", "image"])
def test_with_any_contrast_darker_regions_are_proposed_as_well(proposals):
    bright, dark = (10, 20, 25, 40), (40, 12, 55, 33)
    image = np.full((60, 70), 0.5, np.float32)
    image[20:40, 10:25], image[12:33, 40:55] = 0.9, 0.1
    pixels = torch.from_numpy(image)[None]
    (of_bright,) = proposals_of(pixels, "grey")
    assert bright in boxes_of(of_bright)
    assert dark not in boxes_of(of_bright)
    found = proposals_of(pixels, proposals, (False, True), any_contrast=True)
    for of_view in found:
        assert {bright, dark} <= boxes_of(of_view)
    with config_context(working_memory=32**2 / 1024):
        of_tiles = proposals_of(pixels, proposals, (False, True), any_contrast=True)
    assert boxes_of(of_tiles[0]) == boxes_of(found[0])


def digit_on_all_edges(side=40):
    """A bright ring that touches all four edges of its image."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radius = np.hypot(y, x)
    return np.float32((radius < side / 2 + 1) & (radius > side / 4))


@pytest.mark.parametrize("proposals", ["grey", "image"])
@pytest.mark.parametrize("negatives", [(False,), (True,), (False, True)])
def test_an_object_that_touches_all_edges_is_proposed_once_in_each_view(
    proposals, negatives
):
    image = digit_on_all_edges()
    for own in (image, 1 - image):
        pixels = torch.from_numpy(own)[None]
        for found in proposals_of(pixels, proposals, negatives):
            whole = (found.boxes == [0, 0, 40, 40]).all(axis=1)
            assert whole.sum() == 1
            assert found.coarseness[whole].tolist() == [1]


def test_a_whole_image_is_not_proposed_to_a_recogniser_without_background():
    views = Views([Raster.from_tensor(torch.from_numpy(digit_on_all_edges())[None])])
    for whole_images in (True, False):
        settings = ProposalSettings(
            source="image", n_thresholds=31, whole_images=whole_images
        )
        assert ((0, 0, 40, 40) in boxes_of(propose(views, settings))) is whole_images


def test_a_whole_image_is_proposed_by_tiles_as_well():
    pixels = torch.from_numpy(digit_on_all_edges(101))[None]
    (found,) = proposals_of(pixels, "image")
    with config_context(working_memory=32**2 / 1024):
        (of_tiles,) = proposals_of(pixels, "image")
    assert (0, 0, 101, 101) in boxes_of(found) & boxes_of(of_tiles)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_a_plain_or_tiny_image_is_not_proposed(level):
    plain = torch.full((3, 30, 40), level)
    plain[1] = 0.2
    tiny = torch.rand(1, 5, 6)
    for pixels in (plain, tiny):
        (found,) = proposals_of(pixels, "image")
        assert len(found) == 0

"""Crop specifications, and crops of regions."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar._detection.crop_specification import (
    CropSpecification,
    learn_crop_specification,
)
from sklearn_similar._detection.crops import crop_regions
from sklearn_similar._detection.proposals import REGION

SPECIFICATION = CropSpecification(size=(28, 28), object_extent=20 / 28)


def make_regions(*boxes, threshold=0.0, peak=1.0):
    regions = np.zeros(len(boxes), REGION)
    regions["box"] = np.reshape(boxes, (-1, 4))
    regions["threshold"], regions["peak"], regions["parent"] = threshold, peak, -1
    return regions


def test_object_extent_and_value_range_are_learned_from_images():
    images = torch.zeros(3, 1, 28, 28)
    images[:, 0, 4:24, 8:18] = 10.0
    specification = learn_crop_specification(images)
    assert specification == CropSpecification(
        size=(28, 28), object_extent=20 / 28, low=0.0, high=10.0
    )
    assert_allclose(specification.from_unit(specification.to_unit(images)), images)


def test_blank_images_are_filled_by_their_object():
    assert learn_crop_specification(torch.zeros(2, 1, 8, 8)) == CropSpecification(
        size=(8, 8)
    )


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_crop_of_an_enlarged_image_is_the_image(factor):
    image = np.zeros((28, 28), np.float32)
    image[4:24, 9:19] = np.linspace(0.5, 1, 10)
    large = np.kron(image, np.ones((factor, factor)))
    scene = np.zeros((100, 120), np.float32)
    scene[7 : 7 + 28 * factor, 11 : 11 + 28 * factor] = large
    box = np.array([9, 4, 19, 24]) * factor + [11, 7, 11, 7]
    (crop,) = crop_regions(
        torch.from_numpy(scene)[None], make_regions(box), SPECIFICATION
    )
    assert crop.shape == (28, 28, 1)
    inside = (slice(5, 23), slice(10, 18))
    assert_allclose(crop[..., 0][inside], image[inside], atol=0.02)
    assert abs(crop[..., 0] - image).mean() < 0.01


def test_a_crop_is_stretched_from_threshold_to_peak_and_dark_outside_its_box():
    scene = np.full((60, 60), 0.4, np.float32)
    scene[20:40, 20:40] = 0.6
    scene[20:40, 45:55] = 1.0
    regions = make_regions([20, 20, 40, 40], threshold=0.4, peak=0.6)
    (crop,) = crop_regions(torch.from_numpy(scene)[None], regions, SPECIFICATION)
    assert_allclose(crop[8:20, 8:20, 0], 1, atol=1e-5)
    assert_array_equal(crop[:3], 0)
    assert_array_equal(crop[:, -3:], 0)


def test_no_regions_give_no_crops():
    crops = crop_regions(torch.zeros(3, 40, 40), make_regions(), SPECIFICATION)
    assert crops.shape == (0, 28, 28, 3)

"""Crop specifications, learnt from training images."""

import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_similar._search.crop_specification import (
    CropSpecification,
    learn_crop_specification,
)


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


def test_images_fill_their_frame_if_most_borders_are_visible():
    digit, ground = torch.zeros(1, 28, 28), torch.arange(28 * 28).view(1, 28, 28)
    cut_out = 0.2 + 0.1 * (ground % 5)
    digit[:, 4:24, 13:16] = cut_out[:, 4:24, 13:16] = 1.0
    for images, fills_frame in (
        ([digit, cut_out, cut_out], True),
        ([digit, digit, cut_out], False),
        # A bright object that touches a part of the border has black around it.
        ([torch.cat([digit[:, :20], torch.ones(1, 8, 28)], dim=1)], False),
    ):
        specification = learn_crop_specification(torch.stack(images))
        assert specification.fills_frame == fills_frame
        assert not fills_frame or specification.object_extent == 1


@pytest.mark.parametrize("level", [0, 90, 200])
def test_a_plain_ground_of_any_level_fills_no_frame(level):
    images = torch.full((5, 1, 28, 28), float(level))
    images[:, :, 4:24, 10:18] = 255
    # A dead pixel in one of them.
    images[0, 0, 3, 3] = 0
    assert not learn_crop_specification(images).fills_frame

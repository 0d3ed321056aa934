"""Crop specifications, learnt from training images."""

import warnings

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
        ([digit, cut_out, cut_out, cut_out], True),
        ([digit, digit, digit, cut_out], False),
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


def crops_with_and_without_context(n_with, n_without):
    digit = torch.zeros(1, 28, 28)
    digit[:, 4:24, 13:16] = 1.0
    crop = 0.2 + 0.1 * (torch.arange(28 * 28).view(1, 28, 28) % 5)
    return torch.stack([crop] * n_with + [digit] * n_without)


@pytest.mark.parametrize(
    ("n_with", "treatment"),
    [(3, "objects on black"), (5, "objects on black"), (7, "crops")],
)
def test_a_close_vote_on_context_warns_with_the_figures_and_the_remedy(
    n_with, treatment
):
    images = crops_with_and_without_context(n_with, 10 - n_with)
    message = (
        rf"^{n_with} of 10 sampled images .*; they are used as {treatment}\. Pass "
        "fills_frame=True .*fills_frame=False"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        specification = learn_crop_specification(images)
    assert len(caught) == 1
    assert specification.fills_frame == (n_with > 5)


@pytest.mark.parametrize(("n_with", "n_without"), [(0, 10), (2, 8), (8, 2), (10, 0)])
def test_a_clear_vote_on_context_does_not_warn(n_with, n_without):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        specification = learn_crop_specification(
            crops_with_and_without_context(n_with, n_without)
        )
    assert specification.fills_frame == (n_with > n_without)


@pytest.mark.parametrize("n_with", [0, 6, 10])
def test_a_given_context_is_not_voted_on(n_with):
    images = crops_with_and_without_context(n_with, 10 - n_with)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_context, without = (
            learn_crop_specification(images, fills_frame)
            for fills_frame in (True, False)
        )
    assert with_context.fills_frame
    assert with_context.object_extent == 1
    assert not without.fills_frame

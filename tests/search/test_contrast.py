"""Contrast normalisation of crops."""

import pytest
import torch
from torch.testing import assert_close

from sklearn_similar._search.contrast import normalise_contrast


def normalised(crop, fills_frame=False, rows=slice(2, 10), columns=slice(3, 11)):
    """One crop n_channels x 12 x 14, whose box is the given rows and columns."""
    inside = torch.zeros(1, 12, dtype=bool), torch.zeros(1, 14, dtype=bool)
    inside[0][:, rows] = inside[1][:, columns] = True
    return normalise_contrast(crop.clone()[None], *inside, fills_frame)[0]


def crop_of(ground, level, n_channels=1):
    """An object of 4 x 4 pixels inside the box, on a plain ground."""
    crop = torch.full((n_channels, 12, 14), ground)
    crop[:, 4:8, 5:9] = level
    return crop


def test_the_background_becomes_0_and_the_maximum_1():
    crop = normalised(crop_of(0.3, 0.7))
    assert_close(crop, crop_of(0.0, 1.0))


def test_pixels_around_the_box_do_not_count():
    crop = crop_of(0.3, 0.7)
    crop[:, :2], crop[:, 10:] = 1.0, 0.0
    inside = normalised(crop)[:, 2:10]
    assert_close(inside, crop_of(0.0, 1.0)[:, 2:10])


def test_the_background_is_the_median_of_the_edge():
    crop = crop_of(0.3, 0.7)
    # An object that crosses the edge, in less than half of it.
    crop[:, 4:8, 3:11] = 0.7
    assert_close(normalised(crop)[:, 2:4], torch.zeros(1, 2, 14))


def test_an_object_may_take_most_of_its_box():
    crop = crop_of(0.3, 0.7)
    crop[:, 3:9, 4:10] = 0.7
    crop[:, 5, 6] = 0.5
    expected = (crop - 0.3) / 0.4
    assert_close(normalised(crop), expected)


def test_where_objects_fill_their_frame_the_minimum_becomes_0():
    crop = crop_of(0.3, 0.7)
    crop[:, 5, 6] = 0.1
    expected = (crop - 0.1) / 0.6
    assert_close(normalised(crop, fills_frame=True), expected)


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("contrast", [0.0, 0.03])
def test_faint_crops_stay_faint(contrast, n_channels):
    crop = normalised(crop_of(0.5, 0.5 + contrast, n_channels))
    peak = crop[:, 4:8, 5:9] - crop[:, 2:4, 5:9].mean()
    assert_close(peak, torch.full_like(peak, contrast / 0.06), atol=1e-4, rtol=0)


def test_darker_objects_vanish():
    for n_channels in (1, 3):
        crop = normalised(crop_of(0.7, 0.2, n_channels))
        assert crop[:, 4:8, 5:9].max() == 0

"""Crops of region proposals."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search import crops as crops_module
from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.crops import crop_windows

SPECIFICATION = CropSpecification(size=(28, 28), object_extent=20 / 28)


def crop_boxes(pixels, boxes, specification):
    """Crops, n x height x width x n_channels, of boxes in an image."""
    image = Raster.from_tensor(pixels)
    return crops_module.crop_boxes(image, boxes, specification).movedim(1, -1).numpy()


def as_boxes(*boxes):
    return np.array(boxes, np.float32).reshape(-1, 4)


@pytest.mark.parametrize("side", [95, 96, 97, 192])
def test_boxes_of_whole_octaves_are_cropped(side):
    specification = CropSpecification(size=(28, 28), object_extent=24 / 28)
    scene = torch.zeros(1, 200, 200)
    assert len(crop_boxes(scene, as_boxes([0, 0, side, side]), specification)) == 1


def test_a_crop_of_what_fills_its_frame_keeps_the_levels_of_its_rim():
    scene = np.full((60, 60), 0.5, np.float32)
    scene[25:35, 25:35] = 0.3
    scene[28:32, 28:32] = 0.7
    box = as_boxes([20, 20, 40, 40])
    framed = CropSpecification(size=(20, 20), fills_frame=True)
    (crop,) = crop_boxes(torch.from_numpy(scene)[None], box, framed)
    assert_allclose([crop.min(), crop.max()], [0, 1])
    assert_allclose(crop[0], 0.5, atol=0.1)
    assert_allclose(crop[6:7, 6:7], 0, atol=0.1)


@pytest.mark.parametrize("side", [40, 41, 167, 168])
def test_nothing_is_seen_outside_an_image_that_is_cropped_as_a_whole(side):
    # Bright bars from edge to edge would continue outside.
    scene = np.zeros((side, side), np.float32)
    scene[side // 4 : side // 2] = scene[:, side // 4 : side // 2] = 1
    whole, part = [0, 0, side, side], [0, 0, side, side - side // 8]
    padded = np.pad(scene, side)
    (expected,) = crop_boxes(
        torch.from_numpy(padded)[None], as_boxes(np.array(whole) + side), SPECIFICATION
    )
    crop, of_part = crop_boxes(
        torch.from_numpy(scene)[None], as_boxes(whole, part), SPECIFICATION
    )
    # But for the smoothed rim of a pixel.
    assert_allclose(crop[:4], 0)
    assert abs(crop - expected).mean() < 0.02
    assert of_part[:4].max() > 0.9
    framed = CropSpecification(size=(28, 20), fills_frame=True)
    (crop,) = crop_boxes(torch.from_numpy(scene)[None], as_boxes(whole), framed)
    assert crop[0].max() == 1


def test_windows_are_what_crops_show():
    boxes = as_boxes([10, 20, 20, 40], [50, 50, 80, 60])
    windows = crop_windows(boxes, CropSpecification(size=(28, 28), object_extent=0.5))
    assert_allclose(windows, [[-5, 10, 35, 50], [35, 25, 95, 85]])
    values = np.arange(100.0, dtype=np.float32)
    scene = torch.from_numpy(np.add.outer(values, values) / 200)[None]
    wide = CropSpecification(size=(4, 8), fills_frame=True)
    (crop,) = crop_boxes(scene, as_boxes([40, 40, 48, 42]), wide)
    assert_allclose(crop_windows(as_boxes([40, 40, 48, 42]), wide), [[40, 39, 48, 43]])
    assert crop[0, 0, 0] < crop[-1, 0, 0] < crop[0, -1, 0] < crop[-1, -1, 0]


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_crop_of_an_enlarged_image_is_the_image(factor):
    image = np.zeros((28, 28), np.float32)
    # Strokes that reach all edges of the box but do not fill them.
    image[4:24, 13:16] = image[12:15, 9:19] = 1
    large = np.kron(image, np.ones((factor, factor)))
    scene = np.zeros((100, 120), np.float32)
    scene[7 : 7 + 28 * factor, 11 : 11 + 28 * factor] = large
    box = np.array([9, 4, 19, 24]) * factor + [11, 7, 11, 7]
    (crop,) = crop_boxes(torch.from_numpy(scene)[None], as_boxes(box), SPECIFICATION)
    assert crop.shape == (28, 28, 1)
    assert abs(crop[..., 0] - image).mean() < 0.02
    assert_allclose(crop[5:11, 14, 0], 1, atol=0.02)
    assert_allclose(crop[5:11, 10, 0], 0, atol=0.02)


def test_a_crop_is_stretched_from_the_edge_of_its_box_to_its_peak():
    scene = np.full((60, 60), 0.4, np.float32)
    # A cross, which reaches the edges of its box but does not fill them.
    scene[20:40, 28:32] = scene[28:32, 20:40] = 0.6
    scene[20:40, 45:55] = 1.0
    scene[50:] = 0.1
    box = as_boxes([20, 20, 40, 40])
    (crop,) = crop_boxes(torch.from_numpy(scene)[None], box, SPECIFICATION)
    assert_allclose(crop[8:20, 13:15, 0], 1, atol=1e-5)
    assert_allclose(crop[5:11, 5:11, 0], 0, atol=1e-5)


def colour_crop(ground, colour):
    """A crop of a cross of one colour on a plain ground, and where the cross is."""
    scene = torch.tensor(ground)[:, None, None].repeat(1, 60, 60)
    cross = torch.zeros(60, 60, dtype=bool)
    cross[20:40, 28:32] = cross[28:32, 20:40] = True
    scene[:, cross] = torch.tensor(colour)[:, None]
    (crop,) = crop_boxes(scene, as_boxes([20, 20, 40, 40]), SPECIFICATION)
    return crop


@pytest.mark.parametrize(
    ("ground", "colour", "expected"),
    [
        # On black, colours are as they are.
        ((0.0, 0.0, 0.0), (0.2, 0.8, 0.4), (0.25, 1, 0.5)),
        # Less red than a red ground, and no darker as a whole.
        ((0.8, 0.2, 0.2), (0.5, 0.4, 0.4), (1, 2 / 3, 2 / 3)),
        # Brighter in one channel alone.
        ((0.8, 0.5, 0.2), (0.8, 0.5, 0.6), (0, 0, 1)),
        # Darker, grey or in colour.
        ((0.7, 0.7, 0.7), (0.2, 0.2, 0.2), (0, 0, 0)),
        ((1.0, 1.0, 1.0), (0.1, 0.4, 0.8), (0, 0, 0)),
    ],
)
def test_a_colour_crop_shows_differences_from_a_ground_of_any_colour(
    ground, colour, expected
):
    crop = colour_crop(ground, colour)
    assert_allclose(crop[5:11, 5:11], 0, atol=1e-5)
    assert_allclose(crop[8:20, 13:15], np.broadcast_to(expected, (12, 2, 3)), atol=1e-5)


def test_grey_in_three_channels_is_cropped_as_grey():
    grey = torch.from_numpy(np.random.RandomState(0).uniform(size=(1, 60, 60)))
    box = as_boxes([20, 20, 40, 40])
    expected = crop_boxes(grey.float(), box, SPECIFICATION)
    found = crop_boxes(grey.float().repeat(3, 1, 1), box, SPECIFICATION)
    assert (expected > 0.1).any()
    assert_allclose(found, expected.repeat(3, axis=3), atol=1e-5)


def test_a_crop_shows_what_surrounds_its_box():
    scene = np.zeros((60, 60), np.float32)
    scene[25:35, 10:50] = 1
    box = as_boxes([20, 20, 40, 40])
    (crop,) = crop_boxes(torch.from_numpy(scene)[None], box, SPECIFICATION)
    assert_allclose(crop[12:16, :3, 0], 1, atol=1e-5)


@pytest.mark.parametrize("size", [28, 56, 112, 224])
def test_a_thin_stroke_is_as_bright_in_a_crop_of_any_size(size):
    scene = np.zeros((260, 260), np.float32)
    scene[20 : 20 + size, 20 + size // 2] = 1
    scene[20 + size // 2, 20 : 20 + size] = 1
    box = as_boxes([20, 20, 20 + size, 20 + size])
    (crop,) = crop_boxes(torch.from_numpy(scene)[None], box, SPECIFICATION)
    assert crop[:, :, 0].max() == pytest.approx(1)
    assert np.median(crop[5:23, :, 0].max(axis=1)) > 0.45


def test_a_crop_without_contrast_is_finite():
    scene = torch.full((1, 40, 40), 0.5)
    (crop,) = crop_boxes(scene, as_boxes([5, 5, 30, 30]), SPECIFICATION)
    assert np.isfinite(crop).all()


def test_no_regions_give_no_crops():
    cropped = crop_boxes(torch.zeros(3, 40, 40), as_boxes(), SPECIFICATION)
    assert cropped.shape == (0, 28, 28, 3)


def test_default_type_of_torch_does_not_matter():
    scene = torch.arange(1600.0).view(1, 40, 40) / 1600
    expected = crop_boxes(scene, as_boxes([5, 5, 30, 30]), SPECIFICATION)
    try:
        torch.set_default_dtype(torch.float64)
        found = crop_boxes(scene, as_boxes([5, 5, 30, 30]), SPECIFICATION)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == np.float32
    assert_allclose(found, expected, rtol=0)


def test_crops_of_tiles_are_those_of_the_whole_image():
    rng = np.random.RandomState(0)
    pixels = torch.from_numpy(rng.uniform(size=(1, 150, 170)).astype(np.float32))
    low = rng.randint(0, 130, size=(60, 2))
    high = np.minimum(low + rng.randint(3, 120, size=(60, 2)), [170, 150])
    boxes = np.hstack([low, high]).astype(np.float32)
    whole = crop_boxes(pixels, boxes, SPECIFICATION)
    with config_context(working_memory=40**2 / 1024):
        assert_array_equal(crop_boxes(pixels, boxes, SPECIFICATION), whole)

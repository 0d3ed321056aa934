"""Images as an estimator takes them."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar._search.crop_specification import CropSpecification
from sklearn_similar._search.image_format import ImageFormat

CROPS = torch.rand(5, 3, 6, 4, generator=torch.Generator().manual_seed(0))


def format_of(dtype, layout, n_channels=3, low=0.0, high=1.0):
    specification = CropSpecification(size=(6, 4), low=low, high=high)
    return ImageFormat(
        specification=specification,
        n_channels=n_channels,
        dtype=np.dtype(dtype),
        layout=layout,
    )


@pytest.mark.parametrize(
    ("layout", "n_channels", "shape"),
    [("rows", 3, (72,)), ("grey", 1, (6, 4)), ("colour", 3, (6, 4, 3))],
)
def test_crops_have_the_layout_of_the_training_images(layout, n_channels, shape):
    image_format = format_of("uint8", layout, n_channels)
    images = image_format.array_from_unit(CROPS[:, :n_channels])
    assert image_format.shape == shape
    assert images.shape == (5, *shape)
    assert images.dtype == np.uint8
    levels = np.round(CROPS[:, :n_channels].numpy() * 255)
    assert_array_equal(images, np.moveaxis(levels, 1, -1).reshape(5, *shape))


def test_crops_have_the_range_of_the_training_images():
    images = format_of("float64", "colour", low=-2.0, high=6.0).array_from_unit(CROPS)
    assert_allclose(images, np.moveaxis(CROPS.numpy(), 1, -1) * 8 - 2, rtol=1e-6)


def test_an_image_may_have_any_size():
    image_format = format_of("uint8", "rows")
    assert image_format.image_from_unit(torch.ones(3, 9, 20)).shape == (9, 20, 3)
    assert image_format.image_from_unit(torch.ones(1, 9, 20)).shape == (9, 20)


@pytest.mark.parametrize(
    ("dtype", "n_levels"), [("uint8", 255), ("uint16", 65535), ("bool", 1)]
)
def test_tensors_have_as_many_levels_as_training_images(dtype, n_levels):
    levels = format_of(dtype, "colour").tensor_from_unit(CROPS) * n_levels
    assert_allclose(levels, levels.round(), atol=0.01)
    assert_allclose(levels, CROPS * n_levels, atol=0.51)


def test_tensors_of_floats_are_not_rounded():
    assert torch.equal(format_of("float32", "colour").tensor_from_unit(CROPS), CROPS)
    half = format_of("float16", "colour").tensor_from_unit(CROPS)
    assert half.dtype == torch.float32
    assert torch.equal(half, CROPS.half().float())

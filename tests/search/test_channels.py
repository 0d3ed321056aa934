"""Channels in which objects stand out."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar._search.channels import (
    Channel,
    grey_channel,
    shared_channels,
    smooth_channel,
)

NOISE = torch.rand(3, 31, 40, generator=torch.Generator().manual_seed(0))


def colour_image(ground, colour):
    image = torch.tensor(ground)[:, None, None].repeat(1, 40, 40)
    image[:, 12:28, 12:28] = torch.tensor(colour)[:, None, None]
    return image


def test_grey_levels_have_the_full_resolution():
    values, downsampling = grey_channel(NOISE)
    assert downsampling == 1
    luma = np.tensordot([0.299, 0.587, 0.114], NOISE.numpy(), 1)
    assert_allclose(values, luma, atol=1e-6)


def test_other_channels_have_half_the_resolution_rounded_up():
    for channel in (smooth_channel(NOISE), *shared_channels(NOISE)):
        assert channel.values.shape == (16, 20)
        assert channel.downsampling == 2
        assert 0 <= channel.values.min() <= channel.values.max() <= 1


def test_grey_images_have_no_opponent_channels():
    assert len(shared_channels(NOISE[:1])) == 1
    assert len(shared_channels(NOISE)) == 7


def test_shared_channels_are_those_of_the_negative():
    of_image, of_negative = shared_channels(NOISE[:1]), shared_channels(1 - NOISE[:1])
    assert_allclose(of_image[0].values, of_negative[0].values, atol=1e-6)
    # Opponent channels swap places with their negatives.
    image, negative = (
        sorted(channel.values.sum() for channel in shared_channels(pixels))
        for pixels in (NOISE, 1 - NOISE)
    )
    assert_allclose(image, negative, rtol=1e-5)


def test_edges_are_dark_and_plain_areas_bright():
    edges = shared_channels(colour_image((0.1,) * 3, (0.9,) * 3))[0].values
    assert edges[2, 2] == edges[10, 10] == 1
    assert edges[10, 6] < 0.5


@pytest.mark.parametrize(
    ("position", "ground", "colour"),
    [
        (1, (0.2, 0.6, 0.3), (0.7, 0.3, 0.3)),
        (3, (0.6, 0.6, 0.1), (0.4, 0.4, 0.9)),
        (5, (0.5, 0.5, 0.5), (0.7, 0.4, 0.5)),
    ],
    ids=["red against green", "blue against yellow", "saturation"],
)
def test_an_object_of_another_colour_is_bright_in_a_channel(position, ground, colour):
    channels = shared_channels(colour_image(ground, colour))
    values, negative = channels[position].values, channels[position + 1].values
    assert values[10, 10] > values[2, 2] + 0.2
    assert_allclose(negative, 1 - values)


def test_a_crop_holds_every_pixel_that_a_window_of_the_image_meets():
    values = np.arange(16 * 20).reshape(16, 20)
    cropped = Channel(values, 2).crop((slice(3, 8), slice(10, 15)))
    assert_array_equal(cropped.values, values[1:4, 5:8])
    assert cropped.downsampling == 2

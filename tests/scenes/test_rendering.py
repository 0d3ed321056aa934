"""Resizing, against Pillow's and against what stays the same."""

import numpy as np
import pytest

from sklearn_similar._scenes.rendering import resize


@pytest.mark.parametrize("size", [(40, 90), (7, 11), (60, 8), (1, 1)])
def test_resizing_equals_pillows_bilinear_filter(size):
    image_module = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(0).random((30, 50), dtype=np.float32)
    resized = image_module.fromarray(image).resize(
        size[::-1], image_module.Resampling.BILINEAR
    )
    np.testing.assert_allclose(resize(image, size), np.asarray(resized), atol=1e-5)


@pytest.mark.parametrize("shape", [(30, 50), (30, 50, 1), (30, 50, 3)])
def test_channels_are_resized_by_themselves_and_8_bit_values_keep_their_units(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    resized = resize(image, (12, 60))
    assert resized.dtype == np.float32
    assert resized.shape == (12, 60, *shape[2:])
    channels = np.atleast_3d(image).transpose(2, 0, 1)
    alone = np.stack([resize(channel, (12, 60)) for channel in channels], axis=2)
    np.testing.assert_allclose(np.atleast_3d(resized), alone, atol=1e-4)
    np.testing.assert_array_equal(resize(image, shape[:2]), image)

"""Alpha channels: what stands behind transparent pixels, and what seems to be alpha."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import config_context

from sklearn_similar._images.images import LazyPixels
from sklearn_similar._images.reading import read_image, read_images
from sklearn_similar._images.transparency import (
    LazyOpaquePixels,
    fill_for,
    has_alpha,
    without_alpha,
)

ALPHA = np.zeros((6, 8))
ALPHA[2:4, 2:6] = 1


def cut_out(level, dtype=np.uint8, n_channels=3, hidden=0.0):
    """An object of a level from 0 to 1 on transparent pixels, which hide another."""
    white = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    colour = np.where(ALPHA, level, hidden)
    channels = [colour] * n_channels + [ALPHA]
    return np.round(np.stack(channels, axis=2) * white, 6).astype(dtype)


@pytest.mark.parametrize(
    ("polarity", "level", "behind"),
    [
        ("bright", 0.9, 0),
        ("bright", 0.4, 0),
        ("dark", 0.1, 1),
        ("dark", 0.6, 1),
        ("both", 0.9, 0),
        ("both", 0.1, 1),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_objects_are_visible_for_what_is_searched(
    polarity, level, behind, dtype, n_channels
):
    fill = fill_for(SimpleNamespace(polarity=polarity))
    for hidden in (0.0, 0.5, 1.0):
        image = cut_out(level, dtype, n_channels, hidden)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opaque = without_alpha(image, fill, "a")
        assert opaque.dtype == dtype
        assert opaque.shape == (6, 8, n_channels)
        white = 1 if dtype == np.float32 else np.iinfo(dtype).max
        np.testing.assert_allclose(opaque[ALPHA == 0], behind * white)
        np.testing.assert_array_equal(opaque[ALPHA == 1], image[ALPHA == 1][:, :-1])


def test_an_object_that_cannot_be_seen_is_named():
    message = (
        "a shows nothing: its visible pixels have grey levels from 0.02 to 0.02, and "
        "its transparent pixels are filled with black; pass polarity='dark' or"
    )
    with pytest.warns(UserWarning, match=message):
        without_alpha(cut_out(5 / 255), "black", "a")
    with pytest.warns(UserWarning, match="filled with white; pass polarity='bright'"):
        without_alpha(cut_out(1.0), "white", "a")


@pytest.mark.parametrize("alpha", [0, 1])
def test_plain_images_and_empty_ones_do_not_warn(alpha):
    image = np.dstack([np.zeros((4, 4, 3)), np.full((4, 4), alpha)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (without_alpha(image, "black", "a") == 0).all()


def test_a_large_image_is_the_same_in_parts():
    image = np.random.default_rng(0).integers(0, 256, (50, 20, 4), np.uint8)
    expected = without_alpha(image, "contrast", "a")
    # 64 of the 2^20 pixels at the default working memory of 1024 MiB.
    with config_context(working_memory=64 / 2**10):
        in_parts = without_alpha(image, "contrast", "a")
    np.testing.assert_array_equal(in_parts, expected)


def test_an_image_that_is_not_in_memory_is_read_window_by_window():
    class Stored:
        def __init__(self, values):
            self.shape, self.dtype, self._values = values.shape, values.dtype, values

        def __getitem__(self, window):
            return self._values[window]

    image = cut_out(0.1)
    lazy = read_image(Stored(image), "a", (28, 28), "contrast")
    assert isinstance(lazy, LazyOpaquePixels)
    assert isinstance(lazy, LazyPixels)
    assert lazy.shape == (6, 8, 3)
    expected = without_alpha(image, "contrast", "a")
    np.testing.assert_array_equal(lazy[:, :], expected)
    np.testing.assert_array_equal(lazy[1:3, 2:7], expected[1:3, 2:7])


def test_a_band_is_not_taken_for_alpha():
    band = np.random.default_rng(0).integers(0, 200, (6, 8, 4), np.uint8)
    assert not has_alpha(band)
    with pytest.raises(ValueError, match="has shape 6x8x4 and so 4 channels, but the"):
        read_images([band], (28, 28), fill="black")
    # A network of four channels takes all four, whatever they are.
    four = cut_out(0.5)
    assert read_images([four], (28, 28, 4), fill="black").pixels[0].shape == (6, 8, 4)


def test_an_array_of_images_loses_alpha_as_a_list_does():
    X = np.stack([cut_out(0.9), cut_out(0.7)])
    for images in (X, list(X)):
        pixels = read_images(images, (28, 28, 3), fill="black").pixels
        np.testing.assert_array_equal(
            np.stack(pixels), [without_alpha(x, "black", "a") for x in X]
        )

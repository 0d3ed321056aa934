"""The gate for images in memory: as they are for estimators, uint8 for data sets."""

import numpy as np
import pytest
import torch

from sklearn_similar._images.messages import ImageNames
from sklearn_similar._images.reading import (
    channels_seem_first,
    check_one_size,
    is_images,
    read_image,
    read_images,
    uint8_image_list,
    uint8_images,
    with_channels,
)
from sklearn_similar._images.rows import readable_rows


def test_images_are_views_of_what_was_passed():
    X = np.zeros((3, 4, 4), dtype=np.uint8)
    assert np.shares_memory(read_images(X).pixels, X)
    assert np.shares_memory(read_images([X[0]]).pixels[0], X)


def test_tensors_are_images_even_with_gradients():
    X = torch.rand(2, 3, 4, requires_grad=True)
    np.testing.assert_array_equal(read_images(X).pixels[..., 0], X.detach().numpy())
    np.testing.assert_array_equal(
        read_images([X[1]]).pixels[0][..., 0], X[1].detach().numpy()
    )


def test_tensors_of_a_type_that_numpy_lacks_are_read_as_float32():
    X = torch.rand(2, 3, 4).bfloat16()
    pixels = read_images(X).pixels
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[..., 0], X.float().numpy())


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.zeros((3, 4)), False),
        ([[0, 1], [2, 3]], False),
        ([], False),
        (np.zeros((3, 4, 4)), True),
        ([np.zeros((4, 4))], True),
        ([[[0, 1], [2, 3]]], True),
        ((np.zeros((4, 4, 3)),), True),
    ],
)
def test_images_are_told_from_rows_by_their_dimensions(X, expected):
    assert is_images(X) is expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 28, 28), True),
        ((3, 32, 20), True),
        ((28, 28, 1), False),
        ((32, 32, 3), False),
        ((3, 32, 3), False),
        ((1, 1, 8), False),
        ((28, 28), False),
    ],
)
def test_channels_first_is_recognised(shape, expected):
    assert channels_seem_first(shape) is expected


def test_messages_use_the_names_of_a_part():
    names = ImageNames(5, owner=" of block 2")
    with pytest.raises(ValueError, match=r"^Image 6 of block 2 of X has shape \(3,\);"):
        read_images([np.zeros((2, 2)), np.zeros(3)], names=names)
    assert read_images(np.zeros((2, 3, 3)), names=names).names == names


def test_an_image_gets_a_channel_axis_and_the_channels_of_the_network():
    grey, colour = np.zeros((5, 4)), np.zeros((5, 4, 3))
    assert read_image(grey, "a").shape == (5, 4, 1)
    assert read_image(colour, "a", trained=(28, 28)).shape == (5, 4, 3)
    assert read_image(grey, "a", trained=(28, 28, 3)).shape == (5, 4, 1)
    with pytest.raises(ValueError, match=r"^a has shape 5x4 and so 1 channel, but the"):
        read_image(grey, "a", trained=(28, 28, 4))


def test_images_of_one_size_and_type_make_one_array():
    X = list(np.random.default_rng(0).random((3, 5, 4)))
    stacked = check_one_size(read_images(X))
    np.testing.assert_array_equal(stacked[..., 0], X)


class TestUint8:
    @pytest.mark.parametrize(
        "values",
        [
            np.array([0, 51, 255], np.uint8),
            np.array([0, 51, 255]),
            np.array([0, 0.2, 1]),
            np.array([0, 0.2, 1], np.float16),
        ],
    )
    def test_floats_are_scaled_and_integers_kept(self, values):
        images = values.reshape(3, 1, 1)
        for converted in (uint8_images(images, "X"), *uint8_image_list(images, "X")):
            assert converted.dtype == np.uint8
        assert uint8_images(images, "X").ravel().tolist() == [0, 51, 255]

    def test_masks_are_black_and_white(self):
        mask = np.array([[[True, False]]])
        assert uint8_images(mask, "masks").ravel().tolist() == [255, 0]

    @pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
    def test_values_outside_0_to_1_are_refused(self, bad):
        images = np.full((2, 3, 3), bad)
        with pytest.raises(ValueError, match="X of dtype float64 must lie between 0"):
            uint8_images(images, "X")
        with pytest.raises(ValueError, match=r"X\[0\] of dtype float64 must lie"):
            uint8_image_list(images, "X")

    @pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 1)])
    def test_one_image_is_a_list_of_one(self, shape):
        (image,) = uint8_image_list(np.zeros(shape), "X")
        assert image.shape == shape

    def test_sizes_may_differ_only_in_a_list(self):
        images = [np.zeros((3, 4)), np.zeros((5, 4, 3))]
        shapes = [image.shape for image in uint8_image_list(images, "X")]
        assert shapes == [(3, 4), (5, 4, 3)]
        with pytest.raises(ValueError, match="X must all have one size"):
            uint8_images([np.zeros((3, 4)), np.zeros((5, 4))], "X")


def test_channels_are_made_equal_or_weighted():
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    grey = with_channels(colour, None)
    np.testing.assert_array_equal(grey, np.rint(colour @ [0.299, 0.587, 0.114]))
    assert with_channels(colour, 3) is colour
    np.testing.assert_array_equal(with_channels(grey, 3), np.dstack([grey] * 3))
    np.testing.assert_array_equal(with_channels(grey[..., None], None), grey)


class TestMaskedArrays:
    MASKED = np.ma.masked_less(np.arange(16.0).reshape(4, 4) / 16, 0.2)

    @pytest.mark.parametrize("X", [[MASKED], np.ma.stack([MASKED, MASKED])])
    def test_masked_values_are_refused(self, X):
        message = r"X is a masked array, and [48] values of it masked; .*filled\(0\)"
        with pytest.raises(ValueError, match=message):
            read_images(X)

    def test_without_masked_values_the_mask_does_not_matter(self):
        X = np.ma.masked_array(np.ones((2, 4, 4)), mask=False)
        assert read_images(X).pixels.shape == (2, 4, 4, 1)

    def test_masked_rows_and_background_images_are_refused(self):
        for rows in (self.MASKED, list(self.MASKED)):
            with pytest.raises(ValueError, match="X is a masked array, and 4 values"):
                readable_rows(rows)
        with pytest.raises(ValueError, match=r"b\[0\] is a masked array, and 4 values"):
            uint8_image_list([self.MASKED], "b")


def test_background_images_of_16_bits_are_read_in_8():
    deep = np.array([[0, 257, 65535]], np.uint16)
    np.testing.assert_array_equal(uint8_image_list([deep], "b")[0], [[0, 1, 255]])


def test_background_images_of_pillow_are_read_as_files():
    pillow = pytest.importorskip("PIL.Image", reason="images of Pillow's")
    image = pillow.fromarray(np.full((4, 4, 3), 200, np.uint8)).convert("P")
    for given in (image, [image]):
        (pixels,) = uint8_image_list(given, "b")
        np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))
    alpha = np.dstack([np.full((4, 4, 3), 200), np.full((4, 4), 255)]).astype(np.uint8)
    np.testing.assert_array_equal(uint8_image_list([alpha], "b")[0], alpha[..., :3])

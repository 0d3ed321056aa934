"""The shape of the images in X."""

import numpy as np
import pytest

from sklearn_similar._images.image_shape import infer_image_shape


def test_rows_are_square_where_possible_else_one_row():
    assert infer_image_shape(None, 784, None) == (28, 28)
    assert infer_image_shape(None, 1, None) == (1, 1)
    assert infer_image_shape(None, 783, None) == (1, 783)


def test_what_is_asked_for_counts():
    assert infer_image_shape(None, 12, (3, 4)) == (3, 4)
    assert infer_image_shape(None, 12, [2, np.int64(2), 3]) == (2, 2, 3)


def test_images_have_their_own_shape():
    assert infer_image_shape((5, 7), 35, None) == (5, 7)
    assert infer_image_shape((5, 7, 1), 35, (5, 7)) == (5, 7)


def test_channels_first_must_be_asked_for():
    with pytest.raises(ValueError, match="3x32x32, which looks like channels firs"):
        infer_image_shape((3, 32, 32), 3072, None)
    assert infer_image_shape((3, 32, 32), 3072, (3, 32, 32)) == (3, 32, 32)


@pytest.mark.parametrize(
    ("found", "asked", "message"),
    [
        (None, (3, 5), "image_shape 3x5 has 15 values, but the rows of X have 12"),
        ((3, 4), (4, 3), "image_shape is 4x3, but the images in X are 3x4"),
        (None, (12,), r"image_shape is \(12,\); pass \(height, width\)"),
        (None, (2, 2, 3, 1), "all positive integers"),
        (None, (-3, -4), "all positive integers"),
        (None, (3.0, 4.0), "all positive integers"),
        (None, ((1, 2), 4), "all positive integers"),
    ],
)
def test_what_does_not_fit_is_refused(found, asked, message):
    with pytest.raises(ValueError, match=message):
        infer_image_shape(found, 12, asked)

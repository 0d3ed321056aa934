"""Names of images in messages, and the line that a warning is about."""

import warnings

import numpy as np
import pytest

from sklearn_similar._images.messages import ImageNames, count, shape_text


def test_names_count_from_the_first_image_of_a_part():
    names = ImageNames(10).after(5)
    assert names.name(2) == "Image 17"
    assert names.with_noun("image").name(0) == "image 15"
    assert ImageNames(owner=" of partition 3").name(7) == "Image 7 of partition 3"


def test_shapes_and_numbers_are_written_as_people_do():
    assert shape_text((28, 28, 3)) == "28x28x3"
    assert [count(n, "channel") for n in (0, 1, 2)] == [
        *("0 channels", "1 channel", "2 channels")
    ]


@pytest.mark.parametrize("method", ["predict", "transform"])
def test_warnings_name_the_line_of_the_user(fitted, digits, method):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(fitted, method)(digits.X_test[:5].astype(float))
    assert [warning.filename for warning in caught] == [__file__]


def test_warnings_of_fit_name_the_line_of_the_user(quick, digits):
    X = (digits.X > 127).astype(np.uint8)
    with pytest.warns(UserWarning, match="most networks learn little") as caught:
        quick().fit(X, digits.y)
    assert {warning.filename for warning in caught} == {__file__}

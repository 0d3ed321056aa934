"""Rows of pixels: their shapes as images, and tables of them."""

import numpy as np
import pandas as pd
import pytest

from sklearn_similar._images.rows import (
    infer_image_shape,
    readable_rows,
    rows_as_images,
)


def test_rows_are_square_where_possible_else_one_row():
    assert infer_image_shape(None, 784, None) == (28, 28)
    assert infer_image_shape(None, 1, None) == (1, 1)
    with pytest.warns(UserWarning, match="Rows of X have 783 values, not a square"):
        assert infer_image_shape(None, 783, None) == (1, 783)


@pytest.mark.parametrize(
    ("n_features", "guess"),
    [(3 * 28 * 28, r"\(28, 28, 3\) for colour"), (785, "a column that is not a pixel")],
)
def test_a_likely_shape_of_rows_is_named(n_features, guess):
    with pytest.warns(UserWarning, match=guess):
        infer_image_shape(None, n_features, None)


def test_short_rows_and_strips_that_are_asked_for_do_not_warn(recwarn):
    assert infer_image_shape(None, 10, None) == (1, 10)
    assert infer_image_shape(None, 783, (1, 783)) == (1, 783)
    assert not recwarn


def test_tables_with_sparse_columns_are_read():
    values = np.eye(4, dtype=np.uint8) * 200
    table = pd.DataFrame(values)
    for kind in (pd.SparseDtype(np.uint8, 0), pd.SparseDtype(float, 0)):
        dense = readable_rows(table.astype(kind))
        assert (dense.dtypes == kind.subtype).all()
        np.testing.assert_array_equal(dense, values)


def test_the_shape_that_is_asked_for_wins():
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
    ("in_X", "asked", "message"),
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
def test_shapes_that_do_not_fit_are_refused(in_X, asked, message):
    with pytest.raises(ValueError, match=message):
        infer_image_shape(in_X, 12, asked)


def test_rows_become_images_without_a_copy():
    rows = np.arange(24).reshape(2, 12)
    images = rows_as_images(rows, (3, 4))
    assert images.pixels.shape == (2, 3, 4, 1)
    assert np.shares_memory(images.pixels, rows)
    assert images.layout == "rows"
    assert rows_as_images(rows, (2, 2, 3), "list").pixels.shape == (2, 2, 2, 3)


def test_integers_of_extension_types_become_numpys_where_none_is_missing():
    table = pd.DataFrame({"a": [1, 2], "b": [3, None], "c": [0.5, 1.0]})
    table = table.astype({"a": "UInt8", "b": "Int64", "c": "Float32"})
    dtypes = [str(dtype) for dtype in readable_rows(table).dtypes]
    assert dtypes == ["uint8", "Int64", "Float32"]

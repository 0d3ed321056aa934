"""Photographs with the boxes of their objects, checked before training."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from painted_photographs import BOX, COLUMNS

from sklearn_similar._learning.annotated import read_annotated

IMAGES = [np.full((40, 60), 9, np.uint8), np.full((50, 30, 3), 9, np.uint8)]


def table(*rows, columns=COLUMNS):
    return pd.DataFrame(rows, columns=columns)


def read(y, X=IMAGES, backgrounds=None):
    return read_annotated(X, y, backgrounds, None, True)


def test_objects_are_sorted_by_their_image():
    y = table(
        (1, "b", 0, 0, 10, 20),
        (0, "a", 5, 5, 60, 40),
        (1, "a", 2.5, 3, 9, 8),
        (1, "b", 1, 1, 2, 2),
    )
    annotated, classes = read(y, backgrounds=[IMAGES[0]])
    assert len(annotated) == 3
    assert_array_equal(classes, ["a", "b"])
    assert [len(boxes) for boxes in annotated.boxes] == [1, 3, 0]
    assert_array_equal(annotated.boxes[1], y[BOX].to_numpy()[[0, 2, 3]])
    assert_array_equal(annotated.labels[1], [1, 0, 1])
    assert annotated.boxes[2].shape == (0, 4)
    assert annotated.images[1].size == (50, 30)


def test_other_columns_and_any_order_are_taken():
    y = table((0, 7, 0, 0, 5, 5)).assign(path="x", score=0.5)[
        ["score", *BOX, "path", "label", "image"]
    ]
    annotated, classes = read(y.set_index(pd.Index(["row"])))
    assert_array_equal(classes, [7])
    assert_array_equal(annotated.boxes[0], [[0, 0, 5, 5]])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (table(), "y has no boxes; pass at least one object of each label"),
        (table((0, 1, 2, 3), columns=BOX), "y lacks the column image, label; add it"),
        (
            table((0, "a", 0, 0, 5, 5)).rename(columns={"label": "labels"}),
            "rename 'labels' to 'label'",
        ),
        (
            table((2, "a", 0, 0, 5, 5)),
            "Row 0 of y has image=2, .* none of the 2 images",
        ),
        (table((-1, "a", 0, 0, 5, 5)), "Row 0 of y has image=-1"),
        (table(("a.png", "a", 0, 0, 5, 5)), "Row 0 of y has image=a.png"),
        (table((0, "a", 0, 0, 61, 5)), "Row 0 of y has the box .* outside its image"),
        (table((0, "a", -1, 0, 5, 5)), "Row 0 of y has the box .* outside its image"),
        (
            table((0, "a", 0, 0, 5, 5), (1, "a", 4, 4, 4, 9)),
            "Row 1 .* without area; dro",
        ),
        (table((0, "a", 9, 0, 5, 5)), "Row 0 of y has a negative extent"),
        (table((0, "a", np.nan, 0, 5, 5)), "Row 0 of y has x_min=nan"),
        (table((0, "a", np.inf, 0, 5, 5)), "Row 0 of y has x_min=inf"),
        (table((0, None, 0, 0, 5, 5)), "Row 0 of y has no label; fill it in"),
        (table((0, "a", 0, 0, 5, 5), (0, 1, 0, 0, 5, 5)), "holds numbers and strings"),
        (table((0, "a", "x", 0, 5, 5)), "Column 'x_min' of y has dtype"),
    ],
)
def test_other_tables_are_refused_by_row(y, message):
    with pytest.raises(ValueError, match=message):
        read(y)


def test_background_images_have_no_numbers():
    with pytest.raises(ValueError, match="image=2, which is none of the 2 images"):
        read(table((2, "a", 0, 0, 5, 5)), backgrounds=[IMAGES[0]])


def test_crowds_are_not_objects():
    y = table((0, "a", 5, 5, 60, 40), (1, "many", 0, 0, 9, 9), (1, "a", 1, 2, 3, 4))
    annotated, classes = read(y.assign(iscrowd=[0, 1, 0]))
    assert_array_equal(classes, ["a"])
    assert_array_equal(annotated.boxes[1], [[1, 2, 3, 4]])
    assert [len(crowds) for crowds in annotated.crowds] == [0, 1]
    assert_array_equal(annotated.crowds[1], [[0, 0, 9, 9]])
    with pytest.raises(ValueError, match="y has no boxes"):
        read(y.assign(iscrowd=1))

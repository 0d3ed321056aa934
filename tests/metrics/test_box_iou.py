"""box_iou counts pixels, and names what is wrong with boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from instances import (
    BOX,
    iou_of_pixels,
    make_truth,
)

from sklearn_similar.metrics import (
    box_iou,
)

integer_boxes = hnp.arrays(
    np.int64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.integers(0, 6)
).map(
    lambda a: np.hstack(
        [np.minimum(a[:, :2], a[:, 2:]), np.maximum(a[:, :2], a[:, 2:])]
    )
)


@given(integer_boxes, integer_boxes)
@settings(max_examples=50)
def test_equals_the_count_of_pixels(a, b):
    expected = [[iou_of_pixels(p, q) for q in b] for p in a]
    np.testing.assert_allclose(
        box_iou(a, b), np.reshape(expected, (len(a), len(b))), rtol=1e-12
    )


@given(
    hnp.arrays(np.float64, (4, 2), elements=st.floats(-1e6, 1e6)),
    hnp.arrays(np.float64, (4, 2), elements=st.floats(0, 1e6)),
)
@settings(max_examples=50)
def test_is_symmetric_and_within_0_and_1(corner, extent):
    boxes = np.hstack([corner, corner + extent])
    iou = box_iou(boxes, boxes)
    np.testing.assert_array_equal(iou, iou.T)
    assert ((iou >= 0) & (iou <= 1)).all()
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    np.testing.assert_array_equal(np.diag(iou), (area > 0).astype(float))


def test_no_boxes_give_an_empty_matrix():
    assert box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert box_iou([[0, 0, 1, 1]], np.empty((0, 4))).shape == (1, 0)


def test_reads_the_coordinates_of_a_table():
    table = make_truth([5, "a", 0, 0, 2, 2])[[*BOX[::-1], "image"]]
    assert box_iou(table, [[0, 0, 2, 1]]) == 0.5


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 1]], r"shape \(1, 3\)"),
        ([0, 0, 1, 1], r"shape \(4,\)"),
        ([[0, 0, 1, 1], [3, 0, 1, 1]], "Row 1 .*negative.*x_min=3 and x_max=1"),
        ([[0, 0, 1, np.nan]], "Row 0 .*y_max=nan"),
        (make_truth([0, 0, 1, 1, 2, 2]).drop(columns="y_max"), "lacks .* y_max"),
        (make_truth([0, 0, 1, 1, 2, 2])[[*BOX, "x_min"]], "has the column x_min twice"),
        ([[0, 0, 1, 1], [0, 0, 1]], "boxes_a is a list that makes no array"),
        ([["0", "0", "1", "1"]], "boxes_a has dtype <U1; pass numbers"),
        ([[0, 0, 1, 1 + 2j]], "boxes_a has dtype complex128; pass numbers"),
        ([[0, 0, 1, 10**400]], "boxes_a has dtype object; pass numbers"),
        ([[0, 0, 1e200, 1]], "Row 0 of boxes_a has x_max=1e\\+200"),
        ({"x_min": [0]}, "boxes_a is a dict; pass numbers"),
    ],
)
def test_names_what_is_wrong(boxes, message):
    with pytest.raises(ValueError, match=message):
        box_iou(boxes, [[0, 0, 1, 1]])

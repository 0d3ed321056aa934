"""Non-maximum suppression, against a naive loop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_similar._detection.nms import nms, nms_rank
from sklearn_similar.metrics import box_iou


def naive_nms(boxes, rank, iou_threshold):
    iou = box_iou(boxes, boxes)
    taken = []
    for row in np.argsort(-rank, kind="stable"):
        if all(iou[row, other] <= iou_threshold for other in taken):
            taken.append(row)
    return taken


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_suppression_of_separate_boxes_is_that_of_a_naive_loop(seed, iou_threshold):
    rng = np.random.RandomState(seed)
    corner = rng.randint(0, 20, size=(15, 2))
    size = rng.randint(1, 15, size=(15, 2))
    boxes = np.hstack([corner, corner + size]).astype(float)
    rank = rng.uniform(size=15)
    found = nms(boxes, rank, np.full(15, -1), iou_threshold)
    assert_array_equal(found, naive_nms(boxes, rank, iou_threshold))


def test_parts_and_wholes_of_a_taken_box_are_suppressed():
    boxes = np.array(
        [[0, 0, 100, 100], [0, 0, 20, 20], [0, 0, 3, 3], [50, 50, 60, 60]], float
    )
    parent = np.array([-1, 0, 1, -1])
    rank = np.array([1.0, 3.0, 2.0, 0.0])
    assert_array_equal(nms(boxes, rank, parent, 0.3), [1, 3])


def test_of_like_scores_the_larger_box_ranks_first():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 30, 30], [0, 0, 3, 3]], float)
    rank = nms_rank(np.array([0.9, 0.9, 1.0]), boxes)
    assert rank[1] > rank[0]
    assert np.isfinite(rank).all()

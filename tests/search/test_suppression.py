"""Non-maximum suppression, against a naive loop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_similar._search.instances import Instances, suppress
from sklearn_similar._search.proposals import as_proposals
from sklearn_similar._search.suppression import BoxIndex, holds_surer, nms, nms_rank


def suppresses(one, other, iou_threshold):
    x = min(one[2], other[2]) - max(one[0], other[0])
    y = min(one[3], other[3]) - max(one[1], other[1])
    common = max(x, 0) * max(y, 0)
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    is_like = common > iou_threshold * (sum(sizes) - common)
    return is_like or common > 0.7 * min(sizes)


def naive_nms(boxes, rank, iou_threshold):
    taken = []
    for row in np.argsort(-rank, kind="stable"):
        if not any(suppresses(boxes[row], boxes[k], iou_threshold) for k in taken):
            taken.append(row)
    return taken


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_suppression_is_that_of_a_naive_loop(seed, iou_threshold):
    rng = np.random.RandomState(seed)
    corner = rng.randint(0, 20, size=(15, 2))
    size = rng.randint(1, 15, size=(15, 2))
    boxes = np.hstack([corner, corner + size]).astype(float)
    rank = rng.uniform(size=15)
    found = nms(boxes, rank, iou_threshold)
    assert_array_equal(found, naive_nms(boxes, rank, iou_threshold))


def test_many_boxes_of_all_sizes_are_suppressed_as_by_a_naive_loop(monkeypatch):
    monkeypatch.setattr("sklearn_similar._search.suppression._BOXES_AT_ONCE", 16)
    monkeypatch.setattr("sklearn_similar._search.suppression._PAIRS_AT_ONCE", 50)
    rng = np.random.RandomState(0)
    corner = rng.randint(-300, 900, size=(600, 2))
    size = np.exp(rng.uniform(0, np.log(700), size=(600, 2))).astype(int)
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    rank = rng.randint(0, 50, size=600).astype(float)
    for iou_threshold in (0.0, 0.3, 1.0):
        found = nms(boxes, rank, iou_threshold)
        assert_array_equal(found, naive_nms(boxes, rank, iou_threshold))


def test_boxes_far_from_each_other_are_not_compared():
    corner = np.stack(np.meshgrid(*[np.arange(60) * 50.0] * 2), -1).reshape(-1, 2)
    boxes = np.hstack([corner, corner + 30])
    index = BoxIndex(boxes)
    n_pairs = sum(len(rows) for rows, _ in index.meeting(boxes))
    assert n_pairs <= 9 * len(boxes)
    assert len(nms(boxes, np.zeros(len(boxes)), 0.3)) == len(boxes)


def test_parts_and_wholes_of_a_taken_box_are_suppressed():
    boxes = np.array(
        [[0, 0, 100, 100], [0, 0, 20, 20], [0, 0, 3, 3], [50, 50, 60, 60]], float
    )
    rank = np.array([1.0, 3.0, 2.0, 0.0])
    assert_array_equal(nms(boxes, rank, 0.3), [1, 3])


def test_of_like_scores_the_larger_box_ranks_first():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 30, 30], [0, 0, 3, 3]], float)
    rank = nms_rank(np.array([0.9, 0.9, 1.0]), as_proposals(boxes))
    assert rank[1] > rank[0]
    assert np.isfinite(rank).all()


def test_of_like_boxes_that_of_the_finer_channel_ranks_first():
    box = np.array([[4, 6, 20, 30]], float)
    proposals = np.concatenate([as_proposals(box / 2, 2), as_proposals(box)])
    assert_array_equal(proposals["box"][0], proposals["box"][1])
    coarse, fine = nms_rank(np.array([0.9, 0.9]), proposals)
    assert fine > coarse


def naive_holds_surer(boxes, score):
    log_odds = np.log(score / (1 - score))
    size = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    holds = []
    for outer in range(len(boxes)):
        inside = [
            np.prod(np.clip(extent, 0, None)) > 0.9 * size[inner]
            and np.e * size[inner] < size[outer]
            and log_odds[inner] > log_odds[outer] + 1
            for inner in range(len(boxes))
            for extent in [
                np.minimum(boxes[outer, 2:], boxes[inner, 2:])
                - np.maximum(boxes[outer, :2], boxes[inner, :2])
            ]
        ]
        holds.append(any(inside))
    return np.array(holds)


def test_boxes_that_hold_a_surer_one_are_those_of_a_naive_loop(monkeypatch):
    monkeypatch.setattr("sklearn_similar._search.suppression._PAIRS_AT_ONCE", 50)
    rng = np.random.RandomState(0)
    corner = rng.randint(0, 300, size=(300, 2))
    size = np.exp(rng.uniform(0, np.log(200), size=(300, 2))).astype(int)
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    score = rng.uniform(0.01, 0.99, size=300)
    expected = naive_holds_surer(boxes, score)
    assert 20 < expected.sum() < 280
    assert_array_equal(holds_surer(boxes, score), expected)


def test_no_box_holds_a_surer_one_of_none_or_of_its_own_size():
    assert len(holds_surer(np.empty((0, 4)), np.empty(0))) == 0
    box = np.array([[0, 0, 10, 10]], float)
    assert not holds_surer(np.repeat(box, 2, axis=0), np.array([1.0, 0.0])).any()


def instances(boxes, score):
    n = len(boxes)
    label = np.arange(n)
    nothing = np.full(n, np.nan)
    return Instances(as_proposals(np.array(boxes, float)), label, score, nothing, score)


def test_digits_of_a_sign_are_kept_where_its_rim_is_doubtful():
    boxes = [[0, 0, 100, 60], [10, 10, 40, 50], [50, 10, 80, 50]]
    doubtful = [instances(boxes, np.array([0.7, 0.9, 0.88]))]
    moved = suppress(doubtful, 0.3, is_refined=True)
    assert_array_equal(np.sort(moved.label), [1, 2])
    # Parts of an object look like others, and are not much surer; if no box was moved
    # to the whole, they may be.
    sure = [instances(boxes, np.array([0.9, 0.95, 0.9]))]
    assert_array_equal(suppress(sure, 0.3, is_refined=True).label, [0])
    assert_array_equal(suppress(doubtful, 0.3).label, [0])

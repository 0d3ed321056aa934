"""Suppression and refitted boxes, against naive loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from search_cases import detections
from sklearn import config_context

from sklearn_similar._search.detections import Detections
from sklearn_similar._search.suppression import (
    BoxIndex,
    contains_more_confident,
    mean_boxes,
    nms,
    nms_rank,
    suppress,
    tightest,
)
from sklearn_similar._tables.boxes import area, paired_iou

# At which about 50 pairs are compared at a time.
SMALL_WORKING_MEMORY = 0.1


def suppresses(a, b, iou_threshold):
    x = min(a[2], b[2]) - max(a[0], b[0])
    y = min(a[3], b[3]) - max(a[1], b[1])
    common = max(x, 0) * max(y, 0)
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    is_duplicate = common > iou_threshold * (sum(sizes) - common)
    return is_duplicate or common > 0.7 * min(sizes)


def naive_nms(boxes, rank, iou_threshold):
    selected = []
    for row in np.argsort(-rank, kind="stable"):
        if not any(suppresses(boxes[row], boxes[k], iou_threshold) for k in selected):
            selected.append(row)
    return selected


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_suppression_is_that_of_a_naive_loop(seed, iou_threshold):
    rng = np.random.RandomState(seed)
    corner = rng.randint(0, 20, size=(15, 2))
    size = rng.randint(1, 15, size=(15, 2))
    boxes = np.hstack([corner, corner + size]).astype(float)
    rank = rng.uniform(size=15)
    selected = nms(boxes, rank, iou_threshold)
    assert_array_equal(selected, naive_nms(boxes, rank, iou_threshold))


def test_many_boxes_of_all_sizes_are_suppressed_as_by_a_naive_loop():
    rng = np.random.RandomState(0)
    corner = rng.randint(-300, 900, size=(600, 2))
    size = np.exp(rng.uniform(0, np.log(700), size=(600, 2))).astype(int)
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    rank = rng.randint(0, 50, size=600).astype(float)
    for iou_threshold in (0.0, 0.3, 1.0):
        expected = naive_nms(boxes, rank, iou_threshold)
        with config_context(working_memory=SMALL_WORKING_MEMORY):
            selected = nms(boxes, rank, iou_threshold, block_size=16)
        assert_array_equal(selected, expected)


def test_boxes_far_from_each_other_are_not_compared():
    corner = np.stack(np.meshgrid(*[np.arange(60) * 50.0] * 2), -1).reshape(-1, 2)
    boxes = np.hstack([corner, corner + 30])
    index = BoxIndex(boxes)
    n_pairs = sum(len(rows) for rows, _ in index.candidate_pairs(boxes))
    assert n_pairs <= 9 * len(boxes)
    assert len(nms(boxes, np.zeros(len(boxes)), 0.3)) == len(boxes)


def test_parts_and_wholes_of_a_selected_box_are_suppressed():
    boxes = np.array(
        [[0, 0, 100, 100], [0, 0, 20, 20], [0, 0, 3, 3], [50, 50, 60, 60]], float
    )
    rank = np.array([1.0, 3.0, 2.0, 0.0])
    assert_array_equal(nms(boxes, rank, 0.3), [1, 3])


def test_among_boxes_with_similar_scores_the_larger_ranks_first():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 30, 30], [0, 0, 3, 3]], float)
    rank = nms_rank(np.array([0.9, 0.9, 1.0]), boxes, np.ones(3, int))
    assert rank[1] > rank[0]
    assert np.isfinite(rank).all()


def test_without_the_weight_of_the_area_the_surer_box_is_kept():
    found = detections([[0, 0, 40, 40], [5, 5, 35, 35]], [0.8, 0.85])
    by_area = suppress(found, 0.3, is_refined=False)
    by_score = suppress(found, 0.3, is_refined=False, area_weight=0.0)
    assert_array_equal([by_area.label, by_score.label], [[0], [1]])


def test_among_equal_boxes_that_of_the_finer_channel_ranks_first():
    boxes = np.array([[4, 6, 20, 30]] * 2, float)
    coarse, fine = nms_rank(np.array([0.9, 0.9]), boxes, np.array([2, 1]))
    assert fine > coarse


def naive_contains_more_confident(boxes, score):
    log_odds = np.log(score / (1 - score))
    size = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    contains = []
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
        contains.append(any(inside))
    return np.array(contains)


def test_boxes_that_contain_a_more_confident_box_are_those_of_a_naive_loop():
    rng = np.random.RandomState(0)
    corner = rng.randint(0, 300, size=(300, 2))
    size = np.exp(rng.uniform(0, np.log(200), size=(300, 2))).astype(int)
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    score = rng.uniform(0.01, 0.99, size=300)
    expected = naive_contains_more_confident(boxes, score)
    assert 20 < expected.sum() < 280
    with config_context(working_memory=SMALL_WORKING_MEMORY):
        contains = contains_more_confident(boxes, score)
    assert_array_equal(contains, expected)


def test_a_box_contains_no_more_confident_box_of_its_own_size():
    assert len(contains_more_confident(np.empty((0, 4)), np.empty(0))) == 0
    box = np.array([[0, 0, 10, 10]], float)
    assert not contains_more_confident(
        np.repeat(box, 2, axis=0), np.array([1.0, 0.0])
    ).any()


def test_digits_of_a_sign_are_kept_where_its_rim_is_doubtful():
    boxes = [[0, 0, 100, 60], [10, 10, 40, 50], [50, 10, 80, 50]]
    doubtful = detections(boxes, [0.7, 0.9, 0.88])
    moved = suppress(doubtful, 0.3, is_refined=True)
    assert_array_equal(np.sort(moved.label), [1, 2])
    # Parts of an object look like others, and are not much surer; if no box was moved
    # to the whole, they may be.
    sure = detections(boxes, [0.9, 0.95, 0.9])
    assert_array_equal(suppress(sure, 0.3, is_refined=True).label, [0])
    assert_array_equal(suppress(doubtful, 0.3, is_refined=False).label, [0])


def is_duplicate(boxes, downsampling, row, other):
    overlap = paired_iou(boxes[other], boxes[row])
    if downsampling[row] == 1 or overlap < 0.5:
        return overlap >= 0.7
    # Without a pixel of the smaller channel on each side.
    inner = paired_iou(boxes[other], boxes[row] + np.array([2, 2, -2, -2]))
    return max(overlap, inner) >= 0.7


def naive_tightest(boxes, downsampling, label, row):
    """Smallest duplicate of the finest channel, the leftmost of several."""
    duplicates = [
        other
        for other in range(len(boxes))
        if label[other] == label[row] and is_duplicate(boxes, downsampling, row, other)
    ]
    return min(
        duplicates,
        key=lambda other: (downsampling[other], area(boxes[other]), boxes[other, 0]),
    )


@given(st.integers(0, 10_000))
def test_the_tightest_box_is_that_of_a_naive_search(seed):
    rng = np.random.RandomState(seed)
    corner, size = rng.randint(0, 4, size=(30, 2)), rng.randint(6, 12, size=(30, 2))
    downsampling = np.repeat([1, 2], [20, 10])
    boxes = np.hstack([corner, corner + size]).astype(float)
    boxes *= downsampling[:, np.newaxis]
    label = rng.randint(2, size=30)
    rows = rng.permutation(30)[:8]
    expected = [naive_tightest(boxes, downsampling, label, row) for row in rows]
    assert_array_equal(tightest(boxes, downsampling, label, rows), expected)


def test_a_small_object_is_not_as_large_as_its_region_in_a_smaller_channel():
    boxes = np.array([[42, 85, 54, 105], [40, 82, 56, 106]])
    assert paired_iou(*boxes) < 0.7
    row = np.array([1])
    assert tightest(boxes, np.array([1, 2]), np.array([7, 7]), row) == [0]
    # A fragment is not a duplicate, even if it fits the box without its rim.
    boxes = np.array([[2, 3, 10, 12], [0, 0, 14, 14]])
    assert tightest(boxes, np.array([1, 2]), np.array([7, 7]), row) == [1]


def four_detections(boxes, score):
    """Four detections; all but the third have the same label."""
    return detections(boxes, score, label=[5, 5, 3, 5], heat=[1.0, 0.1, 0.2, 0.3])


def test_an_instance_has_its_score_and_the_box_of_its_tightest_duplicate():
    boxes = np.array([[0, 0, 40, 40], [2, 2, 38, 38], [4, 4, 36, 38], [60, 0, 80, 20]])
    found = four_detections(boxes, [0.9, 0.6, 0.8, 0.7])
    distinct = suppress(found, 0.3, is_refined=False)
    assert_array_equal(distinct.proposals.boxes, boxes[[1, 3]])
    assert_array_equal(distinct.score, [0.9, 0.7])
    assert_array_equal(distinct.heat, [1.0, 0.3])


@given(st.integers(0, 10_000))
def test_tight_boxes_do_not_overlap_more_than_the_threshold(seed):
    rng = np.random.RandomState(seed)
    corner, size = rng.randint(0, 30, size=(40, 2)), rng.randint(8, 14, size=(40, 2))
    boxes = np.hstack([corner, corner + size])
    found = detections(boxes, rng.uniform(size=40), label=np.zeros(40, int))
    distinct = suppress(found, 0.1, is_refined=False)
    boxes = distinct.proposals.boxes.astype(float)
    overlap = paired_iou(boxes[:, np.newaxis], boxes)
    assert (overlap[~np.eye(len(boxes), dtype=bool)] <= 0.1).all()


@given(st.integers(0, 10_000))
def test_the_mean_box_is_that_of_a_naive_search(seed):
    rng = np.random.RandomState(seed)
    corner, size = rng.randint(0, 6, size=(30, 2)), rng.randint(6, 40, size=(30, 2))
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    label, score = rng.randint(2, size=30), rng.uniform(size=30)
    rows = rng.permutation(30)[:8]
    naive = []
    for row in rows:
        overlap = paired_iou(boxes.astype(float), boxes[row].astype(float))
        is_same = (overlap >= 0.6) & (label == label[row])
        naive.append(
            np.rint(np.average(boxes[is_same], axis=0, weights=score[is_same]))
        )
    assert_array_equal(mean_boxes(boxes, label, score, rows), naive)


def test_a_refined_instance_has_the_mean_box_of_its_duplicates():
    boxes = np.array([[0, 0, 40, 40], [4, 4, 40, 44], [4, 4, 36, 38], [60, 0, 80, 20]])
    found = four_detections(boxes, [0.9, 0.3, 0.8, 0.7])
    distinct = suppress(found, 0.3, is_refined=True)
    assert_array_equal(distinct.proposals.boxes, [[1, 1, 40, 41], boxes[3]])
    assert_array_equal(distinct.score, [0.9, 0.7])


def test_boxes_of_weight_0_are_unchanged():
    boxes = np.array([[0, 0, 40, 40], [4, 4, 40, 44]], np.float32)
    mean = mean_boxes(boxes, np.zeros(2, int), np.zeros(2), np.array([1]))
    assert_array_equal(mean, boxes[[1]])


def test_tiny_weights_act_like_larger_ones():
    boxes = np.array([[0, 0, 40, 40], [4, 4, 40, 44]], np.float32)
    label, rows = np.zeros(2, int), np.array([0])
    mean = mean_boxes(boxes, label, np.full(2, 1e-20), rows)
    assert_array_equal(mean, mean_boxes(boxes, label, np.full(2, 0.5), rows))


def test_a_box_that_rounding_would_make_empty_is_unchanged():
    boxes = np.array([[1.5, 0, 2.5, 9]], np.float32)
    mean = mean_boxes(boxes, np.zeros(1, int), np.ones(1), np.array([0]))
    assert_array_equal(mean, boxes)


def test_parts_are_suppressed_by_their_wholes_whatever_their_polarity():
    # Parts are far smaller than their wholes, so that their overlap is small.
    bright = detections([[0, 0, 50, 50], [5, 65, 15, 75]], [0.9, 0.8], [0, 1])
    dark = detections(
        [[0, 60, 50, 110], [60, 0, 110, 50], [5, 5, 15, 15]], [0.9] * 3, [2] * 3
    )
    both = Detections.concatenate([bright, dark])
    distinct = suppress(both, 0.3, is_refined=False)
    boxes = [tuple(box) for box in distinct.proposals.boxes.tolist()]
    assert sorted(boxes) == [(0, 0, 50, 50), (0, 60, 50, 110), (60, 0, 110, 50)]

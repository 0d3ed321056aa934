"""The tightest and the mean of duplicates, against a naive search."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_similar._search.box_fit import mean_boxes, tightest
from sklearn_similar._search.instances import Instances, suppress
from sklearn_similar._search.proposals import as_proposals
from sklearn_similar._tables.boxes import area, paired_iou


def boxes_of(proposals, rows):
    return proposals["box"][rows].astype(float)


def is_duplicate(proposals, row, other):
    box, near = (proposals["box"][k].astype(float) for k in (row, other))
    overlap = paired_iou(near, box)
    if proposals["downsampling"][row] == 1 or overlap < 0.5:
        return overlap >= 0.7
    # Inside a pixel of the smaller channel.
    inside = paired_iou(near, box + np.array([2, 2, -2, -2]))
    return max(overlap, inside) >= 0.7


def naive_tightest(proposals, label, row):
    boxes = proposals["box"].astype(float)
    like = [
        other
        for other in range(len(boxes))
        if label[other] == label[row] and is_duplicate(proposals, row, other)
    ]
    return min(
        like, key=lambda other: (proposals["downsampling"][other], area(boxes[other]))
    )


@given(st.integers(0, 10_000))
def test_the_choice_is_that_of_a_naive_search(seed):
    rng = np.random.RandomState(seed)
    corner, size = rng.randint(0, 4, size=(30, 2)), rng.randint(6, 12, size=(30, 2))
    boxes = np.hstack([corner, corner + size])
    proposals = np.concatenate([as_proposals(boxes[:20]), as_proposals(boxes[20:], 2)])
    label = rng.randint(2, size=30)
    rows = rng.permutation(30)[:8]
    found = tightest(proposals, label, rows)
    naive = [naive_tightest(proposals, label, row) for row in rows]
    assert_array_equal(
        proposals["downsampling"][found], proposals["downsampling"][naive]
    )
    assert_array_equal(
        area(boxes_of(proposals, found)), area(boxes_of(proposals, naive))
    )
    for other, row in zip(found, rows, strict=True):
        assert is_duplicate(proposals, row, other)
    assert_array_equal(label[found], label[rows])


def test_a_small_object_is_not_as_large_as_its_region_in_a_smaller_channel():
    fine, coarse = [42, 85, 54, 105], [20, 41, 28, 53]
    proposals = np.concatenate(
        [as_proposals(np.array([fine])), as_proposals(np.array([coarse]), 2)]
    )
    assert paired_iou(*proposals["box"]) < 0.7
    found = tightest(proposals, np.array([7, 7]), np.array([1]))
    assert_array_equal(proposals["box"][found], [fine])
    # A fragment is none, whatever is inside the rim.
    fragment = np.array([[2, 3, 10, 12]])
    proposals = np.concatenate(
        [as_proposals(fragment), as_proposals(np.array([[0, 0, 7, 7]]), 2)]
    )
    assert tightest(proposals, np.array([7, 7]), np.array([1])) == [1]


def four_instances(boxes, score):
    """All but the third have the same label."""
    return Instances(
        as_proposals(boxes),
        np.array([5, 5, 3, 5]),
        np.array(score),
        np.array([1.0, 0.1, 0.2, 0.3]),
        np.ones(4),
    )


def test_an_instance_has_its_score_and_the_box_of_its_tightest_duplicate():
    boxes = np.array([[0, 0, 40, 40], [2, 2, 38, 38], [4, 4, 36, 38], [60, 0, 80, 20]])
    found = four_instances(boxes, [0.9, 0.6, 0.8, 0.7])
    instances = suppress([found], 0.3)
    assert_array_equal(instances.proposals["box"], boxes[[1, 3]])
    assert_array_equal(instances.score, [0.9, 0.7])
    assert_array_equal(instances.heat, [1.0, 0.3])


@given(st.integers(0, 10_000))
def test_tight_boxes_do_not_overlap_more_than_others(seed):
    rng = np.random.RandomState(seed)
    corner, size = rng.randint(0, 30, size=(40, 2)), rng.randint(8, 14, size=(40, 2))
    found = Instances(
        as_proposals(np.hstack([corner, corner + size])),
        np.zeros(40, int),
        rng.uniform(size=40),
        np.zeros(40),
        np.ones(40),
    )
    boxes = suppress([found], 0.1).proposals["box"].astype(float)
    overlap = paired_iou(boxes[:, np.newaxis], boxes)
    assert (overlap[~np.eye(len(boxes), dtype=bool)] <= 0.1).all()


@given(st.integers(0, 10_000))
def test_the_mean_is_that_of_a_naive_search(seed):
    rng = np.random.RandomState(seed)
    corner, size = rng.randint(0, 6, size=(30, 2)), rng.randint(6, 40, size=(30, 2))
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    label, score = rng.randint(2, size=30), rng.uniform(size=30)
    rows = rng.permutation(30)[:8]
    naive = []
    for row in rows:
        overlap = paired_iou(boxes.astype(float), boxes[row].astype(float))
        same = (overlap >= 0.6) & (label == label[row])
        naive.append(np.rint(np.average(boxes[same], axis=0, weights=score[same])))
    assert_array_equal(mean_boxes(boxes, label, score, rows), naive)


def test_a_refined_instance_has_the_mean_box_of_its_duplicates():
    boxes = np.array([[0, 0, 40, 40], [4, 4, 40, 44], [4, 4, 36, 38], [60, 0, 80, 20]])
    found = four_instances(boxes, [0.9, 0.3, 0.8, 0.7])
    instances = suppress([found], 0.3, is_refined=True)
    assert_array_equal(instances.proposals["box"], [[1, 1, 40, 41], boxes[3]])
    assert_array_equal(instances.score, [0.9, 0.7])


def test_boxes_without_a_score_stay_where_they_are():
    boxes = np.array([[0, 0, 40, 40], [4, 4, 40, 44]], np.float32)
    found = mean_boxes(boxes, np.zeros(2, int), np.zeros(2), np.array([1]))
    assert_array_equal(found, boxes[[1]])


def test_the_least_scores_weigh_like_others():
    boxes = np.array([[0, 0, 40, 40], [4, 4, 40, 44]], np.float32)
    label, rows = np.zeros(2, int), np.array([0])
    found = mean_boxes(boxes, label, np.full(2, 1e-20), rows)
    assert_array_equal(found, mean_boxes(boxes, label, np.full(2, 0.5), rows))


def test_a_box_of_which_rounding_leaves_nothing_stays():
    boxes = np.array([[1.5, 0, 2.5, 9]], np.float32)
    found = mean_boxes(boxes, np.zeros(1, int), np.ones(1), np.array([0]))
    assert_array_equal(found, boxes)

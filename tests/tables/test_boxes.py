"""Overlaps of boxes equal naive loops, in blocks of any size."""

import numpy as np
import pytest
import sklearn
from instances import iou_of_pixels, random_boxes

from sklearn_similar._tables.boxes import iou_matrix, overlapping_pairs, rasterize

# Pairs that are compared at a time at the default working memory of 1024 MiB.
PAIRS = 2**20


@pytest.mark.parametrize("n_pairs", [1, 10, PAIRS])
def test_an_iou_matrix_does_not_depend_on_its_blocks(n_pairs):
    boxes = random_boxes(np.random.default_rng(0), 12)
    expected = [[iou_of_pixels(a, b) for b in boxes[:7]] for a in boxes]
    with sklearn.config_context(working_memory=1024 * n_pairs / PAIRS):
        np.testing.assert_allclose(iou_matrix(boxes, boxes[:7]), expected, rtol=1e-12)


@pytest.mark.parametrize("n_pairs", [1, 7, PAIRS])
def test_overlapping_pairs_equal_a_naive_loop(n_pairs):
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 25), random_boxes(rng, 20)
    groups_a, groups_b = rng.integers(0, 3, 25), rng.integers(1, 4, 20)
    expected = {
        (i, j): iou_of_pixels(a[i], b[j])
        for i in range(25)
        for j in range(20)
        if groups_a[i] == groups_b[j] and iou_of_pixels(a[i], b[j]) >= 0.2
    }
    assert expected
    with sklearn.config_context(working_memory=1024 * n_pairs / PAIRS):
        i, j, iou = overlapping_pairs(a, groups_a, b, groups_b, 0.2)
    actual = dict(zip(zip(i.tolist(), j.tolist(), strict=True), iou, strict=True))
    assert actual == pytest.approx(expected)


def test_no_boxes_have_no_overlapping_pairs():
    boxes, groups = random_boxes(np.random.default_rng(0), 3), np.zeros(3, int)
    for a, b in [(0, 3), (3, 0), (0, 0)]:
        pairs = overlapping_pairs(boxes[:a], groups[:a], boxes[:b], groups[:b], 0.5)
        assert [len(column) for column in pairs] == [0, 0, 0]


def test_a_pixel_belongs_to_a_box_if_its_centre_does():
    boxes = np.array([[0.4, 0.6, 2.5, 2.6], [-5.0, 3.0, 1.0, 99.0]])
    mask = rasterize(boxes, (5, 4))
    y, x = np.mgrid[:5, :4] + 0.5
    expected = np.zeros((5, 4), bool)
    for x_min, y_min, x_max, y_max in boxes:
        expected |= (x_min <= x) & (x < x_max) & (y_min <= y) & (y < y_max)
    np.testing.assert_array_equal(mask, expected)

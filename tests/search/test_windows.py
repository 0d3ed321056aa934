"""Sliding windows: every object of a trained size is near one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar._search.windows import sliding_windows, typical_sizes
from sklearn_similar._tables.boxes import iou_matrix

SIZES = np.array([[20.0, 20], [36, 18], [15, 44]])


def boxes_of(sides, low, high):
    """Boxes of some widths and heights between two corners."""
    corner = np.random.default_rng(0).uniform(low, high - sides, sides.shape)
    return np.hstack([corner, corner + sides])


@pytest.mark.parametrize("size", [(100, 130), (97, 51), (45, 37)])
def test_any_box_of_a_trained_size_overlaps_a_window_well(size):
    extent = np.array(size[::-1])
    for window in SIZES:
        boxes = boxes_of(np.tile(window, (300, 1)), 0, extent)
        # Also in the corners.
        boxes[0] = [0, 0, *window]
        boxes[1] = [*(extent - window), *extent]
        iou = iou_matrix(boxes, sliding_windows(size, SIZES)).max(axis=1)
        assert iou.min() >= 0.53


def test_objects_that_the_border_cuts_are_reached_too():
    size, window = (100, 130), SIZES[0]
    # A quarter of the object is outside.
    sides = np.tile(window, (300, 1))
    boxes = boxes_of(sides, -0.25 * window, np.array([130, 100]) + 0.25 * window)
    boxes[0] = [*(-0.25 * window), *(0.75 * window)]
    boxes[1] = [130 - 15, 100 - 15, 130 + 5, 100 + 5]
    visible = boxes.clip(0, [130, 100, 130, 100])
    iou = iou_matrix(visible, sliding_windows(size, SIZES)).max(axis=1)
    assert iou.min() >= 0.53


@pytest.mark.parametrize("size", [(100, 130), (30, 200), (5, 7), (1, 1)])
def test_windows_are_boxes_inside_the_image(size):
    windows = sliding_windows(size, SIZES)
    assert len(windows) >= len(SIZES)
    assert (windows >= 0).all()
    assert (windows[:, [2, 0]] <= size[1]).all()
    assert (windows[:, [3, 1]] <= size[0]).all()
    assert (windows[:, 2:] > windows[:, :2]).all()


def test_larger_windows_than_the_image_are_cut_to_it():
    windows = sliding_windows((10, 12), np.array([[100.0, 100.0]]))
    assert_array_equal(windows, [[0, 0, 12, 10]])


def test_no_sizes_give_no_windows():
    assert sliding_windows((10, 12), np.empty((0, 2))).shape == (0, 4)


def test_typical_sizes_are_those_of_groups_of_boxes():
    rng = np.random.default_rng(0)
    sides = np.concatenate(
        [[30, 30] * rng.uniform(0.97, 1.03, (40, 2)), [[80, 20]] * 9]
    )
    sizes = typical_sizes(np.hstack([0 * sides, sides]), 2, seed=0)
    assert_allclose(sizes, [[30, 30], [80, 20]], rtol=0.03)


def test_no_more_sizes_than_boxes_differ():
    boxes = np.tile([3.0, 4, 13, 24], (7, 1))
    assert_allclose(typical_sizes(boxes, 5, seed=0), [[10, 20]], rtol=1e-6)


def test_sizes_do_not_depend_on_the_order_of_boxes():
    rng = np.random.default_rng(0)
    sides = np.concatenate([rng.uniform(9, 11, (20, 2)), rng.uniform(50, 60, (20, 2))])
    boxes = np.hstack([0 * sides, sides])
    sizes = typical_sizes(boxes, 2, seed=0)
    assert_allclose(typical_sizes(rng.permutation(boxes), 2, seed=0), sizes, rtol=1e-6)

"""Crops, suppression and the table of instances."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_similar._detection.boxes import BOX, iou
from sklearn_similar._detection.crop_specification import (
    CropSpecification,
    learn_crop_specification,
)
from sklearn_similar._detection.proposals import HOTSPOT
from sklearn_similar._detection.recognition import (
    Instances,
    crop_hotspots,
    heat_in_boxes,
    suppress,
    to_frame,
)

SPECIFICATION = CropSpecification(size=(28, 28), object_extent=20 / 28)


def make_spots(*boxes, level=0.0, peak=1.0):
    boxes = np.reshape(boxes, (-1, 4))
    spots = np.zeros(len(boxes), HOTSPOT)
    for name, values in zip(BOX, boxes.T, strict=True):
        spots[name] = values
    spots["level"], spots["peak"], spots["parent"] = level, peak, -1
    return spots


def test_object_extent_and_value_range_are_learned_from_images():
    images = torch.zeros(3, 1, 28, 28)
    images[:, 0, 4:24, 8:18] = 10.0
    specification = learn_crop_specification(images)
    assert specification == CropSpecification(
        size=(28, 28), object_extent=20 / 28, low=0.0, high=10.0
    )
    assert_allclose(specification.from_unit(specification.to_unit(images)), images)


def test_blank_images_are_filled_by_their_object():
    assert learn_crop_specification(torch.zeros(2, 1, 8, 8)) == CropSpecification(
        size=(8, 8)
    )


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_crop_of_an_enlarged_image_is_the_image(factor):
    image = np.zeros((28, 28), np.float32)
    image[4:24, 9:19] = np.linspace(0.5, 1, 10)
    large = np.kron(image, np.ones((factor, factor)))
    scene = np.zeros((100, 120), np.float32)
    scene[7 : 7 + 28 * factor, 11 : 11 + 28 * factor] = large
    box = np.array([9, 4, 19, 24]) * factor + [11, 7, 11, 7]
    (crop,) = crop_hotspots(
        torch.from_numpy(scene)[None], make_spots(box), SPECIFICATION
    )
    assert crop.shape == (28, 28, 1)
    inside = (slice(5, 23), slice(10, 18))
    assert_allclose(crop[..., 0][inside], image[inside], atol=0.02)
    assert abs(crop[..., 0] - image).mean() < 0.01


def test_a_crop_is_stretched_from_level_to_peak_and_dark_outside_its_box():
    scene = np.full((60, 60), 0.4, np.float32)
    scene[20:40, 20:40] = 0.6
    scene[20:40, 45:55] = 1.0
    spots = make_spots([20, 20, 40, 40], level=0.4, peak=0.6)
    (crop,) = crop_hotspots(torch.from_numpy(scene)[None], spots, SPECIFICATION)
    assert_allclose(crop[8:20, 8:20, 0], 1, atol=1e-5)
    assert_array_equal(crop[:3], 0)
    assert_array_equal(crop[:, -3:], 0)


def test_no_hotspots_give_no_crops():
    crops = crop_hotspots(torch.zeros(3, 40, 40), make_spots(), SPECIFICATION)
    assert crops.shape == (0, 28, 28, 3)


def test_heat_in_boxes_is_the_greatest():
    heat = np.arange(20.0).reshape(4, 5)
    assert_array_equal(
        heat_in_boxes(heat, make_spots([0, 0, 2, 2], [1, 1, 5, 4])), [6, 19]
    )


def naive_suppression(boxes, rank, max_overlap):
    kept = []
    for row in np.argsort(-rank, kind="stable"):
        if all(iou(boxes[row], boxes[other]) <= max_overlap for other in kept):
            kept.append(row)
    return kept


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_suppression_of_boxes_apart_is_that_of_a_naive_loop(seed, max_overlap):
    rng = np.random.RandomState(seed)
    corner = rng.randint(0, 20, size=(15, 2))
    boxes = make_spots(np.hstack([corner, corner + rng.randint(1, 15, size=(15, 2))]))
    rank = rng.uniform(size=15)
    kept = suppress(boxes, rank, boxes["parent"], max_overlap)
    assert_array_equal(kept, naive_suppression(boxes, rank, max_overlap))


def test_parts_and_wholes_of_a_kept_box_are_dropped():
    boxes = make_spots([0, 0, 100, 100], [0, 0, 20, 20], [0, 0, 3, 3], [50, 50, 60, 60])
    parent = np.array([-1, 0, 1, -1])
    rank = np.array([1.0, 3.0, 2.0, 0.0])
    assert_array_equal(suppress(boxes, rank, parent, 0.3), [1, 3])


def test_the_table_of_no_instances_has_the_columns_and_types_of_a_full_one():
    none = Instances(make_spots(), np.empty(0, int), np.empty(0), np.empty(0))
    one = Instances(
        make_spots([1, 2, 3, 4]), np.array([1]), np.array([0.9]), np.array([1.1])
    )
    for classes in (np.array(["a", "b"]), np.array([3, 5])):
        empty, full = to_frame([none], classes), to_frame([none, one], classes)
        assert list(empty.columns) == list(full.columns)
        assert (empty.dtypes == full.dtypes).all()
        assert full.loc[0].tolist() == [1, classes[1], 0.9, 1.1, 1, 2, 3, 4]

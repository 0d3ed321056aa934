"""Component trees and stable hotspots, against labelling each level by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import ndimage

from sklearn_similar._detection.proposals import (
    HOTSPOT,
    ancestors,
    component_tree,
    heat_hotspots,
    image_hotspots,
    keep_hotspots,
)


def smooth_image(seed, shape=(60, 80)):
    noise = np.random.RandomState(seed).standard_normal(shape)
    image = ndimage.gaussian_filter(noise, 4)
    return (image - image.min()) / np.ptp(image)


def boxes_of(spots):
    return {
        tuple(int(spot[name]) for name in ("x_min", "y_min", "x_max", "y_max"))
        for spot in spots
    }


def square(shape=(50, 60), box=(10, 20, 25, 40), level=1.0, ground=0.0):
    image = np.full(shape, ground)
    x_min, y_min, x_max, y_max = box
    image[y_min:y_max, x_min:x_max] = level
    return image


@pytest.mark.parametrize("seed", range(5))
def test_components_of_each_level_are_those_of_a_plain_labelling(seed):
    image = smooth_image(seed)
    levels = np.array([0.3, 0.5, 0.7])
    spots = component_tree(image, levels)
    for level in levels:
        labels, _ = ndimage.label(image > level, np.ones((3, 3)))
        wanted = {
            (x.start, y.start, x.stop, y.stop)
            for y, x in ndimage.find_objects(labels)
            if max(x.stop - x.start, y.stop - y.start) >= 7
        }
        found = spots[np.isclose(spots["level"], level)]
        assert boxes_of(found) == wanted
        for spot in found:
            inside = image[labels == labels[_first_pixel(image, spot, level)]]
            assert spot["peak"] == inside.max().astype(np.float32)


def _first_pixel(image, spot, level):
    """Some pixel of a component: the greatest value there is, by its peak."""
    return np.unravel_index(np.abs(image - spot["peak"]).argmin(), image.shape)


@given(st.integers(0, 10_000))
def test_a_parent_comes_before_its_child_and_holds_it(seed):
    spots = component_tree(smooth_image(seed), np.linspace(0.1, 0.9, 9))
    children = np.flatnonzero(spots["parent"] >= 0)
    parents = spots["parent"][children]
    assert (parents < children).all()
    assert (spots["x_min"][parents] <= spots["x_min"][children]).all()
    assert (spots["x_max"][parents] >= spots["x_max"][children]).all()
    assert (spots["y_min"][parents] <= spots["y_min"][children]).all()
    assert (spots["y_max"][parents] >= spots["y_max"][children]).all()
    assert (spots["level"][parents] < spots["level"][children]).all()
    assert ((spots["level"] == spots["level"].min()) == (spots["parent"] < 0)).all()


def test_a_bright_square_is_one_hotspot_with_its_box():
    (spot,) = image_hotspots(square(), 15)
    assert boxes_of([spot]) == {(10, 20, 25, 40)}
    assert spot["peak"] == 1
    assert spot["level"] == pytest.approx(1 / 16)


def test_a_single_level_finds_what_is_brighter():
    image = square() + square(box=(30, 5, 45, 15), level=0.3)
    assert boxes_of(image_hotspots(image, 1)) == {(10, 20, 25, 40)}


def test_a_faint_square_beside_a_bright_one_is_found_too():
    image = square() + square(box=(30, 5, 45, 15), level=0.3)
    assert boxes_of(image_hotspots(image, 15)) == {(10, 20, 25, 40), (30, 5, 45, 15)}


def test_squares_joined_by_a_faint_bridge_are_found_apart_and_together():
    image = square(box=(5, 10, 15, 30)) + square(box=(25, 10, 35, 30))
    image[18:22, 15:25] = 0.5
    spots = image_hotspots(image, 15)
    assert boxes_of(spots) == {(5, 10, 15, 30), (25, 10, 35, 30), (5, 10, 35, 30)}
    whole = np.flatnonzero(spots["x_max"] - spots["x_min"] > 20).tolist()
    assert_array_equal(np.delete(spots["parent"], whole), whole * 2)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_image_has_no_hotspots(value):
    spots = image_hotspots(np.full((40, 40), value), 15)
    assert spots.dtype == HOTSPOT
    assert not len(spots)


def test_a_part_smaller_than_seven_pixels_is_left_out():
    assert not len(image_hotspots(square(box=(10, 10, 16, 16)), 15))
    assert len(image_hotspots(square(box=(10, 10, 17, 12)), 15)) == 1


def test_heat_hotspots_are_drawn_tight_around_what_is_bright():
    image = square(box=(20, 15, 40, 35))
    heat = square(box=(14, 10, 46, 40))
    (spot,) = heat_hotspots(heat, image, 0.15, 15)
    assert boxes_of([spot]) == {(20, 15, 40, 35)}


def test_heat_over_nothing_bright_gives_no_hotspot():
    assert not len(heat_hotspots(square(), np.zeros((50, 60)), 0.15, 15))


def test_parents_of_kept_hotspots_are_their_nearest_kept_ancestors():
    spots = np.zeros(5, HOTSPOT)
    spots["parent"] = [-1, 0, 1, 2, 0]
    kept = keep_hotspots(spots, np.array([True, False, False, True, True]))
    assert_array_equal(kept["parent"], [-1, 0, 0])
    kept = keep_hotspots(spots, np.array([False, True, False, True, True]))
    assert_array_equal(kept["parent"], [-1, 0, -1])


def test_ancestors_lead_to_the_root():
    found = ancestors(np.array([-1, 0, 1, -1]))
    assert_array_equal(found[2][:3], [1, 0, -1])
    assert set(found[3]) == {-1}

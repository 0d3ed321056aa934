"""Line drawings to train on: thinning, and scenes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sklearn_similar._scenes.lines import (
    LineRecipe,
    are_of_strokes,
    draw_lines,
    is_of_strokes,
    line_scene,
    thin,
)
from sklearn_similar._tables.boxes import paired_iou
from sklearn_similar.datasets import load_mnist_sample

IMAGES = load_mnist_sample().X_train[::50]
SQUARE = np.ones((3, 3))


def lines(images, side):
    return line_scene(images, LineRecipe(side=side), np.random.RandomState(0))


def strokes(seed):
    """Blobs and strokes at random."""
    noise = np.random.RandomState(seed).normal(size=(40, 37))
    smooth = ndimage.gaussian_filter(noise, 2)
    return smooth > np.quantile(smooth, 0.6)


@given(st.integers(0, 10_000))
def test_lines_are_in_the_strokes_as_connected_and_a_pixel_wide(seed):
    mask = strokes(seed)
    before = mask.copy()
    thinned = thin(mask)
    assert (mask == before).all()
    assert not (thinned & ~mask).any()
    labels, n_strokes = ndimage.label(mask, SQUARE)
    for number in range(1, n_strokes + 1):
        stroke = labels == number
        n_parts = ndimage.label(thinned & stroke, SQUARE)[1]
        # A compact stroke may vanish, as a square of two pixels does.
        is_long = max(np.ptp(np.argwhere(stroke), axis=0)) > 14
        assert n_parts == 1 or (n_parts == 0 and not is_long)
    assert not ndimage.binary_erosion(thinned, SQUARE).any()


def test_a_bar_becomes_its_middle_and_a_ring_stays_a_ring():
    bar = np.zeros((20, 30), bool)
    bar[8:13, 3:27] = True
    y, x = np.nonzero(thin(bar))
    assert set(y) == {10}
    assert x.min() <= 6
    assert x.max() >= 23
    radius = np.hypot(*np.mgrid[-15:15, -15:15] + 0.5)
    ring = thin((radius > 8) & (radius < 12))
    assert ndimage.label(ring, SQUARE)[1] == 1
    # Inside and outside are not connected.
    assert ndimage.label(~ring)[1] == 2
    assert np.abs(radius[ring] - 10).max() < 1.5


@pytest.mark.parametrize("width", [1, 2])
def test_drawings_have_the_size_and_stroke_width_asked_for(width):
    image = np.zeros((20, 30), np.uint8)
    image[5:8, 4:26] = 200
    drawing = draw_lines(image, 3, width)
    assert drawing.shape == (60, 90)
    assert set((drawing > 0).sum(axis=0)) == {0, width}
    assert 55 < (drawing > 0).any(axis=0).sum() < 69


def test_colours_stay_and_strokes_are_distinguished_from_surfaces():
    image = np.stack([IMAGES[0], IMAGES[0] // 2, 0 * IMAGES[0]], axis=2)
    drawing = draw_lines(image, 2, 1)
    assert drawing.shape == (56, 56, 3)
    assert not drawing[..., 2].any()
    lit = drawing[..., 0] > 0
    np.testing.assert_allclose(drawing[lit, 1], drawing[lit, 0] / 2, atol=1)
    disc = np.uint8(255 * (np.hypot(*np.mgrid[-14:14, -14:14] + 0.5) < 11))
    assert not is_of_strokes(disc)
    assert is_of_strokes(image)
    assert np.mean([is_of_strokes(image) for image in IMAGES]) > 0.9
    assert are_of_strokes(IMAGES)
    assert not are_of_strokes(np.stack([disc, disc, image[..., 0]]))


def test_scenes_hold_lines_of_many_sizes_in_their_boxes():
    scene = lines(IMAGES, 310)
    levels, boxes = scene.pixels[0].numpy(), scene.boxes.astype(int)
    assert levels.shape == (310, 310)
    assert len(boxes) == len(scene.labels) > 20
    # Lines of two pixels are wider where they meet.
    is_wide = ndimage.binary_erosion(levels > 0, SQUARE)
    assert is_wide.sum() < 0.02 * (levels > 0).sum()
    height = (boxes[:, 3] - boxes[:, 1]) / 20
    assert height.min() < 1.2
    assert height.max() > 2.5
    assert 0.3 < (levels > 0.75).sum() / (levels > 0).sum() < 0.8
    overlap = paired_iou(scene.boxes[:, np.newaxis], scene.boxes)
    assert (overlap - np.eye(len(boxes)) == 0).all()
    is_boxed = np.zeros(levels.shape, bool)
    for (x_min, y_min, x_max, y_max), label in zip(boxes, scene.labels, strict=True):
        part = levels[y_min:y_max, x_min:x_max] > 0
        for axis in (0, 1):
            assert part.any(axis=axis)[[0, -1]].all()
        strokes = np.argwhere(IMAGES[label] > 0.4 * IMAGES[label].max())
        size = np.ptp(strokes, axis=0) + 1
        if size.min() >= 10:
            ratio = (y_max - y_min) / (x_max - x_min) / (size[0] / size[1])
            assert abs(np.log(ratio)) < 0.5
        is_boxed[y_min:y_max, x_min:x_max] = True
    assert not levels[~is_boxed].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (12, 1), (2, 2), (3, 3), (28, 28)])
def test_scenes_of_tiny_images_end_and_large_images_are_left_out(shape):
    scene = lines(np.full((2, *shape), 255, np.uint8), 40)
    assert scene.pixels.shape == (1, 40, 40)
    assert scene.boxes.shape == (len(scene.labels), 4)


def test_a_scene_holds_at_most_200_instances():
    assert len(lines(np.full((2, 2, 2), 255, np.uint8), 320).boxes) == 200


def test_a_scene_without_room_for_an_instance_is_black():
    bar = np.zeros((1, 200, 3), np.uint8)
    bar[:, :, 1] = 255
    scene = lines(bar, 9)
    assert not scene.pixels.any()
    assert scene.boxes.shape == (0, 4)


def test_colour_images_give_colour_scenes():
    images = np.stack([IMAGES, IMAGES // 2, 0 * IMAGES], axis=3)
    scene = lines(images, 120)
    assert scene.pixels.shape == (3, 120, 120)
    assert not scene.pixels[2].any()
    assert len(scene.boxes) > 3

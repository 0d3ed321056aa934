"""Line drawings to train on: thinning, and scenes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sklearn_similar._scenes.lines import (
    draw_lines,
    is_of_strokes,
    make_line_scene,
    thin,
)
from sklearn_similar._tables.boxes import paired_iou
from sklearn_similar.datasets import load_mnist_sample

IMAGES = load_mnist_sample().X_train[::50]
SQUARE = np.ones((3, 3))


def strokes(seed):
    """Blobs and strokes at random."""
    noise = np.random.RandomState(seed).normal(size=(40, 37))
    smooth = ndimage.gaussian_filter(noise, 2)
    return smooth > np.quantile(smooth, 0.6)


@given(st.integers(0, 10_000))
def test_lines_lie_in_the_strokes_are_as_connected_and_a_pixel_wide(seed):
    mask = strokes(seed)
    before = mask.copy()
    lines = thin(mask)
    assert (mask == before).all()
    assert not (lines & ~mask).any()
    labels, n_strokes = ndimage.label(mask, SQUARE)
    for number in range(1, n_strokes + 1):
        stroke = labels == number
        n_parts = ndimage.label(lines & stroke, SQUARE)[1]
        # A compact one may vanish, as a square of two pixels does.
        is_long = max(np.ptp(np.argwhere(stroke), axis=0)) > 14
        assert n_parts == 1 or (n_parts == 0 and not is_long)
    assert not ndimage.binary_erosion(lines, SQUARE).any()


def test_a_bar_becomes_its_middle_and_a_ring_stays_one():
    bar = np.zeros((20, 30), bool)
    bar[8:13, 3:27] = True
    y, x = np.nonzero(thin(bar))
    assert set(y) == {10}
    assert x.min() <= 6
    assert x.max() >= 23
    radius = np.hypot(*np.mgrid[-15:15, -15:15] + 0.5)
    ring = thin((radius > 8) & (radius < 12))
    assert ndimage.label(ring, SQUARE)[1] == 1
    # Inside and outside are apart still.
    assert ndimage.label(~ring)[1] == 2
    assert np.abs(radius[ring] - 10).max() < 1.5


@pytest.mark.parametrize("width", [1, 2])
def test_drawings_have_the_size_and_width_asked_for(width):
    image = np.zeros((20, 30), np.uint8)
    image[5:8, 4:26] = 200
    drawn = draw_lines(image, 3, width)
    assert drawn.shape == (60, 90)
    assert set((drawn > 0).sum(axis=0)) == {0, width}
    assert 55 < (drawn > 0).any(axis=0).sum() < 69


def test_colours_stay_and_strokes_are_told_from_surfaces():
    image = np.stack([IMAGES[0], IMAGES[0] // 2, 0 * IMAGES[0]], axis=2)
    drawn = draw_lines(image, 2, 1)
    assert drawn.shape == (56, 56, 3)
    assert not drawn[..., 2].any()
    lit = drawn[..., 0] > 0
    np.testing.assert_allclose(drawn[lit, 1], drawn[lit, 0] / 2, atol=1)
    disc = np.uint8(255 * (np.hypot(*np.mgrid[-14:14, -14:14] + 0.5) < 11))
    assert not is_of_strokes(disc)
    assert is_of_strokes(image)
    assert np.mean([is_of_strokes(image) for image in IMAGES]) > 0.9


def test_scenes_hold_lines_of_many_sizes_in_their_boxes():
    rng = np.random.RandomState(0)
    scene, boxes, rows = make_line_scene(IMAGES, (300, 320), rng)
    assert scene.shape == (300, 320)
    assert scene.dtype == np.uint8
    assert len(boxes) == len(rows) > 20
    # Lines of two pixels are wider where they meet.
    is_wide = ndimage.binary_erosion(scene > 0, SQUARE)
    assert is_wide.sum() < 0.02 * (scene > 0).sum()
    height = (boxes[:, 3] - boxes[:, 1]) / 20
    assert height.min() < 1.2
    assert height.max() > 2.5
    assert 0.3 < (scene > 0.75 * 255).sum() / (scene > 0).sum() < 0.8
    overlap = paired_iou(boxes[:, np.newaxis].astype(float), boxes.astype(float))
    assert (overlap - np.eye(len(boxes)) == 0).all()
    seen = np.zeros_like(scene)
    for (x0, y0, x1, y1), row in zip(boxes, rows, strict=True):
        part = scene[y0:y1, x0:x1] > 0
        for axis in (0, 1):
            assert part.any(axis=axis)[[0, -1]].all()
        ink = np.argwhere(IMAGES[row] > 0.4 * IMAGES[row].max())
        size = np.ptp(ink, axis=0) + 1
        if size.min() >= 10:
            assert abs(np.log((y1 - y0) / (x1 - x0) / (size[0] / size[1]))) < 0.5
        seen[y0:y1, x0:x1] = 1
    assert not scene[seen == 0].any()


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (2, 2), (3, 3), (28, 28)])
def test_scenes_of_tiny_images_end_and_large_ones_are_left_out(shape):
    images = np.full((2, *shape), 255, np.uint8)
    scene, boxes, rows = make_line_scene(images, (40, 40), np.random.RandomState(0))
    assert scene.shape == (40, 40)
    assert boxes.shape == (len(rows), 4)
    assert np.issubdtype(rows.dtype, np.integer)


def test_a_scene_holds_no_more_than_teaches_something():
    images = np.full((2, 2, 2), 255, np.uint8)
    _, boxes, _ = make_line_scene(images, (320, 320), np.random.RandomState(0))
    assert len(boxes) == 200


def test_there_is_no_scene_of_what_does_not_fit():
    bar = np.zeros((1, 200, 3), np.uint8)
    bar[:, :, 1] = 255
    scene, boxes, rows = make_line_scene(bar, (9, 300), np.random.RandomState(0))
    assert not scene.any()
    assert boxes.shape == (0, 4)
    assert np.issubdtype(rows.dtype, np.integer)


def test_colour_images_give_colour_scenes():
    images = np.stack([IMAGES, IMAGES // 2, 0 * IMAGES], axis=3)
    scene, boxes, _ = make_line_scene(images, (100, 120), np.random.RandomState(0))
    assert scene.shape == (100, 120, 3)
    assert not scene[..., 2].any()
    assert len(boxes) > 3

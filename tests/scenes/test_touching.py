"""Training scenes of instances that touch."""

import numpy as np
import pytest
from scipy import ndimage

from sklearn_similar._scenes.touching import make_touching_scene
from sklearn_similar._tables.boxes import paired_iou
from sklearn_similar.datasets import load_mnist_sample

IMAGES = load_mnist_sample().X_train[::50]


@pytest.fixture(scope="module")
def made():
    return make_touching_scene(IMAGES, (200, 260), np.random.RandomState(0))


def test_neighbours_are_connected_more_often_than_apart(made):
    scene, boxes, rows = made
    assert scene.shape == (200, 260)
    assert len(boxes) == len(rows) > 20
    _, n_parts = ndimage.label(scene > 0.1 * scene.max(), np.ones((3, 3)))
    assert n_parts < 0.7 * len(boxes)


def test_boxes_hold_what_the_rows_of_images_show(made):
    scene, boxes, rows = made
    correlations = []
    for box, row in zip(boxes, rows, strict=True):
        x0, y0, x1, y1 = box
        ink = np.argwhere(IMAGES[row] > 51)
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
        alone = IMAGES[row][top:bottom, left:right].astype(float)
        shape = np.array([y1 - y0, x1 - x0]) / alone.shape
        resized = ndimage.zoom(alone, shape, order=1)
        inside = scene[y0:y1, x0:x1][: resized.shape[0], : resized.shape[1]]
        correlations.append(np.corrcoef(inside.ravel(), resized.ravel())[0, 1])
    assert np.median(correlations) > 0.8


def test_boxes_lie_in_the_scene_and_overlap_little(made):
    scene, boxes, _ = made
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= scene.shape[::-1]).all()
    overlap = paired_iou(boxes[:, np.newaxis].astype(float), boxes.astype(float))
    assert np.median(np.sort(overlap, axis=1)[:, -2]) < 0.3


def test_colour_images_give_colour_scenes():
    images = np.stack([IMAGES, IMAGES // 2, 0 * IMAGES], axis=3)
    scene, boxes, _ = make_touching_scene(images, (100, 120), np.random.RandomState(0))
    assert scene.shape == (100, 120, 3)
    assert not scene[..., 2].any()
    assert scene[..., 0].max() > scene[..., 1].max() > 0
    assert len(boxes) > 3


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (1, 2), (3, 3)])
def test_touching_scenes_of_tiny_images_end(shape):
    images = np.full((3, *shape), 255, dtype=np.uint8)
    rng = np.random.RandomState(0)
    scene, boxes, rows = make_touching_scene(images, (320, 320), rng)
    assert len(boxes) == len(rows)
    assert 1 <= len(rows) <= 200
    assert scene.any()

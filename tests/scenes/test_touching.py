"""Training scenes of instances that touch."""

import numpy as np
import pytest
from scipy import ndimage

from sklearn_similar._scenes.touching import TouchingRecipe, touching_scene
from sklearn_similar._tables.boxes import paired_iou
from sklearn_similar.datasets import load_mnist_sample

IMAGES = load_mnist_sample().X_train[::50]


def touching(images, side):
    recipe = TouchingRecipe(side=side)
    return touching_scene(images, recipe, np.random.RandomState(0))


@pytest.fixture(scope="module")
def scene():
    return touching(IMAGES, 270)


def test_neighbours_are_connected_more_often_than_apart(scene):
    assert scene.pixels.shape == (1, 270, 270)
    assert len(scene.boxes) == len(scene.labels) > 20
    pixels = scene.pixels[0].numpy()
    is_stroke = pixels > 0.1 * pixels.max()
    _, n_parts = ndimage.label(is_stroke, np.ones((3, 3)))
    assert n_parts < 0.7 * len(scene.boxes)


def test_boxes_hold_the_images_of_their_labels(scene):
    correlations = []
    for box, label in zip(scene.boxes.astype(int), scene.labels, strict=True):
        x_min, y_min, x_max, y_max = box
        strokes = np.argwhere(IMAGES[label] > 51)
        (top, left), (bottom, right) = strokes.min(axis=0), strokes.max(axis=0) + 1
        image = IMAGES[label][top:bottom, left:right].astype(float)
        scale = np.array([y_max - y_min, x_max - x_min]) / image.shape
        resized = ndimage.zoom(image, scale, order=1)
        inside = scene.pixels[0, y_min:y_max, x_min:x_max].numpy()
        inside = inside[: resized.shape[0], : resized.shape[1]]
        correlations.append(np.corrcoef(inside.ravel(), resized.ravel())[0, 1])
    assert np.median(correlations) > 0.8


def test_boxes_are_in_the_scene_and_overlap_little(scene):
    assert (scene.boxes >= 0).all()
    assert (scene.boxes <= 270).all()
    overlap = paired_iou(scene.boxes[:, np.newaxis], scene.boxes)
    assert np.median(np.sort(overlap, axis=1)[:, -2]) < 0.3


def test_colour_images_give_colour_scenes():
    images = np.stack([IMAGES, IMAGES // 2, 0 * IMAGES], axis=3)
    scene = touching(images, 120)
    assert scene.pixels.shape == (3, 120, 120)
    red, green, blue = scene.pixels
    assert not blue.any()
    assert red.max() > green.max() > 0
    assert len(scene.boxes) > 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (12, 1), (1, 2), (3, 3)])
def test_touching_scenes_of_tiny_images_end(shape):
    scene = touching(np.full((3, *shape), 255, dtype=np.uint8), 320)
    assert len(scene.boxes) == len(scene.labels)
    assert 1 <= len(scene.labels) <= 200
    assert scene.pixels.any()

"""Scenes that training crops are made of."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from sklearn_similar._scenes import training_scenes
from sklearn_similar._scenes.textures import make_textures
from sklearn_similar._scenes.training_scenes import (
    _palette,
    cut_outs,
    make_backgrounds,
    make_training_scenes,
    n_views,
    restyle,
)
from sklearn_similar.datasets import load_mnist_sample, make_scenes

IMAGES = load_mnist_sample().X_train[::50]


def scenes(n_instances=200, images=IMAGES, rotation=10.0):
    rng = np.random.RandomState(0)
    backgrounds = make_textures(6, (100, 100), rng)
    return list(make_training_scenes(images, backgrounds, n_instances, rotation, rng))


def test_instances_are_bright_where_they_have_labels():
    for scene in scenes():
        if (scene.labels >= 0).any():
            box = scene.boxes.astype(int)[0]
            inside = scene.pixels[box[1] : box[3], box[0] : box[2]]
            assert inside.max() > np.median(scene.pixels)


def test_images_that_fill_their_frame_cover_what_is_behind_them():
    rng = np.random.RandomState(0)
    backgrounds = make_textures(3, (100, 100), rng)
    images = np.full((5, 28, 28), 100, np.uint8)
    found = list(make_training_scenes(images, backgrounds, 200, 0.0, rng, True))
    assert len(found) == n_views(images, 200, fills_frame=True)
    shares = []
    for scene in found:
        for box, label in zip(scene.boxes.astype(int), scene.labels, strict=True):
            if label >= 0:
                inside = scene.pixels[box[1] : box[3], box[0] : box[2]].astype(int)
                height, width = inside.shape
                middle = inside[height // 4 : -height // 4, width // 4 : -width // 4]
                # Some scenes are noisy.
                assert abs(np.median(middle) - 100) < 10
                shares.append((abs(inside - 100) < 2).mean())
    assert min(shares) < 0.85 < max(shares)


def test_what_fills_its_frame_goes_on_beyond_its_edges():
    rng = np.random.RandomState(0)
    image = np.full((28, 28), 100, np.uint8)
    for _ in range(20):
        assert_array_equal(restyle(image, rng, fills_frame=True), image)
    assert any((restyle(image, rng) == 0).any() for _ in range(20))


def test_cut_outs_are_the_whole_image_or_an_ellipse():
    masks = cut_outs((200, 20, 30), np.random.RandomState(0))
    whole, ellipse = np.unique(masks, axis=0)[::-1]
    assert (whole == 255).all()
    assert abs(ellipse.mean() / 255 - np.pi / 4) < 0.03
    assert ellipse[0, 0] == 0
    assert min(ellipse[10, 0], ellipse[0, 15]) > 255 * 0.2
    assert 60 < (masks == 255).all(axis=(1, 2)).sum() < 140


def test_nothing_is_an_instance_in_the_wrong_polarity():
    found = scenes()
    assert len(found) == n_views(IMAGES, 200)
    wrong = [i for i, scene in enumerate(found) if (scene.labels == -1).all()]
    assert len(wrong) >= 3
    for index in wrong:
        assert_array_equal(found[index].pixels, 255 - found[index - 1].pixels)
        assert_array_equal(found[index].boxes, found[index - 1].boxes)


def test_instances_are_turned_by_the_angle_asked_for():
    bar = np.zeros((1, 28, 28), np.uint8)
    bar[:, 13:15, 4:24] = 255
    for rotation, is_upright in ((0.0, False), (90.0, True)):
        found = scenes(images=bar, rotation=rotation)
        width, height = np.concatenate(
            [scene.boxes[:, 2:] - scene.boxes[:, :2] for scene in found[:4]]
        ).T
        assert (height > width).any() == is_upright


@pytest.mark.parametrize("side", [40, 64, 128, 300])
@pytest.mark.parametrize("rotation", [0, 45])
def test_images_that_are_full_to_the_edges_find_room(side, rotation):
    images = np.full((3, side, side), 255, np.uint8)
    found = scenes(100, images, rotation)
    assert sum(len(scene.boxes) for scene in found) > 20


@pytest.mark.parametrize("side", [6, 60, 100, 200])
def test_images_of_any_size_are_shown_at_sizes_about_their_own(side):
    images = np.stack([ndimage.zoom(image, side / 28, order=1) for image in IMAGES[:5]])
    found = scenes(20, images)
    assert len(found) == n_views(images, 20)
    boxes = np.concatenate([scene.boxes for scene in found])
    heights = boxes[:, 3] - boxes[:, 1]
    assert len(boxes) > 10
    assert heights.max() < 2.5 * side
    assert heights.max() > 0.7 * side
    for scene in found:
        assert len(scene.boxes) == len(scene.labels)
        assert np.issubdtype(scene.labels.dtype, np.integer)
        edge = scene.pixels.shape[::-1]
        assert (scene.boxes >= 0).all()
        assert (scene.boxes[:, 2:] <= edge).all()


def test_scenes_are_made_a_few_at_a_time(monkeypatch):
    asked = []

    def recorded(*args, n_scenes, size, **kwargs):
        asked.append(n_scenes * size[0] * size[1])
        return make_scenes(*args, n_scenes=n_scenes, size=size, **kwargs)

    monkeypatch.setattr(training_scenes, "make_scenes", recorded)
    monkeypatch.setattr(training_scenes, "_PIXELS_AT_ONCE", 3 * 352**2)
    assert len(scenes(800)) == n_views(IMAGES, 800)
    assert max(asked) <= 3 * 352**2
    assert len(asked) > 6


def test_some_scenes_are_noisy_in_both_polarities():
    photograph = np.full((300, 300), 100, np.uint8)
    rng = np.random.RandomState(0)
    found = list(make_training_scenes(IMAGES, [photograph], 1500, 0.0, rng))
    # Between instances, a scene is as even as the photograph behind it.
    on_images = [scene for scene in found if scene.pixels.shape == (272, 272)]
    is_noisy = np.array(
        [
            np.mean(np.abs(np.diff(scene.pixels.astype(int), axis=1)) > 2) > 0.5
            for scene in on_images
        ]
    )
    assert 0.05 < is_noisy.mean() < 0.3
    has_instances = np.array([(scene.labels >= 0).all() for scene in on_images])
    assert is_noisy[has_instances].any()
    assert is_noisy[~has_instances].any()


def scenes_in_colour(colour):
    """Scenes of digits in one colour on a plain grey photograph."""
    images = np.uint8(IMAGES[..., np.newaxis] * np.array(colour))
    photograph = np.full((300, 300), 100, np.uint8)
    rng = np.random.RandomState(0)
    found = list(make_training_scenes(images, [photograph], 1500, 0.0, rng))
    assert len(found) == n_views(images, 1500)
    return found


def is_of_one_luma(scene):
    luma = scene.pixels @ np.array([0.299, 0.587, 0.114])
    return np.abs(luma - 100).max() < 2


def test_in_some_scenes_instances_differ_in_colour_alone():
    found = [s for s in scenes_in_colour((1, 0.4, 0.4)) if is_of_one_luma(s)]
    assert len(found) >= 10
    for scene in found:
        assert (scene.labels >= 0).all()
        for x_min, y_min, x_max, y_max in scene.boxes.astype(int):
            own = scene.pixels[y_min:y_max, x_min:x_max].astype(int)
            assert np.ptp(own, axis=2).max() > 25


def test_instances_without_a_colour_keep_their_luma():
    assert not any(is_of_one_luma(scene) for scene in scenes_in_colour((1, 1, 1)))


def test_strokes_are_drawn_in_lines_and_surfaces_are_not():
    discs = np.uint8(255 * (np.hypot(*np.mgrid[-14:14, -14:14] + 0.5) < 11))[None]
    for images, has_lines in ((IMAGES, True), (discs, False)):
        found = scenes(images=images)
        assert len(found) == n_views(images, 200)
        last = found[-1].pixels
        is_wide = ndimage.binary_erosion(last > 0, np.ones((3, 3)))
        assert (is_wide.sum() < 0.02 * (last > 0).sum()) == has_lines


def test_some_backgrounds_are_negatives():
    photograph = np.tile(np.linspace(0, 60, 80).astype(np.uint8), (80, 1))
    found = make_backgrounds(1, [photograph] * 4, None, np.random.RandomState(0))
    is_light = np.array([image.mean() > 128 for image in found[1:]])
    assert 0.2 < is_light.mean() < 0.8


def test_textures_of_colour_images_are_coloured():
    found = make_backgrounds(9, [], 3, np.random.RandomState(0))
    spread = [np.ptp(image.astype(int), axis=2).max() for image in found]
    assert np.mean(np.array(spread) > 60) > 0.5


def test_some_strokes_become_a_pixel_wide_and_mostly_stay_whole():
    rng = np.random.RandomState(0)
    ring = np.hypot(*np.mgrid[-14:14, -14:14] + 0.5)
    ring = np.uint8(255 * ((ring > 7) & (ring < 11)))
    restyled = [restyle(ring, rng) for _ in range(300)]
    is_thin = np.array(
        [
            not ndimage.binary_erosion(image > 60, np.ones((3, 3))).any()
            for image in restyled
        ]
    )
    assert 0.1 < is_thin.mean() < 0.4
    thin = np.array(restyled)[is_thin]
    assert (thin.max(axis=(1, 2)) == 255).all()
    n_parts = [ndimage.label(image > 60, np.ones((3, 3)))[1] for image in thin]
    assert np.mean(np.array(n_parts) == 1) > 0.9


def test_what_is_not_of_strokes_is_not_thinned():
    rng = np.random.RandomState(0)
    disc = np.uint8(255 * (np.hypot(*np.mgrid[-14:14, -14:14] + 0.5) < 11))
    restyled = np.array([restyle(disc, rng) for _ in range(100)])
    assert ((restyled > 127).sum(axis=(1, 2)) > 200).all()


def test_a_texture_in_the_colours_of_surfaces_keeps_its_edges():
    palette = _palette(np.random.RandomState(0)).astype(int)
    assert palette.shape == (256, 3)
    assert np.abs(np.diff(palette, axis=0)).max() < 20
    assert np.ptp(palette, axis=1).max() > 10

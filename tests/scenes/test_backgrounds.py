"""Backgrounds: textures and views of images, negatives and colours."""

import numpy as np
import pytest

from sklearn_similar._scenes.backgrounds import _palette, make_backgrounds, vary_views
from sklearn_similar._scenes.recipe import TrainingSceneRecipe

RECIPE = TrainingSceneRecipe(texture_size=(60, 70))


def test_views_are_rotated_and_resized_and_keep_their_colours():
    image = np.zeros((60, 100, 3), np.uint8)
    image[:30, :, 0] = 255
    views = vary_views([image], np.random.RandomState(0))
    assert len(views) == 8
    ratios = [view.shape[1] / view.shape[0] for view in views]
    assert sorted(np.round(np.log(ratios)).tolist()) == [-1.0] * 4 + [1.0] * 4
    for view in views:
        assert not view[..., 1:].any()
        assert abs((view[..., 0] > 127).mean() - 0.5) < 0.03
        assert 0.45 < max(view.shape[:2]) / 100 < 1.55


def test_views_of_large_images_are_parts_of_bounded_size():
    image = np.random.RandomState(0).randint(256, size=(300, 400, 3)).astype(np.uint8)
    views = vary_views([image], np.random.RandomState(0), n_views=20, max_side=50)
    assert len(views) == 20
    assert all(48 <= max(view.shape[:2]) <= 50 for view in views)
    # Another part each time, and a small image as a whole.
    assert len({view.tobytes() for view in views}) == 20
    (whole,) = vary_views([image[:20, :30]], np.random.RandomState(0), 1, 50)
    assert whole.shape[1] / whole.shape[0] == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(
    ("n_images", "n_views"), [(5, 20), (20, 20), (7, 20), (30, 20)]
)
def test_all_images_have_their_turn(n_images, n_views):
    images = [np.full((30, 30), 8 * index, np.uint8) for index in range(n_images)]
    views = vary_views(images, np.random.RandomState(0), n_views, max_side=20)
    # Gamma keeps the order of levels, and black is black.
    assert len(views) == n_views
    n_black = sum(view.max() == 0 for view in views)
    assert n_black in (n_views // n_images, -(-n_views // n_images))
    assert vary_views([], np.random.RandomState(0), n_views, max_side=20) == []


def test_textures_have_the_size_and_come_first():
    image = np.full((40, 50), 255, np.uint8)
    backgrounds = make_backgrounds(3, [image], None, RECIPE, np.random.RandomState(0))
    assert len(backgrounds) == 3 + 8
    assert [texture.shape for texture in backgrounds[:3]] == [(60, 70)] * 3
    assert all(np.ptp(view) == 0 for view in backgrounds[3:])


def test_some_backgrounds_are_negatives():
    ramp = np.tile(np.linspace(0, 60, 80).astype(np.uint8), (80, 1))
    rng = np.random.RandomState(0)
    backgrounds = make_backgrounds(1, [ramp] * 4, None, RECIPE, rng)
    is_light = np.array([image.mean() > 128 for image in backgrounds[1:]])
    assert 0.2 < is_light.mean() < 0.8


def test_textures_of_colour_images_are_coloured():
    backgrounds = make_backgrounds(9, [], 3, RECIPE, np.random.RandomState(0))
    saturation = [np.ptp(image.astype(int), axis=2).max() for image in backgrounds]
    assert np.mean(np.array(saturation) > 60) > 0.5


def test_a_texture_in_the_colours_of_surfaces_keeps_its_edges():
    palette = _palette(RECIPE, np.random.RandomState(0)).astype(int)
    assert palette.shape == (256, 3)
    assert np.abs(np.diff(palette, axis=0)).max() < 20
    assert np.ptp(palette, axis=1).max() > 10

"""Training of a recogniser: what is held out, and what few objects do not allow."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from sklearn_similar._learning.recipe import (
    BoxRegressionRecipe,
    CalibrationRecipe,
    CropNumberRecipe,
    LearningRecipe,
    ViewRecipe,
)
from sklearn_similar._learning.settings import TrainingSettings
from sklearn_similar._learning.training import (
    _held_out,
    _split_backgrounds,
    _warn_of_few_objects,
)
from sklearn_similar._search.settings import ProposalSettings


def held_out(counts):
    """Number of held-out images of classes with some numbers of images."""
    labels = np.random.RandomState(1).permutation(
        np.repeat(np.arange(len(counts)), counts)
    )
    rows = _held_out(labels, CalibrationRecipe(), np.random.RandomState(0))
    assert len(np.unique(rows)) == len(rows)
    return np.bincount(labels[rows], minlength=len(counts)).tolist()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([300, 150, 9], [30, 15, 0]),
        ([100], [10]),
        # A larger share of few images.
        ([50], [10]),
        ([99], [10]),
        ([30, 30], [5, 5]),
        # None at all of fewer.
        ([49], [0]),
        ([18], [0]),
        # One of each class would be nine.
        ([9] * 9, [0] * 9),
    ],
)
def test_at_least_ten_images_are_held_out_or_none(counts, expected):
    assert held_out(counts) == expected


def test_at_most_a_thousand_images_are_held_out():
    assert held_out([15_000, 5000]) == [750, 250]


def warnings_of(n_held_out, n_training, n_instance_crops=100):
    settings = TrainingSettings(
        n_instance_crops=n_instance_crops,
        n_background_crops=100,
        n_mining_rounds=0,
        rotation=0.0,
        proposals=ProposalSettings(source="grey", n_thresholds=15),
        verbose=0,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _warn_of_few_objects(n_held_out, n_training, settings, LearningRecipe())
    return [str(warning.message) for warning in caught]


def test_few_objects_give_one_warning_of_all_that_is_not_learnt():
    (both,) = warnings_of(0, 18)
    assert both.startswith("X has 18 images of objects: scores are not calibrated, ")
    assert "boxes are not refined, which takes 20 images" in both
    assert "score_threshold" in both
    (scores_only,) = warnings_of(0, 30)
    assert "not calibrated" in scores_only
    assert "not refined" not in scores_only
    # Without crops of objects, boxes are not learnt anyway.
    (scores_only,) = warnings_of(0, 18, n_instance_crops=0)
    assert "not refined" not in scores_only
    assert warnings_of(10, 40) == []


def test_of_four_background_images_one_is_for_calibration_alone():
    recipe, rng = CalibrationRecipe(), np.random.RandomState(0)
    for n_images, n_held_out in ((4, 1), (10, 1), (25, 2)):
        images = [np.full((2, 2), index) for index in range(n_images)]
        training, other = _split_backgrounds(images, recipe, rng)
        assert len(other) == n_held_out
        levels = [image[0, 0] for image in [*training, *other]]
        assert sorted(levels) == list(range(n_images))


@pytest.mark.parametrize("n_images", [0, 1, 3])
def test_few_background_images_are_for_all(n_images):
    images = [np.full((2, 2), index) for index in range(n_images)]
    parts = _split_backgrounds(images, CalibrationRecipe(), np.random.RandomState(0))
    assert parts == (images, images)


def test_any_number_of_background_images_gives_a_bounded_number_of_views():
    recipe = ViewRecipe(per_image=8, max_views=64, max_side=320)
    assert [recipe.n_views(n, 99) for n in (0, 1, 8, 9, 1000)] == [0, 8, 64, 64, 64]
    # A view gives many crops, and each image has one.
    recipe = replace(recipe, crops_per_view=50)
    assert [recipe.n_views(3, n) for n in (1, 500, 501, 10_000)] == [3, 10, 11, 24]
    assert recipe.n_views(1000, 1) == 64


def test_the_number_of_crops_follows_from_the_number_of_images():
    recipe = CropNumberRecipe()
    assert recipe.numbers(1) == recipe.numbers(9) == (667, 500)
    assert recipe.numbers(1000) == (3429, 2572)
    assert recipe.numbers(60_000) == recipe.numbers(10**7) == (40_000, 30_000)
    assert recipe.numbers(1000, n_instances=0) == (0, 2572)
    assert recipe.numbers(1000, 10, 20) == (10, 20)
    of_sizes = np.array([recipe.numbers(n) for n in range(1, 70_000, 500)])
    assert (np.diff(of_sizes, axis=0) >= 0).all()


def test_objects_are_held_out_for_box_regression_from_twenty_up():
    recipe = BoxRegressionRecipe()
    counts = [recipe.n_held_out_objects(n) for n in (0, 19, 20, 50, 100, 1000)]
    assert counts == [0, 0, 5, 5, 10, 100]
    assert replace(recipe, min_objects=1).n_held_out_objects(9) == 1

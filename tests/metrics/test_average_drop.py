"""Average drop and increase equal naive loops and values by hand."""

import numpy as np
import pytest
from half_classifiers import Halves

from sklearn_similar.metrics import average_drop, average_increase


def naive_masked(estimator, X, maps, columns):
    """Y and O, image by image."""
    pairs = []
    for image, heat, column in zip(X, maps, columns, strict=True):
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        pairs.append(
            [
                estimator.predict_proba(version[np.newaxis])[0, column]
                for version in (image, image * heat)
            ]
        )
    return np.transpose(pairs)


def test_drop_is_the_lost_share_of_the_probability():
    X = np.full((4, 1, 2), 0.8)
    X[1] = 0.4
    # The left pixel of the images is kept, removed, removed and kept.
    maps = [[[1, 0]], [[0, 1]], [[0, 1]], [[3, 1]]]
    assert average_drop(Halves(), X, maps, labels="left") == pytest.approx(2 / 4)


def test_pixels_are_multiplied_by_the_scaled_heat():
    X = np.full((1, 1, 4), 0.8)
    # From -1 to 3: the left pixels keep 1/4 and 3/4 of their value.
    maps = [[[0, 2, 3, -1]]]
    assert average_drop(Halves(), X, maps, labels="left") == pytest.approx(0.5)


def test_increases_do_not_compensate_drops():
    X = np.full((2, 1, 2), 0.5)
    # The first image loses "left", the second one gains "right".
    maps = [[[0, 1]], [[0, 1]]]
    assert average_drop(Halves(), X, maps, labels=["left", "right"]) == 0.5
    assert average_increase(Halves(), X, maps, labels=["left", "right"]) == 0.5


def test_equal_probability_is_no_increase():
    X = np.full((2, 1, 2), 0.5)
    assert average_increase(Halves(), X, [[[1, 0]]] * 2, labels="right") == 0
    assert average_increase(Halves(), X, [[[0, 1]]] * 2, labels="right") == 1


@pytest.mark.parametrize("label", ["left", "right"])
def test_both_equal_a_naive_loop(images, maps, label):
    column = {"left": 0, "right": 1}[label]
    before, after = naive_masked(Halves(), images, maps, [column] * 7)
    assert (after > before).any() == (label == "right")
    drop = np.mean(np.maximum(0, before - after) / before)
    increase = np.mean(after > before)
    assert average_drop(Halves(), images, maps, labels=label) == pytest.approx(drop)
    assert average_increase(Halves(), images, maps, labels=label) == increase


def test_a_constant_heatmap_makes_images_black(images):
    constant = np.full(images.shape, 7.0)
    assert average_drop(Halves(), images, constant, labels="left") == 1
    assert average_drop(Halves(), images, constant, labels="right") == 0
    assert average_increase(Halves(), images, constant, labels="right") == 1


@pytest.mark.filterwarnings("error")
def test_images_of_probability_0_have_no_drop():
    X = np.zeros((2, 1, 2))
    X[1] = 0.5
    maps = [[[0, 1]], [[0, 1]]]
    assert average_drop(Halves(), X, maps, labels="left") == 0.5
    assert average_increase(Halves(), X, maps, labels="left") == 0


def test_any_finite_heat_can_be_scaled(images):
    for scale in (1e-300, 1e300):
        maps = scale * np.random.default_rng(0).random(images.shape)
        assert 0 < average_drop(Halves(), images, maps, labels="left") < 1


def test_products_of_integers_are_rounded_to_the_nearest():
    batches = []

    class Watching(Halves):
        def predict_proba(self, X):
            batches.append(X)
            return super().predict_proba(X)

    X = np.array([[[255, 200, 255, 255]]], dtype=np.uint8)
    average_drop(Watching(), X, [[[0, 0.333, 0.5, 1]]])
    assert batches[-1].tolist() == [[[0, 67, 128, 255]]]


def test_a_mask_of_all_bright_pixels_changes_nothing(fitted, digits):
    X = digits.X_test[:50]
    assert average_drop(fitted, X, X > 0) == 0
    assert average_increase(fitted, X, X > 0) == 0

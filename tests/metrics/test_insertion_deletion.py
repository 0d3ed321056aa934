"""Insertion and deletion equal naive loops and areas by hand."""

from itertools import pairwise

import numpy as np
import pytest
from half_classifiers import Halves, images_at_once
from scipy import ndimage

from sklearn_similar.metrics import (
    deletion_auc,
    deletion_curve,
    insertion_auc,
    insertion_curve,
)

CURVES = [insertion_curve, deletion_curve]
AUCS = [insertion_auc, deletion_auc]


def naive_curve(estimator, image, heat, column, baseline, n_steps, insert):
    """Probabilities of one image whose pixels change one after the other."""
    places = [divmod(int(i), heat.shape[1]) for i in np.argsort(-heat.ravel())]
    canvas = np.array(baseline if insert else image)
    probability = [estimator.predict_proba(canvas[np.newaxis])[0, column]]
    done = 0
    for step in range(1, n_steps + 1):
        while done < step * heat.size // n_steps:
            source = image if insert else baseline
            canvas[places[done]] = source[places[done]]
            done += 1
        probability.append(estimator.predict_proba(canvas[np.newaxis])[0, column])
    return probability


def test_areas_by_hand():
    X = np.ones((1, 1, 4))
    hot_left, hot_right = [[[9, 5, 3, 1]]], [[[1, 3, 5, 9]]]
    black = {"labels": "left", "baseline": "black"}
    # 0, 1/2, 1, 1, 1 at 0, 1/4, 1/2, 3/4, 1: trapezoids of 1/16, 3/16, 1/4, 1/4.
    assert insertion_auc(Halves(), X, hot_left, **black) == 0.75
    assert insertion_auc(Halves(), X, hot_right, **black) == 0.25
    assert deletion_auc(Halves(), X, hot_left, **black) == 0.25
    assert deletion_auc(Halves(), X, hot_right, **black) == 0.75
    # One step leaves only the ends, two have the middle.
    assert insertion_auc(Halves(), X, hot_left, n_steps=1, **black) == 0.5
    assert insertion_auc(Halves(), X, hot_left, n_steps=2, **black) == 0.75


@pytest.mark.parametrize("n_steps", [1, 5, 10, 24])
@pytest.mark.parametrize("baseline", ["black", "mean", "blur", 0.3, "images"])
@pytest.mark.parametrize("insert", [True, False])
def test_curves_equal_a_naive_loop(images, maps, n_steps, baseline, insert):
    labels = np.array(["left", "right"] * 4)[:7]
    replacement = {
        "black": np.zeros_like(images),
        "mean": np.stack([np.full((4, 6), image.mean()) for image in images]),
        # An eighth of 6 pixels.
        "blur": np.stack([ndimage.gaussian_filter(i, 0.75) for i in images]),
        0.3: np.full_like(images, 0.3),
        "images": images[::-1],
    }[baseline]
    if baseline == "images":
        baseline = replacement
    curve = CURVES[not insert](
        Halves(), images, maps, labels=labels, n_steps=n_steps, baseline=baseline
    )
    columns = (labels == "right").astype(int)
    expected = [
        naive_curve(Halves(), image, heat, column, values, n_steps, insert)
        for image, heat, column, values in zip(
            images, maps, columns, replacement, strict=True
        )
    ]
    np.testing.assert_allclose(curve.probabilities, expected, rtol=1e-12)
    shares = np.arange(n_steps + 1) * 24 // n_steps / 24
    np.testing.assert_array_equal(curve.shares, shares)
    area = sum(
        (right - left) * (np.mean(expected, 0)[i] + np.mean(expected, 0)[i + 1]) / 2
        for i, (left, right) in enumerate(pairwise(shares))
    )
    value = AUCS[not insert](
        Halves(), images, maps, labels=labels, n_steps=n_steps, baseline=baseline
    )
    assert value == pytest.approx(area, rel=1e-12)


def test_defaults_are_blur_for_insertion_and_black_for_deletion(images, maps):
    for function, default in [(insertion_curve, "blur"), (deletion_curve, "black")]:
        values = {
            name: function(Halves(), images, maps, baseline=name).probabilities
            for name in ("black", "blur", "mean")
        }
        actual = function(Halves(), images, maps).probabilities
        assert [n for n, v in values.items() if (v == actual).all()] == [default]


def test_a_perfect_heatmap_is_best_and_its_inverse_worst(images):
    heat = np.zeros((7, 4, 6))
    heat[:, :, :3] = images[:, :, :3]
    random = np.random.default_rng(0).random(heat.shape)
    insertion, deletion = (
        [
            function(Halves(), images, order, labels="left", baseline="black")
            for order in (heat, random, -heat)
        ]
        for function in AUCS
    )
    assert insertion[0] > insertion[1] > insertion[2]
    assert deletion[0] < deletion[1] < deletion[2]


def test_both_ends_are_the_image_and_the_baseline(images, maps):
    whole = Halves().predict_proba(images)[:, 0]
    curve = insertion_curve(Halves(), images, maps, labels="left", baseline=0.5)
    np.testing.assert_array_equal(curve.shares[[0, -1]], [0, 1])
    np.testing.assert_allclose(curve.probabilities[:, 0], 0.5)
    np.testing.assert_allclose(curve.probabilities[:, -1], whole)
    curve = deletion_curve(Halves(), images, maps, labels="left", baseline=0.5)
    np.testing.assert_allclose(curve.probabilities[:, 0], whole)
    np.testing.assert_allclose(curve.probabilities[:, -1], 0.5)


def test_there_is_at_most_one_step_for_each_pixel(images, maps):
    few = insertion_curve(Halves(), images, maps, n_steps=24)
    many = insertion_curve(Halves(), images, maps, n_steps=1000)
    np.testing.assert_array_equal(few.shares, many.shares)
    np.testing.assert_array_equal(few.probabilities, many.probabilities)


def test_only_the_order_of_the_heat_matters(images, maps):
    for function in AUCS:
        assert function(Halves(), images, maps) == function(
            Halves(), images, np.exp(3 * maps)
        )


@pytest.mark.parametrize("function", AUCS)
def test_no_position_has_an_advantage_among_tied_pixels(function):
    X = np.ones((1, 20, 20))
    constant = np.zeros_like(X)
    for turns in range(4):

        class Turned(Halves):
            def predict_proba(self, X, turns=turns):
                return super().predict_proba(np.rot90(X, turns, axes=(1, 2)))

        value = function(Turned(), X, constant, labels="left", baseline="black")
        assert value == pytest.approx(0.5, abs=0.05)


def test_ties_have_the_same_order_in_all_images_and_batches():
    X = np.ones((5, 4, 6))
    heat = np.random.default_rng(0).integers(0, 3, (4, 6))
    curve = insertion_curve(Halves(), X, [heat] * 5, labels="left", baseline=0)
    assert (curve.probabilities == curve.probabilities[0]).all()
    with images_at_once(2):
        again = insertion_curve(Halves(), X, [heat] * 5, labels="left", baseline=0)
    np.testing.assert_array_equal(again.probabilities, curve.probabilities)


def test_tied_pixels_follow_the_hotter_ones():
    X = np.ones((1, 4, 6))
    heat = np.zeros((1, 4, 6))
    heat[:, :, :3] = 1
    curve = insertion_curve(Halves(), X, heat, labels="left", baseline=0)
    expected = np.minimum(2 * curve.shares, 1)
    np.testing.assert_allclose(curve.probabilities[0], expected)


def test_ties_have_the_same_order_on_all_platforms():
    order = []

    class Watching(Halves):
        def predict_proba(self, X):
            order.append(np.flatnonzero(X[0]))
            return super().predict_proba(X)

    insertion_auc(Watching(), np.ones((1, 2, 3)), np.zeros((1, 2, 3)), baseline=0)
    actual = [set(b) - set(a) for a, b in pairwise(order[1:])]
    # By the Mersenne twister with seed 0.
    assert actual == [{5}, {2}, {1}, {3}, {0}, {4}]


@pytest.mark.parametrize("shape", [(6,), (4, 6), (1, 4, 6), (7, 4, 6)])
def test_a_baseline_broadcasts_to_the_images(images, maps, shape):
    baseline = np.random.default_rng(2).random(shape)
    whole = np.broadcast_to(baseline, images.shape).copy()
    for function in AUCS:
        assert function(Halves(), images, maps, baseline=baseline) == function(
            Halves(), images, maps, baseline=whole
        )


def test_a_colour_is_a_baseline_of_colour_images(maps):
    X = np.random.default_rng(0).random((7, 4, 6, 3))
    curve = deletion_curve(Halves(), X, maps, labels="left", baseline=[0, 0.3, 0.9])
    np.testing.assert_allclose(curve.probabilities[:, -1], 0.4)
    curve = deletion_curve(Halves(), X, maps, labels="left", baseline="mean")
    np.testing.assert_allclose(curve.probabilities[:, -1], X.mean(axis=(1, 2, 3)))


def test_the_mean_is_that_of_each_channel(maps):
    X = np.random.default_rng(0).random((7, 4, 6, 3))
    batches = []

    class Watching(Halves):
        def predict_proba(self, batch):
            batches.append(batch)
            return super().predict_proba(batch)

    deletion_auc(Watching(), X, maps, baseline="mean")
    mean = np.broadcast_to(X.mean(axis=(1, 2), keepdims=True), X.shape)
    np.testing.assert_allclose(batches[-1], mean)


def test_a_row_of_the_curve_belongs_to_its_image(images, maps):
    together = insertion_curve(Halves(), images, maps)
    for i in range(7):
        alone = insertion_curve(Halves(), images[[i]], maps[[i]])
        np.testing.assert_allclose(
            together.probabilities[i], alone.probabilities[0], rtol=1e-12
        )


def test_baselines_of_each_image_follow_their_batch(images, maps):
    whole = deletion_curve(Halves(), images, maps, baseline=images[::-1])
    with images_at_once(3):
        actual = deletion_curve(Halves(), images, maps, baseline=images[::-1])
    np.testing.assert_allclose(actual.probabilities, whole.probabilities)


@pytest.mark.parametrize("function", AUCS + CURVES)
@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (0.5, "baseline holds 0.5, but the images are of type uint8"),
        (-1, "baseline holds -1,"),
        (256, "baseline holds 256,"),
        (np.nan, "baseline holds nan,"),
        (np.full((4, 6), 0.25), "baseline holds 0.25,"),
        (np.zeros((6, 4), np.uint8), "baseline has shape 6x4, which does not fit"),
        ([["a"]], "baseline has dtype <U1"),
        ("white", "The 'baseline' parameter of .* must be"),
    ],
)
def test_baselines_that_do_not_fit(function, baseline, message, maps):
    X = np.ones((7, 4, 6), dtype=np.uint8)
    with pytest.raises(ValueError, match=message):
        function(Halves(), X, maps, baseline=baseline)


def test_a_baseline_must_be_finite(images, maps):
    with pytest.raises(ValueError, match="baseline holds inf"):
        insertion_auc(Halves(), images, maps, baseline=np.inf)


@pytest.mark.parametrize("n_steps", [0, -1, 2.5, "all"])
def test_n_steps_must_be_a_positive_integer(images, maps, n_steps):
    for function in AUCS + CURVES:
        with pytest.raises(ValueError, match="'n_steps' parameter"):
            function(Halves(), images, maps, n_steps=n_steps)


def test_heatmaps_beat_a_random_order(fitted, digits):
    X = digits.X_test[:20]
    random = np.zeros(X.shape)
    assert insertion_auc(fitted, X) > insertion_auc(fitted, X, random) + 0.05
    assert deletion_auc(fitted, X) < deletion_auc(fitted, X, random) - 0.1

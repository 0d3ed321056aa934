"""Faithfulness metrics agree with hand-made values and naive loops."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.metrics import (
    average_drop,
    average_increase,
    deletion_auc,
    deletion_curve,
    insertion_auc,
    insertion_curve,
)

ALL = [average_drop, average_increase, insertion_auc, deletion_auc]
CURVES = [insertion_curve, deletion_curve]
AUCS = [insertion_auc, deletion_auc]


class Halves:
    """As sure of "left" as the left half of the image is bright, of its value 1."""

    classes_ = np.array(["left", "right"])

    def __init__(self, shape=None):
        self.shape = shape
        self.batches = []

    def predict_proba(self, X):
        X = np.asarray(X)
        self.batches.append(X.shape)
        images = X if self.shape is None else X.reshape(-1, *self.shape)
        white = 255 if X.dtype == np.uint8 else 1
        left = images[:, :, : images.shape[2] // 2].mean(
            axis=tuple(range(1, images.ndim)), dtype=float
        )
        return np.stack([left / white, 1 - left / white], axis=1)


class Explaining(Halves):
    """Says where it looks; the heat also tells what it was asked."""

    def __init__(self, shape=None):
        super().__init__(shape)
        self.asked = []

    def heatmap(self, X, target):
        self.asked.append((len(X), target))
        return heat_of(X, target)


def heat_of(X, target):
    """Bright pixels of one half, or dark ones of the other."""
    heat = np.array(X, dtype=float)
    heat = heat if heat.ndim == 3 else heat.mean(axis=-1)
    middle = heat.shape[2] // 2
    if target == "left":
        heat[:, :, middle:] = 0
    else:
        heat[:, :, :middle] = -1 - heat[:, :, :middle]
    return heat


@pytest.fixture
def images():
    """Seven images of 4x6 with different pixels in [0, 1]."""
    return np.random.default_rng(0).random((7, 4, 6))


@pytest.fixture
def maps():
    return np.random.default_rng(1).normal(size=(7, 4, 6))


def images_at_once(n_images):
    """At most so many images of 4x6 pixels in a batch."""
    return config_context(working_memory=1024 * n_images * 24 / 2**17)


def naive_masked(estimator, X, maps, columns):
    """Y and O of every image, one by one."""
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


class TestDropAndIncrease:
    def test_drop_is_the_share_of_the_probability_that_is_lost(self):
        X = np.full((4, 1, 2), 0.8)
        X[1] = 0.4
        # The left pixel stays, halves, goes; the last image is as it was.
        maps = [[[1, 0]], [[0, 1]], [[0, 1]], [[3, 1]]]
        assert average_drop(Halves(), X, maps, labels="left") == pytest.approx(2 / 4)

    def test_heat_between_its_extremes_dims_in_proportion(self):
        X = np.full((1, 1, 4), 0.8)
        # From -1 to 3: the left pixels keep 1/4 and 3/4 of their value.
        maps = [[[0, 2, 3, -1]]]
        assert average_drop(Halves(), X, maps, labels="left") == pytest.approx(0.5)

    def test_gains_do_not_make_up_for_losses(self):
        X = np.full((2, 1, 2), 0.5)
        # The first loses all of "right", as left gets no darker; the second gains it.
        maps = [[[0, 1]], [[0, 1]]]
        assert average_drop(Halves(), X, maps, labels=["left", "right"]) == 0.5
        assert average_increase(Halves(), X, maps, labels=["left", "right"]) == 0.5

    def test_equal_probability_is_no_increase(self):
        X = np.full((2, 1, 2), 0.5)
        assert average_increase(Halves(), X, [[[1, 0]]] * 2, labels="right") == 0
        assert average_increase(Halves(), X, [[[0, 1]]] * 2, labels="right") == 1

    @pytest.mark.parametrize("label", ["left", "right"])
    def test_both_equal_a_naive_loop(self, images, maps, label):
        column = {"left": 0, "right": 1}[label]
        before, after = naive_masked(Halves(), images, maps, [column] * 7)
        assert (after > before).any() == (label == "right")
        drop = np.mean(np.maximum(0, before - after) / before)
        increase = np.mean(after > before)
        assert average_drop(Halves(), images, maps, labels=label) == pytest.approx(drop)
        assert average_increase(Halves(), images, maps, labels=label) == increase

    def test_a_constant_heatmap_leaves_black(self, images):
        constant = np.full(images.shape, 7.0)
        assert average_drop(Halves(), images, constant, labels="left") == 1
        assert average_drop(Halves(), images, constant, labels="right") == 0
        assert average_increase(Halves(), images, constant, labels="right") == 1

    @pytest.mark.filterwarnings("error")
    def test_what_has_no_probability_loses_none(self):
        X = np.zeros((2, 1, 2))
        X[1] = 0.5
        maps = [[[0, 1]], [[0, 1]]]
        assert average_drop(Halves(), X, maps, labels="left") == 0.5
        assert average_increase(Halves(), X, maps, labels="left") == 0

    def test_are_shares_of_any_finite_heat(self, images):
        for scale in (1e-300, 1e300):
            maps = scale * np.random.default_rng(0).random(images.shape)
            assert 0 < average_drop(Halves(), images, maps, labels="left") < 1


class TestInsertionAndDeletion:
    def test_areas_by_hand(self):
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
    def test_curves_equal_a_naive_loop(self, images, maps, n_steps, baseline, insert):
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
        expected = [
            naive_curve(Halves(), *own, n_steps, insert)
            for own in zip(images, maps, labels == "right", replacement, strict=True)
            for own in [(own[0], own[1], int(own[2]), own[3])]
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

    def test_defaults_are_blur_for_insertion_and_black_for_deletion(self, images, maps):
        for function, default in [(insertion_curve, "blur"), (deletion_curve, "black")]:
            values = {
                name: function(Halves(), images, maps, baseline=name).probabilities
                for name in ("black", "blur", "mean")
            }
            found = function(Halves(), images, maps).probabilities
            assert [n for n, own in values.items() if (own == found).all()] == [default]

    def test_a_perfect_heatmap_is_best_and_its_inverse_worst(self, images):
        heat = np.zeros((7, 4, 6))
        heat[:, :, :3] = images[:, :, :3]
        some = np.random.default_rng(0).random(heat.shape)
        insertion, deletion = (
            [
                function(Halves(), images, own, labels="left", baseline="black")
                for own in (heat, some, -heat)
            ]
            for function in AUCS
        )
        assert insertion[0] > insertion[1] > insertion[2]
        assert deletion[0] < deletion[1] < deletion[2]

    def test_both_ends_are_the_image_and_the_baseline(self, images, maps):
        whole = Halves().predict_proba(images)[:, 0]
        curve = insertion_curve(Halves(), images, maps, labels="left", baseline=0.5)
        np.testing.assert_array_equal(curve.shares[[0, -1]], [0, 1])
        np.testing.assert_allclose(curve.probabilities[:, 0], 0.5)
        np.testing.assert_allclose(curve.probabilities[:, -1], whole)
        curve = deletion_curve(Halves(), images, maps, labels="left", baseline=0.5)
        np.testing.assert_allclose(curve.probabilities[:, 0], whole)
        np.testing.assert_allclose(curve.probabilities[:, -1], 0.5)

    def test_there_is_no_more_than_one_step_a_pixel(self, images, maps):
        few = insertion_curve(Halves(), images, maps, n_steps=24)
        many = insertion_curve(Halves(), images, maps, n_steps=1000)
        np.testing.assert_array_equal(few.shares, many.shares)
        np.testing.assert_array_equal(few.probabilities, many.probabilities)

    def test_only_the_order_of_the_heat_counts(self, images, maps):
        for function in AUCS:
            assert function(Halves(), images, maps) == function(
                Halves(), images, np.exp(3 * maps)
            )

    @pytest.mark.parametrize("function", AUCS)
    def test_tied_pixels_do_not_gain_from_where_they_are(self, function):
        X = np.ones((1, 20, 20))
        constant = np.zeros_like(X)
        for turns in range(4):

            class Turned(Halves):
                def predict_proba(self, X, turns=turns):
                    return super().predict_proba(np.rot90(X, turns, axes=(1, 2)))

            value = function(Turned(), X, constant, labels="left", baseline="black")
            assert value == pytest.approx(0.5, abs=0.05)

    def test_ties_are_broken_alike_in_every_image_and_batch(self):
        X = np.ones((5, 4, 6))
        heat = np.random.default_rng(0).integers(0, 3, (4, 6))
        curve = insertion_curve(Halves(), X, [heat] * 5, labels="left", baseline=0)
        assert (curve.probabilities == curve.probabilities[0]).all()
        with images_at_once(2):
            again = insertion_curve(Halves(), X, [heat] * 5, labels="left", baseline=0)
        np.testing.assert_array_equal(again.probabilities, curve.probabilities)

    def test_tied_pixels_follow_the_hotter_ones(self):
        X = np.ones((1, 4, 6))
        heat = np.zeros((1, 4, 6))
        heat[:, :, :3] = 1
        curve = insertion_curve(Halves(), X, heat, labels="left", baseline=0)
        expected = np.minimum(2 * curve.shares, 1)
        np.testing.assert_allclose(curve.probabilities[0], expected)

    def test_order_of_ties_is_the_same_everywhere(self):
        order = []

        class Watching(Halves):
            def predict_proba(self, X):
                order.append(np.flatnonzero(X[0]))
                return super().predict_proba(X)

        insertion_auc(Watching(), np.ones((1, 2, 3)), np.zeros((1, 2, 3)), baseline=0)
        found = [set(b) - set(a) for a, b in pairwise(order[1:])]
        # Whatever the platform and the versions: the Mersenne twister with seed 0.
        assert found == [{5}, {2}, {1}, {3}, {0}, {4}]

    @pytest.mark.parametrize("shape", [(6,), (4, 6), (1, 4, 6), (7, 4, 6)])
    def test_a_baseline_broadcasts_to_the_images(self, images, maps, shape):
        baseline = np.random.default_rng(2).random(shape)
        whole = np.broadcast_to(baseline, images.shape).copy()
        for function in AUCS:
            assert function(Halves(), images, maps, baseline=baseline) == function(
                Halves(), images, maps, baseline=whole
            )

    def test_a_colour_is_a_baseline_of_colour_images(self, maps):
        X = np.random.default_rng(0).random((7, 4, 6, 3))
        curve = deletion_curve(Halves(), X, maps, labels="left", baseline=[0, 0.3, 0.9])
        np.testing.assert_allclose(curve.probabilities[:, -1], 0.4)
        curve = deletion_curve(Halves(), X, maps, labels="left", baseline="mean")
        np.testing.assert_allclose(curve.probabilities[:, -1], X.mean(axis=(1, 2, 3)))

    def test_the_mean_is_that_of_each_channel(self, maps):
        X = np.random.default_rng(0).random((7, 4, 6, 3))
        seen = []

        class Watching(Halves):
            def predict_proba(self, batch):
                seen.append(batch)
                return super().predict_proba(batch)

        deletion_auc(Watching(), X, maps, baseline="mean")
        mean = np.broadcast_to(X.mean(axis=(1, 2), keepdims=True), X.shape)
        np.testing.assert_allclose(seen[-1], mean)


class TestLayouts:
    @pytest.mark.parametrize("function", ALL)
    def test_rows_images_and_one_channel_are_equal(self, function, images, maps):
        expected = function(Halves(), images, maps)
        rows = images.reshape(7, -1)
        frame = pd.DataFrame(rows, columns=[f"pixel{i}" for i in range(24)])
        for X, own in [
            (images[..., np.newaxis], maps),
            (list(images), list(maps)),
            (rows, maps),
            (frame, maps),
            (rows.tolist(), maps.tolist()),
        ]:
            estimator = Halves((4, 6)) if np.ndim(X) == 2 else Halves()
            assert function(estimator, X, own) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("function", ALL)
    def test_heatmaps_may_be_rows(self, function, images, maps):
        expected = function(Halves(), images, maps)
        assert function(Halves(), images, maps.reshape(7, -1)) == expected
        estimator = Halves((4, 6))
        estimator.image_shape_ = (4, 6)
        rows = images.reshape(7, -1)
        for own in (maps.reshape(7, -1), pd.DataFrame(maps.reshape(7, -1))):
            assert function(estimator, rows, own) == expected

    @pytest.mark.parametrize("function", ALL)
    def test_rows_of_colour_are_read_in_the_estimator_s_shape(self, function, maps):
        X = np.random.default_rng(0).random((7, 4, 6, 3))
        estimator = Halves((4, 6, 3))
        estimator.image_shape_ = (4, 6, 3)
        for own in (maps, maps.reshape(7, -1)):
            found = function(estimator, X.reshape(7, -1), own)
            assert found == pytest.approx(function(Halves(), X, maps))

    def test_rows_are_squares_where_nothing_says_their_shape(self):
        X = np.random.default_rng(0).random((5, 36))
        maps = np.random.default_rng(1).random((5, 36))
        found = insertion_auc(Halves((6, 6)), X, maps)
        assert found == insertion_auc(
            Halves(), X.reshape(5, 6, 6), maps.reshape(5, 6, 6)
        )

    @pytest.mark.parametrize("function", ALL)
    def test_grey_in_three_channels_equals_grey(self, function, images, maps):
        colour = np.stack([images] * 3, axis=-1)
        expected = function(Halves(), images, maps)
        assert function(Halves(), colour, maps) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("layout", ["rows", "frame", "images", "colour"])
    def test_the_estimator_sees_the_layout_and_type_it_was_given(
        self, layout, images, maps
    ):
        images = (255 * images).astype(np.uint8)
        X = {
            "rows": images.reshape(7, -1),
            "frame": pd.DataFrame(images.reshape(7, -1)).add_prefix("p"),
            "images": images,
            "colour": np.stack([images] * 3, axis=-1),
        }[layout]
        seen = []

        class Watching(Halves):
            def predict_proba(self, batch):
                seen.append(batch)
                return super().predict_proba(batch)

        for function in ALL:
            function(Watching((4, 6) if X.ndim == 2 else None), X, maps)
        for batch in seen:
            assert type(batch) is type(X)
            assert batch.shape[1:] == X.shape[1:]
            assert set(np.asarray(batch).dtype.str) == set("|u1")
            if layout == "frame":
                assert batch.columns.equals(X.columns)

    @pytest.mark.parametrize("function", ALL)
    @pytest.mark.parametrize("baseline", ["black", "mean", "blur", 51])
    def test_integers_equal_floats_up_to_rounding(self, function, baseline, maps):
        X = np.random.default_rng(0).integers(0, 256, (7, 4, 6), dtype=np.uint8)
        options = [{}, {}]
        if function in AUCS:
            scaled = baseline if isinstance(baseline, str) else baseline / 255
            options = [{"baseline": baseline}, {"baseline": scaled}]
        for label in ("left", "right"):
            found = function(Halves(), X, maps, labels=label, **options[0])
            expected = function(Halves(), X / 255, maps, labels=label, **options[1])
            # Half a grey level at most, where any is rounded.
            is_exact = function in AUCS and baseline in ("black", 51)
            tolerance = 1e-12 if is_exact else 0.5 / 255
            assert found == pytest.approx(expected, abs=tolerance)

    def test_products_of_integers_are_rounded_to_the_nearest(self):
        seen = []

        class Watching(Halves):
            def predict_proba(self, X):
                seen.append(X)
                return super().predict_proba(X)

        X = np.array([[[255, 200, 255, 255]]], dtype=np.uint8)
        average_drop(Watching(), X, [[[0, 0.333, 0.5, 1]]])
        assert seen[-1].tolist() == [[[0, 67, 128, 255]]]

    @pytest.mark.parametrize("function", ALL)
    def test_booleans_are_0_and_1(self, function, maps):
        X = np.random.default_rng(0).random((7, 4, 6)) > 0.5
        found = function(Halves(), X, maps)
        assert found == pytest.approx(function(Halves(), X.astype(np.float32), maps))

    def test_memory_maps_are_read(self, tmp_path, images, maps):
        np.save(tmp_path / "X.npy", images)
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        assert insertion_auc(Halves(), mapped, maps) == insertion_auc(
            Halves(), images, maps
        )


class TestLabels:
    @pytest.mark.parametrize("function", ALL)
    def test_kinds_of_labels(self, function, images, maps):
        predicted = Halves.classes_[Halves().predict_proba(images).argmax(axis=1)]
        assert len(set(predicted)) == 2
        values = {
            kind: function(Halves(), images, maps, labels=labels)
            for kind, labels in [
                ("none", None),
                ("each", predicted),
                ("list", predicted.tolist()),
                ("series", pd.Series(predicted, index=range(7, 14))),
                ("left", "left"),
                ("all left", ["left"] * 7),
                ("right", "right"),
            ]
        }
        assert values["none"] == values["each"] == values["list"] == values["series"]
        assert values["left"] == values["all left"]
        assert len({values[kind] for kind in ("none", "left", "right")}) == 3

    def test_a_row_of_the_curve_belongs_to_its_image(self, images, maps):
        together = insertion_curve(Halves(), images, maps)
        for i in range(7):
            alone = insertion_curve(Halves(), images[[i]], maps[[i]])
            np.testing.assert_allclose(
                together.probabilities[i], alone.probabilities[0], rtol=1e-12
            )

    @pytest.mark.parametrize("function", ALL)
    def test_own_heatmaps_are_those_of_each_image_s_label(self, function, images):
        labels = np.array(["right", "left", "left", "right", "left", "right", "left"])
        own = [
            heat_of(image[np.newaxis], label)[0]
            for image, label in zip(images, labels, strict=True)
        ]
        expected = function(Halves(), images, own, labels=labels)
        estimator = Explaining()
        assert function(estimator, images, labels=labels) == expected
        assert sorted(estimator.asked) == [(3, "right"), (4, "left")]

    def test_a_predicted_label_is_what_is_explained(self, images):
        predicted = Halves.classes_[Halves().predict_proba(images).argmax(axis=1)]
        own = [
            heat_of(image[np.newaxis], label)[0]
            for image, label in zip(images, predicted, strict=True)
        ]
        for function in ALL:
            assert function(Explaining(), images) == function(Halves(), images, own)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ("up", "labels holds 'up', but the classes are 'left', 'right'"),
            (["left"] * 5 + ["up", "down"], "labels holds 'up', 'down', but"),
            (["left"] * 6 + [None], "Row 6 of labels has no label; fill it in"),
            (["left"] * 6 + [1], "labels holds numbers and strings; convert"),
            ([["left"] * 2] * 7, "Row 0 of labels has a list as label"),
            (np.array([["left"] * 2] * 7), "labels has shape 7x2"),
            (["left"] * 6, "labels holds 6 labels for 7 images"),
        ],
    )
    def test_unknown_labels_are_named(self, images, maps, labels, message):
        for function in ALL + CURVES:
            with pytest.raises(ValueError, match=message):
                function(Halves(), images, maps, labels=labels)


class TestBatches:
    @pytest.mark.parametrize("function", ALL)
    def test_are_bounded_and_change_nothing(self, function, images):
        labels = ["left", "right", "right", "right", "left", "left", "left"]
        whole = function(Explaining(), images, labels=labels, **self._few(function))
        estimator = Explaining()
        with images_at_once(2):
            found = function(estimator, images, labels=labels, **self._few(function))
        assert found == pytest.approx(whole, rel=1e-12)
        assert max(shape[0] for shape in estimator.batches) == 2
        assert max(n for n, _ in estimator.asked) == 2
        assert sum(n for n, _ in estimator.asked) == 7

    def test_baselines_of_each_image_follow_their_batch(self, images, maps):
        whole = deletion_curve(Halves(), images, maps, baseline=images[::-1])
        with images_at_once(3):
            found = deletion_curve(Halves(), images, maps, baseline=images[::-1])
        np.testing.assert_allclose(found.probabilities, whole.probabilities)

    @staticmethod
    def _few(function):
        return {"n_steps": 5} if function in AUCS else {}


class TestErrors:
    @pytest.mark.parametrize("function", ALL + CURVES)
    @pytest.mark.parametrize(
        ("heatmaps", "message"),
        [
            (None, "Halves has no method heatmap; pass heatmaps"),
            (np.zeros((6, 4, 6)), "heatmaps has 6 entries for 7 images"),
            (np.zeros((7, 6, 4)), "Heatmap 0 is 6x4 and its image 4x6"),
            ([np.zeros((4, 6))] * 6 + [np.zeros((2, 3))], "Heatmap 6 is 2x3"),
            (np.zeros((7, 23)), "Heatmap 0 is 1x23 and its image 4x6"),
            (np.full((7, 4, 6), np.nan), "Heatmap 0 contains NaN"),
            (np.zeros((7, 4, 6, 1)), r"Heatmap 0 has shape \(4, 6, 1\)"),
            ([], "heatmaps has 0 entries for 7 images"),
        ],
    )
    def test_heatmaps_that_do_not_fit(self, function, images, heatmaps, message):
        with pytest.raises(ValueError, match=message):
            function(Halves(), images, heatmaps)

    @pytest.mark.parametrize("X", [np.ones((2, 24)), np.ones((2, 24)).tolist()])
    def test_rows_that_do_not_fit(self, X):
        with pytest.raises(ValueError, match="Heatmap 0 is 5x5 and its image 1x24"):
            average_drop(Halves((4, 6)), X, np.zeros((2, 5, 5)))
        with pytest.raises(ValueError, match="heatmaps has 0 entries for 2 images"):
            average_drop(Halves((4, 6)), X, [])

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
    def test_baselines_that_do_not_fit(self, function, baseline, message, maps):
        X = np.ones((7, 4, 6), dtype=np.uint8)
        with pytest.raises(ValueError, match=message):
            function(Halves(), X, maps, baseline=baseline)

    def test_a_baseline_must_be_finite(self, images, maps):
        with pytest.raises(ValueError, match="baseline holds inf"):
            insertion_auc(Halves(), images, maps, baseline=np.inf)

    @pytest.mark.parametrize("n_steps", [0, -1, 2.5, "all"])
    def test_steps_are_counted_from_1(self, images, maps, n_steps):
        for function in AUCS + CURVES:
            with pytest.raises(ValueError, match="'n_steps' parameter"):
                function(Halves(), images, maps, n_steps=n_steps)

    @pytest.mark.parametrize("function", ALL + CURVES)
    def test_estimators_that_cannot_predict(self, function, images, maps):
        with pytest.raises(ValueError, match="an object implementing 'predict_proba'"):
            function(object(), images, maps)
        with pytest.raises(NotFittedError, match="LogisticRegression has no classes_"):
            function(LogisticRegression(), images, maps)
        with pytest.raises(NotFittedError, match="SimilarNetClassifier has no"):
            function(SimilarNetClassifier(), images)

    @pytest.mark.parametrize("function", ALL + CURVES)
    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            (None, "result of Broken.predict_proba is a NoneType; pass numbers"),
            (np.zeros((7, 1)), r"shape \(7, 1\) for 7 images and 2 classes; it should"),
            (np.zeros(7), r"shape \(7,\) for 7 images and 2 classes; it should"),
            (np.zeros((6, 2)), r"shape \(6, 2\) for 7 images and 2 classes; it should"),
            (np.full((7, 2), 3.5), "holds values from 3.5 to 3.5; probabilities lie"),
            (np.full((7, 2), np.nan), "holds values from nan to nan; probabilities"),
        ],
    )
    def test_what_is_no_table_of_probabilities(
        self, function, returned, message, images, maps
    ):
        class Broken(Halves):
            def predict_proba(self, X):
                return returned

        with pytest.raises(ValueError, match=message):
            function(Broken(), images, maps)

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            (None, "The result of Broken.heatmap is a NoneType; pass an array"),
            (np.zeros((1, 3, 3)), "heatmaps has 1 entries for"),
            ("heat", "The result of Broken.heatmap is a str; pass an array"),
        ],
    )
    def test_what_is_no_heatmap(self, images, returned, message):
        class Broken(Halves):
            def heatmap(self, X, target=None):
                return returned

        with pytest.raises(ValueError, match=message):
            average_drop(Broken(), images)

    @pytest.mark.parametrize(
        ("X", "message"),
        [
            ([[[1, 2], [3]]], "Image 0 of X is a list that makes no array"),
            (pd.DataFrame(), r"X has shape \(0, 0\); pass at least one image"),
            (np.zeros((3, 0)), r"X has shape \(3, 0\); pass at least one image"),
            (np.zeros((0, 4, 6)), "no images"),
            (np.full((7, 4, 6), np.inf), "Image 0 of X contains inf"),
            (np.full((7, 24), np.nan), "Row 0 of X contains NaN"),
            (np.full((7, 4, 6), "a"), "dtype <U1"),
            (
                [np.zeros((4, 6)), np.zeros((6, 4))],
                "Image 0 of X is 4x6x1 float64 and image 1 6x4",
            ),
        ],
    )
    def test_images_that_cannot_be_read(self, X, message, maps):
        with pytest.raises(ValueError, match=message):
            average_drop(Halves(), X, maps)


class TestEstimators:
    def test_own_heatmaps_equal_given_ones(self, fitted, digits):
        X, y = digits.X_test[:30], digits.y_test[:30]
        own = np.empty((30, 28, 28))
        for label in np.unique(y):
            own[y == label] = fitted.heatmap(X[y == label], label)
        for function in ALL:
            found = function(fitted, X, labels=y)
            assert found == pytest.approx(function(fitted, X, own, labels=y), abs=1e-6)

    def test_rows_equal_images(self, fitted, digits):
        X = digits.X_test[:20]
        for function in ALL:
            found = function(fitted, X.reshape(20, -1))
            assert found == pytest.approx(function(fitted, X), abs=1e-6)

    def test_integers_equal_floats(self, fitted, digits):
        X = digits.X_test[:40]
        scaled = (X / np.float32(255)).astype(np.float32)
        for function in (average_drop, insertion_auc):
            found = function(fitted, X)
            assert found == pytest.approx(function(fitted, scaled), abs=0.005)
        # Black is black: nothing is rounded.
        found = deletion_auc(fitted, X)
        assert found == pytest.approx(deletion_auc(fitted, scaled), abs=1e-6)

    def test_a_mask_of_all_that_is_bright_changes_nothing(self, fitted, digits):
        X = digits.X_test[:50]
        assert average_drop(fitted, X, X > 0) == 0
        assert average_increase(fitted, X, X > 0) == 0

    def test_heatmaps_beat_a_random_order(self, fitted, digits):
        X = digits.X_test[:50]
        random = np.zeros(X.shape)
        assert insertion_auc(fitted, X) > insertion_auc(fitted, X, random) + 0.05
        assert deletion_auc(fitted, X) < deletion_auc(fitted, X, random) - 0.1

    def test_estimator_and_images_are_unchanged(self, fitted, digits):
        X = digits.X_test[:5].copy()
        before = pickle.dumps(fitted)
        for function in ALL + CURVES:
            function(fitted, X)
        assert pickle.dumps(fitted) == before
        np.testing.assert_array_equal(X, digits.X_test[:5])

    def test_the_last_step_of_a_pipeline_explains(self, fitted, digits):
        X = 255 - digits.X_test[:20]
        pipeline = make_pipeline(FunctionTransformer(lambda X: 255 - X), fitted)
        own = np.concatenate(
            [
                fitted.heatmap(digits.X_test[[i]], label)
                for i, label in enumerate(fitted.predict(digits.X_test[:20]))
            ]
        )
        for function in ALL:
            found = function(pipeline, X)
            assert found == pytest.approx(function(pipeline, X, own), abs=1e-6)
        found = deletion_auc(pipeline, X, baseline=255)
        expected = deletion_auc(fitted, digits.X_test[:20], baseline=0)
        assert found == pytest.approx(expected, abs=1e-6)

    @pytest.mark.filterwarnings("error")
    def test_any_classifier_of_scikit_learn_with_named_pixels(self, digits):
        X = pd.DataFrame(digits.X.reshape(len(digits.X), -1)).add_prefix("pixel")
        model = make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=1000))
        model.fit(X, digits.y)
        X, y = X[:50], digits.y[:50]
        own = model[-1].coef_[y] * X.to_numpy()
        assert insertion_auc(model, X, own, baseline=0) > 0.9
        assert insertion_auc(model, X, -own, baseline=0) < 0.5
        assert deletion_auc(model, X, own) < deletion_auc(model, X, -own)
        assert average_drop(model, X, own) < average_drop(model, X, -own)
        with pytest.raises(ValueError, match="Pipeline has no method heatmap"):
            average_drop(model, X)

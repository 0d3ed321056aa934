"""The estimator: what comes in, what goes out, and that it can be relied upon."""

import copy
import io
import json
import os
import pickle
import re
import subprocess
import sys
import threading
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from networks import feature_maps
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from sklearn_similar import InstanceLocalizer, LeNet, SimilarNetClassifier
from sklearn_similar._heatmaps.methods.contrastive import (
    class_scores,
    contrastive_weights,
    smoothing_for,
)
from sklearn_similar._heatmaps.methods.guided_upsampling import (
    upsample_guided,
)
from sklearn_similar._network.forward import eval_mode


class Pooled(nn.Module):
    """Network with batch norm and dropout that takes images of any size."""

    def __init__(self, n_classes=10, in_channels=1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(6, n_classes)

    def forward(self, images):
        maps = self.norm(self.conv(images)).relu()
        return self.fc(self.dropout(maps.mean(dim=(2, 3))))


def as_rows(images):
    return np.reshape(images, (len(images), -1))


def as_table(images):
    """Return a table as `fetch_openml("mnist_784")` gives it."""
    columns = [f"pixel{i}" for i in range(1, 785)]
    return pd.DataFrame(as_rows(images).astype(np.int64), columns=columns)


LAYOUTS = {
    "rows": as_rows,
    "lists of numbers": lambda images: as_rows(images).tolist(),
    "one channel": lambda images: images[..., np.newaxis],
    "list": list,
    "tuple": tuple,
    "nested lists": lambda images: [image.tolist() for image in images],
    "float64": lambda images: images / 255,
    "float32": lambda images: (images / 255).astype(np.float32),
    "int64": lambda images: images.astype(np.int64),
    "big-endian": lambda images: images.astype(">i4"),
    "uint16": lambda images: images.astype(np.uint16) * 257,
    "tensor": torch.from_numpy,
    "columns first": np.asfortranarray,
    "reversed twice": lambda images: images[::-1][::-1],
}


@pytest.fixture(scope="module")
def weights(quick, digits, weights_of):
    """Weights after a quick fit."""
    return weights_of(quick().fit(digits.X, digits.y))


class TestInputs:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_same_pixels_train_the_same_network(
        self, quick, digits, weights_of, weights, layout
    ):
        estimator = quick().fit(LAYOUTS[layout](digits.X), digits.y)
        np.testing.assert_array_equal(weights_of(estimator), weights)
        assert estimator.n_features_in_ == 784
        assert tuple(estimator.image_shape_[:2]) == (28, 28)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_same_pixels_give_the_same_results(self, fitted, digits, layout):
        X = LAYOUTS[layout](digits.X_test)
        np.testing.assert_allclose(
            fitted.predict_proba(X), fitted.predict_proba(digits.X_test), rtol=1e-5
        )
        heat = np.reshape(fitted.transform(X), (-1, 28, 28))
        np.testing.assert_allclose(heat, fitted.transform(digits.X_test), atol=1e-5)

    def test_openml_s_table_is_taken_as_it_comes(self, quick, digits, weights_of):
        y = pd.Series(digits.y.astype(str), name="class").astype("category")
        table = as_table(digits.X)
        estimator = quick().fit(table, y)
        reference = quick().fit(digits.X, digits.y)
        np.testing.assert_array_equal(weights_of(estimator), weights_of(reference))
        assert estimator.classes_.tolist() == list("0123456789")
        assert estimator.feature_names_in_.tolist() == table.columns.tolist()
        assert estimator.image_shape_ == (28, 28)
        expected = reference.predict(digits.X_test).astype(str)
        found = estimator.predict(as_table(digits.X_test))
        np.testing.assert_array_equal(found, expected)
        # Images have no names that could be the wrong ones.
        np.testing.assert_array_equal(estimator.predict(digits.X_test), expected)

    @pytest.mark.parametrize(
        "labels",
        [list("abcdefghij"), [i % 2 == 0 for i in range(10)], np.arange(10.0) - 4],
        ids=["strings", "booleans", "floats"],
    )
    def test_labels_of_any_kind_come_back(self, quick, digits, labels):
        y = np.array(labels)[digits.y]
        estimator = quick(max_epochs=6, lr=0.003).fit(digits.X, y)
        predicted = estimator.predict(digits.X_test)
        assert predicted.dtype == y.dtype
        assert set(predicted) <= set(labels)
        expected = np.array(labels)[digits.y_test]
        assert estimator.score(digits.X_test, expected) > 0.6

    @pytest.mark.parametrize(
        "shape", [(1, 1), (1, 7), (3, 2), (5, 1), (2, 3, 3), (1, 1, 3), (4, 4, 2)]
    )
    def test_images_of_any_shape_are_taken(self, quick, shape):
        rng = np.random.default_rng(0)
        X, y = rng.random((30, *shape)), np.arange(30) % 3
        estimator = quick().fit(X, y)
        assert estimator.image_shape_ == shape
        assert estimator.predict(X).shape == (30,)
        assert estimator.transform(X).shape == (30, *shape[:2])
        assert estimator.heatmap(X, target=[0, 2]).shape == (30, *shape[:2])
        larger = rng.random((2, 9, 11, *shape[2:]))
        assert estimator.transform(larger).shape == (2, 9, 11)
        mixed = estimator.transform([X[0], larger[0]])
        assert [heat.shape for heat in mixed] == [shape[:2], (9, 11)]
        rows = as_rows(X)
        again = quick(image_shape=shape).fit(rows, y)
        assert again.transform(rows).shape == (30, shape[0] * shape[1])
        np.testing.assert_array_equal(again.predict(X), estimator.predict(rows))

    def test_rows_are_square_images_where_possible(self, quick, digits):
        assert quick().fit(as_rows(digits.X), digits.y).image_shape_ == (28, 28)
        rows = as_rows(digits.X)[:, :783]
        assert quick().fit(rows, digits.y).image_shape_ == (1, 783)

    def test_unsquare_images_keep_their_orientation(self, quick, digits):
        X = digits.X[:, 4:24]
        estimator = quick(max_epochs=4, lr=0.003).fit(X, digits.y)
        as_rows_too = quick(max_epochs=4, lr=0.003, image_shape=(20, 28))
        as_rows_too.fit(as_rows(X), digits.y)
        np.testing.assert_array_equal(
            as_rows_too.transform(as_rows(X)), as_rows(estimator.transform(X))
        )

    def test_colour_is_made_grey_for_a_grey_network(self, fitted, digits):
        colour = np.stack([digits.X_test] * 3, axis=3)
        np.testing.assert_allclose(
            fitted.transform(colour), fitted.transform(digits.X_test), atol=1e-5
        )
        np.testing.assert_array_equal(
            fitted.predict(colour), fitted.predict(digits.X_test)
        )

    def test_colour_images_train_a_colour_network(self, quick, digits):
        tints = np.array([[255, 40, 0], [0, 40, 255]], dtype=np.uint8)
        is_red = np.arange(len(digits.X)) % 2 == 0
        X = (digits.X[..., np.newaxis] > 100) * tints[1 - is_red][:, None, None]
        estimator = quick(max_epochs=8, lr=0.003).fit(X, is_red)
        assert estimator.image_shape_ == (28, 28, 3)
        assert estimator.score(X, is_red) == 1

    def test_two_images_of_two_classes_are_enough(self, quick, digits):
        first = [np.flatnonzero(digits.y == label)[0] for label in (0, 1)]
        estimator = quick().fit(digits.X[first], digits.y[first])
        assert np.isfinite(estimator.transform(digits.X[:3])).all()

    def test_a_class_with_one_image_is_trained_on(self, quick, digits):
        y = np.where(digits.y == 0, 0, 1)
        keep = np.r_[np.flatnonzero(y == 0)[:1], np.flatnonzero(y == 1)]
        estimator = quick(validation_fraction=0.5).fit(digits.X[keep], y[keep])
        assert estimator.classes_.tolist() == [0, 1]
        # It has the importances of all classes together.
        np.testing.assert_allclose(
            estimator.class_importances_[0], estimator.filter_importances_
        )


class TestHeatmaps:
    def test_one_image_alone_in_a_batch_and_in_a_list_is_the_same(self, fitted, digits):
        X = digits.X_test[:20]
        batch = fitted.transform(X)
        listed = fitted.transform([*X, np.pad(X[0], 5), *X])
        for index, image in enumerate(X):
            alone = fitted.transform(image[np.newaxis])[0]
            for other in (batch[index], listed[index], listed[21 + index]):
                np.testing.assert_allclose(other, alone, rtol=1e-5, atol=1e-6)

    def test_lists_may_mix_sizes_types_and_channels(self, fitted, digits):
        X = [
            digits.X_test[0],
            digits.X_test[1] / 255,
            np.stack([digits.X_test[2]] * 3, axis=2),
            digits.X_test[3][..., np.newaxis],
            np.pad(digits.X_test[4], ((0, 30), (7, 0))),
            digits.X_test[5, 10:14, 10:13],
        ]
        heat = fitted.transform(X)
        assert [one.shape for one in heat] == [image.shape[:2] for image in X]
        assert {one.dtype for one in heat} == {np.dtype(np.float32)}
        expected = fitted.transform(digits.X_test[:4])
        np.testing.assert_allclose(heat[:4], expected, atol=1e-5)

    def test_layout_of_x_is_the_layout_of_heatmaps(self, fitted, digits):
        X = digits.X_test[:4]
        for method in (fitted.transform, fitted.heatmap):
            assert method(X).shape == (4, 28, 28)
            assert method(as_rows(X)).shape == (4, 784)
            assert method(np.pad(X, ((0, 0), (9, 0), (0, 3)))).shape == (4, 37, 31)
            assert method(as_rows(X)).dtype == np.float32
            assert isinstance(method(list(X)), list)
            assert isinstance(method(tuple(X)), list)

    def test_threshold_sets_faint_heat_to_0_in_transform_alone(self, quick, digits):
        estimator = quick().fit(digits.X, digits.y)
        heat = estimator.heatmap(digits.X_test)
        for threshold in (0, 0.4, 1):
            estimator.set_params(threshold=threshold)
            expected = np.where(heat < threshold, 0, heat)
            np.testing.assert_array_equal(estimator.transform(digits.X_test), expected)
            np.testing.assert_array_equal(estimator.heatmap(digits.X_test), heat)

    def test_typical_peak_on_validation_images_is_1(self, quick, digits):
        estimator = quick(validation_fraction=None, threshold=0.0)
        estimator.fit(digits.X, digits.y).fit_importance(digits.X_test, digits.y_test)
        peaks = estimator.transform(digits.X_test).max(axis=(1, 2))
        np.testing.assert_allclose(np.median(peaks), 1, rtol=1e-5)
        for label in (0, 7):
            heat = estimator.heatmap(digits.X_test[digits.y_test == label], label)
            np.testing.assert_allclose(np.median(heat.max(axis=(1, 2))), 1, rtol=1e-5)

    def test_normalize_image_runs_from_0_to_1_in_each_image(self, quick, digits):
        estimator = quick(normalize="image", threshold=0).fit(digits.X, digits.y)
        heat = estimator.transform([*digits.X_test[:5], np.zeros((9, 9))])
        for one in heat[:5]:
            assert (one.min(), one.max()) == (0, 1)
        assert (heat[5] >= 0).all()

    def test_without_normalisation_heat_is_scaled_by_the_typical_peak(
        self, quick, digits
    ):
        estimator = quick(threshold=0.4).fit(digits.X, digits.y)
        expected = (
            estimator.transform(digits.X_test) * estimator.normalization_constant_
        )
        estimator.set_params(normalize=None)
        found = estimator.transform(digits.X_test)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_linear_heat_of_a_category_is_the_mean_over_its_classes(
        self, quick, digits
    ):
        linear = quick(max_epochs=4, lr=0.003, class_heatmap="linear")
        linear.fit(digits.X, digits.y)
        one, seven = (linear.heatmap(digits.X_test, label) for label in (1, 7))
        both = linear.heatmap(digits.X_test, [1, 7])
        np.testing.assert_allclose(both, (one + seven) / 2, rtol=1e-4, atol=1e-6)
        assert np.abs(one - seven).max() > 0.1

    @pytest.mark.parametrize("class_heatmap", ["outlined", "contrastive", "linear"])
    def test_a_category_has_no_order(self, quick, digits, class_heatmap):
        estimator = quick(class_heatmap=class_heatmap).fit(digits.X, digits.y)
        both, seven = (estimator.heatmap(digits.X_test, t) for t in ([1, 7], 7))
        for target, expected in (([7, 1], both), ([7, 1, 7], both), ([7], seven)):
            np.testing.assert_array_equal(
                estimator.heatmap(digits.X_test, target), expected
            )

    def test_names_of_columns_say_row_and_column(self, quick, digits):
        estimator = quick().fit(digits.X[:, 4:24], digits.y)
        names = estimator.get_feature_names_out().reshape(20, 28)
        assert names[0, 0] == "heat_0_0"
        assert names[19, 7] == "heat_19_7"


LAYERS = ["features.relu1", "features.relu2"]


@pytest.fixture(scope="module")
def two_layers(digits, quick):
    """The network of `fitted`, seen at two layers; tests must not change it."""
    return quick(layer=LAYERS, max_epochs=8, lr=0.003).fit(digits.X, digits.y)


class TestSeveralLayers:
    def test_arrays_have_the_filters_of_one_layer_after_the_other(
        self, two_layers, fitted, weights_of
    ):
        np.testing.assert_array_equal(weights_of(two_layers), weights_of(fitted))
        assert two_layers.layer_ == LAYERS
        assert two_layers.ablation_method_ == ["linear", "linear"]
        assert two_layers.n_filters_ == (6, 16)
        assert two_layers.class_importances_.shape == (10, 22)
        assert two_layers.class_filter_weights_.shape == (10, 16)
        assert two_layers.log_odds_drops_.shape == (10, 10, 16)
        for name in ("filter_errors_", "filter_importances_", "filter_weights_"):
            found = getattr(two_layers, name)
            assert found.shape == (22,)
            # The values of a layer do not depend on the other one.
            np.testing.assert_array_equal(found[6:], getattr(fitted, name))
        first, last = np.split(two_layers.filter_weights_, [6])
        assert first.sum() == pytest.approx(1)
        assert last.sum() == pytest.approx(1)
        assert two_layers.baseline_error_ == fitted.baseline_error_

    def test_one_layer_has_no_list(self, fitted):
        assert fitted.layer_ == "features.relu2"
        assert fitted.ablation_method_ == "linear"
        assert fitted.n_filters_ == (16,)

    def test_heat_is_the_geometric_mean_of_that_of_each(
        self, two_layers, fitted, quick, digits
    ):
        early = quick(layer=LAYERS[0], max_epochs=8, lr=0.003)
        early.fit(digits.X, digits.y)
        X = [digits.X_test[0], np.pad(digits.X_test[1], 7), np.zeros((9, 30))]
        both, first, last = (
            model.set_params(normalize=None).heatmap(X)
            for model in map(copy.deepcopy, (two_layers, early, fitted))
        )
        for found, one, other in zip(both, first, last, strict=True):
            np.testing.assert_allclose(found, np.sqrt(one * other), rtol=1e-5)

    def test_heatmaps_have_the_layout_of_x(self, two_layers, digits):
        X = digits.X_test[:4]
        for heat in (two_layers.transform(X), two_layers.heatmap(X, [3, 5])):
            assert heat.shape == (4, 28, 28)
            assert np.isfinite(heat).all()
        assert two_layers.heatmap(as_rows(X), 3).shape == (4, 784)

    def test_are_kept_by_copies(self, two_layers, digits):
        assert clone(two_layers).get_params() == two_layers.get_params()
        other = pickle.loads(pickle.dumps(two_layers))
        for target in (None, 3):
            np.testing.assert_array_equal(
                other.heatmap(digits.X_test, target),
                two_layers.heatmap(digits.X_test, target),
            )

    def test_can_be_searched_over(self, quick, digits):
        grid = {"layer": [None, LAYERS[0], LAYERS]}
        search = GridSearchCV(
            quick(),
            grid,
            cv=2,
            scoring=lambda model, X, y: sum(model.n_filters_),
            refit=False,
        ).fit(digits.X[:100], digits.y[:100])
        assert search.best_params_ == {"layer": LAYERS}
        np.testing.assert_array_equal(
            search.cv_results_["mean_test_score"], [16, 6, 22]
        )

    def test_are_enough_to_find_digits(self, two_layers, digits):
        page = np.zeros((70, 70), np.uint8)
        page[4:32, 4:32], page[38:66, 36:64] = digits.X_test[0], digits.X_test[1]
        localizer = InstanceLocalizer(FrozenEstimator(two_layers), score_threshold=0)
        found = localizer.fit(digits.X, digits.y).localize([page])
        corners = {(row.y_min > 34, row.x_min > 33) for row in found.itertuples()}
        assert corners == {(False, False), (True, True)}


CLASS_WEIGHTINGS = ["outlined", "contrastive", "linear", "softmax", "uniform"]


@pytest.fixture(scope="module", params=[None, LAYERS])
def by_error(request, quick, digits):
    estimator = quick(
        importance="error",
        ablation="mean",
        layer=request.param,
        validation_fraction=None,
    )
    return estimator.fit(digits.X, digits.y)


class TestClassHeatmaps:
    def test_labels_are_one_for_each_image(self, fitted, digits):
        for labels in (3, [[1, 2]] * 100):
            with pytest.raises(ValueError, match=r"labels has the shape .* pass one"):
                fitted.heatmap(digits.X_test, labels=labels)
        with pytest.raises(ValueError, match="labels holds 2 labels"):
            fitted.heatmap(digits.X_test, labels=[1, 2])
        with pytest.raises(ValueError, match="labels holds labels that fit was not"):
            fitted.heatmap(digits.X_test, labels=["x"] * 100)

    def test_very_bright_images_have_finite_heat(self, fitted, digits):
        X = digits.X_test[:5] / 255.0 * 1e18
        for target in (None, 3):
            assert np.isfinite(fitted.heatmap(X, target)).all()

    def test_all_classes_as_target_are_all_of_the_heat(self, quick, digits):
        estimator = quick().fit(digits.X, digits.y)
        np.testing.assert_array_equal(
            estimator.heatmap(digits.X_test, list(range(10))),
            estimator.heatmap(digits.X_test),
        )

    def test_contrastive_weights_are_signed_shares(self, fitted):
        weights = fitted.class_filter_weights_
        assert weights.shape == (10, 16)
        np.testing.assert_allclose(np.abs(weights).sum(axis=1), 1)
        assert (weights < 0).any()
        mean = fitted.log_odds_drops_.sum(axis=1) / 9
        np.testing.assert_array_equal(np.sign(weights), np.sign(mean))

    def test_the_median_score_of_a_class_is_1(self, quick, digits):
        estimator = quick(validation_fraction=None, batch_size=30)
        estimator.fit(digits.X, digits.y).fit_importance(digits.X_test, digits.y_test)
        images = torch.from_numpy(digits.X_test[:, np.newaxis] / np.float32(255))
        with eval_mode(estimator.net_.module_) as module:
            maps = feature_maps(module, "features.relu2", images, "pooled")
        weights = contrastive_weights(
            estimator._heatmap_model().specification.class_state
        )
        means = maps.activations.relu().mean(dim=(2, 3))
        found = class_scores(means, weights).numpy()
        for label in range(10):
            own = found[digits.y_test == label, label]
            assert np.median(own) == pytest.approx(1, rel=1e-4)

    @pytest.mark.parametrize("class_heatmap", ["linear", "softmax", "uniform"])
    def test_other_class_heatmaps_have_no_scores(self, quick, digits, class_heatmap):
        estimator = quick(class_heatmap=class_heatmap).fit(digits.X, digits.y)
        assert estimator.class_score_constants_ is None
        assert estimator.set_params(class_heatmap="contrastive").heatmap(
            digits.X_test, 3
        ).shape == (100, 28, 28)

    def test_outlined_maps_have_the_edges_of_the_first_layer(self, quick, digits):
        outlined = quick(normalize=None).fit(digits.X, digits.y)
        assert outlined.outline_layer_ == "features.relu1"
        plain = quick(normalize=None, class_heatmap="contrastive")
        assert plain.fit(digits.X, digits.y).outline_layer_ is None
        heat, other = (one.heatmap(digits.X_test, 3) for one in (outlined, plain))
        # Both are geometric means with the contrastive map; black, there is none.
        all_classes = plain.heatmap(digits.X_test)
        is_hot = all_classes > 0.01 * all_classes.max()
        contrast = other**2 / np.where(is_hot, all_classes, np.inf)
        images = torch.from_numpy(digits.X_test[:, np.newaxis] / np.float32(255))
        with eval_mode(outlined.net_.module_) as module:
            maps = feature_maps(module, "features.relu1", images, "pooled")
        outline = upsample_guided(
            torch.from_numpy(all_classes)[:, None], maps, (28, 28)
        )
        probability = outlined.predict_proba(digits.X_test)[:, 3]
        expected = np.sqrt(
            outline[:, 0].numpy() * contrast * probability[:, np.newaxis, np.newaxis]
        )
        np.testing.assert_allclose(heat[is_hot], expected[is_hot], rtol=1e-2, atol=1e-4)

    def test_several_layers_have_outlines_of_their_own(self, quick, digits):
        by_default, plain = (
            quick(layer=LAYERS, class_heatmap=name).fit(digits.X, digits.y)
            for name in ("outlined", "contrastive")
        )
        assert by_default.outline_layer_ is None
        np.testing.assert_array_equal(
            by_default.heatmap(digits.X_test, 3), plain.heatmap(digits.X_test, 3)
        )

    def test_contrastive_maps_are_as_smooth_as_the_trained_images_are_large(
        self, quick, digits
    ):
        estimator = quick().fit(digits.X[:, 4:24], digits.y)
        assert contrastive_weights(
            estimator._heatmap_model().specification.class_state
        ).smoothing == smoothing_for((20, 28))

    @pytest.mark.parametrize("class_heatmap", ["outlined", "contrastive", "linear"])
    def test_each_image_can_have_its_own_label(self, quick, digits, class_heatmap):
        estimator = quick(class_heatmap=class_heatmap, batch_size=30)
        estimator.fit(digits.X, digits.y)
        found = estimator.heatmap(digits.X_test, labels=digits.y_test)
        for label in (0, 3, 9):
            own = digits.y_test == label
            expected = estimator.heatmap(digits.X_test[own], label)
            np.testing.assert_allclose(found[own], expected, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"target": 3, "labels": [3, 3]}, "target and labels are both given"),
            ({"labels": [3]}, "labels"),
            ({"labels": [3, 77]}, "labels holds labels that fit was not given: 77"),
        ],
    )
    def test_unusable_labels_are_named(self, fitted, digits, wrong, said):
        with pytest.raises(ValueError, match=said):
            fitted.heatmap(digits.X_test[:2], **wrong)

    def test_a_label_is_hotter_where_it_is_than_where_nothing_is(self, fitted, digits):
        recognised = fitted.predict(digits.X_test) == digits.y_test
        for label in range(10):
            X = digits.X_test[recognised & (digits.y_test == label)]
            black = fitted.heatmap(np.zeros((1, 28, 28)), label).max()
            peaks = fitted.heatmap(X, label).max(axis=(1, 2))
            assert len(X)
            assert (peaks > 1.5 * black).all()

    @pytest.mark.parametrize("class_heatmap", CLASS_WEIGHTINGS)
    def test_a_class_without_validation_images_has_finite_heat(
        self, quick, digits, class_heatmap
    ):
        estimator = quick(class_heatmap=class_heatmap).fit(digits.X, digits.y)
        few = digits.y_test > 4
        estimator.fit_importance(digits.X_test[few], digits.y_test[few])
        assert np.isfinite(estimator.log_odds_drops_).all()
        for target in (2, [2, 3], [2, 8]):
            heat = estimator.heatmap(digits.X_test, target)
            assert np.isfinite(heat).all()
            assert heat.max() > 0

    @pytest.mark.parametrize("class_heatmap", CLASS_WEIGHTINGS)
    def test_any_measure_can_be_drawn(self, by_error, digits, class_heatmap):
        estimator = copy.copy(by_error).set_params(class_heatmap=class_heatmap)
        estimator.fit_importance(digits.X_test, digits.y_test)
        total = np.abs(estimator.class_filter_weights_).sum(axis=1)
        np.testing.assert_allclose(total, 1)
        heat = estimator.heatmap(digits.X_test, 3)
        assert np.isfinite(heat).all()
        assert (heat >= 0).all()
        of_threes = heat[digits.y_test == 3].max(axis=(1, 2))
        np.testing.assert_allclose(np.median(of_threes), 1, rtol=1e-5)


class TestFitImportance:
    def test_repeats_what_fit_measured_on_the_same_images(self, quick, digits):
        whole = quick(validation_fraction=None).fit(digits.X, digits.y)
        whole.fit_importance(digits.X_test, digits.y_test)
        measured = whole.filter_importances_.copy()
        assert whole.fit_importance(digits.X_test, digits.y_test) is whole
        np.testing.assert_array_equal(whole.filter_importances_, measured)
        rows = whole.fit_importance(as_rows(digits.X_test), digits.y_test.tolist())
        np.testing.assert_array_equal(rows.filter_importances_, measured)

    def test_does_not_depend_on_the_order_of_the_images(self, quick, digits):
        estimator = quick().fit(digits.X, digits.y)
        first = copy.deepcopy(estimator).fit_importance(digits.X_test, digits.y_test)
        order = np.random.default_rng(0).permutation(len(digits.y_test))
        other = estimator.fit_importance(digits.X_test[order], digits.y_test[order])
        np.testing.assert_allclose(
            first.class_importances_, other.class_importances_, atol=1e-5
        )
        np.testing.assert_allclose(
            first.normalization_constant_, other.normalization_constant_, rtol=0.1
        )

    def test_leaves_the_network_alone(self, quick, digits, weights_of):
        estimator = quick(module=Pooled).fit(digits.X, digits.y)
        before, net = weights_of(estimator), estimator.net_
        estimator.fit_importance(digits.X_test, digits.y_test)
        assert estimator.net_ is net
        np.testing.assert_array_equal(weights_of(estimator), before)

    def test_one_image_of_one_class_is_enough(self, quick, digits):
        estimator = quick().fit(digits.X, digits.y)
        estimator.fit_importance(digits.X_test[:1], digits.y_test[:1])
        assert estimator.class_importances_.shape == (10, 16)
        assert np.isfinite(estimator.class_normalization_constants_).all()
        assert np.isfinite(estimator.transform(digits.X_test)).all()

    @pytest.mark.parametrize(
        "changed",
        [
            {"importance": "error"},
            {"ablation": "mean"},
            {"weighting": "linear"},
            {"temperature": 1e-3},
            {"layer": "features.relu1"},
            {"class_heatmap": "linear"},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_what_it_measures_counts_only_after_it_again(self, quick, digits, changed):
        estimator = quick().fit(digits.X, digits.y)
        before = [estimator.heatmap(digits.X_test, target) for target in (None, 3)]
        estimator.set_params(**changed)
        for target, expected in zip((None, 3), before, strict=True):
            found = estimator.heatmap(digits.X_test, target)
            np.testing.assert_array_equal(found, expected)


class TestTraining:
    def test_recognises_digits(self, fitted, digits):
        assert fitted.score(digits.X_test, digits.y_test) > 0.75
        proba = fitted.predict_proba(digits.X_test)
        assert proba.dtype == np.float32
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(
            fitted.predict(digits.X_test), fitted.classes_[proba.argmax(axis=1)]
        )

    @pytest.mark.parametrize("ending", ["logits", "probabilities"])
    def test_logarithms_of_probabilities_are_exact_where_these_are_0(
        self, quick, digits, ending
    ):
        module = (
            LeNet() if ending == "logits" else nn.Sequential(LeNet(), nn.Softmax(1))
        )
        criterion = nn.CrossEntropyLoss if ending == "logits" else nn.NLLLoss
        estimator = quick(
            module=module, max_epochs=0, net_params={"criterion": criterion}
        ).fit(digits.X, digits.y)
        found = estimator.predict_log_proba(digits.X_test)
        np.testing.assert_allclose(
            np.exp(found), estimator.predict_proba(digits.X_test), rtol=1e-5
        )
        assert found.dtype == np.float32
        if ending == "logits":
            with torch.no_grad():
                estimator.net_.module_.classifier.fc3.bias[3] += 500
            assert (estimator.predict_proba(digits.X_test)[:, 0] == 0).all()
            found = estimator.predict_log_proba(digits.X_test)[:, 0]
            assert ((found > -600) & (found < -400)).all()

    def test_a_batch_that_does_not_fit_into_memory_is_one_memory_error(
        self, quick, digits
    ):
        class TooLarge(LeNet):
            is_full = False

            def forward(self, x):
                if self.is_full:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried")
                return super().forward(x)

        estimator = quick(module=TooLarge, batch_size=50).fit(digits.X, digits.y)
        estimator.net_.module_.is_full = True
        said = r"up to 50 images does not fit .*smaller batch_size.*CUDA out of memory"
        for call in (
            lambda: estimator.predict(digits.X_test),
            lambda: estimator.transform(digits.X_test),
            lambda: estimator.fit_importance(digits.X_test, digits.y_test),
        ):
            with pytest.raises(MemoryError, match=said):
                call()

    def test_a_network_in_mixed_precision_does_all_that_another_does(
        self, quick, digits
    ):
        class Mixed(nn.Module):
            def __init__(self):
                super().__init__()
                self.network = LeNet()

            def forward(self, x):
                with torch.autocast("cpu", torch.bfloat16):
                    return self.network(x)

        mixed = quick(module=Mixed, max_epochs=4, lr=0.003).fit(digits.X, digits.y)
        single = quick(module=mixed.net_.module_.network, max_epochs=0)
        single.fit(digits.X, digits.y)
        X, y = digits.X_test[:40], digits.y_test[:40]
        for model in (mixed, single):
            model.fit_importance(X, y)
        for method in ("predict_proba", "predict_log_proba", "transform"):
            found, expected = (getattr(m, method)(X) for m in (mixed, single))
            assert found.dtype == np.float32
            difference = np.abs(found - expected).mean()
            assert difference < 0.03 * np.abs(expected).max()
        for found, expected in zip(
            mixed.ablate_filters(X[:5]), single.ablate_filters(X[:5]), strict=True
        ):
            np.testing.assert_allclose(
                found, expected, atol=0.1 * np.abs(expected).max()
            )

    def test_verbose_shows_the_epochs_and_their_loss(self, quick, digits, capfd):
        quick(verbose=1, max_epochs=2).fit(digits.X, digits.y)
        printed = capfd.readouterr()
        assert printed.out == ""
        assert re.search(r"epochs: .* 2/2 .*loss=\d", printed.err)

    def test_without_verbose_nothing_is_printed(self, quick, digits, capfd):
        estimator = quick().fit(digits.X, digits.y)
        estimator.fit_importance(digits.X_test, digits.y_test)
        estimator.transform(digits.X_test)
        estimator.predict(digits.X_test)
        pickle.loads(pickle.dumps(estimator))
        assert capfd.readouterr() == ("", "")

    def test_class_filter_weights_move_predictions(self, quick, digits):
        def share_of_3(class_weight):
            estimator = quick(max_epochs=4, lr=0.003, class_weight=class_weight)
            return (estimator.fit(digits.X, digits.y).predict(digits.X) == 3).mean()

        heavy = {label: 50.0 if label == 3 else 1.0 for label in range(10)}
        light = {label: 0.0 if label == 3 else 1.0 for label in range(10)}
        assert share_of_3(light) == 0
        assert share_of_3(heavy) > share_of_3(None) > 0

    def test_balanced_class_filter_weights_equal_those_weights(
        self, quick, digits, weights_of
    ):
        y = digits.y == 0
        balanced = quick(class_weight="balanced", validation_fraction=None)
        weights = {False: 200 / (2 * (~y).sum()), True: 200 / (2 * y.sum())}
        given = clone(balanced).set_params(class_weight=weights)
        np.testing.assert_allclose(
            weights_of(balanced.fit(digits.X, y)), weights_of(given.fit(digits.X, y))
        )

    def test_a_ready_network_is_used_as_it_is_without_epochs(self, quick, digits):
        module = LeNet()
        estimator = quick(module=module, max_epochs=0).fit(digits.X, digits.y)
        with torch.no_grad():
            tensor = torch.from_numpy(digits.X_test[:, np.newaxis] / np.float32(255))
            expected = module(tensor).softmax(dim=1)
        np.testing.assert_allclose(
            estimator.predict_proba(digits.X_test), expected, rtol=1e-4
        )

    def test_parameters_are_not_changed(self, quick, digits):
        params = {
            "module": Pooled(),
            "net_params": {"optimizer": torch.optim.SGD},
            "class_weight": {label: 1.0 for label in range(10)},
            "image_shape": [28, 28],
        }
        estimator = quick(**params)
        before, modules = repr(estimator.get_params()), params["module"].state_dict()
        modules = copy.deepcopy(modules)
        estimator.fit(as_rows(digits.X), digits.y).transform(as_rows(digits.X_test))
        assert repr(estimator.get_params()) == before
        assert estimator.module is params["module"]
        assert estimator.module.training
        for name, expected in modules.items():
            torch.testing.assert_close(estimator.module.state_dict()[name], expected)


@pytest.mark.parametrize("module", [None, Pooled])
class TestReproducibility:
    def test_in_threads_and_processes(self, quick, digits, weights_of, module):
        X, y = digits.X, digits.y

        def fit(seed):
            torch.set_num_threads(1)
            torch.rand(seed + 1)
            return weights_of(quick(module=module, random_state=seed).fit(X, y))

        expected = [fit(seed) for seed in range(4)]
        assert len({weights.tobytes() for weights in expected}) == 4
        for options in ({"n_jobs": 4, "backend": "threading"}, {"n_jobs": 2}):
            parallel = joblib.Parallel(**options)
            found = parallel(joblib.delayed(fit)(seed) for seed in range(4))
            np.testing.assert_array_equal(found, expected)

    def test_random_states_are_drawn_from(self, quick, digits, weights_of, module):
        def weights(random_state):
            estimator = quick(module=module, random_state=random_state)
            return weights_of(estimator.fit(digits.X, digits.y))

        state = np.random.RandomState(3)
        first, second = weights(state), weights(state)
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(weights(np.random.RandomState(3)), first)
        assert not np.array_equal(weights(None), weights(None))

    def test_no_method_changes_the_state_of_torch_or_numpy(self, quick, digits, module):
        def state():
            return (
                torch.get_rng_state().tolist(),
                np.random.get_state()[1].tolist(),
                torch.is_grad_enabled(),
                torch.is_inference_mode_enabled(),
                torch.get_default_dtype(),
                torch.get_num_threads(),
                torch.are_deterministic_algorithms_enabled(),
            )

        before = state()
        estimator = quick(module=module)
        for call in (
            lambda: estimator.fit(digits.X, digits.y),
            lambda: estimator.fit_importance(digits.X, digits.y),
            lambda: estimator.transform(digits.X),
            lambda: estimator.heatmap(digits.X, target=2),
            lambda: estimator.predict(digits.X),
            lambda: pickle.loads(pickle.dumps(estimator)),
            lambda: clone(estimator),
        ):
            call()
            assert state() == before


def test_threads_share_an_estimator(fitted, digits):
    parts = [digits.X_test[i * 25 : (i + 1) * 25] for i in range(4)]
    expected = [
        (fitted.transform(X), fitted.heatmap(X, 3), fitted.predict_proba(X))
        for X in parts
    ]
    failures = []

    def work(X, results):
        try:
            for _ in range(5):
                np.testing.assert_array_equal(fitted.transform(X), results[0])
                np.testing.assert_array_equal(fitted.heatmap(X, 3), results[1])
                np.testing.assert_array_equal(fitted.predict_proba(X), results[2])
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=args)
        for args in zip(parts, expected, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not any(m._forward_hooks for m in fitted.net_.module_.modules())


def through_joblib(estimator):
    stream = io.BytesIO()
    joblib.dump(estimator, stream)
    stream.seek(0)
    return joblib.load(stream)


class TestCopies:
    @pytest.mark.parametrize(
        "copied",
        [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy, through_joblib],
        ids=["pickle", "deepcopy", "joblib"],
    )
    @pytest.mark.parametrize("module", [None, Pooled, Pooled()])
    def test_give_the_same_results(self, quick, digits, weights_of, copied, module):
        estimator = quick(module=module, max_epochs=2).fit(digits.X, digits.y)
        other = copied(estimator)
        assert other.net_ is not estimator.net_
        np.testing.assert_array_equal(weights_of(other), weights_of(estimator))
        for method in ("transform", "predict_proba", "heatmap"):
            found = getattr(other, method)(digits.X_test)
            np.testing.assert_array_equal(
                found, getattr(estimator, method)(digits.X_test)
            )
        assert other.net_.history.to_list() == estimator.net_.history.to_list()
        other.fit_importance(digits.X_test, digits.y_test)
        estimator.fit_importance(digits.X_test, digits.y_test)
        np.testing.assert_array_equal(
            other.filter_importances_, estimator.filter_importances_
        )

    def test_draw_a_class_as_it_was(self, fitted, digits):
        other = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(
            other.heatmap(digits.X_test, 3), fitted.heatmap(digits.X_test, 3)
        )

    def test_of_a_copy_are_copies_too(self, fitted, digits):
        other = copy.deepcopy(copy.deepcopy(fitted))
        np.testing.assert_array_equal(
            other.transform(digits.X_test), fitted.transform(digits.X_test)
        )

    def test_keep_a_later_change_of_parameters(self, quick, digits):
        estimator = quick().fit(digits.X, digits.y)
        estimator.set_params(module=Pooled, lr=7.0, threshold=0.5)
        other = copy.deepcopy(estimator)
        assert other.lr == 7.0
        np.testing.assert_array_equal(
            other.transform(digits.X_test), estimator.transform(digits.X_test)
        )

    def test_are_as_large_as_the_weights_and_hold_no_tensors(self, fitted, weights_of):
        content = pickle.dumps(fitted)
        measured = fitted.log_odds_drops_.nbytes
        assert len(content) < weights_of(fitted).nbytes + measured + 20_000
        assert b"torch" not in content
        assert b"skorch" not in content

    def test_of_an_unfitted_estimator_are_unfitted(self, quick):
        other = pickle.loads(pickle.dumps(quick(lr=0.5)))
        assert other.lr == 0.5
        assert not hasattr(other, "net_")

    def test_by_clone_are_unfitted_with_equal_parameters(self, fitted, digits, quick):
        other = clone(fitted)
        assert other.get_params() == fitted.get_params()
        assert not hasattr(other, "net_")


MEASURE_MEMORY = """
import json, re, sys
import numpy as np
from sklearn_similar import SimilarNetClassifier
from skorch.callbacks import Callback
from torch import nn

def megabytes(field):
    with open("/proc/self/status") as status:
        return int(re.search(field + r":\\s+(\\d+)", status.read())[1]) / 1024

X, y = np.random.default_rng(0).random((40, 28, 28)), np.arange(40) % 2
module = nn.Sequential(
    nn.Conv2d(1, 2, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
)
estimator = SimilarNetClassifier(
    module, max_epochs=1, resolution="pooled", random_state=0
).fit(X, y)
estimator.fit_importance(X, y).transform(np.tile(X, (10, 1, 1)))
mapped = np.load(sys.argv[1], mmap_mode="r")
found = {}
for method in ("fit_importance", "transform", "predict"):
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
    before = megabytes("VmRSS")
    y = (np.arange(len(mapped)) % 2,) if method == "fit_importance" else ()
    result = getattr(estimator, method)(mapped, *y)
    returned = getattr(result, "nbytes", 0) / 2**20
    found[method] = megabytes("VmHWM") - before - returned
    del result
print(json.dumps(found))
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="reads /proc of Linux"
)
def test_memory_maps_are_not_loaded(tmp_path):
    shape = (20_000, 28, 28)
    mapped = np.lib.format.open_memmap(
        tmp_path / "X.npy", "w+", dtype=np.float64, shape=shape
    )
    n_megabytes = mapped.nbytes / 2**20
    assert n_megabytes > 100
    del mapped
    run = subprocess.run(
        [sys.executable, "-c", MEASURE_MEMORY, tmp_path / "X.npy"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    for method, grown in json.loads(run.stdout).items():
        assert grown < n_megabytes / 2, method


def test_html_of_the_estimator_names_its_parameters():
    assert "batch_size" in SimilarNetClassifier(batch_size=77)._repr_html_()


class DividesByTheSum(nn.Module):
    """Its output is not a number where nothing responds."""

    def __init__(self, n_classes):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, bias=False)
        self.linear = nn.Linear(4, n_classes)

    def forward(self, x):
        x = self.convolution(x).relu().mean(dim=(2, 3))
        return self.linear(x / x.sum(dim=1, keepdim=True))


def test_a_network_without_an_answer_is_named(digits):
    estimator = SimilarNetClassifier(
        DividesByTheSum, max_epochs=0, validation_fraction=None, random_state=0
    )
    X = digits.X.copy()
    estimator.fit(X, digits.y).fit_importance(X, digits.y)
    before = estimator.filter_importances_
    X[7] = 0
    with pytest.raises(ValueError, match="Image 7 gets scores that are not finite"):
        estimator.fit_importance(X, digits.y)
    assert estimator.filter_importances_ is before


def test_a_network_from_a_missing_device_is_read_to_the_cpu(quick, digits):
    estimator = quick().fit(digits.X, digits.y)
    expected = estimator.predict_proba(digits.X_test)
    estimator.device = "cuda:77"
    estimator._net_spec = replace(estimator._net_spec, device="cuda:77")
    content = pickle.dumps(estimator)
    with pytest.warns(UserWarning, match=r"cuda:77.* The network is on the CPU now"):
        other = pickle.loads(content)
    assert other.device == "cpu"
    np.testing.assert_array_equal(other.predict_proba(digits.X_test), expected)


def test_background_that_fit_has_not_seen_is_refused(digits, quick):
    with pytest.raises(ValueError, match=r"background holds 77, but the classes"):
        quick(background=77).fit(digits.X, digits.y)
    with pytest.raises(ValueError, match=r"background is \[1, 2\]; pass one label"):
        quick(background=[1, 2]).fit(digits.X, digits.y)


def test_background_is_checked_before_training(digits, quick):
    class Started(Callback):
        def on_train_begin(self, net, **kwargs):
            raise AssertionError

    estimator = quick(background=77, net_params={"callbacks": [Started()]})
    with pytest.raises(ValueError, match="background holds 77"):
        estimator.fit(digits.X, digits.y)


def test_the_normalization_constant_is_measured_without_background(digits, quick):
    # Background that is far brighter than digits.
    is_background = digits.y_test > 5
    images = np.where(is_background[:, None, None], 255, digits.X_test).astype(np.uint8)
    labels = np.where(is_background, -1, digits.y_test)
    y = np.where(digits.y > 5, -1, digits.y)
    estimator = quick(background=-1, validation_fraction=None, normalize=None)
    estimator.fit(digits.X, y).fit_importance(images, labels)
    maxima = estimator.heatmap(images).max(axis=(1, 2))
    expected = np.median(maxima[~is_background])
    assert estimator.normalization_constant_ == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(np.median(maxima), rel=0.05)

"""Class maps: those of the registry, and the user's."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone

from sklearn_similar import ClassMap, load, save
from sklearn_similar._heatmaps.methods import CLASS_MAPS, class_heatmap_of


class BestFilter(ClassMap):
    """The activation of the filter that each class misses most."""

    def filter_weights(self, measurement):
        drops = measurement.importances.log_odds_drops.mean(axis=1)
        return (drops == drops.max(axis=1, keepdims=True)).astype(float)


class Wide(ClassMap):
    """Heat of all classes, in all of the image where its mean is large."""

    def filter_weights(self, measurement):
        n_classes, n_filters = measurement.importances.log_odds_drops.shape[::2]
        return np.ones((n_classes, n_filters))

    def heat(self, activations, classes, state):
        level = activations.mean_activations.mean(dim=1)[:, None, None, None]
        return activations.heat() * level


class WrongWeights(BestFilter):
    def filter_weights(self, measurement):
        return np.ones(3)


class WrongHeat(BestFilter):
    def heat(self, activations, classes, state):
        return super().heat(activations, classes, state)[:, 0]


@pytest.fixture(scope="module")
def model(quick, digits):
    return quick(class_heatmap=BestFilter()).fit(digits.X, digits.y)


def test_a_users_map_is_the_weighted_sum_of_its_filters(model, digits):
    weights = model.class_filter_weights_
    assert weights.shape == (10, 16)
    np.testing.assert_array_equal(weights.sum(axis=1), 1)
    assert model.class_score_constants_ is None
    assert model.outline_layer_ is None
    other = copy.deepcopy(model)
    other.filter_weights_ = weights[3]
    other.normalization_constant_ = model.class_normalization_constants_[3]
    np.testing.assert_allclose(
        model.heatmap(digits.X_test, 3), other.heatmap(digits.X_test), rtol=1e-6
    )


def test_it_is_calibrated_on_held_out_images_of_each_class(quick, digits):
    model = quick(class_heatmap=BestFilter(), validation_fraction=None)
    model.fit(digits.X, digits.y).fit_importance(digits.X_test, digits.y_test)
    maxima = model.heatmap(digits.X_test, 3)[digits.y_test == 3].max(axis=(1, 2))
    assert np.median(maxima) == pytest.approx(1, rel=1e-5)


def test_a_map_can_compute_its_heat_itself_in_tiles_as_well(quick, digits):
    model = quick(class_heatmap=Wide()).fit(digits.X, digits.y)
    page = np.tile(digits.X_test[:2].reshape(56, 28), 3)
    (whole,) = model.heatmap([page], 3)
    with config_context(working_memory=48**2 / 1024):
        (tiled,) = model.heatmap([page], 3)
    assert whole.max() > 0
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_it_counts_only_after_it_has_been_fitted(model, digits):
    other = copy.deepcopy(model).set_params(class_heatmap="outlined")
    expected = model.heatmap(digits.X_test[:5], 3)
    np.testing.assert_array_equal(other.heatmap(digits.X_test[:5], 3), expected)


@pytest.mark.parametrize(
    ("class_map", "message"),
    [
        (WrongWeights(), r"filter_weights of shape \(3,\).*shape \(10, 16\)"),
        (WrongHeat(), r"heat of shape \(\d+, 28, 28\).*\(\d+, 1, 28, 28\)"),
        ("contrastiv", "class_heatmap.*contrastive"),
        (BestFilter, "class_heatmap"),
    ],
)
def test_what_a_map_must_give_is_said(model, digits, class_map, message):
    estimator = copy.copy(model).set_params(class_heatmap=class_map)
    expected = estimator.heatmap(digits.X_test[:5], 3)
    with pytest.raises(ValueError, match=message):
        estimator.fit_importance(digits.X_test, digits.y_test)
    np.testing.assert_array_equal(estimator.heatmap(digits.X_test[:5], 3), expected)


def test_clones_and_copies_have_the_map(model, digits):
    assert type(clone(model).class_heatmap) is BestFilter
    expected = model.heatmap(digits.X_test[:5], 3)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.class_heatmap is other._class_heatmap
        np.testing.assert_array_equal(other.heatmap(digits.X_test[:5], 3), expected)


def test_a_file_lacks_the_map_which_load_is_given(model, digits, tmp_path):
    path = tmp_path / "model.safetensors"
    save(model, path)
    with pytest.raises(ValueError, match=r"load\(path, class_heatmap=...\)"):
        load(path)
    loaded = load(path, class_heatmap=model.class_heatmap)
    np.testing.assert_array_equal(
        loaded.heatmap(digits.X_test[:5], 3), model.heatmap(digits.X_test[:5], 3)
    )


@pytest.mark.parametrize("name", ["outlined", "contrastive", "softmax"])
def test_estimators_that_do_not_name_their_map_have_the_same_heat(quick, digits, name):
    model = quick(class_heatmap=name).fit(digits.X, digits.y)
    state = model.__getstate__()
    del state["_class_heatmap"]
    early = type(model).__new__(type(model))
    early.__setstate__(state | {"class_heatmap": "uniform"})
    for target in (3, [1, 7]):
        np.testing.assert_array_equal(
            early.heatmap(digits.X_test[:5], target),
            model.heatmap(digits.X_test[:5], target),
        )


def test_every_name_of_the_registry_can_be_a_parameter(quick):
    for name in CLASS_MAPS:
        quick(class_heatmap=name)._validate_params()
    assert class_heatmap_of({"class_heatmap": "linear"}) == "linear"


def test_heat_of_several_classes_has_equal_shares(model):
    state = model._heatmap_model().specification.class_state
    weights = state.mean_weights(np.array([[1, 7], [7, 1]]), n_layers=1)
    constants = state.normalization_constants[[1, 7]]
    shares = state.filter_weights[[1, 7]] / constants[:, np.newaxis]
    expected = torch.from_numpy(shares.mean(axis=0) * constants.mean())
    for row in weights:
        torch.testing.assert_close(row[0], expected)

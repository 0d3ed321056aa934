"""Results on a GPU equal those on the CPU."""

import pickle

import networks
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import make_scenes

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(autouse=True)
def _single_precision():
    """Convolutions round to TF32 otherwise."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def assert_close(found, expected):
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * largest)


def pair(fitted, digits, **params):
    """The same network on both devices, with importances of the same images."""
    pair = [
        SimilarNetClassifier(
            fitted.net_.module_,
            max_epochs=0,
            validation_fraction=None,
            device=device,
            **params,
        )
        for device in ("cpu", DEVICE)
    ]
    for own in pair:
        own.fit(digits.X, digits.y).fit_importance(digits.X_test, digits.y_test)
    return pair


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ablation": "mean"},
        {"resolution": "dense", "class_heatmap": "linear"},
        {"layer": ["features.relu1", "features.relu2"]},
    ],
)
def test_importances_and_heatmaps_are_those_of_the_cpu(fitted, digits, params):
    ours, theirs = pair(fitted, digits, **params)
    assert next(theirs.net_.module_.parameters()).is_cuda
    assert theirs.ablation_method_ == ours.ablation_method_
    for name in ("filter_importances_", "class_importances_", "log_odds_drops_"):
        expected = getattr(ours, name)
        assert_close(getattr(theirs, name), expected)
    X = digits.X_test
    for target in (None, 3, [1, 7]):
        expected = ours.heatmap(X, target)
        assert_close(theirs.heatmap(X, target), expected)
    assert_close(theirs.predict_proba(X), ours.predict_proba(X))


@pytest.mark.parametrize(
    "params",
    [{"polarity": "both"}, {"proposals": "heat"}, {"heat_threshold": 0.1}],
)
def test_instances_are_those_of_the_cpu(fitted, digits, params):
    ours, theirs = (
        InstanceLocalizer(FrozenEstimator(own), **params).fit(digits.X, digits.y)
        for own in pair(fitted, digits)
    )
    scenes, _ = make_scenes(digits.X_test, digits.y_test, n_scenes=3, random_state=0)
    assert_same_instances(theirs.localize(scenes), ours.localize(scenes))


def test_large_images_are_searched_and_drawn_in_tiles(fitted, digits):
    ours, theirs = pair(fitted, digits)
    scene, _ = make_scenes(
        digits.X_test, digits.y_test, n_scenes=1, size=(300, 400), random_state=0
    )
    whole = (
        ours.heatmap(scene),
        InstanceLocalizer(FrozenEstimator(ours))
        .fit(digits.X, digits.y)
        .localize(scene),
    )
    with config_context(working_memory=16):
        assert_close(theirs.heatmap(scene), whole[0])
        localizer = InstanceLocalizer(FrozenEstimator(theirs)).fit(digits.X, digits.y)
        assert_same_instances(localizer.localize(scene), whole[1])


def assert_same_instances(found, expected):
    assert len(expected)
    order = ["image", "x_min", "y_min", "label"]
    found, expected = (
        table.sort_values(order).reset_index(drop=True) for table in (found, expected)
    )
    # Crops are rounded to 8 bits, which turns the least of differences into one level.
    pd.testing.assert_frame_equal(found, expected, atol=0.02)


def test_a_localizer_is_trained_there(digits, quick, small_scenes):
    localizer = InstanceLocalizer(
        quick(device=DEVICE, max_epochs=8),
        n_instance_crops=3000,
        n_background_crops=3000,
        n_mining_rounds=1,
        random_state=0,
    ).fit(digits.X, digits.y)
    assert next(localizer.estimator_.net_.module_.parameters()).is_cuda
    scenes, truth = make_scenes(
        digits.X_test, digits.y_test, n_scenes=3, random_state=0
    )
    assert localizer.score(scenes, truth) > 0.5


def test_filters_are_ablated_in_single_images_as_on_the_cpu(fitted, digits):
    ours, theirs = (
        own.ablate_filters(digits.X_test[:9]) for own in pair(fitted, digits)
    )
    for found, expected in zip(theirs, ours, strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize(
    ("build", "layer", "method"),
    [
        (networks.vgg, "5", "linear"),
        (networks.resnet, "2", "linear"),
        (networks.grouped, "5", "linear"),
        (networks.group_norm, "5", "head"),
        (networks.DataDependent, "conv2", "network"),
    ],
)
def test_every_way_of_ablation_runs(build, layer, method):
    rng = np.random.RandomState(0)
    X, y = rng.uniform(size=(16, 16, 16, 3)), np.arange(16) % networks.N_CLASSES
    found = []
    for device in ("cpu", DEVICE):
        own = SimilarNetClassifier(
            networks.trained(build),
            layer,
            max_epochs=0,
            validation_fraction=None,
            device=device,
        )
        own.fit(X, y).fit_importance(X, y)
        assert own.ablation_method_ == method
        found.append(own.filter_importances_)
    assert_close(*found)


def test_training_is_seeded_and_can_be_saved(digits, quick):
    models = [quick(device=DEVICE).fit(digits.X, digits.y) for _ in range(2)]
    copy = pickle.loads(pickle.dumps(models[0]))
    expected = models[0].predict_proba(digits.X_test)
    for own in (models[1], copy):
        assert_close(own.predict_proba(digits.X_test), expected)


def test_the_random_state_of_the_device_is_left_alone(digits, quick):
    state = torch.cuda.get_rng_state()
    quick(device=DEVICE).fit(digits.X, digits.y).transform(digits.X_test)
    assert torch.equal(torch.cuda.get_rng_state(), state)

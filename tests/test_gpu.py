"""Results on a GPU equal those on the CPU."""

import pickle

import networks
import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import make_scenes

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def assert_close(found, expected):
    # Convolutions may round to TF32 there.
    np.testing.assert_allclose(
        found, expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max()
    )


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


@pytest.mark.parametrize("proposals", ["image", "heat"])
def test_instances_are_those_of_the_cpu(fitted, digits, proposals):
    ours, theirs = (
        InstanceLocalizer(
            FrozenEstimator(own), proposals=proposals, scales=(1, 0.5)
        ).fit(digits.X, digits.y)
        for own in pair(fitted, digits)
    )
    scenes, _ = make_scenes(digits.X_test, digits.y_test, n_scenes=3, random_state=0)
    expected = ours.localize(scenes)
    assert len(expected)
    assert len(theirs.localize(scenes)) == pytest.approx(len(expected), rel=0.2)


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

"""Networks that are not functions of an image alone: warned of, refused, or made so."""

import re
import warnings

import networks
import numpy as np
import pytest
import torch
from networks import N_CLASSES, Function
from torch import nn
from torch.nn import functional as F

from sklearn_similar import SimilarNetClassifier

X = np.random.RandomState(0).uniform(size=(40, 16, 16, 3)).astype(np.float32)
Y = np.arange(40) % N_CLASSES


class Counter(nn.Module):
    """Counts its calls, in training or not."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * (1 + self.calls)


class Leftovers(nn.Module):
    """Keeps what a forward pass that ends half-way does not take away again."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.second = nn.Conv2d(6, 6, 3)
        self.fc = nn.Linear(6, N_CLASSES)
        self.kept = []

    def forward(self, x):
        x = self.first(x)
        self.kept.append(x.mean((2, 3)))
        x = self.second(x).mean((2, 3)) + self.kept[0][: len(x)]
        self.kept.clear()
        return self.fc(x)


def network(*before_the_end):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        *before_the_end,
        nn.Linear(6, N_CLASSES),
    )


def without_statistics():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6, track_running_stats=False),
        nn.ReLU(),
        *networks.pooled_linear(6),
    )


EACH_TIME = "scores the same images differently each time"
OTHER_IMAGES = "scores of an image depend on the other images"
IRREGULAR = {
    "dropout": (lambda: network(Function(lambda x: F.dropout(x, 0.5))), EACH_TIME),
    "random": (lambda: network(Function(lambda x: x + torch.rand(6))), EACH_TIME),
    "counter": (lambda: network(Counter()), EACH_TIME),
    "batch statistics": (without_statistics, OTHER_IMAGES),
    "batch mean": (lambda: network(Function(lambda x: x - x.mean(0))), OTHER_IMAGES),
}


def said_of_regularity(record):
    return [str(w.message) for w in record if "In evaluation mode" in str(w.message)]


def train(module, **params):
    params = {"max_epochs": 1, "batch_size": 16, "random_state": 0} | params
    return SimilarNetClassifier(module, **params).fit(X, Y)


@pytest.mark.parametrize("name", IRREGULAR)
def test_one_warning_in_fit_and_one_in_fit_importance_of_what_is_not_exact(name):
    build, expected = IRREGULAR[name]
    with pytest.warns(UserWarning, match="In evaluation mode") as in_fit:
        model = train(build())
    with pytest.warns(UserWarning, match="In evaluation mode") as in_measure:
        model.fit_importance(X, Y)
    for record in (in_fit, in_measure):
        (said,) = said_of_regularity(record)
        assert expected in said
        assert said.endswith("importances and heatmaps are not exact.")
    assert model.ablation_method_ == "network"
    assert np.isfinite(model.filter_importances_).all()
    assert np.isfinite(model.heatmap(X, 1)).all()


def test_the_warning_comes_without_importances_too():
    with pytest.warns(UserWarning, match=EACH_TIME):
        train(network(Counter()), validation_fraction=None)


@pytest.mark.parametrize(
    "build",
    [
        networks.vgg,
        networks.resnet,
        networks.group_norm,
        networks.FeaturesFromHook,
        networks.ImagesInPlace,
    ],
)
def test_networks_that_are_exact_are_not_warned_of(build):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = train(build)
    module = model.net_.module_
    with torch.no_grad():
        own = torch.from_numpy(X).permute(0, 3, 1, 2).contiguous()
        expected = torch.softmax(module(own.clone()), 1).numpy()
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-5)
    assert np.isfinite(model.transform(X)).all()


def test_images_of_the_user_stay_as_they_are():
    before = X.copy()
    train(networks.ImagesInPlace).transform(X)
    np.testing.assert_array_equal(X, before)


def test_a_network_that_needs_several_images_is_refused():
    module = network(nn.BatchNorm1d(6, track_running_stats=False))
    said = "not one alone (Expected more than 1 value per channel"
    with pytest.raises(ValueError, match=re.escape(said)):
        train(module)


def test_a_network_that_a_pass_cut_short_would_alter_is_refused():
    with pytest.raises(ValueError, match="keeps values of one forward pass"):
        train(Leftovers)


def test_a_hook_that_misses_the_copy_of_its_module_is_named():
    module, features = networks.FeaturesFromHook(), {}
    module.trunk[5]._forward_hooks.clear()
    # The copy of the module, which is trained, has a copy of the dictionary.
    module.features = features
    module.trunk[5].register_forward_hook(
        lambda _module, _inputs, output: features.update({0: output})
    )
    said = re.escape("(KeyError: 0). It has hooks")
    with pytest.raises(ValueError, match=said):
        train(module)


def test_features_that_a_hook_stores_are_those_of_the_same_images():
    model = train(networks.FeaturesFromHook)
    heat, features = model.transform(X), model.net_.module_.features
    assert features == []
    np.testing.assert_allclose(model.transform(X[5:6]), heat[5:6], atol=1e-5)

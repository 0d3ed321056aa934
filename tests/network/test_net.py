"""The skorch net: learning rates, weights as arrays, and memory formats."""

import copy

import numpy as np
import pytest
import torch
from networks import Probabilities, Scores, as_network, specification, train
from torch import nn

from sklearn_similar import LeNet
from sklearn_similar._images.images import to_tensor
from sklearn_similar._network.net import (
    InverseDecay,
    LinearDecay,
    safe_memory_format,
)
from sklearn_similar._network.training import PixelDataset


def test_learning_rate_decays_with_the_updates():
    assert [InverseDecay(0.5)(n) for n in (0, 1, 2)] == [1, 1 / 1.5, 1 / 2]


def test_learning_rate_rises_in_a_tenth_of_the_updates_and_falls_to_zero():
    factors = [LinearDecay(20)(n) for n in range(22)]
    expected = [0.5, 1, *np.arange(18, 0, -1) / 18, 0, 0]
    np.testing.assert_allclose(factors, expected)
    assert [LinearDecay(1)(n) for n in range(2)] == [1, 0]


def test_weights_of_another_network_are_refused(images, y):
    arrays, history = train(images, y, module=Scores)
    params = {"module__width": 5}
    net = specification(module=Scores, net_params=params).build()
    message = r"'conv.weight' has the shape \(5, .* in it, and the shape \(4, .* saved"
    with pytest.raises(ValueError, match=message):
        net.restore(arrays, history)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_arrays_bring_a_net_back(images, y):
    arrays, history = train(images, y, module=Scores)
    net = specification(module=Scores).build()
    net.restore(arrays, history)
    assert_same(net.arrays(), arrays)
    assert net.history.to_list() == history
    assert not any(module.training for module in net.module_.modules())
    # Further training would not change the arrays that it came from.
    before = copy.deepcopy(arrays)
    with torch.no_grad():
        net.module_.conv.weight.zero_()
    assert_same(arrays, before)


@pytest.mark.parametrize("module", [Scores, Probabilities])
def test_probabilities_are_those_of_skorch(images, y, module):
    params = {"criterion": nn.NLLLoss} if module is Probabilities else None
    net = specification(module=module, net_params=params).build()
    net.partial_fit(PixelDataset(images, y, 1), None)
    network = as_network(
        net.module_,
        n_classes=3,
        n_channels=1,
        returns_probabilities=module is Probabilities,
    )
    found = network.predict_proba(images)
    tensor = torch.from_numpy(images.pixels).permute(0, 3, 1, 2)
    np.testing.assert_allclose(found, net.predict_proba(tensor.numpy()), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    net.module_.eval()
    with torch.no_grad():
        log_proba = network.log_probabilities(net.module_(tensor))
    np.testing.assert_allclose(log_proba, np.log(found), rtol=1e-4, atol=1e-6)


class Tutorial(nn.Module):
    """The network of PyTorch's tutorials: flattened by `view`."""

    def __init__(self, n_classes=10, in_channels=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, n_classes)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        return self.fc1(x.view(x.size(0), -1))


class OwnLeNet(LeNet):
    def forward(self, images):
        return super().forward(images)


def hooked():
    network = LeNet()
    network.features.relu1.register_forward_hook(lambda *_: None)
    return network


def strided(kernel):
    return nn.Sequential(nn.Conv2d(4, 8, kernel, stride=2), nn.ReLU())


@pytest.mark.parametrize(
    ("module", "is_fast"),
    [
        (LeNet(), True),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten()), True),
        (strided(3), True),
        (strided(1), False),
        (OwnLeNet(), False),
        (Tutorial(), False),
        (hooked(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_known_layers_are_given_channels_last(module, is_fast):
    expected = torch.channels_last if is_fast else torch.contiguous_format
    assert safe_memory_format(module) == expected


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_have_the_memory_format_that_is_passed(n_channels, dtype):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (2, 5, 4, 3)).astype(dtype)[..., :n_channels]
    usual = to_tensor(pixels, n_channels)
    last = to_tensor(pixels, n_channels, torch.channels_last)
    area = 5 * 4
    assert usual.stride() == (n_channels * area, area, 4, 1)
    assert last.stride() == (n_channels * area, 1, 4 * n_channels, n_channels)
    assert torch.equal(usual, last)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_network_that_flattens_by_view_is_trained(digits, quick, n_channels):
    X, X_test = digits.X, digits.X_test
    if n_channels == 3:
        X, X_test = (np.stack([images] * 3, axis=3) for images in (X, X_test))
    estimator = quick(module=Tutorial, max_epochs=8, lr=0.01).fit(X, digits.y)
    assert estimator.score(X_test, digits.y_test) > 0.5
    assert estimator.heatmap(X_test, target=3).shape == (100, 28, 28)

"""The default layer of a network, and what is said of layers that cannot be used."""

import re

import networks
import pytest
import torch
import torch.nn.functional as F
from networks import trained
from torch import nn

from sklearn_similar import LeNet
from sklearn_similar._network.forward import (
    eval_mode,
)
from sklearn_similar._network.layers import find_first_block, find_layer, find_layers

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def default_layer(module, images=IMAGES):
    with eval_mode(module):
        return find_layer(module, None, images)


class TorchvisionStyle(nn.Module):
    """Named stages, functional global pooling, as large published networks."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.layer1 = nn.Sequential(networks.Residual(6, 6), networks.Residual(6, 6))
        self.layer2 = nn.Sequential(networks.Residual(6, 8, 2), networks.Residual(8, 8))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = self.avgpool(self.layer2(self.layer1(self.stem(x))))
        return self.fc(torch.flatten(x, 1))


class PoolingInside(nn.Module):
    """A block that ends in a pooling that is not a module."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, padding=1)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.conv(x)), 2)


class Activation(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


def head(n):
    return networks.pooled_linear(n)


# Network and its default layer.
DEFAULTS = {
    "LeNet": (lambda: LeNet(4, (16, 16), 3), "features.relu2"),
    "VGG": (networks.vgg, "5"),
    "VGG, dropout in place": (networks.vgg_with_average, "5"),
    "no activation": (networks.global_pooling, "4"),
    "SiLU in place": (
        lambda: networks.global_pooling(nn.SiLU(inplace=True)),
        "5",
    ),
    "an activation of one's own": (
        lambda: networks.global_pooling(Activation()),
        "5",
    ),
    "identity after": (
        lambda: networks.global_pooling(nn.ReLU(), nn.Identity(), nn.Dropout2d()),
        "5",
    ),
    "all convolutional": (networks.all_convolutional, "7"),
    "residual": (networks.resnet, "2"),
    "residual, in stages": (TorchvisionStyle, "layer2.1"),
    "pre-activation": (networks.pre_activation, "2"),
    "densely connected": (networks.densenet, "6"),
    "inception": (networks.inception, "7"),
    "squeeze and excitation": (networks.squeeze_excitation, "6"),
    "separable": (networks.separable, "10"),
    "group norm": (networks.group_norm, "7"),
    "group norm, activation in place": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(inplace=True), *head(4)
        ),
        "2",
    ),
    "layer norm": (networks.layer_norm, "5"),
    "functional": (networks.Functional, "conv2"),
    "data-dependent": (networks.DataDependent, "conv2"),
    "functional pooling in blocks": (
        lambda: nn.Sequential(
            nn.Sequential(PoolingInside(3, 4), PoolingInside(4, 5)), *head(5)
        ),
        "0.1.conv",
    ),
    "pooling in blocks": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2)), *head(4)
        ),
        "0.1",
    ),
    "pooling without strides": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 1, 1), *head(4)),
        "0",
    ),
    "convolution as classifier": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 14), nn.Flatten()
        ),
        "1",
    ),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_layer_ends_the_last_convolutional_block(name):
    build, expected = DEFAULTS[name]
    assert default_layer(trained(build)) == expected


@pytest.mark.parametrize(
    ("build", "layer", "expected"),
    [
        (lambda: LeNet(4, (16, 16), 3), "features.relu2", "features.relu1"),
        (networks.vgg, "5", "1"),
        (TorchvisionStyle, "layer2.1", "stem"),
        # Batch norm and activation of the next block come before its convolution.
        (networks.densenet, "6", "1.layers.0.1"),
        # Functional activations are not modules.
        (networks.Functional, "conv2", "conv1"),
        # The layer belongs to the block.
        (networks.vgg, "0", None),
        (networks.vgg, "1", None),
        (networks.SharedConvolution, "conv", None),
    ],
)
def test_the_first_block_ends_before_the_next_convolution(build, layer, expected):
    with eval_mode(trained(build)) as module:
        assert find_first_block(module, layer, IMAGES) == expected


def test_default_layer_of_images_of_one_pixel():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), *head(4))
    assert default_layer(module, torch.rand(2, 3, 1, 1)) == "1"


def test_a_layer_that_runs_twice_is_not_the_default():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.again = nn.Conv2d(4, 4, 3, padding=1)
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            x = self.again(self.again(self.first(x)))
            return self.fc(x.mean((2, 3)))

    module = Twice()
    assert default_layer(module) == "first"
    with eval_mode(module), pytest.raises(ValueError, match="'again' runs 2 times"):
        find_layer(module, "again", IMAGES)


def test_a_layer_that_does_not_run_is_refused():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), *head(4))
    module.aside = nn.Conv2d(3, 4, 3)
    module.forward = lambda x: module[3](module[2](module[1](module[0](x))))
    with eval_mode(module), pytest.raises(ValueError, match="'aside' runs 0 times"):
        find_layer(module, "aside", IMAGES)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(768, 4)),
        nn.Sequential(nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(192, 4)),
    ],
)
def test_networks_without_convolutions_are_refused(module):
    with pytest.raises(ValueError, match="no two-dimensional convolution"):
        default_layer(module)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("features.rellu2", "did you mean 'features.relu2'?"),
        ("feature.conv2", "did you mean 'features.conv2'?"),
        ("nothing like it", "It has features, features.conv1"),
        ("", "It has features, features.conv1"),
        ("classifier.fc1", "name a convolutional layer"),
    ],
)
def test_unusable_layers_are_named_with_a_remedy(layer, said):
    module = LeNet(4, (16, 16), 3)
    said = f"{re.escape(repr(layer))}.*{re.escape(said)}"
    with eval_mode(module), pytest.raises(ValueError, match=said):
        find_layer(module, layer, IMAGES)


def test_a_layer_with_several_outputs_is_refused():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pair = nn.Conv2d(3, 4, 3), Pair()

        def forward(self, x):
            return self.pair(self.conv(x))[0].mean((2, 3))

    module = Net()
    with eval_mode(module), pytest.raises(ValueError, match="'pair' gives tuple"):
        find_layer(module, "pair", IMAGES)


@pytest.mark.parametrize("container", [list, tuple])
def test_layers_are_returned_in_the_order_given(container):
    layers = ["features.relu2", "features.conv1"]
    with eval_mode(LeNet(4, (16, 16), 3)) as module:
        assert find_layers(module, container(layers), IMAGES) == layers
        assert find_layers(module, layers[1], IMAGES) == layers[1]
        assert find_layers(module, None, IMAGES) == layers[0]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([], "layer is []; pass the path of a layer, or a list"),
        (["features.relu1"] * 2, "pass the path of a layer, or a list of different"),
        ([3], "layer is [3]; pass the path of a layer"),
        ([None, "features.relu2"], "layer is [None, 'features.relu2']; pass the path"),
        ([["features.relu1"]], "pass the path of a layer, or a list of different"),
        (["features.relu1", "features.rellu2"], "did you mean 'features.relu2'?"),
        (["features.relu1", "classifier.fc1"], "'classifier.fc1' gives (2, 120)"),
    ],
)
def test_unusable_lists_of_layers_are_named_with_a_remedy(layers, said):
    module = LeNet(4, (16, 16), 3)
    with eval_mode(module), pytest.raises(ValueError, match=re.escape(said)):
        find_layers(module, layers, IMAGES)

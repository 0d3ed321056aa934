"""Networks with the cheapest exact strategy, and naive loops that mask filters."""

from functools import partial

import networks
import numpy as np
import torch
from networks import N_CLASSES, as_images, as_network, feature_maps
from torch import nn

from sklearn_similar import LeNet
from sklearn_similar._ablation.errors import (
    ValidationData,
    sum_errors,
)
from sklearn_similar._ablation.selection import select_strategy
from sklearn_similar._network.forward import eval_mode

# Network, layer, and the cheapest way that is exact for it.
CASES = {
    "LeNet": (lambda: LeNet(N_CLASSES, (16, 16), 3), "features.relu2", "linear"),
    "LeNet, first layer": (
        lambda: LeNet(N_CLASSES, (16, 16), 3),
        "features.conv1",
        "linear",
    ),
    "VGG": (networks.vgg, "5", "linear"),
    "VGG, before batch norm": (networks.vgg, "3", "linear"),
    "VGG, first layer": (networks.vgg, "1", "linear"),
    "VGG with average pooling": (networks.vgg_with_average, "5", "linear"),
    "SiLU, global pooling": (
        lambda: networks.global_pooling(nn.SiLU(inplace=True)),
        "5",
        "linear",
    ),
    "GELU, global pooling": (
        lambda: networks.global_pooling(nn.GELU()),
        "4",
        "linear",
    ),
    "all convolutional": (networks.all_convolutional, "5", "linear"),
    "all convolutional, last layer": (networks.all_convolutional, "8", "head"),
    "residual, last block": (networks.resnet, "2", "linear"),
    "residual, inside the last block": (networks.resnet, "2.bn2", "linear"),
    "residual, inside a block": (networks.resnet, "2.conv1", "linear"),
    "residual, block before strides": (networks.resnet, "1", "linear"),
    "residual, before an identity": (networks.resnet, "0", "head"),
    "pre-activation in place": (networks.pre_activation, "2.conv", "linear"),
    "pre-activation, overwritten": (networks.pre_activation, "0", "head"),
    "densely connected": (networks.densenet, "4.layers.2.2", "linear"),
    "densely connected, middle": (networks.densenet, "1.layers.0.2", "head"),
    "densely connected, end": (networks.densenet, "5", "linear"),
    "inception": (networks.inception, "7", "linear"),
    "inception, one branch": (networks.inception, "7.branch3", "linear"),
    "inception, before branches": (networks.inception, "5", "linear"),
    "squeeze and excitation after": (networks.squeeze_excitation, "5", "head"),
    "squeeze and excitation": (networks.squeeze_excitation, "6", "linear"),
    "depthwise separable": (networks.separable, "5", "linear"),
    "grouped": (networks.grouped, "5", "linear"),
    "dilated": (networks.dilated, "5", "linear"),
    "group norm": (networks.group_norm, "5", "head"),
    "layer norm": (networks.layer_norm, "5", "head"),
    "functional": (networks.Functional, "conv2", "linear"),
    "functional weights": (networks.FunctionalWeights, "conv", "head"),
    "data-dependent": (networks.DataDependent, "conv2", "network"),
    "concatenated poolings": (networks.ConcatenatedPooling, "relu", "linear"),
    "permuted channels": (networks.shuffled, "5", "linear"),
    "comparison between filters": (networks.SwallowsNaN, "conv", "head"),
    "comparison out of sight": (networks.OpaqueComparison, "conv", "head"),
    "running sum": (networks.RunningSum, "conv", "head"),
    "unused branch": (networks.UnusedBranch, "conv", "head"),
    "both signs": (lambda: networks.both_signs(1), "4", "linear"),
    "both signs, grouped": (lambda: networks.both_signs(2), "4", "head"),
    "reflected": (networks.reflected, "5", "head"),
    "writes to a view": (networks.WritesToView, "conv", "network"),
    "writes without return": (networks.WritesWithoutReturn, "conv", "network"),
    "probabilities": (networks.probabilities, "5", "linear"),
    "flipped channels": (
        lambda: networks.altered_by(lambda x: x.flip(1)),
        "5",
        "linear",
    ),
    "in place on itself": (
        lambda: networks.altered_by(lambda x: x.clamp_(max=1)),
        "5",
        "linear",
    ),
    "weight normalisation": (
        lambda: networks.mixed_by(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 6, 3))
        ),
        "5",
        "linear",
    ),
    "spectral normalisation": (
        lambda: networks.mixed_by(nn.utils.spectral_norm(nn.Conv2d(8, 6, 3))),
        "5",
        "linear",
    ),
    "images in place": (networks.ImagesInPlace, "rest.5", "linear"),
    "overwritten by the layer": (networks.LayerInPlace, "relu", "network"),
    "shared convolution": (networks.SharedConvolution, "conv", "head"),
    "features from a hook": (networks.FeaturesFromHook, "trunk.4", "network"),
    "hook on the output": (
        lambda: networks.hooked("register_forward_hook", networks.clamp_output),
        "5",
        "network",
    ),
    "hook on the input": (
        lambda: networks.hooked("register_forward_pre_hook", networks.clamp_input),
        "5",
        "network",
    ),
} | {
    function.__name__.replace("_", " "): (
        partial(networks.altered_by, function),
        "5",
        "network",
    )
    for function in (
        networks.overwrite_reshaped,
        networks.overwrite_channels,
        networks.overwrite_data,
        networks.overwrite_select,
        networks.overwrite_out,
        networks.overwrite_before_view_is_read,
        networks.assign_data,
        networks.clamp_tensors,
        networks.clamp_large_tensors,
        networks.clamp_unless_it_fails,
    )
}


def log_softmax(output):
    return torch.log_softmax(output, dim=1)


def draw_images(n_images, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n_images, 3, 16, 16, generator=generator)
    return images * torch.linspace(0.2, 3, n_images)[:, None, None, None]


def validation_data(images, y, indices=None):
    """Images of equal weight."""
    indices = np.arange(len(y)) if indices is None else indices
    return ValidationData(
        images=as_images(images), indices=indices, y=y, weights=np.ones(len(y))
    )


def fast_sums(
    module, layer, images, y, replacement=None, log_probabilities=log_softmax
):
    network = as_network(module, returns_probabilities=log_probabilities is torch.log)
    with eval_mode(module):
        maps = feature_maps(module, layer, images[:3])
        strategy = select_strategy(module, layer, images[:3], maps)
        if replacement is None:
            replacement = torch.zeros(maps.activations.shape[1])
        data = validation_data(images, y)
        (sums,) = sum_errors(network, [strategy], [replacement], data)
    return sums, strategy.method


def naive_log_proba(module, layer, images, index, value, log_probabilities):
    def mask(_module, _inputs, output):
        output = output.clone()
        output[:, index] = value
        return output

    handle = module.get_submodule(layer).register_forward_hook(mask)
    try:
        with torch.no_grad():
            return log_probabilities(module(images.clone())).double()
    finally:
        handle.remove()


def naive_log_probas(module, layer, images, replacement, log_probabilities=log_softmax):
    """With all filters, then without each."""
    with eval_mode(module):
        whole = log_probabilities(module(images.clone())).double()
        return [whole] + [
            naive_log_proba(module, layer, images, index, value, log_probabilities)
            for index, value in enumerate(replacement)
        ]


def naive_sums(module, layer, images, y, replacement, log_probabilities=log_softmax):
    log_loss, error = [], []
    for log_proba in naive_log_probas(
        module, layer, images, replacement, log_probabilities
    ):
        losses = [-float(log_proba[i, y[i]]) for i in range(len(y))]
        wrong = [int(log_proba[i].argmax() != y[i]) for i in range(len(y))]
        by_class = [[i for i in range(len(y)) if y[i] == c] for c in range(N_CLASSES)]
        log_loss.append([sum(losses[i] for i in own) for own in by_class])
        error.append([sum(wrong[i] for i in own) for own in by_class])
    return np.array(log_loss), np.array(error)


def assert_equal_to_naive(module, layer, method, replacement, log_probabilities, tol):
    images = draw_images(13)
    y = np.arange(13) % (N_CLASSES - 1)
    sums, found = fast_sums(module, layer, images, y, replacement, log_probabilities)
    assert found == method
    log_loss, error = naive_sums(
        module, layer, images, y, replacement, log_probabilities
    )
    n_images = np.bincount(y, minlength=N_CLASSES)
    np.testing.assert_array_equal(sums.weight, n_images)
    per_image = np.maximum(n_images, 1)
    np.testing.assert_allclose(
        sums.log_loss / per_image, log_loss / per_image, rtol=tol, atol=tol
    )
    np.testing.assert_array_equal(sums.error, error)
    # Otherwise little was compared. Which filters have no effect, as a later ReLU is
    # zero, depends on the images, and those on how a processor draws random numbers.
    assert (np.abs(log_loss[1:] - log_loss[0]).sum(axis=1) > 0).mean() > 0.25


def n_filters_of(module, layer):
    with eval_mode(module):
        return feature_maps(module, layer, draw_images(1), "pooled").activations.shape[
            1
        ]


def state_of(module):
    """State that ablation must not change."""
    return {
        "modes": [child.training for child in module.modules()],
        "hooks": [len(child._forward_hooks) for child in module.modules()],
        "paths": [path for path, _ in module.named_modules()],
        "weights": {key: value.clone() for key, value in module.state_dict().items()},
    }


def assert_same_state(state, expected):
    for key, value in state.pop("weights").items():
        assert torch.equal(value, expected["weights"][key]), key
    assert state == {key: expected[key] for key in state}

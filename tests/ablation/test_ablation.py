"""The error without each filter, against a naive loop that masks with a hook."""

import sys
import threading
import warnings
from functools import partial
from unittest import mock

import networks
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import N_CLASSES, as_images, as_network, feature_maps, trained
from sklearn.exceptions import EfficiencyWarning
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_similar import LeNet
from sklearn_similar._ablation.cross_channel import first_cross_channel_layers
from sklearn_similar._ablation.graph import LayerGraph
from sklearn_similar._ablation.importances import (
    ErrorSums,
    ablate,
    add_errors,
    choose_strategies,
    importances,
    mean_activations,
    sum_errors,
)
from sklearn_similar._ablation.strategies import (
    NetworkMasking,
    NotExact,
    choose_strategy,
    run_noting,
)
from sklearn_similar._heatmaps.methods.contrastive import mean_log_odds_drops
from sklearn_similar._network.activations import eval_mode

pytestmark = pytest.mark.filterwarnings(
    "ignore:The network cannot be traced .TypeError"
)

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


def fast_sums(
    module, layer, images, y, replacement=None, log_probabilities=log_softmax
):
    network = as_network(module, returns_probabilities=log_probabilities is torch.log)
    with eval_mode(module):
        activations = feature_maps(module, layer, images[:3]).activations
        strategy = choose_strategy(module, layer, images[:3], activations)
        if replacement is None:
            replacement = activations.new_zeros(activations.shape[1])
        sums = ErrorSums.zeros(len(replacement), N_CLASSES)
        for indices, batch in network.batches(as_images(images)):
            noted = run_noting(module, batch, [strategy])
            ones = np.ones(len(y))
            add_errors(sums, network, strategy, noted, indices, y, ones, replacement)
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
    module.eval()
    with torch.no_grad():
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


@pytest.mark.parametrize("name", CASES)
def test_errors_without_each_filter_equal_a_masking_loop(name):
    build, layer, method = CASES[name]
    module = trained(build)
    log_probabilities = torch.log if name == "probabilities" else log_softmax
    replacement = torch.zeros(n_filters_of(module, layer))
    tolerance = 1e-6 if name.startswith("LeNet") else 1e-5
    assert_equal_to_naive(
        module, layer, method, replacement, log_probabilities, tolerance
    )


@pytest.mark.parametrize("name", CASES)
def test_mean_ablation_equals_a_masking_loop(name):
    build, layer, method = CASES[name]
    module = trained(build)
    log_probabilities = torch.log if name == "probabilities" else log_softmax
    images = draw_images(13)
    with eval_mode(module):
        (replacement,) = mean_activations(
            as_network(module), [layer], as_images(images), np.arange(13), np.ones(13)
        )
        activations = feature_maps(module, layer, images, "pooled").activations
    expected = [
        np.mean([float(v) for v in activations[:, i].flatten()])
        for i in range(activations.shape[1])
    ]
    np.testing.assert_allclose(replacement, expected, rtol=1e-5, atol=1e-6)
    assert_equal_to_naive(module, layer, method, replacement, log_probabilities, 1e-5)


@pytest.mark.parametrize("n_filters", [1, 2, 3, 16, 17])
def test_any_number_of_filters_is_taken_apart(n_filters):
    def build():
        return nn.Sequential(
            nn.Conv2d(3, n_filters, 3),
            nn.ReLU(),
            nn.Conv2d(n_filters, N_CLASSES, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    # A single filter never meets another.
    method = "head" if n_filters == 1 else "linear"
    assert_equal_to_naive(
        trained(build), "0", method, torch.zeros(n_filters), log_softmax, 1e-5
    )


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("mixing", ["linear", "convolution", "grouped", "per place"])
def test_permuted_channels_are_taken_apart(mixing, seed):
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    permutation = networks.Function(lambda x: x[:, order])
    layers = {
        "linear": [*networks.pooled_linear(8)[:2], permutation, nn.Linear(8, 4)],
        "convolution": [permutation, nn.Conv2d(8, 6, 3), *networks.pooled_linear(6)],
        "grouped": [
            permutation,
            nn.Conv2d(8, 6, 3, groups=2),
            nn.ReLU(),
            *networks.pooled_linear(6),
        ],
        # Two places of each filter, and the filters permuted.
        "per place": [
            nn.AdaptiveAvgPool2d((1, 2)),
            permutation,
            nn.Flatten(),
            nn.Linear(16, N_CLASSES),
        ],
    }[mixing]

    def build():
        return nn.Sequential(*networks.convolutions(8, nn.ReLU()), *layers)

    assert_equal_to_naive(
        trained(build), "5", "linear", torch.zeros(8), log_softmax, 1e-5
    )


@pytest.mark.parametrize("place", ["before the layer that mixes channels", "after it"])
def test_masking_takes_over_where_the_shortcut_fails_on_later_images(place):
    """Which no comparison on the first images can see."""
    function = networks.Function(networks.clamp_large_batches)
    mixing = nn.Conv2d(8, 6, 3, padding=1)
    order = [function, mixing] if place.startswith("before") else [mixing, function]
    module = trained(lambda: networks.mixed_by(*order))
    images, y = draw_images(13) * 3, np.arange(13) % N_CLASSES
    with eval_mode(module):
        methods, (sums,), _ = ablate(
            as_network(module, batch_size=13),
            ["5"],
            as_images(images),
            np.arange(13),
            y,
            np.ones(13),
            "zero",
        )
    assert methods == ["network"]
    expected, error = naive_sums(module, "5", images, y, torch.zeros(8))
    np.testing.assert_allclose(sums.log_loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(sums.error, error)


@pytest.mark.parametrize("strategy", ["choose_strategy", "NetworkMasking"])
def test_images_with_scores_that_are_not_finite_are_named(strategy, monkeypatch):
    module = trained(networks.vgg)
    nn.init.constant_(module[0].weight, 1.0)
    images = draw_images(13)
    images[9] *= 1e38
    if strategy == "NetworkMasking":
        monkeypatch.setattr(
            "sklearn_similar._ablation.importances.choose_strategy",
            lambda module, layer, *_: NetworkMasking(module, layer),
        )
    with eval_mode(module), pytest.raises(ValueError, match="Image 9 gets scores"):
        ablate(
            as_network(module),
            ["5"],
            as_images(images),
            np.arange(13),
            np.arange(13) % N_CLASSES,
            np.ones(13),
            "zero",
        )


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][2] == "head"])
def test_filters_that_meet_otherwise_are_not_taken_apart(name):
    """Not even where the comparison with masking would not have noticed."""
    build, layer, _ = CASES[name]
    module = trained(build)
    with eval_mode(module):
        graph = LayerGraph.trace(module, layer, draw_images(2))
        assert (
            first_cross_channel_layers(
                graph, draw_images(2), n_filters_of(module, layer)
            )
            == []
        )


@pytest.mark.parametrize("name", ["VGG", "functional", "inception", "dilated"])
def test_filters_are_stacked(name):
    build, layer, _ = CASES[name]
    module = trained(build)
    images = draw_images(4)
    with eval_mode(module):
        activations = feature_maps(module, layer, images, "pooled").activations
        head = choose_strategy(module, layer, images, activations)
        n_filters = activations.shape[1]
        noted = run_noting(module, images, [head])
        outputs = list(head.run(noted, activations.new_zeros(n_filters)))
    assert [tuple(output.shape) for output in outputs] == [
        (4, N_CLASSES),
        (n_filters, 4, N_CLASSES),
    ]


@pytest.mark.parametrize(
    "function", [nn.Identity(), networks.Function(networks.clamp_large_batches)]
)
def test_masks_share_a_pass_unless_many_images_are_treated_otherwise(function):
    mixing = nn.Conv2d(8, 6, 3, padding=1)
    module = trained(lambda: networks.mixed_by(function, mixing))
    images, replacement = 3 * draw_images(4), torch.linspace(0, 1, 8)
    masks = [(replacement, torch.arange(8) == index) for index in range(5)]
    together = NetworkMasking(module, "5", can_stack=True)
    with eval_mode(module):
        expected = NetworkMasking(module, "5").run_each(images, masks)
        if isinstance(function, nn.Identity):
            found = together.run_each(images, masks)
            torch.testing.assert_close(torch.stack(found), torch.stack(expected))
        else:
            with pytest.raises(NotExact):
                together.run_each(images, masks)


def test_several_layers_take_one_pass():
    module = trained(networks.vgg)
    layers = ["1", "3", "5"]
    images, y = draw_images(7), np.arange(7) % N_CLASSES
    data = as_images(images), np.arange(7), y, np.ones(7)
    network = as_network(module)
    with eval_mode(module):
        strategies, zeros = choose_strategies(network, layers, images)
        assert [strategy.method for strategy in strategies] == ["linear"] * 3
        apart = [
            sum_errors(network, [strategy], [zero], *data)
            for strategy, zero in zip(strategies, zeros, strict=True)
        ]
        passes = []
        handle = module[0].register_forward_hook(lambda *_: passes.append(1))
        sums = sum_errors(network, strategies, zeros, *data)
        handle.remove()
    assert len(passes) == 2  # batches of 5 and 2
    for together, (alone,) in zip(sums, apart, strict=True):
        np.testing.assert_array_equal(together.log_loss, alone.log_loss)


def test_inexact_strategies_are_run_no_further():
    """Only the layers that are still exact are noted, and no batch if there is none."""
    module = trained(networks.vgg)
    layers = ["1", "3"]
    images, y = draw_images(12), np.arange(12) % N_CLASSES
    network = as_network(module)
    passes = []
    noted = mock.Mock(side_effect=run_noting)

    def refuse(*_):
        raise NotExact

    run = "sklearn_similar._ablation.importances.run_noting"
    with eval_mode(module), mock.patch(run, noted):
        strategies, zeros = choose_strategies(network, layers, images)
        arguments = zeros, as_images(images), np.arange(12), y, np.ones(12)
        strategies[0].run = refuse
        first, second = sum_errors(network, strategies, *arguments)
        n_noted = [len(call.args[2]) for call in noted.call_args_list]
        strategies[1].run = refuse
        handle = module[0].register_forward_hook(lambda *_: passes.append(1))
        neither = sum_errors(network, strategies, *arguments)
        handle.remove()
    assert first is None
    assert second.weight.sum() == 12
    assert n_noted == [2, 1, 1]  # batches of 5, 5 and 2
    assert neither == [None, None]
    assert len(passes) == 1


@pytest.mark.parametrize("name", ["VGG", "all convolutional", "grouped", "inception"])
def test_filters_in_chunks_give_the_same(name, monkeypatch):
    build, layer, _ = CASES[name]
    module = trained(build)
    images, y = draw_images(7), np.arange(7) % N_CLASSES
    whole, _ = fast_sums(module, layer, images, y)
    monkeypatch.setattr("sklearn_similar._ablation.strategies._MAX_VALUES", 1500)
    chunked, _ = fast_sums(module, layer, images, y)
    np.testing.assert_allclose(chunked.log_loss, whole.log_loss, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_the_network_is_left_as_it_was(name):
    build, layer, _ = CASES[name]
    module = trained(build)
    frozen = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
    frozen.eval()
    weights = {key: value.clone() for key, value in module.state_dict().items()}
    modes = [child.training for child in module.modules()]
    hooks = [len(child._forward_hooks) for child in module.modules()]
    paths = [path for path, _ in module.named_modules()]
    log_probabilities = torch.log if name == "probabilities" else log_softmax
    fast_sums(
        module, layer, draw_images(4), np.arange(4), log_probabilities=log_probabilities
    )
    assert [child.training for child in module.modules()] == modes
    assert [len(child._forward_hooks) for child in module.modules()] == hooks
    assert [path for path, _ in module.named_modules()] == paths
    for key, value in module.state_dict().items():
        assert torch.equal(value, weights[key]), key


class Failing(nn.Module):
    """Fails while it is traced, and at no other time."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        if isinstance(x, torch.fx.Proxy):
            raise self.error
        return x


def strategy_of(module, layer="5"):
    images = draw_images(3)
    with eval_mode(module):
        activations = feature_maps(module, layer, images).activations
        return choose_strategy(module, layer, images, activations).method


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        KeyboardInterrupt(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_interrupts_and_lack_of_memory_while_tracing_are_not_swallowed(error):
    with pytest.raises(type(error)):
        strategy_of(networks.altered_by(Failing(error)))


def test_faults_of_our_own_while_tracing_are_not_swallowed(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("sklearn_similar._ablation.graph.make_out_of_place", fail)
    with pytest.raises(ZeroDivisionError):
        strategy_of(networks.vgg())


def test_the_reason_is_named_where_a_network_is_slower_for_an_exception():
    module = networks.altered_by(Failing(KeyError("scale")))
    said = r"cannot be traced \(KeyError: 'scale'\).*the importances are the same"
    with pytest.warns(EfficiencyWarning, match=said):
        assert strategy_of(module) == "network"


def test_networks_that_decide_by_values_are_masked_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert strategy_of(trained(networks.DataDependent), "conv2") == "network"


def test_networks_can_be_trained_after_they_were_looked_at():
    class Caching(nn.Module):
        """Keeps a tensor that its first forward pass makes."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, N_CLASSES)
            self.ramp = None

        def forward(self, x):
            x = self.conv(x)
            if self.ramp is None:
                self.ramp = torch.linspace(0, 1, x.shape[3])
            return self.fc((x * self.ramp).mean((2, 3)))

    module = Caching()
    fast_sums(module, "conv", draw_images(4), np.arange(4))
    module(draw_images(4)).sum().backward()
    assert module.conv.weight.grad.abs().sum() > 0


class LargestTensor(TorchDispatchMode):
    """Context that knows the most values that a tensor had."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if isinstance(output, torch.Tensor) and not func.is_view:
            self.largest = max(self.largest, output.numel())
        return output


@pytest.mark.parametrize("mixing", ["linear", "convolution", "grouped convolution"])
def test_memory_is_bounded_by_a_batch_whatever_the_number_of_filters(
    mixing, monkeypatch
):
    n_filters = 64
    follows = {
        "linear": [nn.Flatten(), nn.Linear(n_filters * 14 * 14, 500)],
        "convolution": [nn.Conv2d(n_filters, 2, 3), nn.Conv2d(2, 16, 1), nn.Flatten()],
        "grouped convolution": [nn.Conv2d(n_filters, 32, 3, groups=16), nn.Flatten()],
    }[mixing]
    n_inputs = {"linear": 500, "convolution": 2304, "grouped convolution": 4608}
    module = nn.Sequential(
        nn.Conv2d(3, n_filters, 3),
        nn.ReLU(),
        *follows,
        nn.ReLU(),
        nn.Linear(n_inputs[mixing], N_CLASSES),
    )
    images, y = draw_images(5), np.arange(5) % N_CLASSES
    with eval_mode(module):
        activations = feature_maps(module, "1", images[:3], "pooled").activations
        head = choose_strategy(module, "1", images[:3], activations)
        with LargestTensor() as forward:
            module(images)
        monkeypatch.setattr("sklearn_similar._ablation.strategies._MAX_VALUES", 30_000)
        with LargestTensor() as ablation:
            sums = ErrorSums.zeros(64, N_CLASSES)
            noted = run_noting(module, images, [head])
            data = np.arange(5), y, np.ones(5)
            add_errors(sums, as_network(module), head, noted, *data, torch.zeros(64))
    assert head.method == "linear"
    assert ablation.largest == forward.largest > 30_000


@pytest.fixture
def frequent_thread_switches():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_thread_switches")
def test_threads_trace_networks_side_by_side():
    call = nn.Module.__call__
    methods, failures = [], []

    def work(seed):
        try:
            module = trained(networks.vgg)
            for _ in range(8):
                images = draw_images(4, seed)
                methods.append(fast_sums(module, "5", images, np.arange(4))[1])
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert methods == ["linear"] * 32
    assert nn.Module.__call__ is call


def no_log_proba(log_loss):
    """Sums of log probabilities that do not count."""
    return np.full((*log_loss.shape, log_loss.shape[1]), np.nan)


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, 50), min_size=3, max_size=3),
            min_size=n + 1,
            max_size=n + 1,
        )
    ),
    st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any),
    st.sampled_from(["log_loss", "error"]),
)
@settings(max_examples=50)
def test_importances_are_increases_of_the_mean_error(rows, n_images, measure):
    n_images = np.array(n_images)
    total = np.array(rows) * (n_images > 0)
    other = np.full(total.shape, np.nan)
    pair = (total, other) if measure == "log_loss" else (other, total)
    found = importances([ErrorSums(*pair, n_images, no_log_proba(total))], measure)
    mean = [sum(row) / sum(n_images) for row in total.tolist()]
    assert found.baseline_error == pytest.approx(mean[0])
    assert found.filter_errors == pytest.approx(mean[1:])
    assert found.filter_importances == pytest.approx(np.subtract(mean[1:], mean[0]))
    for label in range(3):
        expected = found.filter_importances
        if n_images[label]:
            own = total[:, label] / n_images[label]
            expected = own[1:] - own[0]
        assert found.class_importances[label] == pytest.approx(expected)


def test_the_first_of_equally_probable_classes_counts_as_predicted():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), *networks.pooled_linear(2))
    nn.init.zeros_(module[-1].weight)
    nn.init.zeros_(module[-1].bias)
    sums, _ = fast_sums(module, "0", draw_images(4), np.arange(4))
    assert sums.error.tolist() == [[0, 1, 1, 1]] * 3


def test_background_does_not_count_for_all_classes_together():
    rng = np.random.RandomState(0)
    log_loss, error = rng.uniform(size=(2, 4, 3))
    sums = ErrorSums(log_loss, error, np.full(3, 10), no_log_proba(error))
    without = ErrorSums(
        log_loss[:, :2], error[:, :2], np.full(2, 10), no_log_proba(error[:, :2])
    )
    found, wanted = importances([sums], "error", 2), importances([without], "error")
    assert found.baseline_error == pytest.approx(wanted.baseline_error)
    np.testing.assert_allclose(found.filter_importances, wanted.filter_importances)
    np.testing.assert_allclose(found.class_importances[:2], wanted.class_importances)


def naive_log_odds_drops(log_probas, y, background=None):
    """Drop of the log-odds of a class over another without each filter."""
    with_all, *without = [log_proba.numpy() for log_proba in log_probas]
    counted = [image for image, label in enumerate(y) if label != background]
    drops = np.zeros((N_CLASSES, N_CLASSES, len(without)))
    for label, other, index in np.ndindex(drops.shape):
        images = [image for image in range(len(y)) if y[image] == label]
        if images:
            drops[label, other, index] = np.mean(
                [
                    (with_all[image, label] - with_all[image, other])
                    - (without[index][image, label] - without[index][image, other])
                    for image in images
                ]
            )
        elif other != label:
            # The class is not in the images: its drop is the increase of the log loss.
            drops[label, other, index] = np.mean(
                [
                    with_all[image, y[image]] - without[index][image, y[image]]
                    for image in counted
                ]
            )
    return drops


def assert_drops(found, expected):
    """Equal but for a class over itself, which does not compete."""
    others = ~np.eye(N_CLASSES, dtype=bool)
    np.testing.assert_allclose(found[others], expected[others], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    "name",
    [
        "LeNet",
        "VGG",
        "residual, last block",
        "residual, before an identity",
        "layer norm",
        "data-dependent",
        "writes to a view",
        "probabilities",
    ],
)
@pytest.mark.parametrize("replaced", [0.0, 0.3])
def test_log_odds_drops_equal_a_masking_loop(name, replaced):
    build, layer, method = CASES[name]
    module = trained(build)
    log_probabilities = torch.log if name == "probabilities" else log_softmax
    images, y = draw_images(13), np.arange(13) % N_CLASSES
    replacement = torch.full((n_filters_of(module, layer),), replaced)
    sums, found = fast_sums(module, layer, images, y, replacement, log_probabilities)
    assert found == method
    expected = naive_log_odds_drops(
        naive_log_probas(module, layer, images, replacement, log_probabilities), y
    )
    # They have signs: some filters speak against a class.
    assert expected.max() > 1e-3 > -1e-3 > expected.min()
    drops = importances([sums], "error").log_odds_drops
    assert_drops(drops, expected)
    itself = drops[np.diag_indices(N_CLASSES)]
    np.testing.assert_allclose(itself, 0, atol=2e-5)


@pytest.mark.parametrize("background", [None, 0])
def test_drops_of_a_class_without_images_are_increases_of_the_log_loss(background):
    module = trained(networks.vgg)
    images, y = draw_images(13), np.arange(13) % 2 * 2
    sums, _ = fast_sums(module, "5", images, y)
    log_probas = naive_log_probas(module, "5", images, torch.zeros(8))
    found = importances([sums], "error", background).log_odds_drops
    assert_drops(found, naive_log_odds_drops(log_probas, y, background))
    for absent, other in ((1, 0), (3, 1)):
        of_all = importances([sums], "log_loss", background).filter_importances
        np.testing.assert_allclose(found[absent, other], of_all, rtol=1e-6)


def test_many_competing_classes_are_averaged(monkeypatch):
    module = trained(networks.vgg)
    images, y = draw_images(13), np.arange(13) % N_CLASSES
    drops = importances([fast_sums(module, "5", images, y)[0]], "error").log_odds_drops
    # 8 filters and none, 4 classes and those they compete with.
    for least, n_competing in ((9 * 4 * 4, 4), (9 * 4 * 4 - 1, 1)):
        monkeypatch.setattr(
            "sklearn_similar._ablation.importances._MAX_LOG_PROBA", least
        )
        sums, _ = fast_sums(module, "5", images, y)
        assert sums.log_proba.shape == (9, 4, n_competing)
        found = importances([sums], "error").log_odds_drops
        assert found.shape == (4, n_competing, 8)
        np.testing.assert_allclose(
            mean_log_odds_drops(found), mean_log_odds_drops(drops), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_ablation_of_layers_in_one_pass_equals_masking_in_each(ablation):
    module = trained(networks.vgg)
    images, y = draw_images(13), np.arange(13) % N_CLASSES
    with eval_mode(module):
        maps = [feature_maps(module, layer, images) for layer in ("1", "5")]
        methods, sums, _ = ablate(
            as_network(module),
            ["1", "5"],
            as_images(images),
            np.arange(13),
            y,
            np.ones(13),
            ablation,
        )
    assert methods == ["linear", "linear"]
    for layer, own, total in zip(("1", "5"), maps, sums, strict=True):
        replacement = torch.zeros(own.activations.shape[1])
        if ablation == "mean":
            replacement = own.activations.mean(dim=(0, 2, 3))
        expected, _ = naive_sums(module, layer, images, y, replacement)
        np.testing.assert_allclose(total.log_loss, expected, rtol=1e-5)


def test_ablation_runs_on_the_chosen_images_alone():
    module = trained(networks.vgg)
    images, y = draw_images(13), np.arange(13) % N_CLASSES
    chosen = np.array([2, 3, 7, 11])
    with eval_mode(module):
        _, (sums,), _ = ablate(
            as_network(module), ["5"], as_images(images), chosen, y, np.ones(13), "zero"
        )
    expected, _ = naive_sums(module, "5", images[chosen], y[chosen], torch.zeros(8))
    np.testing.assert_allclose(sums.log_loss, expected, rtol=1e-5)

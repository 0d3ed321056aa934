"""The error without each filter, against a naive loop that masks with a hook."""

from unittest import mock

import networks
import numpy as np
import pytest
import torch
from ablation_cases import (
    CASES,
    assert_equal_to_naive,
    assert_same_state,
    draw_images,
    fast_sums,
    log_softmax,
    n_filters_of,
    naive_sums,
    state_of,
    validation_data,
)
from networks import N_CLASSES, as_network, feature_maps, trained
from sklearn import config_context
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_similar._ablation.errors import (
    mean_activations,
    measure_errors,
    sum_errors,
)
from sklearn_similar._ablation.selection import select_strategies, select_strategy
from sklearn_similar._ablation.strategies import NetworkMasking, NotExact, record_pass
from sklearn_similar._network.forward import eval_mode

pytestmark = pytest.mark.filterwarnings(
    "ignore:The network cannot be traced .TypeError"
)


@pytest.mark.parametrize("name", CASES)
def test_errors_without_each_filter_equal_a_masking_loop(name):
    build, layer, method = CASES[name]
    module = trained(build)
    # A submodule in evaluation mode stays in it.
    next(m for m in module.modules() if isinstance(m, nn.Conv2d)).eval()
    log_probabilities = torch.log if name == "probabilities" else log_softmax
    replacement = torch.zeros(n_filters_of(module, layer))
    tolerance = 1e-6 if name.startswith("LeNet") else 1e-5
    before = state_of(module)
    assert_equal_to_naive(
        module, layer, method, replacement, log_probabilities, tolerance
    )
    assert_same_state(before, state_of(module))


@pytest.mark.parametrize("name", CASES)
def test_mean_ablation_equals_a_masking_loop(name):
    build, layer, method = CASES[name]
    module = trained(build)
    log_probabilities = torch.log if name == "probabilities" else log_softmax
    images = draw_images(13)
    with eval_mode(module):
        (replacement,) = mean_activations(
            as_network(module), [layer], validation_data(images, np.zeros(13, int))
        )
        activations = feature_maps(module, layer, images, "pooled").activations
    expected = [
        np.mean([float(v) for v in activations[:, i].flatten()])
        for i in range(activations.shape[1])
    ]
    np.testing.assert_allclose(replacement, expected, rtol=1e-5, atol=1e-6)
    assert_equal_to_naive(module, layer, method, replacement, log_probabilities, 1e-5)


@pytest.mark.parametrize("n_filters", [1, 2, 3, 16, 17])
def test_any_number_of_filters_is_separated(n_filters):
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


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mixing", ["linear", "convolution", "grouped", "per place"])
def test_permuted_channels_are_separated(mixing, seed):
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
        errors = measure_errors(
            as_network(module, batch_size=13),
            ["5"],
            validation_data(images, y),
            ablation="zero",
        )
    (sums,) = errors.sums
    assert errors.methods == ["network"]
    expected, error = naive_sums(module, "5", images, y, torch.zeros(8))
    np.testing.assert_allclose(sums.log_loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(sums.error, error)


@pytest.mark.parametrize("strategy", ["select_strategy", "NetworkMasking"])
def test_images_with_scores_that_are_not_finite_are_named(strategy, monkeypatch):
    module = trained(networks.vgg)
    nn.init.constant_(module[0].weight, 1.0)
    images = draw_images(13)
    images[9] *= 1e38
    if strategy == "NetworkMasking":
        monkeypatch.setattr(
            "sklearn_similar._ablation.selection.select_strategy",
            lambda module, layer, *_: NetworkMasking(module, layer),
        )
    with eval_mode(module), pytest.raises(ValueError, match="Image 9 gets scores"):
        measure_errors(
            as_network(module),
            ["5"],
            validation_data(images, np.arange(13) % N_CLASSES),
            ablation="zero",
        )


def test_several_layers_take_one_pass():
    module = trained(networks.vgg)
    layers = ["1", "3", "5"]
    images, y = draw_images(7), np.arange(7) % N_CLASSES
    data = validation_data(images, y)
    network = as_network(module)
    with eval_mode(module):
        strategies, zeros = select_strategies(network, layers, images)
        assert [strategy.method for strategy in strategies] == ["linear"] * 3
        apart = [
            sum_errors(network, [strategy], [zero], data)
            for strategy, zero in zip(strategies, zeros, strict=True)
        ]
        passes = []
        handle = module[0].register_forward_hook(lambda *_: passes.append(1))
        sums = sum_errors(network, strategies, zeros, data)
        handle.remove()
    assert len(passes) == 2  # batches of 5 and 2
    for together, (alone,) in zip(sums, apart, strict=True):
        np.testing.assert_array_equal(together.log_loss, alone.log_loss)


def test_inexact_strategies_are_run_no_further():
    """Only layers that are still exact are recorded, and no batch if there are none."""
    module = trained(networks.vgg)
    layers = ["1", "3"]
    images, y = draw_images(12), np.arange(12) % N_CLASSES
    network = as_network(module)
    passes = []
    record = mock.Mock(side_effect=record_pass)

    def refuse(*_):
        raise NotExact

    path = "sklearn_similar._ablation.errors.record_pass"
    with eval_mode(module), mock.patch(path, record):
        strategies, zeros = select_strategies(network, layers, images)
        data = validation_data(images, y)
        strategies[0].without_each = refuse
        first, second = sum_errors(network, strategies, zeros, data)
        n_recorded = [len(call.args[2]) for call in record.call_args_list]
        strategies[1].without_each = refuse
        handle = module[0].register_forward_hook(lambda *_: passes.append(1))
        neither = sum_errors(network, strategies, zeros, data)
        handle.remove()
    assert first is None
    assert second.weight.sum() == 12
    assert n_recorded == [2, 1, 1]  # batches of 5, 5 and 2
    assert neither == [None, None]
    assert len(passes) == 1


@pytest.mark.parametrize("name", ["VGG", "all convolutional", "grouped", "inception"])
def test_filters_in_chunks_give_the_same(name):
    build, layer, _ = CASES[name]
    module = trained(build)
    images, y = draw_images(7), np.arange(7) % N_CLASSES
    whole, _ = fast_sums(module, layer, images, y)
    with config_context(working_memory=1024 * 1500 / 2**22):
        chunked, _ = fast_sums(module, layer, images, y)
    np.testing.assert_allclose(chunked.log_loss, whole.log_loss, rtol=1e-6)


class LargestTensor(TorchDispatchMode):
    """Context that knows the most values that a tensor had."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if isinstance(output, torch.Tensor) and not func.is_view:
            self.largest = max(self.largest, output.numel())
        return output


@pytest.mark.parametrize("mixing", ["linear", "convolution", "grouped convolution"])
def test_memory_is_bounded_by_a_batch_whatever_the_number_of_filters(mixing):
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
        maps = feature_maps(module, "1", images[:3], "pooled")
        strategy = select_strategy(module, "1", images[:3], maps)
        with LargestTensor() as forward:
            # A batch in so little memory.
            module(images[:3])
        data, replacement = validation_data(images, y), torch.zeros(64)
        with (
            config_context(working_memory=1024 * 30_000 / 2**22),
            LargestTensor() as ablation,
        ):
            sum_errors(as_network(module), [strategy], [replacement], data)
    assert strategy.method == "linear"
    assert ablation.largest == forward.largest > 30_000


def test_the_first_of_equally_probable_classes_counts_as_predicted():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), *networks.pooled_linear(2))
    nn.init.zeros_(module[-1].weight)
    nn.init.zeros_(module[-1].bias)
    sums, _ = fast_sums(module, "0", draw_images(4), np.arange(4))
    assert sums.error.tolist() == [[0, 1, 1, 1]] * 3


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_ablation_of_layers_in_one_pass_equals_masking_in_each(ablation):
    module = trained(networks.vgg)
    images, y = draw_images(13), np.arange(13) % N_CLASSES
    with eval_mode(module):
        maps = [feature_maps(module, layer, images) for layer in ("1", "5")]
        errors = measure_errors(
            as_network(module),
            ["1", "5"],
            validation_data(images, y),
            ablation=ablation,
        )
    assert errors.methods == ["linear", "linear"]
    for layer, layer_maps, sums in zip(("1", "5"), maps, errors.sums, strict=True):
        replacement = torch.zeros(layer_maps.activations.shape[1])
        if ablation == "mean":
            replacement = layer_maps.activations.mean(dim=(0, 2, 3))
        expected, _ = naive_sums(module, layer, images, y, replacement)
        np.testing.assert_allclose(sums.log_loss, expected, rtol=1e-5)


def test_ablation_runs_on_the_chosen_images_alone():
    module = trained(networks.vgg)
    images, y = draw_images(13), np.arange(13) % N_CLASSES
    chosen = np.array([2, 3, 7, 11])
    with eval_mode(module):
        (sums,) = measure_errors(
            as_network(module),
            ["5"],
            validation_data(images, y, chosen),
            ablation="zero",
        ).sums
    expected, _ = naive_sums(module, "5", images[chosen], y[chosen], torch.zeros(8))
    np.testing.assert_allclose(sums.log_loss, expected, rtol=1e-5)

"""Importances of networks of random operations, against a loop that masks."""

import random
import warnings

import numpy as np
import pytest
import torch
from networks import N_CLASSES, as_images, as_network, trained
from random_networks import RandomNetwork
from torch.nn.functional import nll_loss

from sklearn_similar._ablation.errors import ValidationData, measure_errors
from sklearn_similar._network.forward import eval_mode

# The first images are faint, and the last ones reach thresholds.
IMAGES = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
IMAGES *= torch.linspace(0.2, 4, 24)[:, None, None, None]
Y = np.arange(24) % N_CLASSES


def layers_of(module):
    """Paths of submodules that give feature maps once."""
    found, handles = [], []
    for name, child in module.named_modules():
        handles.append(
            child.register_forward_hook(
                lambda _m, _i, output, name=name: found.append((name, output.ndim))
            )
        )
    with torch.no_grad():
        module(IMAGES.clone())
    for handle in handles:
        handle.remove()
    names = [name for name, _ in found]
    return [
        name
        for name, ndim in found
        # The output of a parametrization is a weight.
        if name and ndim == 4 and names.count(name) == 1 and "parametriz" not in name
    ]


def naive_log_losses(module, layer, value):
    """Mean log loss with all filters, and without each."""

    def loss(hook=None):
        child = module.get_submodule(layer)
        handle = child.register_forward_hook(hook) if hook else None
        with torch.no_grad():
            scores = module(IMAGES.clone())
        if handle:
            handle.remove()
        return float(nll_loss(scores.log_softmax(1), torch.from_numpy(Y)))

    def without(index):
        def mask(_module, _inputs, output):
            output = output.clone()
            output[:, index] = value[index]
            return output

        return loss(mask)

    return np.array([loss()] + [without(index) for index in range(len(value))])


def compare(seed):
    """Largest difference of an importance, as a share of the largest importance."""
    module = trained(lambda: RandomNetwork(seed), seed).eval()
    layer = random.Random(seed).choice(layers_of(module))
    ablation = random.Random(seed).choice(["zero", "mean"])
    with eval_mode(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        errors = measure_errors(
            as_network(module, batch_size=24),
            [layer],
            ValidationData(
                images=as_images(IMAGES),
                indices=np.arange(24),
                y=Y,
                weights=np.ones(24),
            ),
            ablation=ablation,
        )
        (sums,) = errors.sums
        value = torch.zeros(len(sums.log_loss) - 1)
        if ablation == "mean":
            outputs = []
            handle = module.get_submodule(layer).register_forward_hook(
                lambda _m, _i, output: outputs.append(output.clone())
            )
            module(IMAGES.clone())
            handle.remove()
            value = outputs[0].mean((0, 2, 3))
    found = sums.log_loss.sum(axis=1) / len(Y)
    expected = naive_log_losses(module, layer, value)
    found, expected = found[1:] - found[0], expected[1:] - expected[0]
    # A layer can be without effect.
    largest = max(np.abs(expected).max(), 1e-9)
    return np.abs(found - expected).max() / largest


@pytest.mark.parametrize("seed", range(30))
def test_importances_of_random_networks_equal_a_masking_loop(seed):
    assert compare(seed) < 1e-6

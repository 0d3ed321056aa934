"""Strategies run many filters at once where they can, and notice where they cannot."""

import networks
import pytest
import torch
from ablation_cases import CASES, draw_images
from networks import N_CLASSES, feature_maps, trained
from torch import nn

from sklearn_similar._ablation.selection import select_strategy
from sklearn_similar._ablation.strategies import NetworkMasking, NotExact, record_pass
from sklearn_similar._network.forward import eval_mode


@pytest.mark.parametrize("name", ["VGG", "functional", "inception", "dilated"])
def test_filters_are_stacked(name):
    build, layer, _ = CASES[name]
    module = trained(build)
    images = draw_images(4)
    with eval_mode(module):
        maps = feature_maps(module, layer, images, "pooled")
        strategy = select_strategy(module, layer, images, maps)
        n_filters = maps.activations.shape[1]
        recorded = record_pass(module, images, [strategy])
        (outputs,) = strategy.without_each(recorded, torch.zeros(n_filters))
    assert outputs.shape == (n_filters, 4, N_CLASSES)


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


@pytest.mark.parametrize(
    "name", ["LeNet", "VGG", "grouped", "residual, last block", "inception"]
)
@pytest.mark.parametrize("filters", [[0, 2, 5], [3], range(1, 4)])
def test_some_filters_give_what_they_give_among_all(name, filters):
    build, layer, _ = CASES[name]
    module = trained(build)
    images = draw_images(3)
    with eval_mode(module):
        maps = feature_maps(module, layer, images, "pooled")
        strategy = select_strategy(module, layer, images, maps)
        replacement = torch.linspace(-0.2, 0.3, maps.activations.shape[1])
        recorded = record_pass(module, images, [strategy])
        every = torch.cat([*strategy.without_each(recorded, replacement)])
        some = torch.cat([*strategy.without_each(recorded, replacement, filters)])
    torch.testing.assert_close(some, every[list(filters)])

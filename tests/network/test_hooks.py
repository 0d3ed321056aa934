"""Our own forward hooks, and those of others."""

import copy

import torch
from torch import nn

from sklearn_similar._network.hooks import forward_hook, has_hooks_of_others


def test_a_hook_acts_inside_its_block_only():
    module = nn.Sequential(nn.Identity())
    kept = []
    with forward_hook(module[0], lambda _inputs, output: output + 1):
        kept.extend(module[0]._forward_hooks.values())
        assert module(torch.zeros(1)) == 1
        copied = copy.deepcopy(module)
    # As if it could not be removed.
    module[0].register_forward_hook(kept[0])
    assert module(torch.zeros(1)) == copied(torch.zeros(1)) == 0


def test_hooks_of_others_are_told_from_our_own_and_pytorchs():
    module = nn.Sequential(
        nn.utils.spectral_norm(nn.Linear(2, 2)),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    )
    with forward_hook(module[0], print):
        assert not has_hooks_of_others(module)
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        handle = getattr(module[1], register)(lambda *_: None)
        assert has_hooks_of_others(module)
        handle.remove()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert has_hooks_of_others(module)
    handle.remove()
    assert not has_hooks_of_others(module)

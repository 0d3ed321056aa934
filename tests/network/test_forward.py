"""Evaluation mode and hooks act inside their block, and nowhere else."""

import copy
import threading

import networks
import pytest
import torch
from networks import trained
from torch import nn

from sklearn_similar._network.forward import (
    eval_mode,
    forward_hook,
    has_foreign_hooks,
    output_hook,
)

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_evaluation_mode_is_restored_module_by_module_after_an_error():
    module = trained(networks.vgg)
    module[9].eval()
    module.requires_grad_(True)
    modes = [child.training for child in module.modules()]

    def fail_inside():
        with eval_mode(module):
            assert not any(child.training for child in module.modules())
            assert not module(IMAGES).requires_grad
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert [child.training for child in module.modules()] == modes
    assert torch.is_grad_enabled()


def test_hooks_are_gone_after_an_error():
    module = trained(networks.vgg)

    def fail(_output):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), output_hook(module, "5", fail):
        module(IMAGES)
    assert not any(child._forward_hooks for child in module.modules())


def test_hooks_act_in_their_thread_alone():
    module = trained(networks.vgg).eval()
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with output_hook(module, "5", lambda output: output * 0):
            inside.set()
            leave.wait(10)

    before = module(IMAGES)
    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    during = module(IMAGES)
    leave.set()
    thread.join()
    assert torch.equal(before, during)


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


def test_foreign_hooks_are_neither_this_package_s_nor_pytorch_s():
    module = nn.Sequential(
        nn.utils.spectral_norm(nn.Linear(2, 2)),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    )
    with forward_hook(module[0], print):
        assert not has_foreign_hooks(module)
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        handle = getattr(module[1], register)(lambda *_: None)
        assert has_foreign_hooks(module)
        handle.remove()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert has_foreign_hooks(module)
    handle.remove()
    assert not has_foreign_hooks(module)

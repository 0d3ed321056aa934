"""Forward hooks are gone, or do nothing, wherever an interrupt strikes."""

import copy
import sys
from contextlib import suppress

import networks
import pytest
import torch
from networks import trained
from torch import nn

from sklearn_similar._network import activations, hooks
from sklearn_similar._network.activations import find_layer
from sklearn_similar._network.hooks import forward_hook, has_hooks_of_others

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th line of some files that is run."""

    def __init__(self, n, *modules):
        self.n_left = n
        self.files = {module.__file__ for module in modules}

    def __call__(self, frame, event, _arg):
        if frame.f_code.co_filename not in self.files:
            return None
        if event == "line":
            self.n_left -= 1
            if self.n_left == 0:
                raise KeyboardInterrupt
        return self

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self)

    def __exit__(self, *_):
        sys.settrace(self.before)


def double_fifth_layer(module):
    with forward_hook(module[5], lambda _inputs, output: output * 2):
        return module(IMAGES)


def find_default_layer(module):
    find_layer(module, None, IMAGES)


@pytest.mark.parametrize(
    ("work", "files", "step"),
    [
        (double_fifth_layer, [hooks], 1),
        # Each of its lines would take seconds; a sample is enough.
        (find_default_layer, [hooks, activations], 23),
    ],
)
def test_no_hook_acts_after_an_interrupt_at_any_line(work, files, step):
    expected = trained(networks.vgg).eval()(IMAGES)
    n_lines, is_done = 1 - step, False
    with torch.no_grad():
        while not is_done:
            module = trained(networks.vgg).eval()
            n_lines += step
            with InterruptAt(n_lines, *files), suppress(KeyboardInterrupt):
                work(module)
                is_done = True
            # One that was interrupted in its removal can be left.
            assert sum(len(child._forward_hooks) for child in module.modules()) <= 1
            assert torch.equal(module(IMAGES), expected)
            work(module)
            assert not any(child._forward_hooks for child in module.modules())
    assert n_lines > 10


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

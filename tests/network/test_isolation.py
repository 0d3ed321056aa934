"""PyTorch is as it was, wherever an interrupt strikes."""

import contextlib
import sys
from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch
from networks import trained
from torch.autograd import grad_mode
from torch.utils import _python_dispatch

from sklearn_similar._network import activations, hooks, receptive_field, seeding
from sklearn_similar._network.activations import find_layer
from sklearn_similar._network.hooks import forward_hook
from sklearn_similar._network.isolation import restores_torch_state, undone_at_end

# Generators that are closed cannot raise.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in")

# What changes the state of PyTorch, and restores it.
FILES = {
    module.__file__
    for module in (
        *(activations, hooks, receptive_field, seeding),
        *(contextlib, grad_mode, torch.overrides, _python_dispatch),
    )
}
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Drops(torch.nn.Module):
    """A network whose training draws from PyTorch's global generator."""

    def __init__(self, n_classes=10):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 5, stride=2), torch.nn.ReLU(), torch.nn.Dropout()
        )
        self.linear = torch.nn.Linear(4, n_classes)

    def forward(self, images):
        return self.linear(self.features(images).amax(dim=(2, 3)))


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th line of some files that is run.

    The beginning of a function counts as one, too.
    """

    def __init__(self, n):
        self.n_left = n

    def __call__(self, frame, event, _arg):
        if frame.f_code.co_filename not in FILES:
            return None
        if event in ("call", "line"):
            self.n_left -= 1
            if self.n_left == 0:
                raise KeyboardInterrupt
        return self

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)


def state(module):
    children = list(module.modules())
    return {
        "hooks": [list(child._forward_hooks) for child in children],
        "training": [child.training for child in children],
        "gradients": torch.is_grad_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "generator": torch.get_rng_state().tolist(),
    }


def interrupt_everywhere(work, module, step=1):
    """Interrupt some work at each line, or at some; return how often it was."""
    before, n = state(module), 0
    while True:
        with InterruptAt(1 + step * n) as tracer:
            try:  # noqa: SIM105, would be interrupted itself
                work()
            except KeyboardInterrupt:
                pass
        if tracer.n_left > 0:
            return n
        n += 1
        # As long as a traceback is kept, what it holds is not closed.
        assert state(module) == before, f"line {1 + step * (n - 1)}"


@restores_torch_state
def double_fifth_layer(module):
    with forward_hook(module[5], lambda _inputs, output: output * 2):
        return module(IMAGES)


@restores_torch_state
def find_default_layer(module):
    return find_layer(module, None, IMAGES)


@pytest.mark.parametrize("work", [double_fifth_layer, find_default_layer])
def test_hooks_are_gone_after_an_interrupt_at_any_line(work):
    module = trained(networks.vgg).eval()
    with torch.no_grad():
        expected = module(IMAGES)
        assert interrupt_everywhere(lambda: work(module), module) > 10
        assert torch.equal(module(IMAGES), expected)


# Where each line would take minutes, a sample is enough.
@pytest.mark.parametrize(
    ("name", "step"),
    [("predict_proba", 1), ("transform", 1), ("fit_importance", 29), ("fit", 29)],
)
def test_methods_restore_all_after_an_interrupt_at_any_line(quick, digits, name, step):
    # One batch: what runs before a line runs again for each line.
    X, y = digits.X[:20], digits.y[:20]
    estimator = quick(module=Drops, layer="features.1").fit(X, y)
    arguments = {
        "predict_proba": (X,),
        # Receptive fields are tracked for images of a new size.
        "transform": ([np.zeros((31, 30), np.uint8)],),
        "fit_importance": (X, y),
        "fit": (X, y),
    }[name]
    module = estimator.net_.module_

    def work():
        getattr(estimator, name)(*arguments)

    assert interrupt_everywhere(work, module, step) > 10


def test_an_interrupt_stays_one_while_pytorch_calls_a_mode(quick, digits):
    """PyTorch leaves a mode while it calls it, and then there is none to leave."""
    estimator = quick().fit(digits.X[:40], digits.y[:40])

    def interrupt(_module, _inputs, _output):
        torch._C._pop_torch_function_stack()
        raise KeyboardInterrupt

    handle = estimator.net_.module_.features.relu1.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        estimator.heatmap([np.zeros((40, 41))])
    handle.remove()
    assert torch._C._len_torch_function_stack() == 0


def test_a_block_undoes_what_a_block_in_it_left():
    value = SimpleNamespace(inner=0, outer=0)

    def undo(name):
        return lambda: setattr(value, name, 0)

    inner = undone_at_end(undo("inner"))
    with undone_at_end(undo("outer")):
        value.outer = 1
        inner.__enter__()
        value.inner = 1
    assert value == SimpleNamespace(inner=0, outer=0)
    value.inner = 2
    # It was undone, so that its late end changes nothing of what came after.
    with undone_at_end(undo("outer")):
        value.outer = 3
        inner.gen.close()
        assert value.outer == 3

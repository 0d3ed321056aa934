"""Tracing: faults are reported, and the network stays as it was."""

import sys
import threading
import warnings

import networks
import numpy as np
import pytest
import torch
from ablation_cases import (
    draw_images,
    fast_sums,
)
from networks import N_CLASSES, feature_maps, trained
from sklearn.exceptions import EfficiencyWarning
from torch import nn

from sklearn_similar._ablation.selection import select_strategy
from sklearn_similar._network.forward import eval_mode


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
        maps = feature_maps(module, layer, images)
        return select_strategy(module, layer, images, maps).method


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


def test_bugs_of_this_package_while_tracing_are_not_swallowed(monkeypatch):
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


def test_networks_that_branch_on_values_are_masked_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert strategy_of(trained(networks.DataDependent), "conv2") == "network"


def test_networks_can_be_trained_after_tracing():
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


@pytest.fixture
def frequent_thread_switches():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_thread_switches")
def test_threads_trace_networks_at_the_same_time():
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

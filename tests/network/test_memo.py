"""Results about a network are kept until anything changes that could decide them."""

import copy
import pickle
from types import MethodType
from typing import ClassVar

import pytest
import torch
from torch import nn

from sklearn_similar._network.memo import NetworkMemo


class Scaled(nn.Module):
    """A network with weights, buffers, a plain tensor, a number and a function."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.normalization = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout()
        self.factor = 2.0
        self.shift = torch.zeros(4, 1, 1)
        self.level = [1.0]
        level = self.level
        self.activation = lambda values: values.relu() * level[0]

    def forward(self, images):
        values = self.dropout(self.normalization(self.convolution(images)))
        return self.activation(values * self.factor + self.shift).mean(dim=(2, 3))


def network():
    torch.manual_seed(0)
    return Scaled().eval()


def count_findings(module, change, n_calls=1):
    """How often a result is found again after a change."""
    memo, found = NetworkMemo(), []
    memo.get(module, "key", lambda: found.append(0))
    change(module)
    for _ in range(n_calls):
        memo.get(module, "key", lambda: found.append(0))
    return len(found) - 1


def run(module):
    with torch.no_grad():
        module(torch.rand(2, 1, 8, 8))


def set_through_numpy(module):
    module.convolution.weight.detach().numpy()[0] *= -1


def set_through_data(module):
    module.convolution.weight.data.mul_(2)


def swap_filters(module):
    module.convolution.weight.data = module.convolution.weight.data.flip(0)


def replace_parameter_by_its_copy(module):
    copied = module.convolution.weight.detach().clone()
    module.convolution.weight = nn.Parameter(copied)


def replace_layer_by_its_copy(module):
    module.convolution = copy.deepcopy(module.convolution)


def replace_layer_by_a_new_one(module):
    module.normalization = nn.BatchNorm2d(4).eval()


def load_other_weights(module):
    module.load_state_dict(Scaled().state_dict(), assign=True)


def override_forward(module):
    module.dropout.forward = lambda values: values * 2


def parametrize(module):
    nn.utils.parametrizations.weight_norm(module.convolution)


@pytest.mark.parametrize(
    "change",
    [
        set_through_numpy,
        set_through_data,
        swap_filters,
        replace_parameter_by_its_copy,
        replace_layer_by_its_copy,
        replace_layer_by_a_new_one,
        load_other_weights,
        override_forward,
        parametrize,
        lambda module: module.normalization.running_mean.add_(1),
        lambda module: setattr(module, "factor", 3.0),
        lambda module: setattr(module.convolution, "dilation", (2, 2)),
        lambda module: module.shift.add_(1),
        lambda module: setattr(module, "activation", torch.relu),
        lambda module: module.level.__setitem__(0, 2.0),
        lambda module: module.dropout.train(),
        lambda module: module.double(),
        lambda module: module.to(memory_format=torch.channels_last),
        lambda module: module.convolution.register_forward_hook(lambda *_: None),
        lambda module: module.convolution.register_forward_pre_hook(lambda *_: None),
        lambda module: module.add_module("new", nn.ReLU()),
    ],
)
def test_a_change_of_the_network_is_noticed(change):
    assert count_findings(network(), change) == 1


@pytest.mark.parametrize(
    "change", [run, lambda module: None, lambda module: module.train().eval()]
)
def test_a_network_that_has_not_changed_is_known(change):
    assert count_findings(network(), change, n_calls=3) == 0


def test_another_hook_of_the_same_kind_is_noticed():
    module = network()
    handle = module.convolution.register_forward_hook(lambda *_: None)

    def replace(module):
        handle.remove()
        module.convolution.register_forward_hook(lambda *_: None)

    assert count_findings(module, replace) == 1


def test_a_hook_on_all_modules_is_noticed():
    handles = []

    def register(_module):
        register_hook = nn.modules.module.register_module_forward_hook
        handles.append(register_hook(lambda *_: None))

    try:
        assert count_findings(network(), register) == 1
    finally:
        handles[0].remove()


def test_another_method_of_the_class_is_noticed(monkeypatch):
    def forward(self, images):
        return self.convolution(images).mean(dim=(2, 3))

    def replace(_module):
        monkeypatch.setattr(Scaled, "forward", forward)

    assert count_findings(network(), replace) == 1


class WithGlobals(nn.Module):
    """A network that reads global variables and an attribute of its class."""

    limits: ClassVar[dict] = {"high": 9.0}

    def forward(self, images):
        return images.clamp(LIMIT["low"], self.limits["high"])


LIMIT = {"low": 0.0}


@pytest.mark.parametrize(
    ("limits", "name"), [(LIMIT, "low"), (WithGlobals.limits, "high")]
)
def test_what_forward_reads_elsewhere_is_noticed(monkeypatch, limits, name):
    def change(module):
        monkeypatch.setitem(limits, name, 0.5)

    assert count_findings(WithGlobals(), change) == 1
    assert count_findings(WithGlobals(), lambda module: None) == 0


def test_another_method_of_an_instance_is_noticed():
    def bind(module, factor):
        def forward(self, images):
            return images * factor

        module.forward = MethodType(forward, module)
        return module

    assert count_findings(bind(network(), 1.0), lambda module: bind(module, 2.0)) == 1


def test_a_network_that_keeps_a_state_is_never_known():
    class Counting(Scaled):
        n_runs = 0

        def forward(self, images):
            self.n_runs += 1
            return super().forward(images)

    module = Counting().eval()
    assert count_findings(module, run, n_calls=2) == 1
    memo, found = NetworkMemo(), []

    def find():
        run(module)
        found.append(0)

    for _ in range(3):
        memo.get(module, "key", find)
    assert len(found) == 3


def test_a_network_that_cannot_be_hashed_is_never_known():
    module = network()
    module.generator = (number for number in range(3))
    assert count_findings(module, lambda module: None, n_calls=2) == 2


def test_results_of_another_key_and_of_another_network_are_found():
    memo, module = NetworkMemo(), network()
    assert memo.get(module, "one", lambda: 1) == 1
    assert memo.get(module, "two", lambda: 2) == 2
    assert memo.get(module, "one", lambda: 3) == 1
    assert memo.get(copy.deepcopy(module), "one", lambda: 3) == 3


def test_nothing_is_known_after_an_exception_or_forgetting():
    memo, module = NetworkMemo(), network()
    with pytest.raises(ZeroDivisionError):
        memo.get(module, "key", lambda: 1 / 0)
    assert memo.get(module, "key", lambda: 1) == 1
    memo.forget()
    assert memo.get(module, "key", lambda: 2) == 2


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_of_a_memo_are_empty(copied):
    memo, module = NetworkMemo(), network()
    memo.get(module, "key", lambda: 1)
    assert copied(memo).get(module, "key", lambda: 2) == 2

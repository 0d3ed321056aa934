"""PyTorch's state is as it was, and random numbers come from the seed alone."""

import contextlib
import os
import sys
import threading
from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import trained
from torch import nn
from torch.autograd import grad_mode
from torch.utils import _python_dispatch

from sklearn_similar import LeNet, load, save
from sklearn_similar._network import activations, forward, isolation, receptive_field
from sklearn_similar._network.forward import forward_hook
from sklearn_similar._network.isolation import (
    random_seed,
    restores_torch_state,
    seeded,
    undone_at_end,
)
from sklearn_similar._network.layers import find_layer

# Generators that are closed cannot raise.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in")

# Interrupts at more lines, see `tox -e stress`.
IS_LONG = "SKLEARN_SIMILAR_STRESS" in os.environ

# What changes the state of PyTorch, and restores it.
FILES = {
    module.__file__
    for module in (
        *(activations, forward, isolation, receptive_field),
        *(contextlib, grad_mode, torch.overrides, _python_dispatch),
    )
}

# What restores the state is not interrupted: it is called once more, or is at its end.
RESTORING = {"undone_at_end", "wrapped", "_close_generators"}
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
        code = frame.f_code
        if code.co_filename not in FILES or code.co_name in RESTORING:
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


@pytest.mark.parametrize(
    ("work", "step"),
    [(double_fifth_layer, 1), (find_default_layer, 31 if IS_LONG else 131)],
)
def test_hooks_are_gone_after_an_interrupt_at_any_line(work, step):
    module = trained(networks.vgg).eval()
    with torch.no_grad():
        expected = module(IMAGES)
        assert interrupt_everywhere(lambda: work(module), module, step) > 10
        assert torch.equal(module(IMAGES), expected)


# Where each line would take minutes, a sample is enough.
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("predict_proba", 1),
        ("transform", 1),
        ("fit_importance", 131 if IS_LONG else 331),
        ("fit", 211 if IS_LONG else 809),
    ],
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


def test_a_block_undoes_the_changes_of_an_interrupted_inner_block():
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


class Custom(nn.Module):
    """Draws its weights in all the ways that people use."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.randn(3, 4))
        self.b = nn.Parameter(torch.empty(5).uniform_(-1, 1))
        self.c = nn.Parameter(torch.rand_like(self.a) + torch.zeros(3, 4).normal_())
        self.d = nn.Parameter(torch.normal(0.0, 1.0, size=(3,)))
        self.e = nn.Parameter(nn.init.trunc_normal_(torch.empty(4, 4)))
        self.f = nn.Parameter(nn.init.orthogonal_(torch.empty(4, 4)))
        self.g = nn.Parameter(nn.init.sparse_(torch.empty(4, 4), 0.5))
        self.order = torch.randperm(20)
        self.whole = torch.randint(100, (20,))
        self.linear = nn.Linear(7, 3)
        self.embedding = nn.Embedding(5, 3)
        self.norm = nn.BatchNorm2d(3)
        self.recurrent = nn.GRU(3, 3)
        self.attention = nn.MultiheadAttention(4, 2)
        self.bilinear = nn.Bilinear(2, 3, 4)


def all_tensors(module):
    return [*module.state_dict().values(), *getattr(module, "draws", [])] + [
        value for value in vars(module).values() if isinstance(value, torch.Tensor)
    ]


def build(make, seed):
    with seeded(seed):
        return all_tensors(make())


@pytest.fixture(autouse=True)
def global_generator_is_left_alone():
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [LeNet, Custom])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(make):
    first, second, other = build(make, 3), build(make, 3), build(make, 4)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    drawn = [not (a == a.flatten()[0]).all() for a in first]
    differs = [not torch.equal(a, b) for a, b in zip(first, other, strict=True)]
    assert differs == drawn


@pytest.mark.parametrize("make", [LeNet, Custom])
def test_random_numbers_of_other_code_change_nothing(make):
    expected = build(make, 0)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        torch.randn(100)
        assert all(
            torch.equal(a, b) for a, b in zip(build(make, 0), expected, strict=True)
        )


def test_networks_built_in_threads_equal_those_built_alone():
    expected = [build(Custom, seed) for seed in range(4)]
    found = {}

    def work(seed):
        for _ in range(5):
            found.setdefault(seed, []).append(build(Custom, seed))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        assert len(found[seed]) == 5
        for tensors in found[seed]:
            assert all(
                torch.equal(a, b) for a, b in zip(tensors, expected[seed], strict=True)
            )


X = torch.ones(6, 8, 5, 5)

RANDOM_LAYERS = {
    "dropout": lambda: nn.Dropout(0.4)(X),
    "dropout in place": lambda: nn.Dropout(0.4, inplace=True)(X.clone()),
    "dropout 1d": lambda: nn.Dropout1d(0.4)(X[..., 0]),
    "dropout 1d, one sequence": lambda: nn.Dropout1d(0.4)(X[0, ..., 0]),
    "dropout 2d": lambda: nn.Dropout2d(0.4)(X),
    "dropout 2d in place": lambda: nn.Dropout2d(0.4, inplace=True)(X.clone()),
    "dropout 3d": lambda: nn.Dropout3d(0.4)(X[:, :, None]),
    "alpha dropout": lambda: nn.AlphaDropout(0.4)(X),
    "feature alpha dropout": lambda: nn.FeatureAlphaDropout(0.4)(X),
    "torch.dropout": lambda: torch.dropout(X, 0.4, True),
    "randomised relu": lambda: nn.RReLU()(-X),
    "fractional pooling": lambda: nn.FractionalMaxPool2d(2, 3)(
        torch.arange(1200.0).reshape(6, 8, 5, 5)
    ),
    "gumbel softmax": lambda: F.gumbel_softmax(X),
    "attention": lambda: nn.MultiheadAttention(8, 2, dropout=0.5)(
        *[X[:, 0, 0].repeat(1, 8).reshape(-1, 1, 8)] * 3
    )[1],
    "scaled attention": lambda: F.scaled_dot_product_attention(X, X, X, dropout_p=0.4),
    "bernoulli": lambda: torch.bernoulli(X / 2),
    "multinomial": lambda: torch.multinomial(X[:, :, 0, 0], 4),
    "noise": lambda: X + torch.randn_like(X),
    "recurrent dropout": lambda: nn.LSTM(8, 8, 2, dropout=0.4)(X[0, ..., 0].mT)[0],
    "stochastic depth": lambda: X * torch.empty(6, 1, 1, 1).bernoulli_(0.5),
}


@pytest.mark.parametrize("name", RANDOM_LAYERS)
def test_layers_draw_from_the_seed(name):
    draw = RANDOM_LAYERS[name]
    with seeded(0):
        first, then = draw(), draw()
    with seeded(0):
        again = draw()
    assert torch.equal(first, again)
    assert not torch.equal(first, then)


@pytest.mark.parametrize(
    ("layer", "mask_dims"),
    [
        (nn.Dropout(0.3), 4),
        (nn.Dropout(0.3, inplace=True), 4),
        (nn.Dropout2d(0.3), 2),
    ],
)
def test_dropout_keeps_the_mean_and_drops_values_or_channels(layer, mask_dims):
    x = torch.ones(60, 50, 4, 4)
    with seeded(0):
        dropped = layer(x.clone())
    kept = dropped != 0
    assert torch.allclose(dropped[kept], torch.tensor(1 / 0.7))
    share = kept.flatten(mask_dims).float() if mask_dims < 4 else kept.float()
    assert share.mean() == pytest.approx(0.7, abs=0.03)
    whole_channels = kept.flatten(2).all(2) | ~kept.flatten(2).any(2)
    assert whole_channels.all() == (mask_dims == 2)


def test_dropout_of_everything_and_of_nothing():
    with seeded(0):
        assert (F.dropout(X, 1.0) == 0).all()
        assert torch.equal(F.dropout(X, 0.0), X)
        assert torch.equal(F.dropout(X, 0.5, training=False), X)
        assert torch.equal(nn.Dropout2d().eval()(X), X)


def test_dropout_has_gradients():
    x = torch.ones(20, 20, requires_grad=True)
    with seeded(0):
        y = F.dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_a_generator_that_is_passed_is_used():
    with seeded(0):
        found = torch.randn(5, generator=torch.Generator().manual_seed(7))
    expected = torch.randn(5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(found, expected)


def test_a_context_that_is_entered_again_goes_on_where_it_was():
    context = seeded(1)
    with context:
        first = torch.randn(3)
    with context:
        second = torch.randn(3)
    with seeded(1):
        assert torch.equal(torch.randn(6), torch.cat([first, second]))


def test_seeds_come_from_the_random_state():
    seeds = [random_seed(np.random.RandomState(state)) for state in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert isinstance(seeds[0], int)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_layers_draw_from_the_seed_on_a_gpu():
    before = torch.cuda.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(0):
            x = X.to("cuda")
            draws.append([nn.Dropout()(x), nn.AlphaDropout()(x), torch.randn_like(x)])
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_results_inside_autocast_are_those_outside(digits, quick, dtype):
    expected = quick(max_epochs=2).fit(digits.X, digits.y)
    with torch.autocast("cpu", dtype=dtype):
        found = quick(max_epochs=2).fit(digits.X, digits.y)
        found.fit_importance(digits.X, digits.y)
        probabilities, heat = found.predict_proba(digits.X), found.transform(digits.X)
        assert torch.is_autocast_enabled("cpu")
    expected.fit_importance(digits.X, digits.y)
    np.testing.assert_array_equal(probabilities, expected.predict_proba(digits.X))
    np.testing.assert_array_equal(heat, expected.transform(digits.X))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_files_are_written_and_read_inside_autocast(digits, fitted, tmp_path, dtype):
    with torch.autocast("cpu", dtype=dtype):
        save(fitted, tmp_path / "inside")
        load(tmp_path / "inside")
    save(fitted, tmp_path / "outside")
    contents = [(tmp_path / name).read_bytes() for name in ("inside", "outside")]
    assert contents[0] == contents[1]

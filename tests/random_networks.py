"""Networks of random operations, many of which overwrite, permute, branch or hook."""

import random

import torch
import torch.nn.functional as F
from networks import N_CLASSES, SqueezeExcitation
from torch import nn
from torch.nn.utils import parametrizations


def overwrite_channels(x):
    x[:, : x.shape[1] // 2 + 1].clamp_(max=1.5)
    return x


def overwrite_flat(x):
    x.reshape(x.shape[0], -1).clamp_(max=2)
    return x


def overwrite_data(x):
    x.data.clamp_(max=1.5)
    return x


def overwrite_detached(x):
    x.detach().clamp_(max=1.5)
    return x


def overwrite_chunk(x):
    x.chunk(2, 1)[0].mul_(0.5)
    return x


def overwrite_unbound(x):
    x.unbind(1)[-1].clamp_(max=1)
    return x


def overwrite_selected(x):
    x.select(1, 0).add_(0.3)
    return x


def overwrite_out(x):
    torch.clamp(x, max=1.5, out=x)
    return x


def assign_data(x):
    x.data = x.data.clamp(max=1.5)
    return x


def set_item(x):
    torch.Tensor.__setitem__(x, (slice(None), 0), 0.5)
    return x


def add_in_place(x):
    before = x
    x += 0.5
    x *= 0.7
    return before + x


def overwrite_alias(x):
    y = F.dropout(x, training=False)
    y.clamp_(max=1.5)
    return x * 0.9


def overwrite_half(x):
    first, second = x.chunk(2, 1)
    return torch.cat([first.mul_(0.5), second], 1)


def only_on_tensors(x):
    return x.clamp(max=1.5) if isinstance(x, torch.Tensor) else x


def value_on_tensors(x):
    if isinstance(x, torch.Tensor) and x.max() > 1.5:
        return x * 0.5
    return x


def unless_failing(x):
    try:
        return x.clamp(max=1.5 if x.mean() > 0.2 else 3)
    except Exception:
        return x


def shape_on_tensors(x):
    return x * 0.5 if isinstance(x, torch.Tensor) and x.shape[0] > 10 else x


def shuffle_groups(x):
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


# Functions of feature maps with an even number of channels, which they keep.
FUNCTIONS = (
    overwrite_channels,
    overwrite_flat,
    overwrite_data,
    overwrite_detached,
    overwrite_chunk,
    overwrite_unbound,
    overwrite_selected,
    overwrite_out,
    assign_data,
    set_item,
    add_in_place,
    overwrite_alias,
    overwrite_half,
    only_on_tensors,
    value_on_tensors,
    unless_failing,
    shape_on_tensors,
    shuffle_groups,
    torch.relu,
    torch.relu_,
    torch.tanh,
    lambda x: F.relu6(x, inplace=True),
    lambda x: F.silu(x.contiguous(), inplace=True),
    lambda x: x.flip(1),
    lambda x: x.roll(1, 1),
    lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    lambda x: x * torch.sigmoid(x),
    lambda x: x - x.mean((2, 3), keepdim=True),
    lambda x: x / (1 + x.abs().amax(1, keepdim=True)),
    lambda x: x * (x > x.mean(1, keepdim=True)),
    lambda x: x.softmax(1) * 3,
    lambda x: x.cumsum(1) * 0.3,
    lambda x: x.sort(1).values,
    lambda x: F.avg_pool2d(x, 3, 1, 1),
    lambda x: F.max_pool2d(x, 3, 1, 1),
    lambda x: F.pad(x, (1, 0, 0, 1)),
    lambda x: F.local_response_norm(x, 3),
    lambda x: torch.where(x > 1, x * 0.5, x),
    lambda x: x.transpose(2, 3),
    lambda x: x.add(x.detach().clamp(max=0.4)),
)


def clamp_output(_module, _inputs, output):
    return output.clamp(max=1.5)


def clamp_output_in_place(_module, _inputs, output):
    output.clamp_(max=1.5)


def halve_input(_module, inputs):
    return (inputs[0] * 0.5,)


class Step(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Residual(nn.Module):
    """Adds its input, in place or not, as it was or overwritten."""

    def __init__(self, inner, kind):
        super().__init__()
        self.inner, self.kind = inner, kind

    def forward(self, x):
        if self.kind == "in place":
            out = self.inner(x)
            out += x
            return out
        if self.kind == "overwritten":
            return self.inner(F.relu(x, inplace=True)) + x
        return x + self.inner(x)


class Permutation(nn.Module):
    def __init__(self, n, draw):
        super().__init__()
        self.register_buffer("order", torch.tensor(draw.sample(range(n), n)))

    def forward(self, x):
        return x.index_select(1, self.order)


class Stash(nn.Module):
    """The values that its hook keeps are read again after the module has run."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.kept = inner, {}
        inner.register_forward_hook(self.keep)

    def keep(self, _module, _inputs, output):
        self.kept["output"] = output

    def forward(self, x):
        self.inner(x)
        return self.kept.pop("output").clamp(max=1.5)


class RandomNetwork(nn.Module):
    """In double precision, so that exact results differ by rounding, 1e-15."""

    def __init__(self, seed):
        super().__init__()
        self.draw = random.Random(seed)
        self.n = self.draw.choice([2, 4, 6, 8])
        self.stem = nn.Conv2d(3, self.n, 3, padding=1)
        self.body = nn.ModuleList()
        for _ in range(self.draw.randint(1, 5)):
            self.body.append(self._step())
        self.hidden = nn.Sequential(*self._hidden())
        del self.draw
        self.double()

    def _convolution(self, n_out):
        draw, n = self.draw, self.n
        groups = draw.choice([g for g in (1, 1, 1, 2, n) if n_out % g == n % g == 0])
        size = draw.choice([1, 3])
        layer = nn.Conv2d(
            n, n_out, size, padding=size // 2, groups=groups, bias=draw.random() < 0.7
        )
        kind = draw.random()
        if kind < 0.08:
            layer = parametrizations.weight_norm(layer)
        elif kind < 0.12:
            layer = parametrizations.spectral_norm(layer)
        elif kind < 0.16:
            layer = nn.Conv2d(n, n_out, 3, padding=1, padding_mode="circular")
        return self._hooked(layer)

    def _hooked(self, layer):
        kind = self.draw.random()
        if kind < 0.015:
            layer.register_forward_hook(clamp_output)
        elif kind < 0.025:
            layer.register_forward_hook(clamp_output_in_place)
        elif kind < 0.035:
            layer.register_forward_pre_hook(halve_input)
        return layer

    def _step(self):
        draw, n = self.draw, self.n
        kind = draw.random()
        if kind < 0.35:
            n_out = draw.choice([2, 4, 6, 8])
            layer = self._convolution(n_out)
            self.n = n_out
            return layer
        if kind < 0.5:
            name = draw.choice(["plain", "in place", "overwritten"])
            return Residual(self._convolution(n), name)
        if kind < 0.6:
            return Permutation(n, draw)
        if kind < 0.7:
            layers = [
                nn.BatchNorm2d(n),
                nn.GroupNorm(2, n),
                SqueezeExcitation(n),
                nn.ReLU(inplace=True),
                nn.ReLU6(inplace=True),
                nn.Dropout2d(inplace=True),
                nn.PReLU(n),
            ]
            return self._hooked(draw.choice(layers))
        if kind < 0.72:
            return Stash(self._convolution(n))
        return Step(draw.choice(FUNCTIONS))

    def _hidden(self):
        draw, n = self.draw, self.n
        ways = {
            1: [lambda x: x.mean((2, 3)), lambda x: x.amax((2, 3)), self._flat_pool],
            2: [lambda x: torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)],
            4: [lambda x: F.adaptive_avg_pool2d(x, 2).flatten(1)],
        }
        times = draw.choice(list(ways))
        yield Step(draw.choice(ways[times]))
        n *= times
        if draw.random() < 0.3:
            yield Permutation(n, draw)
        if draw.random() < 0.2:
            yield Step(lambda x: x.flip(1))
        if draw.random() < 0.6:
            yield self._hooked(nn.Linear(n, 10))
            yield draw.choice([nn.ReLU(inplace=True), nn.ReLU6(), nn.Dropout()])
            if draw.random() < 0.3:
                yield Step(draw.choice([overwrite_channels, only_on_tensors]))
            n = 10
        yield self._hooked(nn.Linear(n, N_CLASSES))

    @staticmethod
    def _flat_pool(x):
        return F.adaptive_max_pool2d(x, 1).view(x.shape[0], -1)

    def forward(self, x):
        x = self.stem(x.double())
        for step in self.body:
            x = step(x)
        return self.hidden(x)

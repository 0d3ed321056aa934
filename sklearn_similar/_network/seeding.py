"""Random numbers of PyTorch that come from a seed, not from its global generator."""

import inspect
import threading
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

_SAMPLERS = frozenset(
    (
        "bernoulli",
        "bernoulli_",
        "cauchy_",
        "exponential_",
        "geometric_",
        "log_normal_",
        "multinomial",
        "normal",
        "normal_",
        "poisson",
        "rand",
        "rand_like",
        "randint",
        "randint_like",
        "randn",
        "randn_like",
        "random_",
        "randperm",
        "uniform_",
    )
)
# How many leading dimensions have a mask of their own; None: all of them.
_DROPOUTS = {F.dropout: None, F.dropout2d: 2}
_WITHOUT_GENERATOR = frozenset(
    (
        F.alpha_dropout,
        F.dropout1d,
        F.dropout3d,
        F.feature_alpha_dropout,
        F.fractional_max_pool2d,
        F.fractional_max_pool3d,
        F.gumbel_softmax,
        F.multi_head_attention_forward,
        F.rrelu,
        F.scaled_dot_product_attention,
        torch.dropout,
        torch.dropout_,
        torch.rrelu,
        torch.rrelu_,
    )
)
_global_generator = threading.Lock()


@cache
def _takes_generator(func) -> bool:
    if getattr(func, "__name__", None) in _SAMPLERS:
        return True
    if not inspect.isfunction(func):
        return False
    return "generator" in inspect.signature(func).parameters


class seeded(TorchFunctionMode):  # noqa: N801, used as a context manager
    """Context in which PyTorch's random draws come from one seed.

    Initialisation and dropout of any module draw from generators that belong to
    the context, and PyTorch's global generator stays as it is. Fits are therefore
    reproducible in threads and next to other code that draws random numbers
    (`torch.random.fork_rng` is not: all threads share what it forks).

    Parameters
    ----------
    seed : int
        Where the random numbers start.
    """

    def __init__(self, seed: int):
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device="cpu") -> torch.Generator:
        """The context's generator of a device."""
        device = torch.device(device)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if device not in self._generators:
            generator = torch.Generator(device).manual_seed(self._seed)
            self._generators[device] = generator
        return self._generators[device]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in _DROPOUTS:
            return self._dropout(func, *args, **kwargs)
        if func in _WITHOUT_GENERATOR:
            return self._lend(func, args, kwargs)
        if kwargs.get("generator") is None and _takes_generator(func):
            kwargs["generator"] = self.generator(_device(args, kwargs))
        return func(*args, **kwargs)

    def _dropout(self, func, input, p=0.5, training=True, inplace=False):
        if not training or p == 0:
            return input
        n_own_dims = _DROPOUTS[func] or input.ndim
        mask_shape = input.shape[:n_own_dims] + (1,) * (input.ndim - n_own_dims)
        mask = input.new_empty(mask_shape).bernoulli_(
            1 - p, generator=self.generator(input.device)
        )
        if p < 1:
            mask /= 1 - p
        return input.mul_(mask) if inplace else input * mask

    def _lend(self, func, args, kwargs):
        # These functions draw from the global generator alone, so it is given the
        # context's state for the one call, and its own back.
        device = _device(args, kwargs)
        own, shared = self.generator(device), torch.default_generator
        if device.type == "cuda":
            shared = torch.cuda.default_generators[device.index]
        with _global_generator:
            state = shared.get_state()
            shared.set_state(own.get_state())
            try:
                return func(*args, **kwargs)
            finally:
                own.set_state(shared.get_state())
                shared.set_state(state)


def _device(args, kwargs) -> torch.device:
    for arg in args:
        if isinstance(arg, torch.Tensor):
            return arg.device
    return torch.device(kwargs.get("device") or torch.get_default_device())


def draw_seed(random_state: np.random.RandomState) -> int:
    """A seed for `seeded` from a NumPy random state."""
    return int(random_state.randint(np.iinfo(np.int32).max))

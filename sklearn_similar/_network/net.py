"""The skorch net: seeded, with weights of images in the loss, and restorable."""

import linecache
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.history import History
from torch import nn
from torch.utils.data import default_collate

from .activations import KnownFields
from .copying import usable
from .forward import has_foreign_hooks
from .isolation import seeded
from .memo import NetworkMemo

# Keys of a batch of weighted images.
WEIGHTED_IMAGES, SAMPLE_WEIGHT = "images", "sample_weight"


class SeededNet(NeuralNetClassifier):
    """skorch net whose forward passes draw random numbers (dropout) from its own seed.

    Attributes
    ----------
    randomness : seeded
    memory_format : {torch.contiguous_format, torch.channels_last}
        Memory format of the images that the module is given.
    known_fields : dict
        Cache of receptive fields, see `extract_activations`.
    memo : NetworkMemo
        Results about the module that are kept until it changes.
    """

    randomness: seeded
    memory_format: torch.memory_format
    known_fields: KnownFields
    memo: NetworkMemo

    def initialize_module(self):
        super().initialize_module()
        self.module_ = usable(self.module_)
        return self

    def infer(self, x, **fit_params):
        if isinstance(x, Mapping):
            x = x[WEIGHTED_IMAGES]
        # Around the forward pass alone: an optimiser makes hundreds of small calls.
        with self.randomness:
            return super().infer(x, **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        if not isinstance(X, Mapping):
            return super().get_loss(y_pred, y_true, X=X, training=training)
        criterion, labels = self.criterion_, y_true.to(self.device)
        with _unreduced(criterion) as reduction:
            losses = super().get_loss(y_pred, labels, training=training)
        if losses.shape[:1] != labels.shape:
            raise _no_image_losses(criterion)
        # Some criterions give a loss for each class.
        image_losses = losses.reshape(len(losses), -1).mean(dim=1)
        total = (X[SAMPLE_WEIGHT].to(losses) * image_losses).sum()
        return total / _divisor(criterion, labels) if reduction == "mean" else total

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        # In skorch, any KeyboardInterrupt ends training as if it were complete.
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, **fit_params)
        except KeyboardInterrupt as interrupt:
            if not _is_raised_by_callback(interrupt, self.callbacks_):
                raise
        self.notify("on_train_end", X=X, y=y)
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights and buffers of the network by name."""
        return {
            name: tensor.detach().cpu().numpy()
            for name, tensor in self.module_.state_dict().items()
        }

    def restore(self, arrays: Mapping[str, np.ndarray], history: list) -> None:
        """Load the weights and the history of a trained net of the same structure.

        Raises
        ------
        ValueError
            If the network has other weights.
        """
        # It also has the versions of layers, which some refuse to be without.
        tensors = self.module_.state_dict()
        tensors.clear()
        tensors.update((n, torch.from_numpy(np.array(a))) for n, a in arrays.items())
        try:
            self.module_.load_state_dict(tensors)
        except RuntimeError as error:
            raise other_network(self.module_.state_dict(), arrays) from error
        self.history = History(history)
        self.module_.eval()


def _is_raised_by_callback(interrupt: KeyboardInterrupt, callbacks) -> bool:
    """Whether a callback ends training, as skorch's EarlyStopping does.

    It raises the exception itself, whereas Ctrl-C strikes at other lines, or raises in
    a signal handler.
    """
    *_, (frame, line) = traceback.walk_tb(interrupt.__traceback__)
    # Some instructions that Ctrl-C strikes at belong to no line.
    if line is None:
        return False
    is_raised = "raise" in linecache.getline(frame.f_code.co_filename, line)
    owner = frame.f_locals.get("self")
    return is_raised and any(owner is callback for _, callback in callbacks)


@contextmanager
def _unreduced(criterion: nn.Module) -> Iterator[Any]:
    """Let a criterion give a loss for each image; yields its usual reduction."""
    if not hasattr(criterion, "reduction"):
        raise _no_image_losses(criterion)
    reduction: Any = criterion.reduction
    vars(criterion)["reduction"] = "none"
    try:
        yield reduction
    finally:
        vars(criterion)["reduction"] = reduction


def _divisor(criterion: nn.Module, labels: torch.Tensor) -> torch.Tensor | int:
    """The number by which PyTorch divides the sum of a criterion's losses."""
    if not isinstance(criterion, (nn.CrossEntropyLoss, nn.NLLLoss)):
        return len(labels)
    counted = labels[labels != criterion.ignore_index]
    return len(counted) if criterion.weight is None else criterion.weight[counted].sum()


def _no_image_losses(criterion: nn.Module) -> ValueError:
    return ValueError(
        f"The criterion {type(criterion).__name__} gives no loss for each image, which "
        "sample_weight needs; let it take reduction='none', as PyTorch's criterions do."
    )


def other_network(current: Mapping[str, Any], saved: Mapping[str, Any]) -> ValueError:
    """The error for a network whose weights differ in name or shape from saved ones."""
    difference = "its weights cannot be set"
    for name in [*saved, *current]:
        now, before = (
            f"the shape {tuple(weights[name].shape)}" if name in weights else "no value"
            for weights in (current, saved)
        )
        if now != before:
            difference = f"{name!r} has {now} in it, and {before} in what was saved"
            break
    return ValueError(
        f"The network is not the one that was trained: {difference}; pass module and "
        "net_params as in the fit."
    )


class InverseDecay:
    """Learning rate factor after some updates: 1 / (1 + decay * updates)."""

    def __init__(self, decay: float):
        self.decay = decay

    def __call__(self, n_updates: int) -> float:
        return 1 / (1 + self.decay * n_updates)


class LinearDecay:
    """Learning rate factor that rises for a tenth of all updates and then falls to 0.

    Parameters
    ----------
    n_updates : int
        Number of updates in the training.
    warm_up : float, default=0.1
        Share of the updates for which the factor rises.
    """

    def __init__(self, n_updates: int, warm_up: float = 0.1):
        self.n_updates = n_updates
        self.n_rising = max(1, round(warm_up * n_updates))

    def __call__(self, n_updates: int) -> float:
        n_falling = max(1, self.n_updates - self.n_rising)
        rising = (n_updates + 1) / self.n_rising
        # Callbacks may train longer than planned.
        return max(0.0, min(1.0, rising, (self.n_updates - n_updates) / n_falling))


def learning_rate_factor(lr_decay: float | str, n_updates: int):
    """The factor of the learning rate as a function of the number of updates."""
    if isinstance(lr_decay, str):
        return LinearDecay(n_updates)
    return InverseDecay(lr_decay)


def collate(batch):
    """Collate items; a batch that the data set gives as a whole stays as it is."""
    return default_collate(batch) if isinstance(batch, list) else batch


def safe_memory_format(module: nn.Module) -> torch.memory_format:
    """Channels last where that is known to be safe, else PyTorch's default format.

    A user's code may depend on the order in memory (``x.view(len(x), -1)`` does), so
    that only networks of layers of PyTorch and this package are given channels last.
    In that format, PyTorch's backward pass of a strided 1x1 convolution with few input
    channels writes past the end of its buffer (oneDNN, on a CPU).
    """
    is_unsafe = any(
        _has_foreign_code(layer) or _is_strided_1x1(layer) for layer in module.modules()
    )
    if is_unsafe or has_foreign_hooks(module):
        return torch.contiguous_format
    return torch.channels_last


def _has_foreign_code(layer: nn.Module) -> bool:
    known = ("torch", __name__.split(".")[0])
    # The code of a traced graph has no module.
    package = (type(layer).forward.__module__ or "").split(".")[0]
    return package not in known or "forward" in vars(layer)


def _is_strided_1x1(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and max(layer.kernel_size) == 1
        and max(layer.stride) > 1
    )

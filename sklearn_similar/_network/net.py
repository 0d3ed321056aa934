"""Building and seeding the skorch net."""

import copy
import dis
import inspect
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import default_collate

from .._images.messages import warn_user
from .._progress import EpochBar
from .activations import KnownFields
from .architectures import LeNet
from .device import check_device
from .image_losses import divisor, no_image_losses, unreduced
from .memory_format import safe_memory_format
from .seeding import seeded

# Share of all updates in which the learning rate rises.
_WARM_UP = 0.1
# Batches in an epoch where their size is chosen here, and limits of that size.
_N_BATCHES = 200
_AUTO_BATCH_SIZES = (16, 64)
# Share of an image's label that the loss spreads evenly over all classes: a network
# that need not be ever surer of what it knows generalises better.
_LABEL_SMOOTHING = 0.05
_BUILT_HERE = (
    "module",
    "max_epochs",
    "lr",
    "batch_size",
    "device",
    "verbose",
    "classes",
)
# Beginnings of the names in net_params, before "__".
NET_PREFIXES = (
    "module",
    "criterion",
    "optimizer",
    "iterator_train",
    "iterator_valid",
    "callbacks",
)
# What a batch of weighted images consists of.
WEIGHTED_IMAGES, SAMPLE_WEIGHT = "images", "sample_weight"
# Parameters of the estimator that the net takes as they are.
_TAKEN = ("module", "max_epochs", "lr", "lr_decay", "batch_size", "net_params")


class InverseDecay:
    """Learning rate factor after some updates: 1 / (1 + decay * updates)."""

    def __init__(self, decay: float):
        self.decay = decay

    def __call__(self, n_updates: int) -> float:
        return 1 / (1 + self.decay * n_updates)


class LinearDecay:
    """Learning rate factor that rises in a tenth of all updates and then falls to 0."""

    def __init__(self, n_updates: int):
        self.n_updates = n_updates

    def __call__(self, n_updates: int) -> float:
        n_rising = max(1, round(_WARM_UP * self.n_updates))
        n_falling = max(1, self.n_updates - n_rising)
        rising = (n_updates + 1) / n_rising
        # Callbacks may train longer than planned.
        return max(0.0, min(1.0, rising, (self.n_updates - n_updates) / n_falling))


def learning_rate_factor(lr_decay: float | str, n_updates: int):
    """The factor by which the learning rate changes with the number of updates."""
    if isinstance(lr_decay, str):
        return LinearDecay(n_updates)
    return InverseDecay(lr_decay)


def collate(batch):
    """Collate items; a dataset that gives whole batches has them stay as they are."""
    return default_collate(batch) if isinstance(batch, list) else batch


class SeededNet(NeuralNetClassifier):
    """skorch net whose forward passes draw random numbers (dropout) of its own.

    Attributes
    ----------
    randomness : seeded
    memory_format : {torch.contiguous_format, torch.channels_last}
        How the module is given images.
    known_fields : dict
        See `extract_activations`.
    """

    randomness: seeded
    memory_format: torch.memory_format
    known_fields: KnownFields

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
        with unreduced(criterion) as reduction:
            losses = super().get_loss(y_pred, labels, training=training)
        if losses.shape[:1] != labels.shape:
            raise no_image_losses(criterion)
        # Some criterions give a loss for each class.
        of_images = losses.reshape(len(losses), -1).mean(dim=1)
        total = (X[SAMPLE_WEIGHT].to(losses) * of_images).sum()
        return total / divisor(criterion, labels) if reduction == "mean" else total

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


def _is_raised_by_callback(interrupt: KeyboardInterrupt, callbacks) -> bool:
    """Whether a callback ended training early, rather than the user by Ctrl-C.

    Both are KeyboardInterrupt. A callback executes a `raise` statement, whereas Ctrl-C
    comes between other instructions, or from a signal handler.
    """
    innermost = interrupt.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return False
    frame = innermost.tb_frame
    code = frame.f_code
    is_raise = code.co_code[innermost.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    owner = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
    return is_raise and any(owner is callback for _, callback in callbacks)


def make_net(
    params: Mapping[str, Any],
    classes: np.ndarray,
    image_shape: tuple[int, ...],
    y: np.ndarray,
    loss_weights: np.ndarray | None,
    seed: int,
) -> tuple["SeededNet", dict[str, Any]]:
    """A net by an estimator's parameters, and the arguments of `build_net` for it.

    They are copied, as users change modules and dicts; `y` and `loss_weights` hold the
    class index and the weight of each image that an epoch shows.
    """
    _warn_of_positions(params["net_params"] or {})
    spec = {name: copy.deepcopy(params[name]) for name in _TAKEN} | {
        "n_classes": len(classes),
        "image_shape": image_shape,
        "class_weight": class_loss_weights(
            params["class_weight"], classes, y, loss_weights
        ),
        "device": params["device"],
        "n_training": len(y),
        "seed": seed,
    }
    return build_net(**spec, verbose=params["verbose"]), spec


def _warn_of_positions(net_params: Mapping[str, Any]) -> None:
    """Warn of samplers and splits that choose images by their positions in X."""
    names = [
        f"iterator_train__{name}"
        for name in ("sampler", "batch_sampler")
        if net_params.get(f"iterator_train__{name}") is not None
    ]
    cv = getattr(net_params.get("train_split"), "cv", 0)
    if hasattr(cv, "test_fold") or not (isinstance(cv, Real) or hasattr(cv, "split")):
        names.append("train_split")
    if names:
        warn_user(
            f"net_params holds {' and '.join(names)}, which may go by positions in X; "
            "fit trains on distinct images in an order of their own. Split at random, "
            "or pass validation images by skorch.helper.predefined_split, and weigh "
            "images by sample_weight."
        )


def build_net(
    module,
    *,
    n_classes: int,
    image_shape: tuple[int, ...],
    max_epochs: int,
    lr: float,
    lr_decay: float | str,
    batch_size: int | str,
    net_params: Mapping[str, Any] | None,
    class_weight: np.ndarray | None,
    device: str,
    n_training: int,
    seed: int,
    verbose: int,
) -> SeededNet:
    """An initialised net; all that is random in it comes from `seed`.

    Parameters are those of the estimator, but for `n_training`, the number of images to
    train on, and `class_weight`, an array of one weight for each class.

    Raises
    ------
    ValueError
        If `net_params` names what is a parameter of the estimator, or the network
        cannot be built from the module and them.
    """
    check_device(device)
    given = _check_net_params(net_params, class_weight)
    batch_size = training_batch_size(batch_size, n_training)
    n_updates = max_epochs * math.ceil(n_training / batch_size)
    schedule = LRScheduler(
        policy=LambdaLR,
        lr_lambda=learning_rate_factor(lr_decay, n_updates),
        step_every="batch",
    )
    callbacks = [("lr_decay", schedule)] if lr_decay else []
    if verbose:
        callbacks.append(("epoch_bar", EpochBar()))
    params: dict[str, Any] = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer": torch.optim.Adam,
        "train_split": None,
        "iterator_train__shuffle": True,
        **_loader_params("iterator_train", seed),
        **_loader_params("iterator_valid", seed),
        **given,
        # Modules and callbacks that were passed ready-made belong to the user and stay
        # untouched.
        "callbacks": callbacks + copy.deepcopy(list(given.get("callbacks") or [])),
    }
    # A criterion of the user's may not know label smoothing.
    if "criterion" not in given:
        params.setdefault("criterion__label_smoothing", _LABEL_SMOOTHING)
    if class_weight is not None:
        params["criterion__weight"] = torch.as_tensor(class_weight, dtype=torch.float32)
    try:
        net = SeededNet(
            copy.deepcopy(module) if isinstance(module, nn.Module) else module or LeNet,
            max_epochs=max_epochs,
            lr=lr,
            batch_size=batch_size,
            device=device,
            verbose=0,
            classes=np.arange(n_classes),
            **{**module_params(module, n_classes, image_shape), **params},
        )
        net.randomness = seeded(seed)
        with net.randomness:
            net.initialize()
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).split(". ")[0].rstrip(".")
        raise ValueError(
            f"The network cannot be built: {reason}; change module or net_params, "
            "where an argument of the module is module__<name>."
        ) from error
    # Whatever PyTorch's default type or the module's own is, images are float32.
    net.module_.float()
    net.memory_format = safe_memory_format(net.module_)
    net.known_fields = {}
    return net


def training_batch_size(batch_size: int | str, n_training: int) -> int:
    """Images in a batch; "auto" makes about 200 batches of them, small but not tiny."""
    if batch_size != "auto":
        return int(batch_size)
    return int(np.clip(n_training // _N_BATCHES, *_AUTO_BATCH_SIZES))


def _loader_params(name: str, seed: int) -> dict[str, Any]:
    # Without a generator of its own, a loader draws from PyTorch's global one.
    generator = torch.Generator().manual_seed(seed)
    return {f"{name}__generator": generator, f"{name}__collate_fn": collate}


def _check_net_params(net_params, class_weight) -> dict[str, Any]:
    given = dict(net_params or {})
    ours = [name for name in _BUILT_HERE if name in given]
    if class_weight is not None and "criterion__weight" in given:
        ours.append("criterion__weight")
    if ours:
        raise ValueError(
            f"net_params holds {', '.join(ours)}, which the estimator sets from its "
            "own parameters or from the data; take it out of net_params."
        )
    callbacks = given.get("callbacks")
    if not isinstance(callbacks, (list, tuple, type(None))):
        raise ValueError(
            f"callbacks in net_params is {callbacks!r}; pass a list of callbacks, and "
            "callbacks__<name>=None to leave one of skorch's own out."
        )
    return given


def module_params(module, n_classes, image_shape) -> dict[str, Any]:
    """Properties of the data that the constructor of a module class asks for."""
    if isinstance(module, nn.Module):
        return {}
    known = {
        "n_classes": n_classes,
        "num_classes": n_classes,
        "image_shape": image_shape[:2],
        "in_channels": image_shape[2] if len(image_shape) == 3 else 1,
    }
    accepted = inspect.signature(module or LeNet).parameters
    return {f"module__{name}": known[name] for name in known if name in accepted}


def class_loss_weights(
    class_weight: Mapping | str | None,
    classes: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
) -> np.ndarray | None:
    """Weight of each class in the loss; y holds indices of classes, not always all."""
    if class_weight is None:
        return None
    weights = np.ones(len(classes))
    # "balanced" has no weight for a class without images, where none has an effect.
    chosen = np.unique(y) if class_weight == "balanced" else np.arange(len(classes))
    weights[chosen] = compute_class_weight(
        class_weight, classes=classes[chosen], y=classes[y], sample_weight=sample_weight
    )
    return weights

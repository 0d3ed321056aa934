"""What decides a network's training: the parameters, the data's shape, and the seed."""

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from skorch.callbacks import LRScheduler
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim.lr_scheduler import LambdaLR

from .._images.images import n_channels
from .._images.messages import warn_user
from .._progress import EpochBar
from .architectures import LeNet
from .copying import usable_copy, warn_of_other_precision
from .isolation import seeded
from .memo import NetworkMemo
from .net import (
    SeededNet,
    collate,
    learning_rate_factor,
    other_network,
    safe_memory_format,
)

# Prefixes of the names in net_params, before "__".
NET_PREFIXES = (
    "module",
    "criterion",
    "optimizer",
    "iterator_train",
    "iterator_valid",
    "callbacks",
)
# Parameters of skorch that the estimator sets.
_NOT_IN_NET_PARAMS = (
    "module",
    "max_epochs",
    "lr",
    "batch_size",
    "device",
    "verbose",
    "classes",
)


# What skorch, PyTorch and a user's module raise for arguments that do not fit.
_NOT_BUILT = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class NetSpecification:
    """Everything that decides the training of a net, except its images.

    Attributes
    ----------
    module, max_epochs, lr, lr_decay, batch_size, net_params, device
        Parameters of the estimator.
    n_classes : int
    image_shape : (int, int) or (int, int, int)
        Height, width and channels of the training images.
    class_weight : ndarray of shape (n_classes,) or None
        Weight of each class in the loss.
    n_training : int
        Number of images in an epoch.
    seed : int
        Source of all that is random.
    """

    module: Any
    n_classes: int
    image_shape: tuple[int, ...]
    max_epochs: int
    lr: float
    lr_decay: float | str
    batch_size: int | str
    net_params: Mapping[str, Any] | None
    class_weight: np.ndarray | None
    device: Any
    n_training: int
    seed: int

    @classmethod
    def from_parameters(
        cls,
        params: Mapping[str, Any],
        *,
        classes: np.ndarray,
        image_shape: tuple[int, ...],
        y: np.ndarray,
        loss_weights: np.ndarray | None,
        seed: int,
    ) -> "NetSpecification":
        """The specification by an estimator's parameters, which are copied.

        Parameters
        ----------
        params : dict
            All parameters of the estimator; users may change modules and dicts later.
        classes : ndarray of shape (n_classes,)
        image_shape : tuple of int
        y, loss_weights : ndarray of shape (n_training,)
            Class index and weight of each image in an epoch.
        seed : int
        """
        _warn_of_positions(params["net_params"] or {})
        module = params["module"]
        if isinstance(module, nn.Module):
            module = usable_copy(module)
        names = ("max_epochs", "lr", "lr_decay", "batch_size", "net_params")
        return cls(
            module=module,
            **{name: copy.deepcopy(params[name]) for name in names},
            n_classes=len(classes),
            image_shape=image_shape,
            class_weight=class_loss_weights(
                params["class_weight"], classes, y, loss_weights
            ),
            device=params["device"],
            n_training=len(y),
            seed=seed,
        )

    @property
    def n_channels(self) -> int:
        """Channels of the training images."""
        return n_channels(self.image_shape)

    def build(self, verbose: int = 0, warn: bool = False) -> SeededNet:
        """An initialised net, which may warn of weights that are converted.

        Raises
        ------
        ValueError
            If `net_params` holds a parameter that the estimator sets, or the network
            cannot be built from the module and `net_params`.
        """
        check_device(self.device)
        net_params = _checked_net_params(self.net_params, self.class_weight)
        _import_optimizers()
        module = self.module or LeNet
        try:
            net = SeededNet(
                copy.deepcopy(module) if isinstance(module, nn.Module) else module,
                **self._skorch_params(net_params, verbose),
            )
            net.randomness = seeded(self.seed)
            with net.randomness:
                net.initialize()
        except _NOT_BUILT as error:
            reason = str(error).split(". ")[0].rstrip(".")
            raise ValueError(
                f"The network cannot be built: {reason}; change module or net_params, "
                "where an argument of the module is module__<name>."
            ) from error
        # Constructors follow PyTorch's default, which users may change for other work.
        is_as_made = isinstance(self.module, nn.Module)
        if warn and (is_as_made or torch.get_default_dtype() == torch.float32):
            warn_of_other_precision(net.module_, "module")
        # Images are float32, whatever PyTorch's default or the module's type is.
        net.module_.float()
        net.memory_format = safe_memory_format(net.module_)
        net.known_fields = {}
        net.memo = NetworkMemo()
        return net

    def check_weights(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Check that `build` would make a network with weights of these shapes.

        It takes no memory for them: properties of the data that come from a file can
        ask for more than there is.

        Raises
        ------
        ValueError
            If the shapes differ.
        """
        if isinstance(self.module, nn.Module):
            weights = self.module.state_dict()
        else:
            try:
                with torch.device("meta"):
                    module = (self.module or LeNet)(**self._module_arguments())
                weights = module.state_dict()
            except Exception:
                # The code of a user's network may need values of tensors, or fail for a
                # reason that `build` reports.
                return
        # Layers that have not run yet (torch.nn.LazyConv2d) take any shape.
        expected = {
            name: arrays[name].shape
            if is_lazy(tensor) and name in arrays
            else tensor.shape
            for name, tensor in weights.items()
        }
        if expected != {name: array.shape for name, array in arrays.items()}:
            raise other_network(weights, arrays)

    def _skorch_params(
        self, net_params: Mapping[str, Any], verbose: int
    ) -> dict[str, Any]:
        params: dict[str, Any] = {
            "criterion": nn.CrossEntropyLoss,
            "optimizer": torch.optim.Adam,
            "train_split": None,
            "iterator_train__shuffle": True,
            **_loader_params("iterator_train", self.seed),
            **_loader_params("iterator_valid", self.seed),
            **self._data_params(),
            **net_params,
            "max_epochs": self.max_epochs,
            "lr": self.lr,
            "batch_size": training_batch_size(self.batch_size, self.n_training),
            "device": self.device,
            "verbose": 0,
            "classes": np.arange(self.n_classes),
        }
        # A user's criterion may not know label smoothing.
        if "criterion" not in net_params:
            # A share of each label is spread evenly over all classes: a network that
            # need not become ever more confident generalises better.
            params.setdefault("criterion__label_smoothing", 0.05)
        if self.class_weight is not None:
            weight = torch.as_tensor(self.class_weight, dtype=torch.float32)
            params["criterion__weight"] = weight
        params["callbacks"] = self._callbacks(params["batch_size"], verbose)
        return params

    def _callbacks(self, batch_size: int, verbose: int) -> list:
        # The user's callbacks stay as they are.
        users = copy.deepcopy(list((self.net_params or {}).get("callbacks") or []))
        callbacks: list = []
        if self.lr_decay and not any(map(_schedules, users)):
            n_updates = self.max_epochs * math.ceil(self.n_training / batch_size)
            schedule = LRScheduler(
                policy=LambdaLR,
                lr_lambda=learning_rate_factor(self.lr_decay, n_updates),
                step_every="batch",
            )
            callbacks.append(("lr_decay", schedule))
        if verbose:
            callbacks.append(("epoch_bar", EpochBar()))
        return callbacks + users

    def _data_params(self) -> dict[str, Any]:
        """Properties of the data that the constructor of a module class asks for."""
        if isinstance(self.module, nn.Module):
            return {}
        known = {
            "n_classes": self.n_classes,
            "num_classes": self.n_classes,
            "image_shape": self.image_shape[:2],
            "in_channels": self.n_channels,
        }
        accepted = _argument_names(self.module or LeNet)
        return {f"module__{name}": known[name] for name in known if name in accepted}

    def _module_arguments(self) -> dict[str, Any]:
        """Arguments of a module class, as skorch takes them from a net's parameters."""
        prefix = "module__"
        return {
            name.removeprefix(prefix): value
            for name, value in {
                **self._data_params(),
                **(self.net_params or {}),
            }.items()
            if name.startswith(prefix)
        }


def _argument_names(build: Callable) -> set[str]:
    """Names of the arguments of a module class, or of a function that makes a module.

    Arguments that a class hands on as ``**kwargs`` are those of its base class; those
    of a function are taken to have `num_classes`, as torchvision's and timm's do.
    """
    names: set[str] = set()
    for owner in inspect.getmro(build) if inspect.isclass(build) else [build]:
        parameters = inspect.signature(owner).parameters.values()
        names.update(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
        if owner is nn.Module or not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return {*names, "num_classes"}


def _schedules(callback) -> bool:
    """Whether a callback, or a named one, schedules the learning rate."""
    if isinstance(callback, (tuple, list)):
        callback = callback[-1]
    is_class = isinstance(callback, type)
    return issubclass(callback if is_class else type(callback), LRScheduler)


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
            f"net_params holds {' and '.join(names)}, which may use positions in X; "
            "fit trains on distinct images in another order. Split at random, or pass "
            "validation images by skorch.helper.predefined_split, and weigh images by "
            "sample_weight."
        )


def _checked_net_params(
    net_params: Mapping[str, Any] | None, class_weight: np.ndarray | None
) -> dict[str, Any]:
    params = dict(net_params or {})
    taken = [name for name in _NOT_IN_NET_PARAMS if name in params]
    if class_weight is not None and "criterion__weight" in params:
        taken.append("criterion__weight")
    if taken:
        raise ValueError(
            f"net_params holds {', '.join(taken)}, which the estimator sets from its "
            "own parameters or from the data; take it out of net_params."
        )
    if params.get("compile"):
        raise ValueError(
            "net_params holds compile, but layers of a compiled network cannot be "
            "observed; take it out of net_params."
        )
    callbacks = params.get("callbacks")
    if not isinstance(callbacks, (list, tuple, type(None))):
        raise ValueError(
            f"callbacks in net_params is {callbacks!r}; pass a list of callbacks, and "
            "callbacks__<name>=None to leave out one of skorch's."
        )
    return params


def _import_optimizers() -> None:
    """Import what the first optimiser of a process imports, in another thread.

    Ctrl-C comes to the main thread alone. In the middle of these imports, it could
    leave half a module, with which no optimiser works any more.
    """
    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(import_module, "torch._dynamo").result()


def check_device(device) -> None:
    """Raise ValueError for a device that PyTorch does not know or cannot use here."""
    try:
        checked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device is {device!r}, which PyTorch does not know; pass 'cpu' or 'cuda'."
        ) from error
    if checked.type == "cuda" and (checked.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {str(device)!r}, but PyTorch sees {torch.cuda.device_count()} "
            "GPUs; pass device='cpu'."
        )
    try:
        # Devices that no build supports, or that hold no values, have valid names.
        (torch.zeros(1, device=checked) + 1).item()
    except Exception as error:
        raise ValueError(
            f"device is {str(device)!r}, on which PyTorch cannot compute here; pass "
            "device='cpu'."
        ) from error


def training_batch_size(batch_size: int | str, n_training: int) -> int:
    """Images in a batch; "auto" makes about 200 batches of 16 to 64 images."""
    if batch_size != "auto":
        return int(batch_size)
    size = int(np.clip(n_training // 200, 16, 64))
    # Batch normalisation cannot learn from a last batch of one image.
    while n_training > size and n_training % size == 1:
        size += 1
    return size


def _loader_params(name: str, seed: int) -> dict[str, Any]:
    # Without a generator, a loader draws from PyTorch's global one.
    generator = torch.Generator().manual_seed(seed)
    return {f"{name}__generator": generator, f"{name}__collate_fn": collate}


def class_loss_weights(
    class_weight: Mapping | str | None,
    classes: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
) -> np.ndarray | None:
    """Weight of each class in the loss; y holds class indices, not always all."""
    if class_weight is None:
        return None
    weights = np.ones(len(classes))
    # "balanced" knows no weight for a class without images, where none has an effect.
    present = np.unique(y) if class_weight == "balanced" else np.arange(len(classes))
    weights[present] = compute_class_weight(
        class_weight,
        classes=classes[present],
        y=classes[y],
        sample_weight=sample_weight,
    )
    return weights


def pack_net(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an estimator with arrays in the place of its net.

    A net holds closures and pickles itself through files; arrays are half the size and
    safe to read.
    """
    state = dict(state)
    if "net_" in state:
        net = state.pop("net_")
        state["_net_spec"] = dict(vars(state["_net_spec"]))
        state["_net_arrays"] = net.arrays()
        state["_net_history"] = net.history.to_list()
    return state


def unpack_net(state: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `pack_net`; on the CPU where the device of the fit is missing."""
    state = dict(state)
    if "_net_arrays" not in state:
        return state
    arrays, history = state.pop("_net_arrays"), state.pop("_net_history")
    specification = NetSpecification(**state["_net_spec"])
    try:
        check_device(specification.device)
    except ValueError as error:
        warn_user(f"{error} The network is on the CPU now.")
        state["device"] = "cpu"
        specification = replace(specification, device="cpu")
    state["_net_spec"] = specification
    state["net_"] = specification.build(state["verbose"])
    state["net_"].restore(arrays, history)
    return state

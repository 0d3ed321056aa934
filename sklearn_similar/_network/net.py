"""Building, seeding and training the skorch net; weights to and from arrays."""

import copy
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, Subset, default_collate

from .._inputs.images import Images, count, n_channels, shape_text, to_tensor
from .activations import eval_mode
from .lenet import LeNet
from .seeding import seeded

_BUILT_HERE = (
    "module",
    "max_epochs",
    "lr",
    "batch_size",
    "device",
    "verbose",
    "classes",
)


class PixelDataset(Dataset):
    """Labelled images of one size for skorch, read a batch at a time."""

    def __init__(self, images: Images, y: np.ndarray, n_channels: int):
        self.images = images
        self.y = y
        self.n_channels = n_channels

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index):
        images, y = self.__getitems__([index])
        return images[0], y[0]

    def __getitems__(self, indices) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and class indices at some positions: what a loader asks for."""
        chosen = np.asarray(indices)
        pixels = to_tensor(self.images.select(chosen), self.n_channels)
        return pixels, torch.from_numpy(self.y[chosen])


def collate(batch):
    """Collate items; a `PixelDataset` gives whole batches, which stay as they are."""
    return default_collate(batch) if isinstance(batch, list) else batch


class InverseDecay:
    """Learning rate factor after some updates: 1 / (1 + decay * updates)."""

    def __init__(self, decay: float):
        self.decay = decay

    def __call__(self, n_updates: int) -> float:
        return 1 / (1 + self.decay * n_updates)


class SeededNet(NeuralNetClassifier):
    """skorch net whose forward passes draw random numbers (dropout) of its own."""

    randomness: seeded

    def infer(self, x, **fit_params):
        # Around the forward pass alone: an optimiser makes hundreds of small calls.
        with self.randomness:
            return super().infer(x, **fit_params)


def build_net(
    module,
    *,
    n_classes: int,
    image_shape: tuple[int, ...],
    max_epochs: int,
    lr: float,
    lr_decay: float,
    batch_size: int,
    net_params: Mapping[str, Any] | None,
    class_weight: np.ndarray | None,
    device: str,
    seed: int,
    verbose: int,
) -> SeededNet:
    """An initialised net; all that is random in it comes from `seed`.

    Raises
    ------
    ValueError
        If `net_params` names what is a parameter of the estimator, or the network
        cannot be built from the module and them.
    """
    check_device(device)
    given = _check_net_params(net_params, class_weight)
    schedule = LRScheduler(
        policy=LambdaLR, lr_lambda=InverseDecay(lr_decay), step_every="batch"
    )
    callbacks = [("lr_decay", schedule)] if lr_decay else []
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
    if class_weight is not None:
        params["criterion__weight"] = torch.as_tensor(class_weight, dtype=torch.float32)
    try:
        net = SeededNet(
            copy.deepcopy(module) if isinstance(module, nn.Module) else module or LeNet,
            max_epochs=max_epochs,
            lr=lr,
            batch_size=batch_size,
            device=device,
            verbose=verbose,
            classes=np.arange(n_classes),
            **{**_module_params(module, n_classes, image_shape), **params},
        )
        net.randomness = seeded(seed)
        with net.randomness:
            net.initialize()
    except (TypeError, ValueError) as error:
        reason = str(error).split(". ")[0].rstrip(".")
        raise ValueError(
            f"The network cannot be built: {reason}; change module or net_params, "
            "where an argument of the module is module__<name>."
        ) from error
    # Whatever PyTorch's default type or the module's own is, images are float32.
    net.module_.float()
    return net


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


def _module_params(module, n_classes, image_shape) -> dict[str, Any]:
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


def train_network(
    net: SeededNet,
    spec: Mapping[str, Any],
    images: Images,
    y: np.ndarray,
    training: np.ndarray,
) -> tuple[dict[str, np.ndarray], list]:
    """Train a new net; returns its weights and history, which a cache can hold.

    Parameters
    ----------
    net : SeededNet
        As `build_net` made it.
    spec : dict
        Arguments of `build_net`.
    images : Images
        All of one size.
    y : ndarray of shape (n_images,)
        Class index of each image.
    training : ndarray of int
        The images to train on.

    Raises
    ------
    ValueError
        If the loss diverged.
    """
    dataset = PixelDataset(images, y, n_channels(spec["image_shape"]))
    # The labels are in the dataset already; here they serve a stratified train_split.
    try:
        net.partial_fit(Subset(dataset, training.tolist()), y[training])
    except KeyError as error:
        if "valid_" not in str(error):
            raise
        raise ValueError(
            "A callback needs what only a validation split gives; pass train_split="
            f"skorch.dataset.ValidSplit(5) in net_params ({error.args[0]})"
        ) from error
    net.module_.zero_grad(set_to_none=True)
    _check_converged(net, dataset.__getitems__(training[:1])[0])
    return get_arrays(net), net.history.to_list()


def _check_converged(net: SeededNet, images: torch.Tensor) -> None:
    """Raise ValueError unless losses, and scores after the last update, are finite."""
    found = None
    for epoch in net.history:
        loss = epoch.get("train_loss", 0.0)
        if not np.isfinite(loss):
            found = f"the loss is {loss} in epoch {epoch['epoch']}"
            break
    with eval_mode(net.module_) as module:
        if not found and not module(images.to(net.device)).isfinite().all():
            found = "scores are not finite"
    if found:
        raise ValueError(
            f"Training diverged: {found} with lr={net.lr}; lower lr or scale X."
        )


def restore(net: SeededNet, arrays: Mapping[str, np.ndarray], history: list) -> None:
    """Load weights and history of a trained net into one of the same structure."""
    net.module_.load_state_dict(
        {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    )
    net.history = type(net.history)(history)
    net.module_.eval()


def check_output(net: SeededNet, images: torch.Tensor, n_classes: int) -> None:
    """Raise ValueError unless the network gives one score per image and class.

    Parameters
    ----------
    net : SeededNet
        In evaluation mode.
    images : tensor of shape (n_images, n_channels, height, width)
    n_classes : int
    """
    try:
        output = net.module_(images)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"The network cannot take images of {count(images.shape[1], 'channel')} "
            f"and {shape_text(images.shape[2:])} pixels; change module or the images "
            f"({str(error).splitlines()[0]})."
        ) from error
    wanted = (len(images), n_classes)
    if not isinstance(output, torch.Tensor):
        raise ValueError(
            f"The network returns a {type(output).__name__}; wrap it so that it "
            "returns one tensor of class scores, n_images x n_classes."
        )
    if tuple(output.shape) != wanted:
        raise ValueError(
            f"The network returns shape {tuple(output.shape)} for {len(images)} "
            f"images, but y has {n_classes} classes, so it should be {wanted}."
        )
    if returns_probabilities(net) and bool((output < 0).any()):
        raise ValueError(
            f"The network returns {float(output.min()):.3g}, but skorch's NLLLoss "
            "takes probabilities; end the network with a softmax, or let it return "
            "logits and leave the criterion out."
        )


def returns_probabilities(net: NeuralNetClassifier) -> bool:
    """Whether the module returns probabilities; else, it returns logits.

    It does with `NLLLoss`, which is skorch's convention.
    """
    return isinstance(net.criterion_, nn.NLLLoss)


def get_arrays(net: NeuralNetClassifier) -> dict[str, np.ndarray]:
    """Weights and buffers of the network by name."""
    return {
        name: tensor.detach().cpu().numpy()
        for name, tensor in net.module_.state_dict().items()
    }


def pack_net(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an estimator with arrays in the place of its net.

    A net holds closures and pickles itself through files; arrays are half the size and
    safe to read.
    """
    state = dict(state)
    if "net_" in state:
        net = state.pop("net_")
        state["_net_arrays"] = get_arrays(net)
        state["_net_history"] = net.history.to_list()
    return state


def unpack_net(state: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `pack_net`; on the CPU where the device of the fit is missing."""
    state = dict(state)
    if "_net_arrays" not in state:
        return state
    arrays, history = state.pop("_net_arrays"), state.pop("_net_history")
    try:
        check_device(state["_net_spec"]["device"])
    except ValueError as error:
        warnings.warn(f"{error} The network is on the CPU now.", stacklevel=3)
        state["device"] = "cpu"
        state["_net_spec"] = {**state["_net_spec"], "device": "cpu"}
    state["net_"] = build_net(**state["_net_spec"], verbose=state["verbose"])
    restore(state["net_"], arrays, history)
    return state


def check_device(device) -> None:
    """Raise ValueError for a device that PyTorch does not know or cannot use here."""
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device is {device!r}, which PyTorch does not know; pass 'cpu' or 'cuda'."
        ) from error
    if asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {str(device)!r}, but PyTorch sees {torch.cuda.device_count()} "
            "GPUs; pass device='cpu'."
        )
    try:
        # Names of devices that no build supports, or that hold no values, pass so far.
        (torch.zeros(1, device=asked) + 1).item()
    except Exception as error:
        raise ValueError(
            f"device is {str(device)!r}, on which PyTorch cannot compute here; pass "
            "device='cpu'."
        ) from error

"""Weights of a net to and from arrays, and the net itself from them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn

from .._images.messages import warn_user
from .architectures import LeNet
from .device import check_device
from .net import SeededNet, build_net, module_params


def restore(net: SeededNet, arrays: Mapping[str, np.ndarray], history: list) -> None:
    """Load weights and history of a trained net into one of the same structure.

    Raises
    ------
    ValueError
        If the network has other weights.
    """
    try:
        net.module_.load_state_dict(
            {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        )
    except RuntimeError as error:
        raise _other_network(net.module_.state_dict(), arrays) from error
    net.history = type(net.history)(history)
    net.module_.eval()


def check_weights(spec: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError if `build_net` would make a network with other weights.

    It takes no memory for them: properties of the data that come from a file can ask
    for more than there is.
    """
    module = spec["module"]
    if isinstance(module, nn.Module):
        own = module.state_dict()
    else:
        try:
            with torch.device("meta"):
                own = (module or LeNet)(**_module_arguments(spec)).state_dict()
        except Exception:
            # The code of a user's network may need values of tensors, or fail for a
            # reason that `build_net` tells.
            return
    if {n: t.shape for n, t in own.items()} != {n: a.shape for n, a in arrays.items()}:
        raise _other_network(own, arrays)


def _module_arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a module class, as skorch takes them from a net's parameters."""
    prefix = "module__"
    data = module_params(spec["module"], spec["n_classes"], spec["image_shape"])
    return {
        name.removeprefix(prefix): value
        for name, value in {**data, **(spec["net_params"] or {})}.items()
        if name.startswith(prefix)
    }


def _other_network(own: Mapping[str, Any], stored: Mapping[str, Any]) -> ValueError:
    difference = "its weights cannot be set"
    for name in [*stored, *own]:
        found, expected = (
            f"the shape {tuple(weights[name].shape)}" if name in weights else "no value"
            for weights in (own, stored)
        )
        if found != expected:
            difference = f"{name!r} has {found} in it, and {expected} in what was saved"
            break
    return ValueError(
        f"The network is not the one that was trained: {difference}; pass module and "
        "net_params as in the fit."
    )


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
        warn_user(f"{error} The network is on the CPU now.")
        state["device"] = "cpu"
        state["_net_spec"] = {**state["_net_spec"], "device": "cpu"}
    state["net_"] = build_net(**state["_net_spec"], verbose=state["verbose"])
    restore(state["net_"], arrays, history)
    return state

"""Copies of users' networks, and kinds of networks that cannot be used."""

import copy
from collections.abc import Iterable

import torch
from torch import nn

from .._images.messages import warn_user

_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


def usable_copy(module: nn.Module) -> nn.Module:
    """A copy of a network whose layers run as they are; see `usable`."""
    _check_kind(module)
    return usable(deep_copy(module))


def usable(module: nn.Module) -> nn.Module:
    """A network whose layers run as they are, made of a network.

    Networks of `torch.compile` are replaced by what was compiled: hooks do not see the
    layers of compiled ones.

    Raises
    ------
    ValueError
        If the network has no layers that can be hooked and run in single precision.
    """
    _check_kind(module)
    module = _uncompiled(module)
    for layer in list(module.modules()):
        for name, child in list(layer.named_children()):
            if child is not _uncompiled(child):
                setattr(layer, name, _uncompiled(child))
    return module


def deep_copy(module: nn.Module, shared: Iterable[torch.Tensor] = ()) -> nn.Module:
    """A copy of a network, also after a forward pass, that may share some tensors.

    Weight normalisation and pruning of PyTorch keep the weight that they computed last;
    one with gradients cannot be copied, and is computed again.
    """
    computed = {
        id(value): value.detach().clone()
        for layer in module.modules()
        for value in vars(layer).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed | {id(tensor): tensor for tensor in shared})


def warn_of_other_precision(module: nn.Module, name: str) -> None:
    """Warn of weights that the caller is going to convert, of a parameter's network.

    The parameter may also be what makes the network.
    """
    types = {p.dtype for p in module.parameters() if p.is_floating_point()}
    converted = sorted(str(dtype) for dtype in types - {torch.float32})
    if converted:
        warn_user(
            f"{name} has weights of {', '.join(converted)}, and its copy computes in "
            "torch.float32, as images are; convert it by its method float() to say so."
        )


def _uncompiled(module: nn.Module) -> nn.Module:
    return getattr(module, "_orig_mod", module)


def _check_kind(module: nn.Module) -> None:
    """Raise ValueError for networks whose layers are not PyTorch's usual modules."""
    for layer in module.modules():
        reason = None
        if isinstance(layer, torch.jit.ScriptModule):
            reason = (
                "TorchScript, whose layers cannot be observed; pass the network that "
                "was scripted or traced"
            )
        elif type(layer).__module__.startswith(_QUANTISED):
            reason = (
                "quantised, so that its activations cannot be ablated; pass the "
                "network before its quantisation"
            )
        elif isinstance(layer, torch.fx.GraphModule) and not _has_layers(layer):
            reason = (
                "an exported graph without layers; pass the network that was exported"
            )
        elif any(p.is_meta for p in layer.parameters(recurse=False)):
            reason = (
                "on the meta device, where weights have no values; make it on the CPU"
            )
        if reason:
            raise ValueError(f"The network, a {type(module).__name__}, is {reason}.")


def _has_layers(module: torch.fx.GraphModule) -> bool:
    """Whether a graph calls a module with weights."""
    return any(
        node.op == "call_module"
        and any(True for _ in module.get_submodule(str(node.target)).parameters())
        for node in module.graph.nodes
    )

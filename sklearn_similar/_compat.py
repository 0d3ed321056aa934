"""Private names of scikit-learn and PyTorch that the package uses.

One place to look when a release of either moves them.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._param_validation import validate_params as _validate_params
from sklearn.utils._set_output import _get_output_config as get_output_config
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from torch.nn.modules import module as _module
from torch.nn.modules.utils import _pair as pair
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Function = TypeVar("Function", bound=Callable)


def fit_context(
    *, prefer_skip_nested_validation: bool
) -> Callable[[Function], Function]:
    """scikit-learn's decorator of `fit`, with types that keep those of the method."""
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


def global_forward_hooks() -> list[Callable]:
    """Hooks that PyTorch calls in the forward pass of every module."""
    return [
        *_module._global_forward_pre_hooks.values(),
        *_module._global_forward_hooks.values(),
    ]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # PyTorch has no type of its own for the CPU.
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def validate_params(
    constraints: Mapping[str, Any], *, prefer_skip_nested_validation: bool
) -> Callable[[Function], Function]:
    """scikit-learn's decorator of functions, with types that keep the function's."""
    return _validate_params(
        constraints, prefer_skip_nested_validation=prefer_skip_nested_validation
    )


__all__ = [
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "TorchDispatchMode",
    "check_feature_names_in",
    "fit_context",
    "get_output_config",
    "global_forward_hooks",
    "is_out_of_memory",
    "pair",
    "tree_leaves",
    "validate_parameter_constraints",
    "validate_params",
]

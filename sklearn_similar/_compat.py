"""Private names of scikit-learn and PyTorch that the package uses.

One place to look when a release of either moves them.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
)
from sklearn.utils._param_validation import validate_params as _validate_params
from sklearn.utils._set_output import _get_output_config as get_output_config
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from torch.nn.modules.utils import _pair as pair
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Function = TypeVar("Function", bound=Callable)


def fit_context(
    *, prefer_skip_nested_validation: bool
) -> Callable[[Function], Function]:
    """scikit-learn's decorator of `fit`, with types that keep those of the method."""
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


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
    "pair",
    "tree_leaves",
    "validate_params",
]

"""Private names of scikit-learn and PyTorch that the package uses.

This is the one place to change when a release of either moves them.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any, ClassVar, TypeVar

import torch
from sklearn.base import BaseEstimator, _fit_context
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
from torch.overrides import _get_current_function_mode as current_function_mode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

Function = TypeVar("Function", bound=Callable)


class ReadableHTMLMixin(BaseEstimator):
    """Estimator whose HTML representation links to the documentation.

    The link is "Documentation" of the installed package's URLs. Fitted attributes that
    hold networks or tables of weights are left out.
    """

    _doc_link_module: ClassVar[str] = "sklearn_similar"

    @property
    def _doc_link_template(self) -> str:
        base = documentation_url()
        page = "generated/{estimator_module}.{estimator_name}.html"
        return f"{base.rstrip('/')}/{page}" if base else ""

    def _get_fitted_attr_html(self, doc_link: str = ""):
        # Called by scikit-learn 1.9 and later.
        attributes = super()._get_fitted_attr_html(doc_link)
        for name in list(attributes):
            if not _is_short(getattr(self, name, None)):
                del attributes[name]
        return attributes


def documentation_url() -> str:
    """The address of the documentation of the installed package; "" without one."""
    try:
        urls = metadata("sklearn-similar").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation", "")


def _is_short(value: Any) -> bool:
    """Whether a fitted attribute can be read: no network, no table of weights."""
    if isinstance(value, (torch.nn.Module, torch.Tensor, Mapping)):
        return False
    if isinstance(getattr(value, "module_", None), torch.nn.Module):
        return False
    return getattr(value, "ndim", 0) < 2


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
    """Whether an exception reports a lack of memory, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # PyTorch has no such type for the CPU.
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def n_modes() -> tuple[int, int]:
    """Numbers of function modes and of dispatch modes that this thread is in."""
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()


def leave_modes(n_modes_left: tuple[int, int]) -> None:
    """Leave the innermost modes until the numbers of `n_modes` are reached."""
    n_function, n_dispatch = n_modes_left
    while torch._C._len_torch_function_stack() > n_function:
        torch._C._pop_torch_function_stack()
    while (depth := torch._C._len_torch_dispatch_stack()) > n_dispatch:
        mode = torch._C._get_dispatch_stack_at(depth - 1)
        # It fails if the mode was interrupted while it was being left.
        with suppress(IndexError):
            mode.__exit__(None, None, None)
            continue
        torch._C._pop_torch_dispatch_stack(None)


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
    "ReadableHTMLMixin",
    "StrOptions",
    "TorchDispatchMode",
    "check_feature_names_in",
    "current_function_mode",
    "documentation_url",
    "fit_context",
    "get_output_config",
    "global_forward_hooks",
    "is_out_of_memory",
    "leave_modes",
    "n_modes",
    "pair",
    "tree_leaves",
    "tree_map_only",
    "validate_parameter_constraints",
    "validate_params",
]

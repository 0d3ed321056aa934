"""State and parameters of estimators, and of estimators in them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from torch import nn

from ._compat import ReadableHTMLMixin, validate_parameter_constraints
from ._network.copying import deep_copy


class NestedParametersMixin(ReadableHTMLMixin):
    """Estimator with <name>__<parameter> of things that are not estimators."""

    # The dict parameter that holds <name>__<parameter>, by name.
    _nested_holders: ClassVar[dict[str, str]] = {}
    # What to do if the parameter of a name does not hold an estimator, by name.
    _nested_remedies: ClassVar[dict[str, str]] = {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator, and of estimators in it.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include <name>__<parameter>.

        Returns
        -------
        dict
            Values by name.
        """
        params = super().get_params(deep=deep)
        if deep:
            for holder in set(self._nested_holders.values()):
                held = params[holder]
                if isinstance(held, Mapping):
                    params |= {name: held[name] for name in held if self._is_held(name)}
        return params

    def set_params(self, **params) -> Self:
        """Set parameters of this estimator, and <name>__<parameter> of nested ones.

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a parameter does not exist.
        """
        current = self.get_params(deep=False)
        for name in [name for name in params if self._is_held(name)]:
            holder = self._nested_holders[name.partition("__")[0]]
            held = params.get(holder, current[holder]) or {}
            # A new dict, as the present one is the user's.
            params[holder] = {**held, name: params.pop(name)}
        for name in params:
            owner, separator, _ = name.partition("__")
            value = current.get(owner)
            if separator and owner in current and not hasattr(value, "get_params"):
                remedy = self._nested_remedies.get(owner, "set it as a whole")
                raise ValueError(
                    f"{name} cannot be set, as {owner} is {value!r}, which has no "
                    f"parameters; {remedy}."
                )
        return super().set_params(**params)

    def __sklearn_clone__(self) -> Self:
        """Let `sklearn.base.clone` copy networks that have run with gradients."""
        networks = {
            name: deep_copy(value)
            for name, value in self.get_params(deep=False).items()
            if isinstance(value, nn.Module)
        }
        copied = copy_with(self, **networks)
        return super(NestedParametersMixin, copied).__sklearn_clone__()

    def _is_held(self, name: str) -> bool:
        owner, separator, _ = name.partition("__")
        return bool(separator) and owner in self._nested_holders


@contextmanager
def published_at_end(estimator) -> Iterator[Any]:
    """A working copy of an estimator, whose state becomes the estimator's at the end.

    Until then, and if anything is raised, the estimator is as before: also in other
    threads, and for a Ctrl-C that comes at any time. One assignment replaces the state,
    except for parameters that were set meanwhile.
    """
    working = copy_with(estimator)
    yield working
    estimator.__dict__ = vars(working) | estimator.get_params(deep=False)


def snapshot(estimator):
    """An estimator in its present state, which a later or concurrent fit replaces."""
    return _with_state(estimator, vars(estimator))


def copy_with(estimator, **attributes):
    """A shallow copy of an estimator with other values of some attributes."""
    return _with_state(estimator, vars(estimator) | attributes)


def _with_state(estimator, state: dict[str, Any]):
    copied = object.__new__(type(estimator))
    copied.__dict__ = state
    return copied


def check_parameters(estimator, names: Sequence[str]) -> None:
    """Raise ValueError for invalid values of some parameters: those that act in a call.

    Checking all of them would take as long as a heatmap of a small image.
    """
    validate_parameter_constraints(
        {name: estimator._parameter_constraints[name] for name in names},
        {name: getattr(estimator, name) for name in names},
        caller_name=type(estimator).__name__,
    )


def check_scales(scales) -> tuple[float, ...]:
    """The scales of an image pyramid, as floats."""
    try:
        values = np.asarray(scales, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    are_valid = values.ndim == 1 and len(values) and np.all(values > 0)
    if not are_valid or not np.isfinite(values).all():
        raise ValueError(
            f"scales is {scales!r}; pass one or more finite numbers above 0, as in "
            "(0.5, 1.0)."
        )
    return tuple(values.tolist())


def set_random_states(estimator, random_state: np.random.RandomState) -> None:
    """Seed each `random_state` in an estimator that the user left at None."""
    seeds = {
        name: random_state.randint(np.iinfo(np.int32).max)
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.split("__")[-1] == "random_state" and value is None
    }
    if seeds:
        estimator.set_params(**seeds)

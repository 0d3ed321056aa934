"""Setting parameters of estimators and of estimators in them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from ._compat import validate_parameter_constraints


class NestedParametersMixin(BaseEstimator):
    """Estimator that knows what to do about <name>__<parameter> of no estimator."""

    # The parameter, a dict, that holds all <name>__<parameter> of some names.
    _nested_holders: ClassVar[dict[str, str]] = {}
    # What to do instead, by the name of the parameter that holds no estimator.
    _nested_remedies: ClassVar[dict[str, str]] = {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator, and of those in it.

        Parameters
        ----------
        deep : bool, default=True
            Whether <name>__<parameter> are among them.

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
        """Set parameters of this estimator, and <name>__<parameter> of what is in it.

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
            If there is no such parameter.
        """
        held = self.get_params(deep=False)
        for name in [name for name in params if self._is_held(name)]:
            holder = self._nested_holders[name.partition("__")[0]]
            others = params.get(holder, held[holder]) or {}
            # A new dict, as the present one is the user's.
            params[holder] = {**others, name: params.pop(name)}
        for name in params:
            owner, separator, _ = name.partition("__")
            if separator and owner in held and not hasattr(held[owner], "get_params"):
                remedy = self._nested_remedies.get(owner, "set it as a whole")
                raise ValueError(
                    f"{name} cannot be set, as {owner} is {held[owner]!r}, which has "
                    f"no parameters; {remedy}."
                )
        return super().set_params(**params)

    def _is_held(self, name: str) -> bool:
        owner, separator, _ = name.partition("__")
        return bool(separator) and owner in self._nested_holders


def check_parameters(estimator, names: Sequence[str]) -> None:
    """Raise ValueError for parameters, those that act in a call, that cannot be used.

    All of them would take as long as a heatmap of a small image.
    """
    validate_parameter_constraints(
        {name: estimator._parameter_constraints[name] for name in names},
        {name: getattr(estimator, name) for name in names},
        caller_name=type(estimator).__name__,
    )


def check_scales(scales) -> tuple[float, ...]:
    """The scales of an image pyramid, as floats."""
    try:
        found = np.asarray(scales, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 1 or found.size == 0 or not np.all((found > 0) & (found < np.inf)):
        raise ValueError(
            f"scales is {scales!r}; pass one or more finite numbers above 0, as in "
            "(0.5, 1.0)."
        )
    return tuple(found.tolist())


def set_random_states(estimator, random_state: np.random.RandomState) -> None:
    """Seed what is random in an estimator and was not seeded by the user."""
    seeds = {
        name: random_state.randint(np.iinfo(np.int32).max)
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.split("__")[-1] == "random_state" and value is None
    }
    if seeds:
        estimator.set_params(**seeds)

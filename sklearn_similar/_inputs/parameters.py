"""Setting parameters of estimators and of estimators in them."""

from typing import ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator


class NestedParametersMixin(BaseEstimator):
    """Estimator whose `set_params` says what to do about <name>__<parameter>."""

    # What to do instead, by the name of the parameter that holds no estimator.
    _nested_remedies: ClassVar[dict[str, str]] = {}

    def set_params(self, **params) -> Self:
        """Set parameters of this estimator, and <name>__<parameter> of one in it.

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
        for name in params:
            owner, separator, _ = name.partition("__")
            if separator and owner in held and not hasattr(held[owner], "get_params"):
                remedy = self._nested_remedies.get(owner, "set it as a whole")
                raise ValueError(
                    f"{name} cannot be set, as {owner} is {held[owner]!r}, which has "
                    f"no parameters; {remedy}."
                )
        return super().set_params(**params)


def set_random_states(estimator, random_state: np.random.RandomState) -> None:
    """Seed what is random in an estimator and was not seeded by the user."""
    seeds = {
        name: random_state.randint(np.iinfo(np.int32).max)
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.split("__")[-1] == "random_state" and value is None
    }
    if seeds:
        estimator.set_params(**seeds)

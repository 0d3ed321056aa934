"""Setting parameters, with a clear word where a nested one has no owner."""

from typing import ClassVar, Self

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

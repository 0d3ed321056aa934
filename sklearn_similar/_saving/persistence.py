"""Fitted estimators in files that hold no code."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._classifier import SimilarNetClassifier
from .._localizer import InstanceLocalizer
from .._version import __version__
from .archive import read_archive, write_archive
from .encoding import Damaged
from .records import MAX_TEXT, Writer, description, estimator_of, record_of

__all__ = ["load", "save"]

_FORMAT = 1


def save(
    estimator: SimilarNetClassifier | InstanceLocalizer, path: str | os.PathLike[str]
) -> None:
    """Save a fitted estimator in a file from which no code can run.

    Parameters
    ----------
    estimator : SimilarNetClassifier or InstanceLocalizer
        A localizer's own estimator may be None, a `SimilarNetClassifier`, or one in a
        `sklearn.frozen.FrozenEstimator`.
    path : str or path-like
        The file. One that exists is replaced, when the new one is complete.

    Raises
    ------
    NotFittedError
        If the estimator has not been fitted.
    TypeError
        If the estimator, or the one inside a localizer, is of another class.
    ValueError
        If a fitted attribute is of a type that the file cannot hold.
    OSError
        If the file cannot be written; one that existed is as before.

    See Also
    --------
    load : The inverse.

    Notes
    -----
    The file is in the safetensors format: weights and other arrays, parameters and
    fitted attributes as JSON, and a checksum. It holds the weights of the network, and
    not its code: `load` wants a module that is none of this package's networks, and
    other parameters that only code can make, such as callbacks in `net_params`.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_similar import SimilarNetClassifier, load, save
    >>> from sklearn_similar.datasets import load_mnist_sample
    >>> X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    >>> model = SimilarNetClassifier(max_epochs=1, random_state=0).fit(X[::5], y[::5])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "digits.safetensors")
    ...     save(model, path)
    ...     loaded = load(path)
    >>> bool((loaded.predict_proba(X_test) == model.predict_proba(X_test)).all())
    True
    """
    if type(estimator) not in (SimilarNetClassifier, InstanceLocalizer):
        raise TypeError(
            f"save takes a SimilarNetClassifier or an InstanceLocalizer, not a "
            f"{type(estimator).__name__}; use pickle or skops for others."
        )
    is_localizer = isinstance(estimator, InstanceLocalizer)
    check_is_fitted(estimator, "estimator_" if is_localizer else "net_")
    writer = Writer()
    record = record_of(estimator, writer)
    metadata = {
        "format": _FORMAT,
        "version": __version__,
        "passed": writer.passed,
        "estimator": record,
    }
    write_archive(path, writer.arrays, metadata)


def load(
    path: str | os.PathLike[str],
    module: Callable[..., nn.Module] | nn.Module | None = None,
    **parameters: Any,
) -> Any:
    """Load an estimator that was saved by `save`; nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file.
    module : torch.nn.Module class or instance, default=None
        The network, if it is none of this package's: as it was in the fit. An instance
        is copied and gets the weights of the file.
    **parameters
        Other parameters that the file does not hold, by name; where they are needed,
        the error says which.

    Returns
    -------
    SimilarNetClassifier or InstanceLocalizer
        On the CPU, if the device of the fit is missing.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, was not written by `save` or by a later version of it,
        or if `module` and `parameters` are not those that it needs.

    Warns
    -----
    UserWarning
        If the device of the fit is missing, or the network gives other scores than the
        one that was saved.

    See Also
    --------
    save : The inverse.
    """
    arrays, metadata = read_archive(path)
    given = parameters if module is None else {"module": module, **parameters}
    name = repr(os.fspath(path))
    try:
        record, passed = _check_format(metadata, name)
        _check_given(given, passed, name)
        return estimator_of(record, arrays, given)
    except Damaged as error:
        raise ValueError(f"{name} cannot be loaded: {error}.") from error
    except RecursionError:
        raise ValueError(f"{name} cannot be loaded: it is nested too deeply.") from None


def _check_format(metadata: Any, name: str) -> tuple[Any, dict[str, str]]:
    """Record of the estimator, and texts on the parameters that it is without."""
    if not isinstance(metadata, dict) or "format" not in metadata:
        raise Damaged("save has not written it")
    if metadata["format"] != _FORMAT:
        raise ValueError(
            f"{name} is in format {metadata['format']!r:.20} of sklearn_similar "
            f"{metadata.get('version')!r:.20}, but {__version__} reads format "
            f"{_FORMAT}; load it with the version that saved it."
        )
    passed = metadata.get("passed")
    if not isinstance(passed, dict) or "estimator" not in metadata:
        raise Damaged("it is incomplete")
    for parameter, text in passed.items():
        if (
            len(parameter) > MAX_TEXT
            or not isinstance(text, str)
            or len(text) > MAX_TEXT
        ):
            raise Damaged("what it says of its parameters is damaged")
    return metadata["estimator"], passed


def _check_given(given: Mapping[str, Any], passed: dict[str, str], name: str) -> None:
    """Raise ValueError unless the parameters given are those that the file lacks."""
    lacking = [parameter for parameter in passed if parameter not in given]
    if lacking:
        texts = ", ".join(f"{p}={passed[p]}" for p in lacking)
        call = ", ".join(f"{p}=..." for p in lacking)
        raise ValueError(
            f"{name} holds no code, and the estimator was fitted with {texts}; pass "
            f"it: load(path, {call})."
        )
    held = [parameter for parameter in given if parameter not in passed]
    if held:
        raise ValueError(
            f"load is given {', '.join(held)}, which {name} does not lack; change "
            "parameters with set_params after loading."
        )
    if "net_params" in given:
        found = description(given["net_params"])
        if found != passed["net_params"]:
            raise ValueError(
                f"net_params is {found}, but in the fit it was "
                f"{passed['net_params']}; pass what it was."
            )

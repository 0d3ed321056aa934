"""Saving fitted estimators in files without code, and loading them."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from sklearn.utils.validation import check_is_fitted
from torch import nn

from .. import __version__
from .._classifier import SimilarNetClassifier
from .._localizer import InstanceLocalizer
from .._network.isolation import restores_torch_state
from .archive import read_archive, write_archive
from .encoding import Damaged
from .records import MAX_TEXT, Writer, description, estimator_of, record_of
from .versions import FORMAT, TooOld, is_known, upgrade

__all__ = ["load", "save"]


@restores_torch_state
def save(
    estimator: SimilarNetClassifier | InstanceLocalizer, path: str | os.PathLike[str]
) -> None:
    """Save a fitted estimator in a file from which no code can run.

    Parameters
    ----------
    estimator : SimilarNetClassifier or InstanceLocalizer
        The estimator in a localizer may be None, a `SimilarNetClassifier`, or a
        `sklearn.frozen.FrozenEstimator` of one. If the localizer learnt from
        photographs with boxes, its estimator may be None, scikit-learn's
        ``LogisticRegression`` or ``MLPClassifier``, or a ``Pipeline`` of one of them
        and ``StandardScaler``.
    path : str or path-like
        File to write. An existing file is replaced once the new one is complete.

    Raises
    ------
    NotFittedError
        If the estimator has not been fitted.
    TypeError
        If the estimator, or the one inside a localizer, is of another class.
    ValueError
        If a parameter is invalid, or a fitted attribute is of a type that the file
        cannot hold.
    OSError
        If the file cannot be written; an existing file is unchanged.

    See Also
    --------
    load : The inverse.

    Notes
    -----
    The file is in the safetensors format: weights and other arrays, parameters and
    fitted attributes as JSON, and a checksum. It holds the weights of the network but
    not its code: `load` must be passed a module that is not a network of this package,
    and other parameters that hold code, such as callbacks in `net_params`. A backbone
    of yours is passed as ``load(path, backbone=network)``. A pretrained backbone that
    the parameter `backbone` names is saved by its name, without weights; `load` needs
    the packages of the extra ``pretrained``.

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
    estimator._validate_params()
    if is_localizer:
        # Raises for parameters that `load` would refuse.
        estimator._search_settings()
    writer = Writer()
    record = record_of(estimator, writer)
    metadata = {
        "format": FORMAT,
        "version": __version__,
        "passed": writer.passed,
        "estimator": record,
    }
    write_archive(path, writer.arrays, metadata)


@restores_torch_state
def load(
    path: str | os.PathLike[str],
    module: Callable[..., nn.Module] | nn.Module | None = None,
    **parameters: Any,
) -> Any:
    """Load an estimator that was saved by `save`; nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        File to read.
    module : torch.nn.Module class or instance, default=None
        The network as it was in the fit, if it is not a network of this package. An
        instance is copied, and the copy gets the weights in the file.
    **parameters
        Other parameters that the file does not hold, by name, such as `backbone`. The
        error names those that are needed.

    Returns
    -------
    SimilarNetClassifier or InstanceLocalizer
        On the CPU if the device of the fit is not available. `n_jobs` is None.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ImportError
        If the packages of a pretrained backbone are not installed.
    ValueError
        If the file is damaged, was not written by `save`, was written by a later
        version or by an early one that cannot be read, or if `module` and `parameters`
        are not those that it needs.

    Warns
    -----
    UserWarning
        If the device of the fit is not available, or a network gives other scores, or a
        backbone other features, than when it was saved.

    See Also
    --------
    save : The inverse.
    """
    arrays, metadata = read_archive(path)
    given = parameters if module is None else {"module": module, **parameters}
    name = repr(os.fspath(path))
    try:
        passed = _check_metadata(metadata, name)
        _check_given(given, passed, name)
        upgrade(metadata["estimator"], metadata["format"])
        return estimator_of(metadata["estimator"], arrays, given)
    except TooOld as error:
        raise ValueError(
            f"{name} cannot be loaded: {error} (format {metadata['format']} of "
            f"sklearn_similar {metadata.get('version')!r:.20}, and this is "
            f"{__version__}); load it with the version that saved it, or fit again."
        ) from None
    except Damaged as error:
        raise ValueError(f"{name} cannot be loaded: {error}.") from error
    except RecursionError:
        raise ValueError(f"{name} cannot be loaded: it is nested too deeply.") from None


def _check_metadata(metadata: Any, name: str) -> dict[str, str]:
    """Descriptions of the parameters that the file does not hold."""
    if not isinstance(metadata, dict) or "format" not in metadata:
        raise Damaged("it was not written by save")
    if not is_known(metadata["format"]):
        raise ValueError(
            f"{name} is in format {metadata['format']!r:.20} of sklearn_similar "
            f"{metadata.get('version')!r:.20}, but {__version__} reads formats 1 to "
            f"{FORMAT}; load it with the version that saved it."
        )
    passed = metadata.get("passed")
    if not isinstance(passed, dict) or "estimator" not in metadata:
        raise Damaged("it is incomplete")
    texts = [*passed, *passed.values()]
    if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts):
        raise Damaged("the descriptions of its parameters are damaged")
    return passed


def _check_given(given: Mapping[str, Any], passed: dict[str, str], name: str) -> None:
    """Raise ValueError unless exactly the parameters that the file lacks are given."""
    missing = [parameter for parameter in passed if parameter not in given]
    if missing:
        texts = ", ".join(f"{p}={passed[p]}" for p in missing)
        call = ", ".join(f"{p}=..." for p in missing)
        raise ValueError(
            f"{name} holds no code, and the estimator was fitted with {texts}; pass "
            f"it: load(path, {call})."
        )
    unexpected = [parameter for parameter in given if parameter not in passed]
    if unexpected:
        raise ValueError(
            f"load is given {', '.join(unexpected)}, which {name} does not lack; "
            "change parameters with set_params after loading."
        )
    if "net_params" in given:
        found = description(given["net_params"])
        if found != passed["net_params"]:
            raise ValueError(
                f"net_params is {found}, but in the fit it was "
                f"{passed['net_params']}; pass the same."
            )

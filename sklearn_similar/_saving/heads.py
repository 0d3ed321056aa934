"""Heads of backbones as records: classifiers of scikit-learn, by their fitted arrays.

A record names a class of the list below, its parameters and its fitted attributes; no
other class is written or read.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from .encoding import Arrays, Damaged, decode
from .schema import require

# The only classes that a record can name, and their fitted attributes.
_FITTED: dict[type, tuple[str, ...]] = {
    Pipeline: (),
    StandardScaler: ("n_features_in_", "n_samples_seen_", "mean_", "var_", "scale_"),
    LogisticRegression: (
        *("n_features_in_", "classes_", "coef_", "intercept_", "n_iter_"),
    ),
    MLPClassifier: (
        *("n_features_in_", "classes_", "coefs_", "intercepts_"),
        *("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_"),
    ),
}
_CLASSES = {cls.__name__: cls for cls in _FITTED}
# Errors of scikit-learn for arrays that do not fit together.
_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class _Encoder(Protocol):
    def encode(self, values: Any, parameters: Any, path: str) -> dict[str, Any]: ...


def head_record(head: Any, writer: _Encoder, path: str) -> dict[str, Any]:
    """Record of a head, fitted or not; the paths of its arrays begin with `path`.

    Raises TypeError for a class that is not in the list.
    """
    kind = type(head)
    if kind not in _FITTED:
        names = ", ".join(_CLASSES)
        raise TypeError(
            "save takes an InstanceLocalizer of photographs with an estimator made of "
            f"{names}, not with {kind.__name__}; use pickle or skops for it."
        )
    params = _changed_parameters(head)
    steps = params.pop("steps", None)
    state = vars(head)
    fitted = {name: state[name] for name in _FITTED[kind] if name in state}
    record: dict[str, Any] = {
        "class": kind.__name__,
        "params": writer.encode(params, (), f"{path}params/"),
        "fitted": writer.encode(fitted, (), f"{path}fitted/"),
    }
    if steps is not None:
        record["steps"] = [
            [name, head_record(step, writer, f"{path}{name}/")] for name, step in steps
        ]
    return record


def head_of(record: Any, arrays: Arrays, given: Mapping[str, Any]) -> Any:
    """The inverse of `head_record`, or None; nothing in the record is trusted.

    Raises Damaged for records that `head_record` does not make. Fitted attributes may
    have any shapes until `check_trained_head` has been called.
    """
    if record is None:
        return None
    require(isinstance(record, dict), "estimator")
    cls: Any = _CLASSES.get(str(record.get("class")))
    require(cls is not None, "the class of estimator")
    params, fitted = (decode(record.get(part), arrays) for part in ("params", "fitted"))
    require(isinstance(params, dict) and isinstance(fitted, dict), "estimator")
    if cls is Pipeline:
        steps = record.get("steps")
        require(isinstance(steps, list) and steps, "estimator")
        require(all(isinstance(s, list) and len(s) == 2 for s in steps), "estimator")
        params["steps"] = [(name, head_of(step, arrays, given)) for name, step in steps]
    names = inspect.signature(cls).parameters.keys()
    require(params.keys() <= names, "the set of parameters of estimator")
    require(fitted.keys() <= set(_FITTED[cls]), "the set of attributes of estimator")
    # From a stranger, it would start any number of processes.
    params.pop("n_jobs", None)
    head = cls(**params)
    try:
        head._validate_params()
        vars(head).update(fitted)
        if cls is MLPClassifier and fitted:
            _complete_network(head)
    except _ERRORS:
        raise Damaged("estimator is damaged") from None
    return head


def check_trained_head(head: Any, n_features: int) -> None:
    """Raise Damaged unless a head gives probabilities for vectors of n_features."""
    try:
        classes = head.classes_
        proba = head.predict_proba(np.zeros((1, n_features), np.float32))
        is_good = proba.shape == (1, len(classes)) and np.isfinite(proba).all()
        is_good = is_good and len(set(classes.tolist())) == len(classes)
    except _ERRORS:
        is_good = False
    require(is_good, "estimator_")


def _changed_parameters(head: Any) -> dict[str, Any]:
    """Parameters other than defaults, which depend on the version of scikit-learn."""
    defaults = inspect.signature(type(head)).parameters
    return {
        name: value
        for name, value in head.get_params(deep=False).items()
        if type(value) is not type(defaults[name].default)
        or value != defaults[name].default
    }


def _complete_network(network: MLPClassifier) -> None:
    """Set what follows from the weights and classes of a multi-layer perceptron."""
    network._label_binarizer = LabelBinarizer().fit(network.classes_)
    network.n_layers_ = len(network.coefs_) + 1
    network.n_outputs_ = network.coefs_[-1].shape[1]
    is_binary = len(network.classes_) == 2
    network.out_activation_ = "logistic" if is_binary else "softmax"

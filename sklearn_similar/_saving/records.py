"""Estimators as records of JSON and arrays, and back; every part is checked.

A record holds data alone, and no code, such as that of a network: `Writer.passed`
describes what is missing, for the reader of the record to pass.
"""

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from .._classifier import SimilarNetClassifier
from .._images.images import n_channels, to_tensor
from .._images.messages import warn_user
from .._localizer import InstanceLocalizer
from .._network.activations import extract_activations
from .._network.architectures import LeNet, SmallCNN
from .._network.forward import eval_mode
from .._network.net import SeededNet
from .._network.specification import NetSpecification
from .encoding import CannotHold, Damaged, decode, encode
from .record_checks import check_classifier, check_localizer, require

# Networks of this package, which a record may name.
_NETWORKS: dict[str, type[nn.Module]] = {"LeNet": LeNet, "SmallCNN": SmallCNN}
# Longest description of a parameter.
MAX_TEXT = 200
_INSIDE = ("estimator", "estimator_")
# Differences of scores, in parts of the greatest, that another device's rounding makes.
_SCORE_TOLERANCE = 1e-2


@dataclass
class Writer:
    """The parts of an estimator that are not in the JSON of its record.

    Attributes
    ----------
    arrays : dict of str to ndarray
    passed : dict of str to str
        Descriptions of parameters that the record does not hold, by name.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)


def description(value: Any) -> str:
    """A parameter's value for people to recognise, such as the name of a class."""
    if isinstance(value, dict):
        text = f"a dict with the keys {', '.join(sorted(map(str, value)))}"
    elif inspect.isclass(value) or inspect.isroutine(value):
        text = f"{value.__module__}.{value.__qualname__}"
    else:
        text = f"an instance of {type(value).__module__}.{type(value).__qualname__}"
    return text[:MAX_TEXT]


def record_of(estimator: Any, writer: Writer, path: str = "") -> dict[str, Any]:
    """Record of an estimator; the paths of its arrays begin with `path`.

    Raises
    ------
    TypeError
        If an estimator inside is of a class that has no record.
    ValueError
        If an attribute has no place in a record.
    """
    if type(estimator) is SimilarNetClassifier:
        return _record_of_classifier(estimator, writer, path)
    if type(estimator) is InstanceLocalizer and not path:
        return _record_of_localizer(estimator, writer)
    if type(estimator) is FrozenEstimator and vars(estimator).keys() == {"estimator"}:
        inside = record_of(estimator.estimator, writer, path)
        return {"class": "FrozenEstimator", "estimator": inside}
    raise TypeError(
        "save takes an InstanceLocalizer with a SimilarNetClassifier inside, not with "
        f"a {type(estimator).__name__}; use pickle or skops for it."
    )


def _record_of_classifier(estimator, writer: Writer, path: str) -> dict[str, Any]:
    state = estimator.__getstate__()
    spec = state.pop("_net_spec", None)
    record = {
        "class": "SimilarNetClassifier",
        "state": _encode(state, estimator.get_params(deep=False), writer, path),
    }
    if spec is None:
        return record
    image = _probe_image(state["image_shape_"])
    scores = _scores(estimator.net_, image)
    probe = {"image": image, "scores": scores}
    return record | {
        "net": _encode(spec, ("module", "net_params"), writer, f"{path}net/"),
        "probe": _encode(probe, (), writer, f"{path}probe/"),
    }


def _record_of_localizer(localizer, writer: Writer) -> dict[str, Any]:
    state = localizer.__getstate__()
    inside = {name: state.pop(name) for name in _INSIDE}
    if inside["estimator_"] is inside["estimator"]:
        del inside["estimator_"]
    record: dict[str, Any] = {
        "class": "InstanceLocalizer",
        "state": _encode(state, localizer.get_params(deep=False), writer, ""),
    }
    for name, estimator in inside.items():
        is_there = estimator is not None
        record[name] = record_of(estimator, writer, f"{name}/") if is_there else None
    return record


def _encode(
    values: Mapping[str, Any], parameters: Collection[str], writer: Writer, path: str
) -> dict[str, Any]:
    """JSON of values, but for those of parameters that only code can make."""
    encoded = {}
    for name, value in values.items():
        arrays: dict[str, np.ndarray] = {}
        try:
            if name == "module" and any(value is c for c in _NETWORKS.values()):
                encoded[name] = {"network": value.__name__}
            else:
                encoded[name] = encode(value, f"{path}{name}", arrays)
        except (CannotHold, RecursionError) as error:
            if name not in parameters:
                raise ValueError(
                    f"The attribute {name} holds {error}, which a file cannot hold; "
                    "use pickle or skops."
                ) from None
            _describe(name, value, writer)
        writer.arrays.update(arrays)
    return encoded


def _describe(name: str, value: Any, writer: Writer) -> None:
    text = description(value)
    if writer.passed.setdefault(name, text) != text:
        raise ValueError(
            f"{name} is {text} and, in another place, {writer.passed[name]}, and a "
            "file can lack one of them; fit again before saving."
        )


def _probe_image(image_shape: tuple[int, ...]) -> np.ndarray:
    shape = (*image_shape[:2], n_channels(image_shape))
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _as_batch(net: SeededNet, image: np.ndarray) -> torch.Tensor:
    pixels = to_tensor(image[np.newaxis], image.shape[2], net.memory_format)
    return pixels.to(net.device)


def _scores(net: SeededNet, image: np.ndarray) -> np.ndarray:
    with eval_mode(net.module_) as module:
        return module(_as_batch(net, image)).numpy(force=True)


def estimator_of(
    record: Any, arrays: dict[str, np.ndarray], given: Mapping[str, Any]
) -> Any:
    """The inverse of `record_of`.

    Parameters
    ----------
    record : object
        From anywhere; it is trusted in nothing.
    arrays : dict of str to ndarray
    given : dict
        Parameters that the record does not hold.

    Raises
    ------
    Damaged
        If this is no record that `record_of` makes.
    ValueError
        If a parameter has a value that cannot be used, or the network has other
        weights.
    """
    kind = record.get("class") if isinstance(record, dict) else None
    if kind == "InstanceLocalizer":
        return _localizer_of(record, arrays, given)
    return _classifier_of(record, arrays, given)


def _inside_of(record: Any, arrays, given) -> Any:
    if record is None:
        return None
    if isinstance(record, dict) and record.get("class") == "FrozenEstimator":
        return FrozenEstimator(_classifier_of(record.get("estimator"), arrays, given))
    return _classifier_of(record, arrays, given)


def _classifier_of(record: Any, arrays, given) -> SimilarNetClassifier:
    is_record = isinstance(record, dict) and isinstance(record.get("state"), dict)
    require(is_record and record.get("class") == "SimilarNetClassifier", "its class")
    state = _decode_state(SimilarNetClassifier, record["state"], arrays, given)
    classifier = SimilarNetClassifier.__new__(SimilarNetClassifier)
    if "net" not in record:
        require(not {"net_", "_net_arrays"} & state.keys(), "its network")
        classifier.__setstate__(state)
        return classifier
    state["_net_spec"] = _decode_spec(record["net"], arrays, given)
    probe = decode(record.get("probe"), arrays)
    check_classifier(state, probe)
    NetSpecification(**state["_net_spec"]).check_weights(state["_net_arrays"])
    classifier.__setstate__(state)
    _check_network(classifier, probe)
    return classifier


def _localizer_of(record: Any, arrays, given) -> InstanceLocalizer:
    require(isinstance(record.get("state"), dict), "its class")
    state = _decode_state(InstanceLocalizer, record["state"], arrays, given)
    require("estimator" in record, "the set of its parameters")
    for name in _INSIDE:
        if name in record:
            state[name] = _inside_of(record[name], arrays, given)
    state.setdefault("estimator_", state["estimator"])
    check_localizer(state)
    localizer = InstanceLocalizer.__new__(InstanceLocalizer)
    localizer.__setstate__(state)
    return localizer


def _decode_state(cls: type, encoded: dict, arrays, given) -> dict[str, Any]:
    """Parameters, which are checked, and attributes of an estimator."""
    parameters = [name for name in inspect.signature(cls).parameters]
    state = _decode_values(encoded, arrays)
    for name in parameters:
        if name not in state and name in given:
            state[name] = given[name]
    if cls is InstanceLocalizer:
        # Files of earlier versions are without it.
        state.setdefault("n_jobs", None)
        parameters.remove("estimator")
    require(all(name in state for name in parameters), "the set of its parameters")
    attributes = [name for name in state if name not in parameters]
    # An attribute would hide a method of its name.
    require(
        all(name.isidentifier() and not hasattr(cls, name) for name in attributes),
        "the set of its attributes",
    )
    _check_parameters(cls, {name: state[name] for name in parameters})
    return state


def _decode_values(encoded: dict, arrays) -> dict[str, Any]:
    values = {name: decode(value, arrays) for name, value in encoded.items()}
    if isinstance(values.get("module"), dict):
        network = values["module"].get("network")
        require(isinstance(network, str) and network in _NETWORKS, "its network")
        values["module"] = _NETWORKS[network]
    return values


def _decode_spec(encoded: Any, arrays, given) -> dict[str, Any]:
    """Attributes of a `NetSpecification`."""
    require(isinstance(encoded, dict), "its network")
    spec = _decode_values(encoded, arrays)
    for name in ("module", "net_params"):
        if name not in spec and name in given:
            spec[name] = given[name]
    names = {field.name for field in fields(NetSpecification)}
    require(spec.keys() == names, "its network")
    given_to_net = spec["net_params"]
    require(given_to_net is None or isinstance(given_to_net, dict), "net_params")
    require(all(isinstance(key, str) for key in given_to_net or ()), "net_params")
    # An array of one weight for each class, where the parameter is a dict.
    names -= {"class_weight"}
    names &= inspect.signature(SimilarNetClassifier).parameters.keys()
    _check_parameters(SimilarNetClassifier, {name: spec[name] for name in names})
    return spec


def _check_parameters(cls: type, values: dict[str, Any]) -> None:
    try:
        cls(**values)._validate_params()
    except ValueError as error:
        # The message shows a value, and a file's can be of any length.
        raise Damaged(str(error).rstrip(".")[:MAX_TEXT]) from None


def _check_network(classifier: SimilarNetClassifier, probe: dict[str, Any]) -> None:
    """Warn if the network is another than the one that was saved, or raise."""
    net, image, expected = classifier.net_, probe["image"], probe["scores"]
    try:
        found = _scores(net, image)
        is_same = found.shape == expected.shape and np.allclose(
            found,
            expected,
            rtol=0,
            atol=_SCORE_TOLERANCE * np.abs(expected).max(initial=0),
            equal_nan=True,
        )
        if hasattr(classifier, "n_filters_"):
            with eval_mode(net.module_) as module:
                batch = _as_batch(net, image)
                maps = extract_activations(
                    module, classifier._layers(), batch, "pooled"
                )
            n_filters = tuple(m.activations.shape[1] for m in maps)
            require(n_filters == classifier.n_filters_, "n_filters_")
    except (RuntimeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"The network is not the one that was trained ({error}); pass module and "
            "net_params as in the fit."
        ) from error
    if not is_same:
        warn_user(
            "The network gives other scores than when it was saved (for an image of "
            f"noise {found.ravel()[:3]}..., not {expected.ravel()[:3]}...); pass "
            "module and net_params as in the fit."
        )

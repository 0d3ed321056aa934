"""Estimators as records of JSON and arrays, and back.

A record holds data and no code, such as that of a network: `Writer.passed` describes
what is missing, for whoever loads the record to pass.
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
from .backbones import ATTRIBUTES, backbone_record, backbone_state
from .encoding import Arrays, CannotHold, Damaged, decode, encode
from .heads import head_of, head_record
from .schema import (
    CLASSIFIER,
    IMPORTANCES,
    LOCALIZER,
    PHOTOGRAPHS,
    check_state,
    require,
)

# The only classes that a record can name.
_ESTIMATORS: dict[str, type] = {
    cls.__name__: cls for cls in (SimilarNetClassifier, InstanceLocalizer)
}
_NETWORKS: dict[str, type[nn.Module]] = {cls.__name__: cls for cls in (LeNet, SmallCNN)}
_INSIDE = ("estimator", "estimator_")
# Maximum length of the description of a parameter.
MAX_TEXT = 200
# Differences in scores, as a share of the maximum, that another device may cause.
_SCORE_TOLERANCE = 1e-2


@dataclass
class Writer:
    """Arrays of a record, and descriptions of the parameters that it does not hold."""

    arrays: Arrays = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)

    def encode(
        self, values: Mapping[str, Any], parameters: Collection[str], path: str
    ) -> dict[str, Any]:
        """JSON of all values but those of parameters that hold code."""
        encoded = {}
        for name, value in values.items():
            arrays: Arrays = {}
            try:
                if name == "module" and any(value is c for c in _NETWORKS.values()):
                    encoded[name] = {"network": value.__name__}
                else:
                    encoded[name] = encode(value, f"{path}{name}", arrays)
            except (CannotHold, RecursionError) as error:
                if name not in parameters:
                    raise ValueError(
                        f"The attribute {name} holds {error}, which a file cannot "
                        "hold; use pickle or skops."
                    ) from None
                text = description(value)
                if self.passed.setdefault(name, text) != text:
                    raise ValueError(
                        f"{name} is {text} and, in another place, {self.passed[name]}, "
                        "but load can be passed only one of them; fit again before "
                        "saving."
                    ) from None
            self.arrays.update(arrays)
        return encoded


def description(value: Any) -> str:
    """A parameter's value in words, such as the name of a class."""
    if isinstance(value, dict):
        text = f"a dict with the keys {', '.join(sorted(map(str, value)))}"
    elif inspect.isclass(value) or inspect.isroutine(value):
        text = f"{value.__module__}.{value.__qualname__}"
    else:
        text = f"an instance of {type(value).__module__}.{type(value).__qualname__}"
    return text[:MAX_TEXT]


def record_of(estimator: Any, writer: Writer, path: str = "") -> dict[str, Any]:
    """Record of an estimator; the paths of its arrays begin with `path`.

    Raises TypeError for an estimator inside that has no record, and ValueError for an
    attribute that a record cannot hold.
    """
    kind = type(estimator)
    if kind is FrozenEstimator and vars(estimator).keys() == {"estimator"}:
        inside = record_of(estimator.estimator, writer, path)
        return {"class": "FrozenEstimator", "estimator": inside}
    is_localizer = kind is InstanceLocalizer and not path
    if kind is not SimilarNetClassifier and not is_localizer:
        raise TypeError(
            "save takes an InstanceLocalizer with a SimilarNetClassifier inside, not "
            f"with a {kind.__name__}; use pickle or skops for it."
        )
    state = dict(estimator.__getstate__())
    parts = {name: state.pop(name) for name in _INSIDE if name in state}
    if parts and parts["estimator_"] is parts["estimator"]:
        del parts["estimator_"]
    has_backbone = is_localizer and state.get("backbone_") is not None
    for name in ATTRIBUTES if has_backbone else ():
        del state[name]
    spec = state.pop("_net_spec", None)
    parameters = estimator.get_params(deep=False)
    record: dict[str, Any] = {
        "class": kind.__name__,
        "state": writer.encode(state, parameters, path),
    }
    to_record = head_record if has_backbone else record_of
    for name, part in parts.items():
        record[name] = None if part is None else to_record(part, writer, f"{name}/")
    if has_backbone:
        record["backbone_"] = backbone_record(estimator, writer)
    if spec is not None:
        record["net"] = writer.encode(spec, ("module", "net_params"), f"{path}net/")
        record["probe"] = writer.encode(_probe(estimator), (), f"{path}probe/")
    return record


def _probe(classifier: SimilarNetClassifier) -> dict[str, np.ndarray]:
    """An image, and the scores of the network for it."""
    shape = classifier.image_shape_
    size = (*shape[:2], n_channels(shape))
    image = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    return {"image": image, "scores": _scores(classifier.net_, image)}


def estimator_of(record: Any, arrays: Arrays, given: Mapping[str, Any]) -> Any:
    """The inverse of `record_of`; nothing in the record is trusted.

    Parameters that the record does not hold are `given`. Raises Damaged for records
    that `record_of` does not make, and ValueError if the network has other weights.
    """
    require(isinstance(record, dict), "its record")
    name = record.get("class")
    require(isinstance(name, str) and name in _ESTIMATORS, "its class")
    require(isinstance(record.get("state"), dict), "its state")
    cls: Any = _ESTIMATORS[name]
    state = _decode_state(cls, record, arrays, given)
    estimator = cls.__new__(cls)
    if cls is InstanceLocalizer:
        if "backbone_" in record:
            check_state(state, PHOTOGRAPHS)
            state |= backbone_state(record["backbone_"], state, arrays)
        else:
            check_state(state, LOCALIZER)
        estimator.__setstate__(state)
        # From a stranger, it would start any number of processes.
        estimator.n_jobs = None
        check_settings(estimator)
    elif "net" in record:
        _restore_network(estimator, state, record, arrays, given)
    else:
        require(not {"net_", "_net_arrays"} & state.keys(), "its network")
        estimator.__setstate__(state)
    return estimator


def _restore_network(
    classifier: SimilarNetClassifier,
    state: dict[str, Any],
    record: dict[str, Any],
    arrays: Arrays,
    given: Mapping[str, Any],
) -> None:
    """Set the state of a classifier with a network, which must score as the saved."""
    state["_net_spec"] = _decode_spec(record["net"], arrays, given)
    probe = decode(record.get("probe"), arrays)
    check_state({**state, "probe": probe}, CLASSIFIER)
    if "filter_weights_" in state:
        check_state(state, IMPORTANCES)
    NetSpecification(**state["_net_spec"]).check_weights(state["_net_arrays"])
    classifier.__setstate__(state)
    _check_network(classifier, probe["image"], probe["scores"])


def _estimator_inside(record: Any, arrays: Arrays, given: Mapping[str, Any]) -> Any:
    """The classifier in a localizer, or None."""
    if record is None:
        return None
    is_frozen = isinstance(record, dict) and record.get("class") == "FrozenEstimator"
    inside = record.get("estimator") if is_frozen else record
    classifier = estimator_of(inside, arrays, given)
    require(isinstance(classifier, SimilarNetClassifier), "estimator")
    return FrozenEstimator(classifier) if is_frozen else classifier


def _decode_state(
    cls: type, record: dict[str, Any], arrays: Arrays, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters, which are validated, and attributes of an estimator."""
    names = inspect.signature(cls).parameters.keys()
    state = _decode_values(record["state"], arrays)
    for name, value in given.items():
        if name in names:
            state.setdefault(name, value)
    parameters = {name: state[name] for name in names if name in state}
    if cls is InstanceLocalizer:
        require("estimator" in record, "the set of its parameters")
        to_part = head_of if "backbone_" in record else _estimator_inside
        for name in _INSIDE:
            if name in record:
                state[name] = to_part(record[name], arrays, given)
        state.setdefault("estimator_", state["estimator"])
    require(names <= state.keys(), "the set of its parameters")
    # An attribute must not hide a method.
    require(
        all(n.isidentifier() and not hasattr(cls, n) for n in state.keys() - names),
        "the set of its attributes",
    )
    _check_parameters(cls, parameters)
    if cls is SimilarNetClassifier:
        _check_net_params(state["net_params"], given)
    return state


def _decode_values(encoded: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    values = {name: decode(value, arrays) for name, value in encoded.items()}
    if isinstance(values.get("module"), dict):
        network = values["module"].get("network")
        require(isinstance(network, str) and network in _NETWORKS, "its network")
        values["module"] = _NETWORKS[network]
    return values


def _decode_spec(
    encoded: Any, arrays: Arrays, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Attributes of a `NetSpecification`."""
    require(isinstance(encoded, dict), "its network")
    spec = {name: given[name] for name in ("module", "net_params") if name in given}
    spec |= _decode_values(encoded, arrays)
    names = {field.name for field in fields(NetSpecification)}
    require(spec.keys() == names, "its network")
    _check_net_params(spec["net_params"], given)
    # In the specification, the class weight is an array.
    parameters = inspect.signature(SimilarNetClassifier).parameters.keys()
    shared = (names & parameters) - {"class_weight"}
    _check_parameters(SimilarNetClassifier, {name: spec[name] for name in shared})
    return spec


def _check_net_params(net_params: Any, given: Mapping[str, Any]) -> None:
    net_params = {} if net_params is None else net_params
    require(isinstance(net_params, dict), "net_params")
    require(all(isinstance(key, str) for key in net_params), "net_params")
    # Callbacks are code, which a file does not hold.
    require("net_params" in given or not net_params.get("callbacks"), "net_params")


def _check_parameters(cls: type, parameters: dict[str, Any]) -> None:
    try:
        cls(**parameters)._validate_params()
    except ValueError as error:
        # The message shows a value, which may be of any length in a file.
        raise Damaged(str(error).rstrip(".")[:MAX_TEXT]) from None


def check_settings(localizer: InstanceLocalizer) -> None:
    """Raise Damaged for parameters that a search refuses."""
    try:
        localizer._search_settings()
    except (TypeError, ValueError) as error:
        raise Damaged(str(error).rstrip(".")[:MAX_TEXT]) from None


def _as_batch(net: SeededNet, image: np.ndarray) -> torch.Tensor:
    pixels = to_tensor(image[np.newaxis], image.shape[2], net.memory_format)
    return pixels.to(net.device)


def _scores(net: SeededNet, image: np.ndarray) -> np.ndarray:
    with eval_mode(net.module_) as module:
        return module(_as_batch(net, image)).numpy(force=True)


def _check_network(
    classifier: SimilarNetClassifier, image: np.ndarray, scores: np.ndarray
) -> None:
    """Warn or raise if the network does not give the scores that were saved."""
    net = classifier.net_
    tolerance = _SCORE_TOLERANCE * np.abs(scores).max(initial=0)
    try:
        found = _scores(net, image)
        is_same = found.shape == scores.shape and np.allclose(
            found, scores, rtol=0, atol=tolerance, equal_nan=True
        )
        outline_layer = getattr(classifier, "outline_layer_", None)
        if outline_layer is not None:
            with eval_mode(net.module_) as module:
                batch = _as_batch(net, image)
                (layer,) = extract_activations(module, [outline_layer], batch, "pooled")
            require(layer.activations.ndim == 4, "outline_layer_")
        if hasattr(classifier, "n_filters_"):
            with eval_mode(net.module_) as module:
                batch, layers = _as_batch(net, image), classifier._layers()
                maps = extract_activations(module, layers, batch, "pooled")
            n_filters = tuple(layer.activations.shape[1] for layer in maps)
            require(n_filters == classifier.n_filters_, "n_filters_")
    except (RuntimeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(
            f"The network is not the one that was trained ({error}); pass module and "
            "net_params as in the fit."
        ) from error
    if not is_same:
        warn_user(
            "The network gives other scores than when it was saved (for an image of "
            f"noise {found.ravel()[:3]}..., not {scores.ravel()[:3]}...); pass module "
            "and net_params as in the fit."
        )

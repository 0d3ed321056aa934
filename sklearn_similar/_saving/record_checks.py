"""Checks of the attributes of estimators whose state comes from a file.

Such state may be of any types until it has been checked; later code, here and in NumPy
and PyTorch, need then expect nothing but what `fit` sets.
"""

import math
import re
from dataclasses import fields
from typing import Any

import numpy as np

from .._heatmaps.methods import CLASS_MAPS
from .._images.images import n_channels
from .._search.box_regression import box_weights
from .._search.crop_specification import CropSpecification
from .encoding import Damaged

_State = dict[str, Any]
_LAYOUTS = ("rows", "grey", "colour")


def part(state: _State, name: str) -> Any:
    """An attribute; raises Damaged if there is none of the name."""
    require(name in state, name)
    return state[name]


def require(condition: Any, name: str) -> None:
    """Raise Damaged for the attribute of a name unless a condition holds."""
    if not condition:
        raise Damaged(f"{name} is damaged")


def check_classifier(state: _State, probe: Any) -> None:
    """Raise Damaged unless the attributes are of the right types and shapes."""
    classes, shape = part(state, "classes_"), part(state, "image_shape_")
    spec, weights = state["_net_spec"], part(state, "_net_arrays")
    require(isinstance(classes, np.ndarray) and classes.ndim == 1, "classes_")
    is_shape = isinstance(shape, tuple) and len(shape) in (2, 3)
    is_shape = is_shape and all(_is_count(length) for length in shape)
    require(is_shape, "image_shape_")
    require(part(state, "n_features_in_") == math.prod(shape), "n_features_in_")
    _check_attributes(state)
    require(
        spec["n_classes"] == len(classes)
        and spec["image_shape"] == shape
        and _is_count(spec["n_training"])
        and type(spec["seed"]) is int
        and 0 <= spec["seed"] < 2**32,
        "its network",
    )
    if spec["class_weight"] is not None:
        _check_array(spec["class_weight"], "class_weight", (len(classes),))
    is_weights = isinstance(weights, dict) and all(
        isinstance(array, np.ndarray) for array in weights.values()
    )
    require(is_weights, "the set of its weights")
    history = part(state, "_net_history")
    is_history = isinstance(history, list) and all(type(row) is dict for row in history)
    require(is_history, "its history")
    layers = part(state, "layer_")
    layers = layers if isinstance(layers, list) else [layers]
    require(layers and all(isinstance(layer, str) for layer in layers), "layer_")
    require(isinstance(probe, dict) and probe.keys() == {"image", "scores"}, "a probe")
    _check_array(probe["image"], "a probe", (*shape[:2], n_channels(shape)), "u")
    _check_array(probe["scores"], "a probe", (1, len(classes)))
    if "filter_weights_" in state:
        _check_measured(state, len(classes), len(layers))


def _check_measured(state: _State, n_classes: int, n_layers: int) -> None:
    """The same for what is measured on held-out images."""
    n_filters = part(state, "n_filters_")
    is_counts = isinstance(n_filters, tuple) and all(map(_is_count, n_filters))
    require(is_counts and len(n_filters) == n_layers, "n_filters_")
    total, last = sum(n_filters), n_filters[-1]
    drops = part(state, "log_odds_drops_")
    n_rivals = 1 if np.ndim(drops) == 3 and drops.shape[1] == 1 else n_classes
    shapes = {
        "filter_errors_": (total,),
        "filter_importances_": (total,),
        "filter_weights_": (total,),
        "class_importances_": (n_classes, total),
        "class_filter_weights_": (n_classes, last),
        "log_odds_drops_": (n_classes, n_rivals, last),
        "class_normalization_constants_": (n_classes,),
        "class_score_constants_": (n_classes,),
    }
    if "class_score_constants_" in state and state["class_score_constants_"] is None:
        del shapes["class_score_constants_"]
    # Estimators that were saved before there were these attributes lack them, and the
    # name of a class map is not there if it is the user's.
    require(isinstance(state.get("outline_layer_"), str | None), "outline_layer_")
    class_heatmap = state.get("_class_heatmap")
    is_name = isinstance(class_heatmap, str) and class_heatmap in CLASS_MAPS
    require(is_name or class_heatmap is None, "_class_heatmap")
    if "absent_activations_" in state:
        shapes["absent_activations_"] = (total,)
    for name, shape in shapes.items():
        _check_array(part(state, name), name, shape)
    for name in ("baseline_error_", "normalization_constant_"):
        require(isinstance(part(state, name), float), name)


def check_localizer(state: _State) -> None:
    """Raise Damaged unless the attributes are of the right types and shapes."""
    trained = state["estimator_"]
    require(hasattr(trained, "net_"), "estimator_")
    known = trained.classes_
    classes, columns = part(state, "classes_"), part(state, "_columns")
    require(isinstance(classes, np.ndarray) and classes.ndim == 1, "classes_")
    _check_array(columns, "the columns of its classes", classes.shape, "iu")
    is_known = columns.min(initial=0) >= 0 and columns.max(initial=0) < len(known)
    require(is_known, "the columns of its classes")
    require("background_" in state, "background_")
    require(part(state, "_layout") in _LAYOUTS, "the layout of its images")
    for name in ("image_shape_", "n_features_in_"):
        require(part(state, name) == getattr(trained, name), name)
    _check_attributes(state)
    calibration = part(state, "score_calibration_")
    is_calibration = (
        isinstance(calibration, tuple)
        and len(calibration) == 3
        and all(isinstance(value, float) for value in calibration)
        and all(map(math.isfinite, calibration))
        and calibration[0] > 0
        and calibration[1] >= 0
    )
    require(is_calibration, "score_calibration_")
    # Localizers that were saved before do not have it.
    weights = state.get("box_regression_")
    if weights is not None:
        channels = n_channels(state["image_shape_"])
        require(_are_weights(weights, box_weights(channels)), "box_regression_")
    specification = part(state, "crop_specification_")
    names = {field.name for field in fields(CropSpecification)}
    if isinstance(specification, dict):
        # Localizers that were saved before do not have it.
        specification = {"fills_frame": False} | specification
    is_specification = (
        isinstance(specification, dict)
        and specification.keys() == names
        and specification["size"] == state["image_shape_"][:2]
        and all(
            isinstance(specification[name], float)
            and math.isfinite(specification[name])
            for name in ("object_extent", "low", "high")
        )
        and isinstance(specification["fills_frame"], bool)
        and 0 < specification["object_extent"] <= 1
        and specification["low"] < specification["high"]
    )
    require(is_specification, "crop_specification_")


def _check_attributes(state: _State) -> None:
    """Raise Damaged for attributes of the images that both estimators have."""
    low_high = part(state, "value_range_")
    is_range = isinstance(low_high, tuple) and len(low_high) == 2
    is_range = is_range and all(isinstance(value, float) for value in low_high)
    require(is_range and low_high[0] <= low_high[1], "value_range_")
    name = part(state, "_dtype")
    is_number = isinstance(name, str) and re.fullmatch(r"bool|u?int\d+|float\d+", name)
    require(is_number, "the type of its images")
    if "feature_names_in_" in state:
        names = state["feature_names_in_"]
        _check_array(names, "feature_names_in_", (state["n_features_in_"],), "O")


def _are_weights(found: Any, expected: dict[str, np.ndarray]) -> bool:
    """Whether these are finite arrays of the names, shapes and types expected."""
    return (
        isinstance(found, dict)
        and found.keys() == expected.keys()
        and all(
            isinstance(found[name], np.ndarray)
            and found[name].dtype == array.dtype
            and found[name].shape == array.shape
            and np.isfinite(found[name]).all()
            for name, array in expected.items()
        )
    )


def _is_count(value: Any) -> bool:
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_integer and bool(value > 0)


def _check_array(array: Any, name: str, shape: tuple, kinds: str = "f") -> None:
    is_array = isinstance(array, np.ndarray) and array.dtype.kind in kinds
    require(is_array and array.shape == shape, name)

"""What the state of a fitted estimator holds: the type and shape of each attribute.

State from a file may be of any type until it has been checked against its schema;
afterwards, the code of this package, NumPy and PyTorch meet only what `fit` sets.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from .._heatmaps.methods import CLASS_MAPS
from .._images.images import n_channels
from .._images.scaling import ANY, Scaling
from .._search.box_regression import box_weights
from .._search.crop_specification import CropSpecification
from .._tables.values import as_labels
from .encoding import Damaged

State = Mapping[str, Any]
# Whether a value is valid, given the attributes that stand before it in the schema.
Check = Callable[[Any, State], bool]

# Attributes that some estimators lack.
_OPTIONAL = {
    "feature_names_in_",
    "outline_layer_",
    "mid_level_layers_",
    "score_weights_",
    "absent_activations_",
    "_class_heatmap",
}
# Maximum number of box regressions, and of sizes of windows: each takes time.
_MAX_MODELS = 20


def check_state(state: State, schema: Mapping[str, Check]) -> None:
    """Raise Damaged for the first attribute that is missing or invalid."""
    for name, is_valid in schema.items():
        if name not in state and name in _OPTIONAL:
            continue
        try:
            is_good = name in state and is_valid(state[name], state)
        except (AttributeError, TypeError, ValueError):
            # Comparisons of arrays with other values, or other types than dicts.
            is_good = False
        require(is_good, name)


def require(condition: Any, name: str) -> None:
    """Raise Damaged for the part of a file with this name unless a condition holds."""
    if not condition:
        raise Damaged(f"{name} is missing or damaged")


# Sizes of axes, by the names that `_array` takes.
_SIZES: dict[str, Callable[[State], int]] = {
    "classes": lambda state: len(state["classes_"]),
    "features": lambda state: state["n_features_in_"],
    "filters": lambda state: sum(state["n_filters_"]),
    "filters of last layer": lambda state: state["n_filters_"][-1],
}


def _array(*shape: int | str, kinds: str = "f") -> Check:
    def is_valid(value: Any, state: State) -> bool:
        sizes = (n if isinstance(n, int) else _SIZES[n](state) for n in shape)
        is_array = isinstance(value, np.ndarray) and value.dtype.kind in kinds
        return is_array and value.shape == tuple(sizes)

    return is_valid


def _instance(kind: type) -> Check:
    return lambda value, state: isinstance(value, kind)


def _is_number(value: Any, state: State) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _optional(check: Check) -> Check:
    return lambda value, state: value is None or check(value, state)


def _is_count(value: Any) -> bool:
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_integer and bool(value > 0)


def _are_counts(value: Any, *lengths: int) -> bool:
    is_tuple = isinstance(value, tuple) and len(value) in lengths
    return is_tuple and all(map(_is_count, value))


def _are_floats(value: Any, length: int) -> bool:
    is_tuple = isinstance(value, tuple) and len(value) == length
    return is_tuple and all(isinstance(v, float) and math.isfinite(v) for v in value)


def _is_finite(value: Any, ndim: int) -> bool:
    is_array = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return is_array and value.ndim == ndim and bool(np.isfinite(value).all())


def _are_weights(value: Any) -> bool:
    """Whether this is the state of a network, as arrays of numbers."""
    return isinstance(value, dict) and all(
        isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
        for array in value.values()
    )


def _layers(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _is_dtype(value: Any, state: State) -> bool:
    """Whether this is the name of a type of real numbers."""
    pattern = r"bool|u?int\d+|float\d+"
    is_name = isinstance(value, str) and re.fullmatch(pattern, value) is not None
    # NumPy raises TypeError for types that it does not know.
    return is_name and np.dtype(value).name == value


def _is_scaling(value: Any, state: State) -> bool:
    """Whether these are ranges, as `Scaling.given` takes them, by types of pixels."""
    return isinstance(value, dict) and all(
        (key == ANY or _is_dtype(key, state))
        and _are_floats(limits, 2)
        and Scaling.given(limits) is not None
        for key, limits in value.items()
    )


def _are_labels(value: Any, state: State) -> bool:
    """Whether this is an array of different labels of one kind."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or not len(value):
        return False
    labels = as_labels(value, "classes_", n=len(value)).tolist()
    return len(set(labels)) == len(labels)


def _are_names(value: Any, state: State) -> bool:
    """Whether these are different names of the columns of X."""
    is_good = _array("features", kinds="O")(value, state)
    names = value.tolist()
    return (
        is_good and {type(n) for n in names} == {str} and len(set(names)) == len(names)
    )


def _is_background(value: Any, state: State) -> bool:
    """Whether this is a class of the estimator that is not an object's, or None."""
    if value is None:
        return True
    of_estimator = state["estimator_"].classes_.tolist()
    return value in of_estimator and value not in state["classes_"].tolist()


def _is_net_spec(value: Any, state: State) -> bool:
    return (
        value["n_classes"] == len(state["classes_"])
        and value["image_shape"] == state["image_shape_"]
        and _is_count(value["n_training"])
        and type(value["seed"]) is int
        and 0 <= value["seed"] < 2**32
        and _optional(_array("classes"))(value["class_weight"], state)
    )


def _is_probe(value: Any, state: State) -> bool:
    height, width = state["image_shape_"][:2]
    channels = n_channels(state["image_shape_"])
    return (
        isinstance(value, dict)
        and _array(height, width, channels, kinds="u")(value.get("image"), state)
        and _array(1, "classes")(value.get("scores"), state)
    )


def _is_fitted_on_same_shape(value: Any, state: State) -> bool:
    return hasattr(value, "net_") and value.image_shape_ == state["image_shape_"]


def _are_columns(value: Any, state: State) -> bool:
    """Whether these are the positions of the labels in the estimator's classes."""
    classes = state["estimator_"].classes_
    is_array = _array("classes", kinds="iu")(value, state)
    is_inside = value.min(initial=0) >= 0 and value.max(initial=0) < len(classes)
    return (
        is_array and is_inside and classes[value].tolist() == state["classes_"].tolist()
    )


def _are_box_weights(value: Any, state: State) -> bool:
    expected = box_weights(n_channels(state["image_shape_"]))
    return (
        isinstance(value, dict)
        and value.keys() == expected.keys()
        and all(
            _array(*array.shape, kinds=array.dtype.kind)(value[name], state)
            and value[name].dtype == array.dtype
            and bool(np.isfinite(value[name]).all())
            for name, array in expected.items()
        )
    )


def _is_crop_specification(value: Any, state: State) -> bool:
    if not isinstance(value, dict):
        return False
    return (
        value.keys() == {field.name for field in fields(CropSpecification)}
        and value["size"] == state["image_shape_"][:2]
        and _are_floats((value["object_extent"], value["low"], value["high"]), 3)
        and isinstance(value["fills_frame"], bool)
        and 0 < value["object_extent"] <= 1
        and value["low"] < value["high"]
    )


_IMAGES: dict[str, Check] = {
    "classes_": _are_labels,
    "image_shape_": lambda value, state: _are_counts(value, 2, 3),
    "n_features_in_": lambda value, state: (
        _is_count(value) and value == math.prod(state["image_shape_"])
    ),
    "scaling_": _is_scaling,
    "value_range_": lambda value, state: _are_floats(value, 2) and value[0] <= value[1],
    "_dtype": _is_dtype,
    "feature_names_in_": _are_names,
}
CLASSIFIER = _IMAGES | {
    "layer_": lambda value, state: (
        bool(_layers(value)) and all(isinstance(layer, str) for layer in _layers(value))
    ),
    "_net_spec": _is_net_spec,
    "_net_arrays": lambda value, state: _are_weights(value),
    "_net_history": lambda value, state: (
        isinstance(value, list) and all(type(epoch) is dict for epoch in value)
    ),
    "probe": _is_probe,
}
# Attributes of a classifier whose importances have been measured.
IMPORTANCES: dict[str, Check] = {
    "n_filters_": lambda value, state: _are_counts(
        value, len(_layers(state["layer_"]))
    ),
    "baseline_error_": _is_number,
    "filter_errors_": _array("filters"),
    "filter_importances_": _array("filters"),
    "filter_weights_": lambda value, state: (
        _array("filters")(value, state) and bool((value >= 0).all())
    ),
    "absent_activations_": lambda value, state: (
        _array("filters")(value, state) and bool(np.isfinite(value).all())
    ),
    "class_importances_": _array("classes", "filters"),
    "class_filter_weights_": _array("classes", "filters of last layer"),
    "log_odds_drops_": lambda value, state: (
        _array("classes", "classes", "filters of last layer")(value, state)
        or _array("classes", 1, "filters of last layer")(value, state)
    ),
    "score_weights_": _array("classes", "filters of last layer"),
    "outline_layer_": _optional(_instance(str)),
    "mid_level_layers_": lambda value, state: (
        isinstance(value, tuple) and all(isinstance(layer, str) for layer in value)
    ),
    # Absent where the class map is the user's.
    "_class_heatmap": lambda value, state: (
        isinstance(value, str) and value in CLASS_MAPS
    ),
    "normalization_constant_": lambda value, state: (
        _is_number(value, state) and value > 0
    ),
    "class_normalization_constants_": lambda value, state: (
        _array("classes")(value, state)
        and bool(np.isfinite(value).all() and (value > 0).all())
    ),
    "class_score_constants_": _optional(_array("classes")),
}
LOCALIZER = _IMAGES | {
    "estimator_": _is_fitted_on_same_shape,
    "background_": _is_background,
    "_columns": _are_columns,
    "_layout": lambda value, state: value in ("rows", "grey", "colour"),
    "score_calibration_": lambda value, state: (
        _are_floats(value, 3) and value[0] > 0 and value[1] >= 0
    ),
    "box_regression_": _optional(_are_box_weights),
    "crop_specification_": _is_crop_specification,
    "_has_background_images": _instance(bool),
}
# Attributes of localizers that learnt from photographs with boxes.
PHOTOGRAPHS: dict[str, Check] = {
    "classes_": _IMAGES["classes_"],
    "image_shape_": lambda value, state: value is None,
    "scaling_": _is_scaling,
    "value_range_": lambda value, state: value == (0.0, 1.0),
    "_dtype": lambda value, state: value == "uint8",
    "background_": _is_background,
    "_columns": _are_columns,
    "_layout": lambda value, state: value in ("grey", "colour"),
    "score_calibration_": LOCALIZER["score_calibration_"],
    "box_regression_": lambda value, state: value is None,
    "backbone_layers_": lambda value, state: (
        isinstance(value, tuple)
        and len(value) > 0
        and all(isinstance(layer, str) for layer in value)
    ),
    "backbone_detail_layer_": lambda value, state: (
        value is None or (isinstance(value, str) and value != "")
    ),
}
# What their backbone record holds.
FEATURES: dict[str, Check] = {
    "scale": lambda value, state: (
        isinstance(value, float) and 1 <= 16 * value <= 64 and (16 * value).is_integer()
    ),
    "window_sizes": lambda value, state: (
        isinstance(value, tuple)
        and 0 < len(value) <= _MAX_MODELS
        and all(_are_floats(size, 2) and min(size) >= 3 for size in value)
    ),
    "object_sides": lambda value, state: _are_floats(value, 3),
}
BOX_MODELS: dict[str, Check] = {
    "specification": lambda value, state: (
        isinstance(value, dict) and value.keys() == FEATURES.keys()
    ),
    "overlap": lambda value, state: (
        value.keys() == {"weight", "bias", "threshold"}
        and _is_finite(value["weight"], 1)
        and isinstance(value["bias"], float)
        and isinstance(value["threshold"], float)
    ),
    "regressions": lambda value, state: (
        isinstance(value, list)
        and len(value) <= _MAX_MODELS
        and all(
            each.keys() == {"weight", "bias"}
            and _is_finite(each["weight"], 2)
            and each["weight"].shape[1:] == each["bias"].shape == (4,)
            and _is_finite(each["bias"], 1)
            for each in value
        )
    ),
    "network": _optional(_instance(str)),
    "weights": _optional(lambda value, state: _are_weights(value)),
    "probe": lambda value, state: _is_finite(value, 1),
}

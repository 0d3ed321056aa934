"""Backbones of localizers, and what was learnt on their features, as records.

A record holds the weights of a small backbone and of a user's network, whose code is
passed to `load`. A pretrained network is saved by its name.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from .._images.messages import warn_user
from .._learning.backbone import SmallBackbone
from .._localizer import InstanceLocalizer
from .._network.backbone import Backbone
from .._network.pretrained import PRETRAINED
from .._search.linear_regression import LinearBoxRegression, PredictedOverlap
from .._search.pooled_recognizer import FeatureSpecification
from .._search.pooling import PoolingRecipe
from .encoding import Arrays, decode
from .heads import check_trained_head
from .schema import BOX_MODELS, FEATURES, check_state, require

# Attributes of a localizer that its backbone record holds.
ATTRIBUTES = ("backbone_", "feature_specification_", "_box_models")
# Differences of features, as a share of the maximum, that another device may cause.
_TOLERANCE = 1e-2
_PROBE_SIDE = 64


def backbone_record(localizer: InstanceLocalizer, writer: Any) -> dict[str, Any]:
    """Record of the attributes of a localizer that learnt from photographs."""
    network, parameter = localizer.backbone_, localizer.backbone
    is_small = type(network) is SmallBackbone
    is_named = not is_small and isinstance(parameter, str)
    if parameter is None and not is_small:
        raise ValueError(
            "backbone was changed to None after the fit; set it to the network of the "
            "fit, or fit again before saving."
        )
    recognizer: Any = localizer._recognizer()
    values = {
        "specification": asdict(localizer.feature_specification_),
        "overlap": asdict(recognizer.overlap),
        "regressions": [asdict(regression) for regression in recognizer.regressions],
        "network": "small" if is_small else parameter if is_named else None,
        "weights": None if is_named else _weights(network),
        "probe": np.concatenate(_mean_features(recognizer.backbone)),
    }
    return writer.encode(values, (), "backbone_/")


def backbone_state(record: Any, state: dict[str, Any], arrays: Arrays) -> dict:
    """The inverse of `backbone_record`; nothing in the record is trusted.

    Raises Damaged for records that `backbone_record` does not make, and ValueError if
    the user's network has other weights.
    """
    require(isinstance(record, dict), "backbone_")
    values = {name: decode(value, arrays) for name, value in record.items()}
    check_state(values, BOX_MODELS)
    check_state(values["specification"], FEATURES)
    backbone = _backbone(values, state)
    means, expected = _mean_features(backbone), values["probe"]
    found = np.concatenate(means)
    require(found.shape == expected.shape, "backbone_")
    tolerance = _TOLERANCE * np.abs(expected).max(initial=0)
    if not np.allclose(found, expected, rtol=0, atol=tolerance):
        warn_user(
            "The backbone gives other features than when the localizer was saved; pass "
            "the backbone of the fit, and check the versions of the packages that hold "
            "pretrained networks."
        )
    overlap, regressions = values["overlap"], values["regressions"]
    n_details = 0 if backbone.detail_layer is None else len(means[-1])
    n_features = (len(expected) - n_details) * (PoolingRecipe().n_bins ** 2 + 1)
    weights = [overlap["weight"], *(each["weight"] for each in regressions)]
    require(all(len(weight) == n_features for weight in weights), "_box_models")
    # Details are pooled by two means.
    check_trained_head(state["estimator_"], n_features + 2 * n_details)
    return {
        "backbone_": backbone.module,
        "feature_specification_": FeatureSpecification(**values["specification"]),
        "_box_models": (
            PredictedOverlap(**overlap),
            tuple(LinearBoxRegression(**each) for each in regressions),
        ),
    }


def _weights(network: nn.Module) -> dict[str, np.ndarray]:
    tensors = network.state_dict()
    return {name: tensor.numpy(force=True) for name, tensor in tensors.items()}


def _backbone(values: dict[str, Any], state: dict[str, Any]) -> Backbone:
    """The backbone of a localizer, with its weights."""
    layers, detail = state["backbone_layers_"], state["backbone_detail_layer_"]
    n_channels = 3 if state["_layout"] == "colour" else 1
    name, weights = values["network"], values["weights"]
    if weights is None:
        require(isinstance(name, str) and name in PRETRAINED, "backbone_")
        return Backbone.of(PRETRAINED[name](), n_channels, layers, detail)
    if name == "small":
        network: nn.Module = SmallBackbone(n_channels)
        # The layout of the weights in training, for the same rounding.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        network = state["backbone"]
        require(isinstance(network, nn.Module), "backbone_")
    backbone = Backbone.of(network, n_channels, layers, detail)
    tensors = {key: torch.from_numpy(array) for key, array in weights.items()}
    try:
        backbone.module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            "The backbone has other weights than the one of the fit; pass the "
            f"network of the fit ({error!s:.200})."
        ) from None
    return backbone


def _mean_features(backbone: Backbone) -> list[np.ndarray]:
    """Means of the filters of each layer for an image of noise."""
    size = (backbone.n_channels, _PROBE_SIDE, _PROBE_SIDE)
    noise = np.random.default_rng(0).uniform(size=size).astype(np.float32)
    maps, details = backbone.maps_and_details(torch.from_numpy(noise))
    maps += [] if details is None else [details]
    return [feature.values.mean(dim=(0, 2, 3)).numpy() for feature in maps]

"""The values that parameters of the classifier can have."""

import os
from numbers import Integral, Real
from typing import Any

import joblib
import torch

from .._compat import Interval, StrOptions

CLASSIFIER_CONSTRAINTS: dict[str, Any] = {
    "module": [callable, None],
    "layer": [str, list, tuple, None],
    "classes": ["array-like", None],
    "max_epochs": [Interval(Integral, 0, None, closed="left")],
    "lr": [Interval(Real, 0, None, closed="neither")],
    "lr_decay": [Interval(Real, 0, None, closed="left"), StrOptions({"linear"})],
    "batch_size": [
        Interval(Integral, 1, None, closed="left"),
        StrOptions({"auto"}),
    ],
    "net_params": [dict, None],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "image_shape": [tuple, list, None],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
    "importance": [StrOptions({"log_loss", "error"})],
    "ablation": [StrOptions({"zero", "mean"})],
    "weighting": [StrOptions({"softmax", "linear", "uniform"}), callable],
    "temperature": [Interval(Real, 0, None, closed="neither")],
    "resolution": [StrOptions({"dense", "pooled"})],
    "normalize": [StrOptions({"validation", "image"}), None],
    "threshold": [Interval(Real, 0, 1, closed="both")],
    "background": "no_validation",
    "device": [str, torch.device],
    "memory": [str, os.PathLike, joblib.Memory, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}

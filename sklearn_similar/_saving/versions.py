"""Formats of files, and what brings records of earlier formats up to date.

Each change of what is saved raises `FORMAT` and adds a function to `_UPGRADES`; a file
of each format is kept in the tests. Records are still encoded, and nothing in them is
trusted: what is not of the expected type is left to the checks that follow.
"""

from collections.abc import Callable
from typing import Any

from .._images.messages import warn_user

FORMAT = 4

# Parameters of localizers that were added in format 1, and what they were before.
_ADDED_IN_1: dict[str, Any] = {
    "n_jobs": None,
    "min_size": None,
    "max_size": None,
    "fills_frame": None,
    "crop_size": None,
    "backbone": None,
    "backbone_layers": None,
    "annotation": "complete",
}
# Parameters without which the detections of a localizer cannot be repeated.
_NEEDED_IN_1 = ("n_mining_rounds", "rotation")


class TooOld(Exception):
    """A record of a format that cannot be brought up to date; the message says why."""


def is_known(version: Any) -> bool:
    """Whether `upgrade` takes records of a format."""
    return type(version) is int and 1 <= version <= FORMAT


def upgrade(record: Any, version: int) -> None:
    """Bring an estimator's record, with those inside it, to the current format.

    Raises TooOld for records that lack what cannot be filled in, and warns if the
    estimator gives other results than before.
    """
    for number in range(version, FORMAT):
        for part in _parts(record):
            _UPGRADES[number](part)


def _parts(record: Any) -> list[dict[str, Any]]:
    """A record and the records of estimators in it, as far as they are dicts."""
    parts = []
    # No record holds others at more than three levels.
    level = [record]
    for _ in range(4):
        level = [part for part in level if isinstance(part, dict)]
        parts += level
        level = [
            part.get(name) for part in level for name in ("estimator", "estimator_")
        ]
    return parts


def _from_1(record: dict[str, Any]) -> None:
    """Snapshots wrote several states as format 1, before formats were counted."""
    net, state = record.get("net"), record.get("state")
    if isinstance(net, dict):
        # The number of training images acts in training alone.
        net.setdefault("n_training", 1)
    if not isinstance(state, dict):
        return
    if record.get("class") == "SimilarNetClassifier":
        state.setdefault("mid_level_layers", None)
    if record.get("class") != "InstanceLocalizer":
        return
    missing = [name for name in _NEEDED_IN_1 if name not in state]
    if missing:
        raise TooOld(
            "it was saved by an early snapshot, whose localizers had no "
            f"{' and no '.join(missing)}"
        )
    for name, value in _ADDED_IN_1.items():
        state.setdefault(name, value)
    state.setdefault("_has_background_images", True)
    state.setdefault("box_regression_", None)
    specification = state.get("crop_specification_")
    if isinstance(specification, dict):
        specification.setdefault("fills_frame", False)


def _from_2(record: dict[str, Any]) -> None:
    """Before format 3, all pixels were scaled by their type."""
    state = record.get("state")
    if isinstance(state, dict):
        state.setdefault("value_range", None)
        if "value_range_" in state:
            state.setdefault("scaling_", {})


def _from_3(record: dict[str, Any]) -> None:
    """Before format 4, backbones had no detail layer, and ridge used one layer."""
    state = record.get("state")
    if not isinstance(state, dict):
        return
    if "backbone_layers_" in state:
        state.setdefault("backbone_detail_layer_", None)
    layers = state.get("mid_level_layers_")
    layers = layers.get("items") if isinstance(layers, dict) else None
    if (
        state.get("class_heatmap") in ("propagated", "ridge")
        and isinstance(layers, list)
        and len(layers) > 1
        and "class_normalization_constants_" in state
    ):
        warn_user(
            "The heatmaps of a class differ from those before saving, as the ridge "
            "regression now uses all mid-level layers; call fit_importance, which "
            "measures their normalisation again."
        )


_UPGRADES: dict[int, Callable[[dict[str, Any]], None]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
}

"""The registry of class maps: how heatmaps of some classes are made.

To add one, write a `ClassMap` in a file of its own here, and enter it below.
"""

from collections.abc import Mapping
from typing import Any

from ..class_map import ClassMap, ClassMapState
from .cam import CAM
from .contrastive import Contrastive
from .guided_upsampling import GuidedUpsampling
from .image_ablation import ImageAblation
from .importance_weights import ImportanceWeights
from .layercam import LayerCAM
from .propagated import Propagated
from .ridge import Ridge
from .scorecam import ScoreCAM
from .walk import Walk

CLASS_MAPS: dict[str, ClassMap] = {
    "propagated": Propagated(),
    "outlined": GuidedUpsampling(),
    "contrastive": Contrastive(),
    "softmax": ImportanceWeights("softmax"),
    "linear": ImportanceWeights("linear"),
    "uniform": ImportanceWeights("uniform"),
    "walk": Walk(),
    "ridge": Ridge(),
    "cam": CAM(),
    "layercam": LayerCAM(),
    "scorecam": ScoreCAM(),
    "ablation": ImageAblation(),
}


def find_class_map(class_heatmap: str | ClassMap) -> ClassMap:
    """The class map of a name, or the object that the user passed."""
    if isinstance(class_heatmap, ClassMap):
        return class_heatmap
    return CLASS_MAPS[class_heatmap]


def needs_calibration(class_map: ClassMap, state: ClassMapState) -> bool:
    """Whether heat depends on constants that are measured on validation images."""
    if isinstance(class_map, Propagated):
        return not state.mid_level_layers
    return isinstance(class_map, Contrastive)


def class_heatmap_of(state: Mapping[str, Any]) -> str | ClassMap:
    """The class map of a fitted classifier whose state does not name it.

    Parameters
    ----------
    state : mapping
        Attributes of a classifier whose class map is the user's, and its parameter, or
        that was saved by a version with "outlined", "contrastive" and weights alone.
    """
    if isinstance(state["class_heatmap"], ClassMap):
        return state["class_heatmap"]
    # The weights of the other three are in the state, and their maps are the same.
    if state.get("class_score_constants_") is None:
        return "linear"
    return "contrastive" if state.get("outline_layer_") is None else "outlined"

"""The default class map: evidence, carried over mid-level features where there are any.

The walk knows which places belong together, the ridge regression has a finer grid. On
photographs, their geometric mean localises better than either.
"""

import numpy as np
import torch

from ..class_map import ClassMap, ClassMapState, ImageActivations, Measurement
from ..maps import geometric_mean
from .guided_upsampling import GuidedUpsampling
from .mid_level import MidLevel
from .ridge import Ridge
from .walk import Walk


class WalkAndRidge(MidLevel):
    """Geometric mean of the walk and of the ridge regression."""

    def carried(
        self, evidence: torch.Tensor, activations: ImageActivations
    ) -> torch.Tensor:
        """Evidence where both carry it."""
        return geometric_mean(
            Walk().carried(evidence, activations),
            Ridge().carried(evidence, activations),
        )


class Propagated(ClassMap):
    """Evidence, carried over mid-level features; "outlined" maps without these layers.

    Networks whose maps are fine anyway have no mid-level layers; see
    `mid_level_layers`.
    """

    contrasts_classes = True

    def filter_weights(self, measurement: Measurement) -> np.ndarray:
        """Those of the class map that is chosen."""
        return self._chosen_for(measurement).filter_weights(measurement)

    def outline_layer(self, measurement: Measurement) -> str | None:
        """The network's first block, without mid-level layers."""
        return self._chosen_for(measurement).outline_layer(measurement)

    def mid_level_layers(self, measurement: Measurement) -> tuple[str, ...]:
        """The layers that the user named, or those of strides 16 and 8."""
        return WalkAndRidge().mid_level_layers(measurement)

    def reads_probabilities(self, state: ClassMapState) -> bool:
        """Whether the class map that is chosen does."""
        return _chosen(state.mid_level_layers).reads_probabilities(state)

    def halo(self, state: ClassMapState) -> int:
        """That of the class map that is chosen."""
        return _chosen(state.mid_level_layers).halo(state)

    def needs_whole_image(self, state: ClassMapState) -> bool:
        """Whether the class map that is chosen does."""
        return _chosen(state.mid_level_layers).needs_whole_image(state)

    def class_scores(
        self, activations: ImageActivations, state: ClassMapState
    ) -> torch.Tensor | None:
        """Those of the class map that is chosen."""
        return _chosen(state.mid_level_layers).class_scores(activations, state)

    def heat(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """That of the class map that is chosen."""
        return _chosen(state.mid_level_layers).heat(activations, classes, state)

    def _chosen_for(self, measurement: Measurement) -> ClassMap:
        return _chosen(self.mid_level_layers(measurement))


def _chosen(mid_level_layers: tuple[str, ...]) -> ClassMap:
    return WalkAndRidge() if mid_level_layers else GuidedUpsampling()

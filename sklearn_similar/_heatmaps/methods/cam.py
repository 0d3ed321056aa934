"""Class activation maps, whose weights come from the ablation."""

import numpy as np
import torch

from ..class_map import ClassMap, ClassMapState, ImageActivations, Measurement


class CAM(ClassMap):
    """Positive evidence for a class: activations, weighted by what scores owe to them.

    The weight of a filter is the drop of the class score without it, for each unit of
    its mean activation. If the layer is followed by a global mean and one linear layer,
    that is the weight of the linear layer, as in CAM (Zhou et al., 2016).
    """

    contrasts_classes = True

    def filter_weights(self, measurement: Measurement) -> np.ndarray:
        """Drops of the class scores for each unit of mean activation, with signs."""
        return measurement.importances.score_weights

    def evidence(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """Evidence at every pixel, with signs, n_images x 1 x height x width."""
        return activations.evidence(state.mean_weights(classes, n_layers=1))

    def heat(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """Positive evidence."""
        return self.evidence(activations, classes, state).relu()

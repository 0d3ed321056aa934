"""LayerCAM: activations, weighted at each place by the gradient of the class score."""

import numpy as np
import torch

from ..class_map import ClassMapState, ImageActivations
from .cam import CAM


class LayerCAM(CAM):
    """Activations of the last layer times the positive gradients of the class score.

    The gradients are those of this image (Jiang et al., 2021).
    """

    def runs_head(self, state: ClassMapState) -> bool:
        """Gradients need the layers after the last one."""
        return True

    def heat(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """Sum over the filters of positive gradients times positive activations."""
        maps = activations.feature_maps[-1]
        with torch.enable_grad():
            values = maps.activations.detach().requires_grad_()
            scores = activations.target_scores(values, classes, np.arange(len(classes)))
            (gradients,) = torch.autograd.grad(scores.sum(), values)
        products = gradients.relu() * maps.activations.relu()
        return activations.at_pixels(products.sum(dim=1, keepdim=True), maps)

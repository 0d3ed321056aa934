"""Evidence of a class, regressed in each image on mid-level features.

The prediction is again a weighted sum of filter activations, with weights that are
fitted to the evidence in this image.
"""

import torch

from ..class_map import ImageActivations
from .guided_upsampling import upsample_guided
from .mid_level import MidLevel


class Ridge(MidLevel):
    """Evidence as ridge regression on mid-level features predicts it."""

    def carried(
        self, evidence: torch.Tensor, activations: ImageActivations
    ) -> torch.Tensor:
        """Predicted evidence, clipped at 0."""
        maps = activations.mid_level_maps[-1]
        return upsample_guided(evidence, maps, activations.size, has_signs=True)

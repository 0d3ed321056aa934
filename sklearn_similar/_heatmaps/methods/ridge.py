"""Evidence of a class, regressed in each image on mid-level features.

The prediction is again a weighted sum of filter activations, with weights that are
fitted to the evidence in this image. The finer layer predicts the extent of an object,
the coarser one its peak.
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
        """Mean over the layers of the predicted evidence, clipped at 0."""
        predicted = [
            upsample_guided(evidence, maps, activations.size, has_signs=True)
            for maps in activations.mid_level_maps
        ]
        return torch.stack(predicted).mean(dim=0)

"""Ablation in each image: activations, weighted by drops of the class score."""

import torch

from .masked_scores import MaskedScores


class ImageAblation(MaskedScores):
    """Weights: drops of the class score in this image without each filter.

    This is AblationCAM (Desai and Ramaswamy, 2020), whose weights are divided by the
    class score. With `ablate_filters`, the drops can be read.
    """

    def masks(self, image: torch.Tensor, filters: slice) -> torch.Tensor:
        """0 for the filter, 1 for all others."""
        is_absent = torch.eye(len(image), dtype=image.dtype, device=image.device)
        return (1 - is_absent[filters])[:, :, None, None]

    def weights(
        self, score: torch.Tensor, empty: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor:
        """Drops of the score."""
        return score - masked

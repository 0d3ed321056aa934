"""ScoreCAM inside the network: activations as masks of all activations."""

import torch

from .masked_scores import MaskedScores


class ScoreCAM(MaskedScores):
    """Weights: by how much a filter's activations, as a mask, raise the class score.

    ScoreCAM (Wang et al., 2020) masks the image and runs the whole network. Here, the
    activations of the layer are masked, so that only the layers after it are run.
    """

    def masks(self, image: torch.Tensor, filters: slice) -> torch.Tensor:
        """The activations of each filter, scaled to [0, 1]."""
        chosen = image[filters]
        low = chosen.amin(dim=(1, 2), keepdim=True)
        contrast = chosen.amax(dim=(1, 2), keepdim=True) - low
        return ((chosen - low) / torch.where(contrast > 0, contrast, 1))[:, None]

    def weights(
        self, score: torch.Tensor, empty: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor:
        """Increases of the score, from that without any activation."""
        return masked - empty

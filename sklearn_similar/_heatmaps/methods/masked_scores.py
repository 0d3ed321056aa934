"""Base of class maps from the scores of an image with its activations masked.

The layers after the feature maps run once for each filter, so these maps are slow.
"""

from abc import abstractmethod

import numpy as np
import torch

from ..._images.images import batch_slices
from ..._images.memory import within_working_memory
from ..class_map import ClassMapState, ImageActivations
from .cam import CAM

# Values of masked activations that are run at a time, at scikit-learn's default working
# memory.
_MAX_VALUES = 2**22


class MaskedScores(CAM):
    """Activations, weighted in each image by its class scores with masked activations.

    The score of several classes is the sum of theirs.
    """

    def runs_head(self, state: ClassMapState) -> bool:
        """Scores need the layers after the last one."""
        return True

    @abstractmethod
    def masks(self, image: torch.Tensor, filters: slice) -> torch.Tensor:
        """Masks of all activations of an image, one for each of some filters.

        Parameters
        ----------
        image : tensor of shape (n_filters, height, width)
        filters : slice

        Returns
        -------
        tensor that broadcasts to (n_chosen, n_filters, height, width)
        """

    @abstractmethod
    def weights(
        self, score: torch.Tensor, empty: torch.Tensor, masked: torch.Tensor
    ) -> torch.Tensor:
        """Weights of the filters, of shape (n_filters,).

        Parameters
        ----------
        score, empty : tensor of shape ()
            Class score with all activations, and with none.
        masked : tensor of shape (n_filters,)
            Class score with the mask of each filter.
        """

    def heat(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """Positive part of the weighted sum of the activations."""
        rows = [
            self._weights_in(row, activations, classes) for row in range(len(classes))
        ]
        return activations.evidence(torch.stack(rows)[:, None]).relu()

    def _weights_in(
        self, row: int, activations: ImageActivations, classes: np.ndarray
    ) -> torch.Tensor:
        """Weights of the filters in an image, of shape (n_filters,)."""
        image = activations.feature_maps[-1].activations[row]

        def scores(masked: torch.Tensor) -> torch.Tensor:
            rows = np.full(len(masked), row)
            return activations.target_scores(masked, classes, rows)

        score, empty = scores(torch.stack([image, torch.zeros_like(image)]))
        n_at_once = max(1, within_working_memory(_MAX_VALUES) // image.numel())
        parts = [
            scores(image * self.masks(image, filters))
            for filters in batch_slices(len(image), n_at_once)
        ]
        return self.weights(score, empty, torch.cat(parts))

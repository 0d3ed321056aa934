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
        images = activations.feature_maps[-1].activations
        rows = [
            self._weights_in(image, activations, of_image)
            for image, of_image in zip(images, classes, strict=True)
        ]
        return activations.evidence(torch.stack(rows)[:, None]).relu()

    def _weights_in(
        self, image: torch.Tensor, activations: ImageActivations, classes: np.ndarray
    ) -> torch.Tensor:
        """Weights of the filters in an image, n_filters x height x width."""
        ends = torch.stack([image, torch.zeros_like(image)])
        score, empty = activations.target_scores(ends, classes)
        n_at_once = max(1, within_working_memory(_MAX_VALUES) // image.numel())
        parts = [
            activations.target_scores(image * self.masks(image, filters), classes)
            for filters in batch_slices(len(image), n_at_once)
        ]
        return self.weights(score, empty, torch.cat(parts))

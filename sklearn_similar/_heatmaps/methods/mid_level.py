"""Base of class maps that carry evidence over mid-level features."""

from abc import abstractmethod
from functools import partial

import numpy as np
import torch

from ..._network.backbone import mid_level_layers
from ..class_map import ClassMapState, ImageActivations, Measurement
from .cam import CAM


class MidLevel(CAM):
    """Evidence for a class, carried over mid-level features of the whole image.

    Networks without mid-level layers (see `mid_level_layers`) get the positive
    evidence.
    """

    def mid_level_layers(self, measurement: Measurement) -> tuple[str, ...]:
        """The layers that the user named, or those of strides 16 and 8."""
        if measurement.mid_level_layers is not None:
            return measurement.mid_level_layers
        network, layer = measurement.network, measurement.layers[-1]
        key = "mid-level layers", layer, network.n_channels
        find = partial(mid_level_layers, network.module, layer, network.n_channels)
        return network.memo.get(network.module, key, find)

    def needs_whole_image(self, state: ClassMapState) -> bool:
        """Whether there are mid-level layers."""
        return len(state.mid_level_layers) > 0

    @abstractmethod
    def carried(
        self, evidence: torch.Tensor, activations: ImageActivations
    ) -> torch.Tensor:
        """Evidence, carried over mid-level features.

        Parameters
        ----------
        evidence : tensor of shape (n_images, 1, height, width)
            At every pixel, with signs.
        activations : ImageActivations

        Returns
        -------
        tensor of shape (n_images, 1, height, width)
            At every pixel, not negative.
        """

    def heat(
        self, activations: ImageActivations, classes: np.ndarray, state: ClassMapState
    ) -> torch.Tensor:
        """Carried evidence, or positive evidence without mid-level layers."""
        evidence = self.evidence(activations, classes, state)
        if not state.mid_level_layers:
            return evidence.relu()
        return self.carried(evidence, activations)

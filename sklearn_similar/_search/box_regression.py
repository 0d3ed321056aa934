"""Box regression: from a region proposal to the box of the object that it shows.

The edges of a region follow thresholds, not objects: noise, neighbours and the
background shift them. Girshick et al. (2014) regress boxes from the features of a
detector. Here a small network sees a proposal in context, as the recogniser may be any
classifier.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from .crop_specification import CropSpecification

# More crops than this do not fit into a CPU's caches on their way through the network.
_CPU_BATCH_SIZE = 128
_BATCH_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class RefinementRecipe:
    """How a search refines boxes.

    All figures were chosen on scenes of training digits and clothes.

    Attributes
    ----------
    context_size : (int, int)
        Height and width of the context crops that box regression sees.
    context_extent : float
        Share of a context crop's side that the proposal takes.
    min_side : int
        Minimum side in pixels of a refined box; else the proposal stays as it is.
    min_objectness : float
        Minimum probability of an object in a refined box for its proposal to be split
        and recognised where it is. With 0.01, five of six proposals are recognised once
        only, and no more than 0.4 % of the objects are lost.
    size_tolerance : float
        Factor by which a proposal may be smaller or larger than the sizes that are
        asked for, as box regression may move it to an object of such a size. It learns
        from proposals with an IoU of 0.3 with their object, whose sides are seldom less
        than half of the object's.
    unmoved_coarseness : int
        Coarseness of proposals that are recognised where they were, next to refined
        boxes, whose coarseness is 1.
    """

    context_size: tuple[int, int] = (28, 28)
    context_extent: float = 0.6
    min_side: int = 2
    min_objectness: float = 0.01
    size_tolerance: float = 2.0
    unmoved_coarseness: int = 2

    def context_crop(self, specification: CropSpecification) -> CropSpecification:
        """The crops that show a proposal with its surroundings."""
        return replace(
            specification, size=self.context_size, object_extent=self.context_extent
        )


class BoxNetwork(nn.Sequential):
    """Offsets of a box's four coordinates, as shares of its longer side.

    Parameters
    ----------
    in_channels : int
    n_filters : tuple of int
        Filters of the three convolutions.
    n_hidden : int
        Units of the fully connected layer.
    n_positions : int
        Positions of the last feature maps: those of a context crop, divided by 4 along
        each axis.
    """

    def __init__(
        self,
        in_channels: int,
        n_filters: tuple[int, int, int] = (12, 24, 48),
        n_hidden: int = 128,
        n_positions: int = 49,
    ):
        first, second, third = n_filters
        super().__init__(
            nn.Conv2d(in_channels, first, 5, padding=2, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, padding=1, bias=False),
            nn.BatchNorm2d(third),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(third * n_positions, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, 4),
        )


@dataclass(frozen=True)
class BoxRegression:
    """A trained network that refines boxes.

    Attributes
    ----------
    network : BoxNetwork
        In evaluation mode.
    """

    network: BoxNetwork

    @classmethod
    def from_weights(cls, weights: dict[str, np.ndarray]) -> "BoxRegression":
        """The box regression with these weights.

        Raises
        ------
        KeyError, RuntimeError
            If the weights do not fit the network.
        """
        # The meta device draws no random numbers.
        convolutions = [weights[f"{layer}.weight"] for layer in (0, 4, 8)]
        first, second, third = (len(weight) for weight in convolutions)
        n_hidden, n_values = weights["12.weight"].shape
        with torch.device("meta"):
            network = BoxNetwork(
                convolutions[0].shape[1],
                (first, second, third),
                n_hidden,
                n_values // third,
            )
        arrays = {name: torch.from_numpy(np.array(w)) for name, w in weights.items()}
        network.load_state_dict(arrays, assign=True)
        to_channels_last(network)
        return cls(network.eval().requires_grad_(False))

    def weights(self) -> dict[str, np.ndarray]:
        """Weights and buffers of the network by name."""
        state = self.network.state_dict()
        return {name: tensor.numpy(force=True) for name, tensor in state.items()}

    @torch.no_grad()
    def __call__(self, crops: torch.Tensor, boxes: np.ndarray) -> np.ndarray:
        """Refine boxes, n x 4, by their context crops, to whole pixels.

        Refined boxes may reach beyond the image, or be empty.
        """
        network = self.network.to(crops.device)
        is_cpu = crops.device.type == "cpu"
        batches = crops.split(_CPU_BATCH_SIZE if is_cpu else _BATCH_SIZE)
        with torch.autocast(crops.device.type, enabled=False):
            offsets = torch.cat([network(batch) for batch in batches])
        sides = longer_side(boxes)
        return np.rint(boxes + offsets.double().numpy(force=True) * sides)


def box_weights(in_channels: int) -> dict[str, np.ndarray]:
    """Weights of the shapes and types of the default network for so many channels."""
    with torch.device("meta"):
        state = BoxNetwork(in_channels).float().state_dict()
    return {
        name: np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch."))
        for name, tensor in state.items()
    }


def to_channels_last(network: BoxNetwork) -> None:
    """Store weights so that few channels are convolved twice as fast."""
    # PyTorch's annotations lack a call with this argument alone.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def longer_side(boxes: np.ndarray) -> np.ndarray:
    """Longer side of boxes n x 4, n x 1."""
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)

"""Box regression: the box of the instance that a region proposal shows, or a part of.

A region's edges are where thresholds end, not where an object does: noise frays them, a
neighbour or the ground shifts them. Girshick et al. (2014) regress boxes from features
of a detector; here a small network of its own looks at a proposal and what is around
it, as the recogniser may be any classifier.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from .._images.batches import batch_slices
from .._network.isolation import seeded
from .._progress import with_progress
from .._tables.boxes import paired_iou
from .crop_specification import CropSpecification
from .crops import to_unit_tensor

# Height and width of what the network sees, and the share of it that a proposal takes.
_SIZE = (28, 28)
_EXTENT = 0.6
_N_FILTERS = (12, 24, 48)
_N_HIDDEN = 128
_GRID = 7
_N_EPOCHS = 8
_BATCH_SIZE = 100
_LEARNING_RATE = 4e-3
# Offsets, in parts of a box's greater side, beyond which an error counts linearly.
_SMOOTHNESS = 0.05
# One of so many examples is held out, to see whether boxes get better, by so many
# standard errors.
_HELD_OUT = 10
_SURE = 3.0
_MIN_HELD_OUT = 20
_CROPS_AT_ONCE = 1024
# Of more crops, what passes through the network does not fit into a CPU's caches.
_CPU_BATCH_SIZE = 128


class BoxExamples(NamedTuple):
    """Crops n x 28 x 28 x n_channels, uint8, their boxes, and those of instances."""

    crops: np.ndarray
    boxes: np.ndarray
    truth: np.ndarray


class BoxNetwork(nn.Sequential):
    """Offsets of a box's four coordinates, in parts of its greater side."""

    def __init__(self, in_channels: int):
        first, second, third = _N_FILTERS
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
            nn.Linear(third * _GRID**2, _N_HIDDEN),
            nn.ReLU(),
            nn.Linear(_N_HIDDEN, 4),
        )


@dataclass(frozen=True)
class BoxRegression:
    """A trained network that moves the edges of boxes.

    Attributes
    ----------
    network : BoxNetwork
        In evaluation mode.
    """

    network: BoxNetwork

    @classmethod
    def from_weights(cls, weights: dict[str, np.ndarray]) -> "BoxRegression":
        """The one that has these weights.

        Raises
        ------
        KeyError, RuntimeError
            If they are not those of such a network.
        """
        # On this device, no random numbers are drawn.
        with torch.device("meta"):
            network = BoxNetwork(weights["0.weight"].shape[1])
        arrays = {name: torch.from_numpy(np.array(w)) for name, w in weights.items()}
        network.load_state_dict(arrays, assign=True)
        _channels_last(network)
        return cls(network.eval().requires_grad_(False))

    def weights(self) -> dict[str, np.ndarray]:
        """Weights and buffers of the network by name."""
        state = self.network.state_dict()
        return {name: tensor.numpy(force=True) for name, tensor in state.items()}

    @torch.no_grad()
    def __call__(self, crops: torch.Tensor, boxes: np.ndarray) -> np.ndarray:
        """The boxes, n x 4, moved by what is seen in their crops, to whole pixels.

        They may reach beyond the image, or hold nothing.
        """
        network = self.network.to(crops.device)
        is_cpu = crops.device.type == "cpu"
        batches = crops.split(_CPU_BATCH_SIZE if is_cpu else _CROPS_AT_ONCE)
        with torch.autocast(crops.device.type, enabled=False):
            offsets = torch.cat([network(batch) for batch in batches])
        sides = _greater_side(boxes)
        return np.rint(boxes + offsets.double().numpy(force=True) * sides)


def box_weights(in_channels: int) -> dict[str, np.ndarray]:
    """Weights of the shapes and types that a network for so many channels has."""
    with torch.device("meta"):
        state = BoxNetwork(in_channels).float().state_dict()
    return {
        name: np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch."))
        for name, tensor in state.items()
    }


def wide_view(specification: CropSpecification) -> CropSpecification:
    """The crops that show a proposal and what is around it."""
    return replace(specification, size=_SIZE, object_extent=_EXTENT)


def fit_box_regression(
    examples: BoxExamples, seed: int, verbose: int
) -> BoxRegression | None:
    """A box regression, or None if it does not surely make held-out boxes better.

    Parameters
    ----------
    examples : BoxExamples
        In random order.
    seed : int
        Where the random numbers start.
    verbose : int
        1 shows a progress bar.
    """
    n_held_out = len(examples.crops) // _HELD_OUT
    if n_held_out < _MIN_HELD_OUT:
        return None
    held_out = BoxExamples(*(part[:n_held_out] for part in examples))
    training = BoxExamples(*(part[n_held_out:] for part in examples))
    # Whatever the caller's modes are: here, in single precision, with gradients.
    with (
        torch.device("cpu"),
        torch.inference_mode(False),
        torch.autocast("cpu", enabled=False),
    ):
        regression = BoxRegression(_train(training, seed, verbose))
    moved = [
        regression(to_unit_tensor(held_out.crops[part]), held_out.boxes[part])
        for part in batch_slices(n_held_out, _CROPS_AT_ONCE)
    ]
    before = paired_iou(held_out.boxes, held_out.truth)
    gain = paired_iou(np.concatenate(moved), held_out.truth) - before
    # Of few examples, some get better by chance.
    is_better = gain.mean() > _SURE * gain.std() / n_held_out**0.5
    return regression if is_better else None


def _train(examples: BoxExamples, seed: int, verbose: int) -> BoxNetwork:
    boxes, truth = (
        torch.from_numpy(own / _greater_side(examples.boxes)).float()
        for own in (examples.boxes, examples.truth)
    )
    rng = np.random.RandomState(seed)
    with seeded(seed):
        network = BoxNetwork(examples.crops.shape[3]).float()
    _channels_last(network)
    batch_size = min(_BATCH_SIZE, max(2, len(boxes) // _BATCH_SIZE))
    # The last ones are left out, as a batch of one has no variance.
    n_updates = len(boxes) // batch_size
    optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    schedule = OneCycleLR(optimizer, _LEARNING_RATE, total_steps=n_updates * _N_EPOCHS)
    for _ in with_progress(
        range(_N_EPOCHS), "box regression", _N_EPOCHS, "epoch", verbose
    ):
        order = rng.permutation(len(boxes))[: n_updates * batch_size]
        for rows in order.reshape(n_updates, batch_size):
            offsets = network(to_unit_tensor(examples.crops[rows]))
            loss = _loss(boxes[rows], boxes[rows] + offsets, truth[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def _channels_last(network: BoxNetwork) -> None:
    """Lay out weights so that few channels are convolved twice as fast."""
    # PyTorch's annotations lack a call with this argument alone.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _loss(
    boxes: torch.Tensor, moved: torch.Tensor, truth: torch.Tensor
) -> torch.Tensor:
    """What a moved box lacks in IoU, and its distance, which has a slope anywhere."""
    sides = (moved[:, 2:] - moved[:, :2]).clamp(min=1e-3)
    low, high = (
        torch.maximum(moved[:, :2], truth[:, :2]),
        torch.minimum(moved[:, 2:], truth[:, 2:]),
    )
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = sides.prod(dim=1) + (truth[:, 2:] - truth[:, :2]).prod(dim=1)
    overlap = common / (areas - common)
    distance = F.smooth_l1_loss(moved - boxes, truth - boxes, beta=_SMOOTHNESS)
    return (1 - overlap).mean() + distance


def _greater_side(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)

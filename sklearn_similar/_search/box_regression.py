"""Box regression: from a region proposal to the box of the object that it shows.

The edges of a region follow thresholds, not objects: noise, neighbours and the
background shift them. Girshick et al. (2014) regress boxes from the features of a
detector. Here a small network sees a proposal in context, as the recogniser may be any
classifier.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from .._images.images import in_memory_format
from .._network.isolation import seeded
from .._progress import with_progress
from .._tables.boxes import paired_iou
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
    """

    context_size: tuple[int, int] = (28, 28)
    context_extent: float = 0.6
    min_side: int = 2
    min_objectness: float = 0.01

    def context_crop(self, specification: CropSpecification) -> CropSpecification:
        """The crops that show a proposal with its surroundings."""
        return replace(
            specification, size=self.context_size, object_extent=self.context_extent
        )


@dataclass(frozen=True, kw_only=True)
class BoxRegressionRecipe:
    """How box regression is learnt.

    All figures were chosen on scenes of training digits and clothes.

    Attributes
    ----------
    n_filters : tuple of int
        Filters of the three convolutions.
    n_hidden : int
        Units of the fully connected layer.
    n_epochs, batch_size : int
    learning_rate : float
        Peak learning rate of the one-cycle schedule.
    beta : float
        Error, as a share of the box's longer side, above which the smooth L1 loss is
        linear.
    held_out : int
        One of so many examples is held out.
    n_standard_errors : float
        Improvement of the held-out IoU, in standard errors, without which boxes are not
        refined.
    min_held_out : int
        Minimum number of held-out examples.
    """

    n_filters: tuple[int, int, int] = (12, 24, 48)
    n_hidden: int = 128
    n_epochs: int = 8
    batch_size: int = 100
    learning_rate: float = 4e-3
    beta: float = 0.05
    held_out: int = 10
    n_standard_errors: float = 3.0
    min_held_out: int = 20


@dataclass(frozen=True)
class BoxExamples:
    """Proposals and the boxes of the objects that they show.

    Attributes
    ----------
    crops : tensor of shape (n_examples, n_channels, 28, 28)
        Context crops of the proposals.
    boxes, truth : ndarray of shape (n_examples, 4)
        The proposals, and the boxes of the objects.
    """

    crops: torch.Tensor
    boxes: np.ndarray
    truth: np.ndarray

    @classmethod
    def concatenate(cls, parts: Iterable["BoxExamples"]) -> "BoxExamples":
        """The examples of all parts, in order."""
        parts = list(parts)
        return cls(
            torch.cat([part.crops for part in parts]),
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.truth for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: np.ndarray | slice) -> "BoxExamples":
        """The examples at some rows."""
        return BoxExamples(self.crops[rows], self.boxes[rows], self.truth[rows])


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
        n_filters: tuple[int, int, int],
        n_hidden: int,
        n_positions: int,
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

    @classmethod
    def for_crops(
        cls, in_channels: int, size: tuple[int, int], recipe: BoxRegressionRecipe
    ) -> "BoxNetwork":
        """The network for context crops of a size."""
        n_positions = (size[0] // 4) * (size[1] // 4)
        return cls(in_channels, recipe.n_filters, recipe.n_hidden, n_positions)


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
        # No random numbers are drawn on this device.
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
        _channels_last(network)
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
        sides = _longer_side(boxes)
        return np.rint(boxes + offsets.double().numpy(force=True) * sides)


def box_weights(in_channels: int) -> dict[str, np.ndarray]:
    """Weights of the shapes and types of the default network for so many channels."""
    size = RefinementRecipe().context_size
    with torch.device("meta"):
        network = BoxNetwork.for_crops(in_channels, size, BoxRegressionRecipe())
        state = network.float().state_dict()
    return {
        name: np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch."))
        for name, tensor in state.items()
    }


def fit_box_regression(
    examples: BoxExamples, recipe: BoxRegressionRecipe, seed: int, verbose: int
) -> BoxRegression | None:
    """A box regression, or None unless it improves the boxes of held-out examples.

    Parameters
    ----------
    examples : BoxExamples
        In random order.
    recipe : BoxRegressionRecipe
    seed : int
        Seed of the weights and of the order of examples.
    verbose : int
        1 shows a progress bar.
    """
    n_held_out = len(examples) // recipe.held_out
    if n_held_out < recipe.min_held_out:
        return None
    held_out = examples.select(slice(n_held_out))
    # Single precision with gradients, in whatever mode the caller is.
    with (
        torch.device("cpu"),
        torch.inference_mode(False),
        torch.autocast("cpu", enabled=False),
    ):
        training = examples.select(slice(n_held_out, None))
        regression = BoxRegression(_train(training, recipe, seed, verbose))
    refined = regression(held_out.crops, held_out.boxes)
    before = paired_iou(held_out.boxes, held_out.truth)
    gain = paired_iou(refined, held_out.truth) - before
    # Of few examples, some get better by chance.
    standard_error = gain.std() / n_held_out**0.5
    is_better = gain.mean() > recipe.n_standard_errors * standard_error
    return regression if is_better else None


def _train(
    examples: BoxExamples, recipe: BoxRegressionRecipe, seed: int, verbose: int
) -> BoxNetwork:
    sides = _longer_side(examples.boxes)
    boxes = torch.from_numpy(examples.boxes / sides).float()
    truth = torch.from_numpy(examples.truth / sides).float()
    rng = np.random.RandomState(seed)
    with seeded(seed):
        n_channels, height, width = examples.crops.shape[1:]
        network = BoxNetwork.for_crops(n_channels, (height, width), recipe).float()
    _channels_last(network)
    n_examples, n_epochs = len(examples), recipe.n_epochs
    batch_size = min(recipe.batch_size, max(2, n_examples // recipe.batch_size))
    # An incomplete batch is left out, as a batch of one has no variance.
    n_updates = n_examples // batch_size
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate)
    schedule = OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=n_updates * n_epochs
    )
    epochs = with_progress(
        range(n_epochs), "box regression", n_epochs, "epoch", verbose
    )
    for _ in epochs:
        order = rng.permutation(n_examples)[: n_updates * batch_size]
        for rows in order.reshape(n_updates, batch_size):
            batch = in_memory_format(examples.crops[rows], torch.channels_last)
            offsets = network(batch)
            refined = boxes[rows] + offsets
            loss = _loss(boxes[rows], refined, truth[rows], recipe.beta)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def _channels_last(network: BoxNetwork) -> None:
    """Store weights so that few channels are convolved twice as fast."""
    # PyTorch's annotations lack a call with this argument alone.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _loss(
    boxes: torch.Tensor, refined: torch.Tensor, truth: torch.Tensor, beta: float
) -> torch.Tensor:
    """1 - IoU plus smooth L1, which has a gradient for disjoint boxes too."""
    sides = (refined[:, 2:] - refined[:, :2]).clamp(min=1e-3)
    low, high = (
        torch.maximum(refined[:, :2], truth[:, :2]),
        torch.minimum(refined[:, 2:], truth[:, 2:]),
    )
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = sides.prod(dim=1) + (truth[:, 2:] - truth[:, :2]).prod(dim=1)
    overlap = common / (areas - common)
    distance = F.smooth_l1_loss(refined - boxes, truth - boxes, beta=beta)
    return (1 - overlap).mean() + distance


def _longer_side(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)

"""Training of box regression, from proposals and the boxes of their objects."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from .._images.images import in_memory_format
from .._network.isolation import seeded
from .._progress import with_progress
from .._search.box_regression import (
    BoxNetwork,
    BoxRegression,
    longer_side,
    to_channels_last,
)
from .._tables.boxes import paired_iou
from .recipe import BoxRegressionRecipe


@dataclass(frozen=True)
class BoxExamples:
    """Proposals and the boxes of the objects that they show.

    Attributes
    ----------
    crops : tensor of shape (n_examples, n_channels, 28, 28)
        Context crops of the proposals.
    boxes, truth : ndarray of shape (n_examples, 4)
        The proposals, and the boxes of the objects.
    rows : ndarray of int of shape (n_examples,)
        Row of the training image that shows each object.
    """

    crops: torch.Tensor
    boxes: np.ndarray
    truth: np.ndarray
    rows: np.ndarray

    @classmethod
    def concatenate(cls, parts: Iterable["BoxExamples"]) -> "BoxExamples":
        """The examples of all parts, in order."""
        parts = list(parts)
        return cls(
            torch.cat([part.crops for part in parts]),
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.rows for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: np.ndarray | slice) -> "BoxExamples":
        """The examples at some rows, or where a mask is true."""
        return BoxExamples(
            self.crops[rows], self.boxes[rows], self.truth[rows], self.rows[rows]
        )


def fit_box_regression(
    examples: BoxExamples, recipe: BoxRegressionRecipe, seed: int, verbose: int
) -> BoxRegression | None:
    """A box regression, or None unless it improves the boxes of held-out objects.

    Parameters
    ----------
    examples : BoxExamples
        In random order.
    recipe : BoxRegressionRecipe
    seed : int
        Seed of the held-out objects, of the weights and of the order of examples.
    verbose : int
        1 shows a progress bar.
    """
    is_held_out = _held_out(examples.rows, recipe, seed)
    if is_held_out.sum() < recipe.min_held_out:
        return None
    held_out = examples.select(is_held_out)
    # Single precision with gradients, in whatever mode the caller is.
    with (
        torch.device("cpu"),
        torch.inference_mode(False),
        torch.autocast("cpu", enabled=False),
    ):
        training = examples.select(~is_held_out)
        regression = BoxRegression(_train(training, recipe, seed, verbose))
    refined = regression(held_out.crops, held_out.boxes)
    before = paired_iou(held_out.boxes, held_out.truth)
    gain = paired_iou(refined, held_out.truth) - before
    # Examples of one object get better or worse together.
    _, of_object = np.unique(held_out.rows, return_inverse=True)
    gain = np.bincount(of_object, gain) / np.bincount(of_object)
    # Of few objects, some get better by chance.
    standard_error = gain.std() / len(gain) ** 0.5
    is_better = gain.mean() > recipe.n_standard_errors * standard_error
    return regression if is_better else None


def _held_out(rows: np.ndarray, recipe: BoxRegressionRecipe, seed: int) -> np.ndarray:
    """Mask of the examples of held-out objects, which are training images.

    Other examples of an object that is learnt would not tell whether boxes of unknown
    objects get better.
    """
    objects = np.unique(rows)
    n_objects = recipe.n_held_out_objects(len(objects))
    chosen = np.random.RandomState(seed).permutation(objects)[:n_objects]
    return np.isin(rows, chosen)


def _train(
    examples: BoxExamples, recipe: BoxRegressionRecipe, seed: int, verbose: int
) -> BoxNetwork:
    sides = longer_side(examples.boxes)
    boxes = torch.from_numpy(examples.boxes / sides).float()
    truth = torch.from_numpy(examples.truth / sides).float()
    rng = np.random.RandomState(seed)
    with seeded(seed):
        n_channels, height, width = examples.crops.shape[1:]
        n_positions = (height // 4) * (width // 4)
        network = BoxNetwork(n_channels, n_positions=n_positions).float()
    to_channels_last(network)
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

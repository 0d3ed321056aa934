"""Training the skorch net on images that are read a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from .._images.images import Images
from .forward import eval_mode, explained_batch_error
from .net import SAMPLE_WEIGHT, WEIGHTED_IMAGES, SeededNet
from .specification import NetSpecification


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Labelled images of one size, and how often and with what weight each is used.

    Attributes
    ----------
    images : Images
    y : ndarray of shape (n_images,)
        Class index of each image.
    sampling_indices : ndarray of int
        Positions of the images of an epoch, with repeats.
    loss_weights : ndarray of shape (n_images,), float32, or None
        Weight of each image in the loss.
    """

    images: Images
    y: np.ndarray
    sampling_indices: np.ndarray
    loss_weights: np.ndarray | None = None

    @property
    def epoch_labels(self) -> np.ndarray:
        """Class indices of the images of an epoch."""
        return self.y[self.sampling_indices]

    @property
    def epoch_weights(self) -> np.ndarray | None:
        """Weights in the loss of the images of an epoch."""
        if self.loss_weights is None:
            return None
        return self.loss_weights[self.sampling_indices]


class PixelDataset(Dataset):
    """Labelled images of one size for skorch, read a batch at a time.

    With weights, the input of the net is a dict of images and their weights.
    """

    def __init__(
        self,
        images: Images,
        y: np.ndarray,
        n_channels: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        weights: np.ndarray | None = None,
    ):
        self.images = images
        self.y = y
        self.n_channels = n_channels
        self.memory_format = memory_format
        self.weights = weights

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index):
        images, y = self.__getitems__([index])
        if isinstance(images, dict):
            return {name: values[0] for name, values in images.items()}, y[0]
        return images[0], y[0]

    def __getitems__(self, indices) -> tuple[Any, torch.Tensor]:
        """Images and class indices at some positions, for a loader."""
        indices = np.asarray(indices)
        images = self.images.tensor(indices, self.n_channels, self.memory_format)
        y = torch.from_numpy(self.y[indices])
        if self.weights is None:
            return images, y
        weights = torch.from_numpy(self.weights[indices])
        return {WEIGHTED_IMAGES: images, SAMPLE_WEIGHT: weights}, y


def train_network(
    net: SeededNet, specification: NetSpecification, data: TrainingData
) -> tuple[dict[str, np.ndarray], list]:
    """Train a new net; returns its weights and its history.

    Parameters
    ----------
    net : SeededNet
        Built by the specification.
    specification : NetSpecification
    data : TrainingData

    Raises
    ------
    ValueError
        If the loss diverged, the criterion cannot weigh images, or batch normalisation
        meets a batch of one image.
    """
    dataset = PixelDataset(
        data.images,
        data.y,
        specification.n_channels,
        net.memory_format,
        data.loss_weights,
    )
    indices = data.sampling_indices
    try:
        # The array itself: a list of as many numbers takes five times its memory.
        epoch = Subset(dataset, cast(Sequence[int], indices))
        with explained_batch_error(net.batch_size):
            # The data set also holds the labels; these serve a stratified train_split.
            net.partial_fit(epoch, data.epoch_labels)
    except KeyError as error:
        if "valid_" not in str(error):
            raise
        raise ValueError(
            "A callback needs the results of a validation split; pass train_split="
            f"skorch.dataset.ValidSplit(5) in net_params ({error.args[0]})"
        ) from error
    except ValueError as error:
        if "more than 1 value per channel when training" not in str(error):
            raise
        raise ValueError(
            "Batch normalisation cannot learn from a batch of one image, which "
            f"{len(indices)} images in batches of {net.batch_size} leave; choose "
            "another batch_size."
        ) from error
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise ValueError(
            "The loss depends on no weight that can be trained: requires_grad is False "
            "for all of the module; pass max_epochs=0 to use the network as it is, or "
            "let some layers be trained."
        ) from error
    _check_learnt(net, len(indices))
    net.module_.zero_grad(set_to_none=True)
    _check_converged(net, data.images.tensor(indices[:1], specification.n_channels))
    return net.arrays(), net.history.to_list()


def _check_learnt(net: SeededNet, n_images: int) -> None:
    """Raise ValueError if no epoch had a batch."""
    n_batches = [epoch.get("train_batch_count", 0) for epoch in net.history]
    if n_batches and not any(n_batches):
        raise ValueError(
            f"Nothing was learnt: {n_images} images do not fill a batch of "
            f"{net.batch_size}, and drop_last in net_params drops others; choose a "
            "smaller batch_size, or take drop_last out."
        )


def _check_converged(net: SeededNet, images: torch.Tensor) -> None:
    """Raise ValueError unless losses, and scores after the last update, are finite."""
    problem = None
    for epoch in net.history:
        loss = epoch.get("train_loss", 0.0)
        if not np.isfinite(loss):
            problem = f"the loss is {loss} in epoch {epoch['epoch']}"
            break
    with eval_mode(net.module_) as module:
        if not problem and not module(images.to(net.device)).isfinite().all():
            problem = "scores are not finite"
    if problem:
        raise ValueError(
            f"Training diverged: {problem} with lr={net.lr}; lower lr or scale X."
        )

"""Training the skorch net on images that are read a batch at a time."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from .._images.images import Images, n_channels, to_tensor
from .activations import eval_mode
from .forward import explained_batch_error
from .net import SAMPLE_WEIGHT, WEIGHTED_IMAGES, SeededNet
from .net_state import get_arrays


class PixelDataset(Dataset):
    """Labelled images of one size for skorch, read a batch at a time.

    With weights, the images of a batch are a dict that holds those, too.
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
        """Images and class indices at some positions: what a loader asks for."""
        chosen = np.asarray(indices)
        pixels = self.images.select(chosen)
        images = to_tensor(pixels, self.n_channels, self.memory_format)
        y = torch.from_numpy(self.y[chosen])
        if self.weights is None:
            return images, y
        weights = torch.from_numpy(self.weights[chosen])
        return {WEIGHTED_IMAGES: images, SAMPLE_WEIGHT: weights}, y


def train_network(
    net: SeededNet,
    spec: Mapping[str, Any],
    images: Images,
    y: np.ndarray,
    draws: np.ndarray,
    loss_weights: np.ndarray | None,
) -> tuple[dict[str, np.ndarray], list]:
    """Train a new net; returns its weights and history, which a cache can hold.

    Parameters
    ----------
    net : SeededNet
        As `build_net` made it.
    spec : dict
        Arguments of `build_net`.
    images : Images
        All of one size.
    y : ndarray of shape (n_images,)
        Class index of each image.
    draws, loss_weights
        The images that an epoch shows, and what their losses weigh; see `draws_of`.

    Raises
    ------
    ValueError
        If the loss diverged, the criterion cannot weigh images, or batch normalisation
        meets a batch of one image.
    """
    channels = n_channels(spec["image_shape"])
    dataset = PixelDataset(images, y, channels, net.memory_format, loss_weights)
    # The labels are in the dataset already; here they serve a stratified train_split.
    try:
        # An array: a list of as many numbers takes five times its memory.
        chosen = Subset(dataset, cast(Sequence[int], draws))
        with explained_batch_error(net.batch_size):
            net.partial_fit(chosen, y[draws])
    except KeyError as error:
        if "valid_" not in str(error):
            raise
        raise ValueError(
            "A callback needs what only a validation split gives; pass train_split="
            f"skorch.dataset.ValidSplit(5) in net_params ({error.args[0]})"
        ) from error
    except ValueError as error:
        if "more than 1 value per channel when training" not in str(error):
            raise
        raise ValueError(
            "Batch normalisation cannot learn from a batch of one image, which "
            f"{len(draws)} images in batches of {net.batch_size} leave; choose "
            "another batch_size."
        ) from error
    net.module_.zero_grad(set_to_none=True)
    _check_converged(net, to_tensor(images.select(draws[:1]), channels))
    return get_arrays(net), net.history.to_list()


def _check_converged(net: SeededNet, images: torch.Tensor) -> None:
    """Raise ValueError unless losses, and scores after the last update, are finite."""
    found = None
    for epoch in net.history:
        loss = epoch.get("train_loss", 0.0)
        if not np.isfinite(loss):
            found = f"the loss is {loss} in epoch {epoch['epoch']}"
            break
    with eval_mode(net.module_) as module:
        if not found and not module(images.to(net.device)).isfinite().all():
            found = "scores are not finite"
    if found:
        raise ValueError(
            f"Training diverged: {found} with lr={net.lr}; lower lr or scale X."
        )

"""A trained network, ready to be run on images."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from .._images.images import (
    Images,
    batch_slices,
    in_memory_format,
    n_at_once,
    n_channels,
    to_grey,
)
from .._images.messages import ImageNames
from .._progress import with_progress
from .activations import KnownFields
from .forward import at_least_single, eval_mode, explained_batch_error
from .memo import NetworkMemo
from .net import SeededNet

# Batch size "auto" on a CPU and on other devices; larger batches are no faster.
_CPU_BATCH_SIZE, _DEVICE_BATCH_SIZE = 300, 4096


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A trained network, with all that is needed to run it on images.

    Attributes
    ----------
    module : torch.nn.Module
        From N x C x H x W images to N x n_classes outputs.
    device : str or torch.device
    n_channels : int
        Channels of the images that the module takes.
    memory_format : {torch.contiguous_format, torch.channels_last}
        Memory format of the images that the module is given.
    batch_size : int
        Maximum number of images in a batch.
    n_classes : int
    returns_probabilities : bool
        Whether the module returns probabilities rather than logits.
    known_fields : dict
        Cache of receptive fields, see `extract_activations`.
    memo : NetworkMemo
        Results about the module that are kept until it changes.
    """

    module: nn.Module
    device: str | torch.device
    n_channels: int
    memory_format: torch.memory_format = torch.contiguous_format
    batch_size: int
    n_classes: int
    returns_probabilities: bool
    known_fields: KnownFields = field(default_factory=dict)
    memo: NetworkMemo = field(default_factory=NetworkMemo)

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Evaluation mode without gradients; out-of-memory errors say what to do."""
        with eval_mode(self.module), explained_batch_error(self.batch_size):
            yield

    def batches(
        self, images: Images, indices: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Yield batches of images of one shape on the device, with their indices."""
        return images.batches(
            self.batch_size, self.n_channels, indices, self.memory_format, self.device
        )

    def log_probabilities(self, output: torch.Tensor) -> torch.Tensor:
        """Logarithms of the class probabilities from the module's output."""
        output = at_least_single(output)
        if self.returns_probabilities:
            return torch.log(output + torch.finfo(output.dtype).tiny)
        return torch.log_softmax(output, dim=1)

    def predict_proba(
        self, images: Images, verbose: int = 0, log: bool = False
    ) -> np.ndarray:
        """Class probabilities of images of the trained size, or their logarithms.

        Returns
        -------
        ndarray of shape (n_images, n_classes), float32
        """
        batches = with_progress(
            self.batches(images),
            "predict",
            len(images),
            "image",
            verbose,
            size=lambda batch: len(batch[0]),
        )
        return self._probabilities(batches, len(images), images.names, log)

    def tensor_probabilities(self, images: torch.Tensor) -> np.ndarray:
        """Class probabilities of images n_images x n_channels x height x width."""
        max_images = n_at_once(images.shape[2:], self.device)
        batches = (
            (np.arange(part.start, part.stop), self.as_input(images[part]))
            for part in batch_slices(len(images), min(self.batch_size, max_images))
        )
        return self._probabilities(batches, len(images), ImageNames(noun="Crop"))

    def with_its_channels(self, images: torch.Tensor) -> torch.Tensor:
        """Images (..., n_channels, height, width), made grey for a network of grey."""
        if self.n_channels == 1 and images.shape[-3] == 3:
            return to_grey(images)[..., np.newaxis, :, :]
        return images

    def as_input(self, images: torch.Tensor) -> torch.Tensor:
        """Images on the device and in the memory format of the network."""
        return in_memory_format(images.to(self.device), self.memory_format)

    def _probabilities(
        self,
        batches: Iterable[tuple[np.ndarray, torch.Tensor]],
        n_images: int,
        names: ImageNames,
        log: bool = False,
    ) -> np.ndarray:
        """Class probabilities, or their logarithms, of images that come in batches."""
        result = np.empty((n_images, self.n_classes), dtype=np.float32)
        with self.evaluation():
            for indices, batch in batches:
                output = at_least_single(self.module(batch))
                if not self.returns_probabilities:
                    # Along the classes, rounding does not depend on the batch.
                    to_proba = torch.log_softmax if log else torch.softmax
                    output = to_proba(output, dim=1)
                elif log:
                    output = self.log_probabilities(output)
                values = output.exp() if log else output
                check_finite(values, indices, "scores", names)
                result[indices] = output.cpu().numpy()
        return result


def check_finite(
    values: torch.Tensor,
    indices: np.ndarray,
    name: str,
    names: ImageNames | None = None,
) -> None:
    """Raise ValueError, which names the image, if scores or heat are not finite.

    Parameters
    ----------
    values : tensor of shape (n_images, ...)
    indices : ndarray of shape (n_images,)
        Positions of the images among those of the user.
    name : str
        Name of the values, in the plural.
    names : ImageNames, optional
        Names of the images.
    """
    # If the sum is finite, so are the values; it takes a fraction of the time.
    if not values.sum().isfinite() and not values.isfinite().all():
        bad = ~values.isfinite().flatten(1).all(dim=1).cpu().numpy()
        image = (names or ImageNames()).name(indices[bad][0])
        raise ValueError(
            f"{image} gets {name} that are not finite; look for pixel values too large "
            "for float32, for a division by a sum that is 0, or for weights that are "
            "not finite."
        )


def trained_network(
    net: SeededNet, image_shape: tuple[int, ...], batch_size: int | str
) -> TrainedNetwork:
    """The network of a skorch net, for images of the shape it was trained on."""
    if batch_size == "auto":
        is_cpu = torch.device(net.device).type == "cpu"
        batch_size = _CPU_BATCH_SIZE if is_cpu else _DEVICE_BATCH_SIZE
    return TrainedNetwork(
        module=net.module_,
        device=net.device,
        n_channels=n_channels(image_shape),
        memory_format=net.memory_format,
        batch_size=int(batch_size),
        n_classes=len(net.classes),
        # skorch takes the logarithm of the module's output for this criterion.
        returns_probabilities=isinstance(net.criterion_, nn.NLLLoss),
        known_fields=net.known_fields,
        memo=net.memo,
    )

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
)
from .._images.messages import ImageNames, warn_user
from .._images.splits import spread_over_classes
from .._progress import with_progress
from .activations import KnownFields, eval_mode
from .forward import at_least_single, explained_batch_error, run_network
from .net import SeededNet

# Images in a batch, where it is "auto", on a CPU and on other devices; beyond, a pass
# gets no faster.
_BATCH_SIZE, _DEVICE_BATCH_SIZE = 300, 4096
# Images on which a network that was trained elsewhere is tried, and accuracy, from that
# of guessing at 0 to 1, below which it recognises nothing.
_N_TRIED = 100
_MIN_TRIED = 20
_MIN_SKILL = 0.1


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A trained network and what it takes to run it on images.

    Attributes
    ----------
    module : torch.nn.Module
        From N x C x H x W images to N x n_classes outputs.
    device : str or torch.device
    n_channels : int
        Channels of the images that the module takes.
    memory_format : {torch.contiguous_format, torch.channels_last}
        How the module is given images.
    batch_size : int
        Most images in a batch.
    n_classes : int
    returns_probabilities : bool
        Whether the module returns probabilities rather than logits.
    known_fields : dict
        Receptive fields that were tracked, see `extract_activations`.
    """

    module: nn.Module
    device: str | torch.device
    n_channels: int
    memory_format: torch.memory_format = torch.contiguous_format
    batch_size: int
    n_classes: int
    returns_probabilities: bool
    known_fields: KnownFields = field(default_factory=dict)

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Evaluation mode without gradients; a lack of memory is explained."""
        with eval_mode(self.module), explained_batch_error(self.batch_size):
            yield

    def batches(
        self, images: Images, indices: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Indices of images of one shape, and these images on the device."""
        return images.batches(
            self.batch_size, self.n_channels, indices, self.memory_format, self.device
        )

    def log_probabilities(self, output: torch.Tensor) -> torch.Tensor:
        """Logarithms of the class probabilities from what the module returned."""
        output = at_least_single(output)
        if self.returns_probabilities:
            return torch.log(output + torch.finfo(output.dtype).tiny)
        # Along the first dimension, it runs over images side by side: 15 times faster
        # for few classes.
        return torch.log_softmax(output.t().contiguous(), dim=0).t()

    def predict_proba(
        self, images: Images, verbose: int = 0, log: bool = False
    ) -> np.ndarray:
        """Class probabilities, n_images x n_classes, or their logarithms.

        The images have the trained size.
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
        max_images = n_at_once(images[0, 0], self.device) if len(images) else 1
        batches = (
            (np.arange(part.start, part.stop), self._as_input(images[part]))
            for part in batch_slices(len(images), min(self.batch_size, max_images))
        )
        return self._probabilities(batches, len(images), ImageNames(noun="Crop"))

    def _as_input(self, images: torch.Tensor) -> torch.Tensor:
        """Images in the memory format in which the network takes them."""
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
                    # Along the classes, rounding does not depend on the other images.
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
    # A sum takes a fraction of the time; where it is finite, so are the values.
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
    """The network of a skorch net that was trained on images of a shape."""
    if batch_size == "auto":
        is_cpu = torch.device(net.device).type == "cpu"
        batch_size = _BATCH_SIZE if is_cpu else _DEVICE_BATCH_SIZE
    return TrainedNetwork(
        module=net.module_,
        device=net.device,
        n_channels=n_channels(image_shape),
        memory_format=net.memory_format,
        batch_size=int(batch_size),
        n_classes=len(net.classes),
        # skorch takes the logarithm of what the module returns for this criterion.
        returns_probabilities=isinstance(net.criterion_, nn.NLLLoss),
        known_fields=net.known_fields,
    )


def check_output(network: TrainedNetwork, images: torch.Tensor) -> None:
    """Raise ValueError unless the network gives one score per image and class.

    Probabilities are scores too, but not those that the criterion expects: a warning.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    images : tensor of shape (n_images, n_channels, height, width)
    """
    output = run_network(network.module, images)
    wanted = (len(images), network.n_classes)
    if not isinstance(output, torch.Tensor):
        raise ValueError(
            f"The network returns a {type(output).__name__}; wrap it so that it "
            "returns one tensor of class scores, n_images x n_classes."
        )
    if tuple(output.shape) != wanted:
        has_more = output.ndim == 2 and output.shape[1] > network.n_classes
        remedy = "pass the labels of all outputs as classes, or change module"
        raise ValueError(
            f"The network returns shape {tuple(output.shape)} for {len(images)} "
            f"images, but y has {network.n_classes} classes, so it should be {wanted}; "
            f"{remedy if has_more else 'change module'}."
        )
    if not network.returns_probabilities:
        if output.min() >= 0 and (output.sum(dim=1) - 1).abs().max() < 1e-4:
            warn_user(
                "The network returns probabilities, but logits are expected, of which "
                "softmax makes probabilities again, close to each other; take the "
                "softmax out of module, or pass net_params={'criterion': "
                "torch.nn.NLLLoss}.",
            )
    elif output.min() < 0:
        raise ValueError(
            f"The network returns {float(output.min()):.3g}, but skorch's NLLLoss "
            "takes probabilities; end the network with a softmax, or let it return "
            "logits and leave the criterion out."
        )


def warn_if_guessing(network: TrainedNetwork, images: Images, y: np.ndarray) -> None:
    """Warn if a network that was trained elsewhere recognises none of its images.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    images : Images
        Some of them are tried.
    y : ndarray of shape (n_images,)
        Class index of each image.
    """
    chosen = spread_over_classes(y, _N_TRIED)
    chosen = chosen[:: max(1, len(chosen) // _N_TRIED)]
    chance = np.bincount(y[chosen]).max() / len(chosen)
    if len(chosen) < _MIN_TRIED or chance == 1:
        return
    n_right = sum(
        int((network.module(batch).argmax(dim=1).numpy(force=True) == y[indices]).sum())
        for indices, batch in network.batches(images, chosen)
    )
    if n_right / len(chosen) - chance < _MIN_SKILL * (1 - chance):
        warn_user(
            f"The network recognises {n_right} of {len(chosen)} images, which is no "
            "better than guessing, and max_epochs=0 leaves it so; scale X as in its "
            "training, and check that its outputs are in the order of classes_.",
        )

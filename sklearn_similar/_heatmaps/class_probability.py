"""Where on an image the network sees a class, in images of any size.

The layers after the feature maps know what the filters alone do not tell: in which
arrangement they respond. They want an image of the trained size, and so they get the
feature maps in windows of that size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional as F

from .._ablation.graph import LayerGraph, NotTraceable
from .._network.activations import FeatureMaps, extract_activations
from .._network.trained import TrainedNetwork
from .extraction import HeatmapSpecification, ImageActivations
from .maps import interpolate_to_pixels, smooth

# Windows in the length of one, and the share of it that may lie outside of the image.
_OVERLAPPING = 8
_OUTSIDE = 4
# Values of feature maps in windows that are run at once.
_MAX_VALUES = 2**22


@dataclass(frozen=True)
class ClassHead:
    """The part of a network after a layer.

    Attributes
    ----------
    probabilities : callable
        From feature maps of the trained size to probabilities, n x n_classes.
    grid : (int, int)
        Height and width of these feature maps.
    """

    probabilities: Callable[[torch.Tensor], torch.Tensor]
    grid: tuple[int, int]

    @classmethod
    def trace(
        cls, network: TrainedNetwork, layer: str, size: Sequence[int]
    ) -> "ClassHead | None":
        """The head of a network in evaluation mode; None if it cannot be traced.

        Parameters
        ----------
        network : TrainedNetwork
        layer : str
        size : (int, int)
            Height and width of the images that the network was trained on.
        """
        n_values = network.n_channels * size[0] * size[1]
        probe = torch.linspace(0, 1, n_values, device=network.device)
        probe = probe.reshape(1, network.n_channels, *size)
        (maps,) = extract_activations(network.module, (layer,), probe.clone(), "pooled")
        try:
            graph = LayerGraph.trace(network.module, layer, probe)
        except NotTraceable:
            return None
        # They belong to the whole image.
        if graph.bypasses():
            return None
        head = graph.part([graph.activations], [graph.output])

        def probabilities(values):
            return network.log_probabilities(head(values)[0]).exp()

        expected = network.log_probabilities(network.module(probe.clone())).exp()
        if not torch.allclose(probabilities(maps.activations), expected, atol=1e-4):
            return None
        height, width = maps.activations.shape[2:]
        return cls(probabilities, (height, width))


class Presence:
    """The probability, at each pixel, that the network sees some classes there.

    Images of the trained size have one for all pixels, larger ones those in windows of
    this size. Without a trained size, with dense activations, or where the network
    cannot be traced, it is 1.
    """

    def __init__(
        self,
        network: TrainedNetwork,
        specification: HeatmapSpecification,
    ):
        self._network = network
        self._specification = specification

    @cached_property
    def _head(self) -> ClassHead | None:
        size = self._specification.trained_size
        if size is None or self._specification.resolution == "dense":
            return None
        return ClassHead.trace(self._network, self._specification.layers[-1], size)

    def darken(
        self, heat: np.ndarray, activations: ImageActivations, classes: np.ndarray
    ) -> np.ndarray:
        """Heat, the darker the less probable the classes are there."""
        # The root, as it is one of the factors of a geometric mean.
        return heat * np.sqrt(self.of(activations, classes))

    def of(self, activations: ImageActivations, classes: np.ndarray) -> np.ndarray:
        """Probabilities that broadcast to n_images x height x width."""
        one = np.ones((len(classes), 1, 1), dtype=np.float32)
        if activations.output is not None:
            found = self._network.log_probabilities(activations.output).exp()
            chosen = found.cpu().numpy()[np.arange(len(classes))[:, None], classes]
            return one * chosen.sum(axis=1)[:, np.newaxis, np.newaxis]
        contrastive = self._specification.contrastive
        if self._head is None or contrastive is None:
            return one
        windows = probabilities_in_windows(self._head, activations.feature_maps[-1])
        return class_presence(windows, classes, activations.size, contrastive.smoothing)


def probabilities_in_windows(head: ClassHead, maps: FeatureMaps) -> FeatureMaps:
    """Class probabilities in windows of the trained size.

    Parameters
    ----------
    head : ClassHead
    maps : FeatureMaps
        Of images of one size, at the layer's stride.

    Returns
    -------
    FeatureMaps
        With n_classes filters, and the windows' centres as receptive fields.
    """
    activations, field = maps.activations, maps.receptive_field
    steps = [max(1, length // _OVERLAPPING) for length in head.grid]
    outside = [
        max(length // _OUTSIDE, -(-(length - have) // 2))
        for length, have in zip(head.grid, activations.shape[2:], strict=True)
    ]
    padded = F.pad(activations, (outside[1], outside[1], outside[0], outside[0]))
    windows = padded.unfold(2, head.grid[0], steps[0]).unfold(3, head.grid[1], steps[1])
    shape = windows.shape[2:4]
    windows = windows.permute(0, 2, 3, 1, 4, 5)
    n_at_once = max(1, _MAX_VALUES // windows[0, 0, 0].numel())
    found = []
    # Image by image: rounding must not depend on the others.
    for image in windows:
        parts = [
            head.probabilities(torch.stack(part))
            for part in _chunks(list(image.flatten(0, 1)), n_at_once)
        ]
        found.append(torch.cat(parts).T.unflatten(1, shape))
    first = [
        at + jump * ((length - 1) / 2 - pad)
        for at, jump, length, pad in zip(
            field.start, field.stride, head.grid, outside, strict=True
        )
    ]
    centres = field._replace(
        start=(first[0], first[1]),
        stride=(field.stride[0] * steps[0], field.stride[1] * steps[1]),
    )
    return FeatureMaps(torch.stack(found), centres, is_dense=False)


def class_presence(
    windows: FeatureMaps,
    targets: np.ndarray,
    size: Sequence[int],
    smoothing: tuple[float, float],
) -> np.ndarray:
    """Probability at each pixel that an object there is of some classes.

    Parameters
    ----------
    windows : FeatureMaps
        Class probabilities in windows.
    targets : ndarray of shape (n_images, n_targets)
        Distinct classes for each image.
    size : (int, int)
        Height and width of the images in pixels.
    smoothing : (float, float)
        Standard deviations in pixels.

    Returns
    -------
    ndarray of shape (n_images, height, width)
    """
    values = windows.activations
    classes = torch.from_numpy(targets).to(values.device)[:, :, None, None]
    chosen = values.gather(1, classes.expand(-1, -1, *values.shape[2:]))
    together = smooth(chosen.sum(dim=1, keepdim=True), windows, smoothing)
    return interpolate_to_pixels(together, windows, size)[:, 0].cpu().numpy()


def _chunks(values: list, length: int) -> list[list]:
    return [values[first : first + length] for first in range(0, len(values), length)]

"""Class probabilities at each pixel, in images of any size, by a sliding window.

The layers after the feature maps know what the filters alone do not tell: in which
arrangement they respond. They take images of the trained size, and so they are run on
windows of that size of the feature maps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from .._ablation.graph import LayerGraph, NotTraceable
from .._images.images import batch_slices
from .._images.memory import within_working_memory
from .._network.activations import FeatureMaps, extract_activations
from .._network.attention import find_heads
from .._network.trained import TrainedNetwork
from .class_map import ImageActivations
from .maps import interpolate_to_pixels, smooth

# Windows in the length of one, and the share of it that may lie outside of the image.
_OVERLAPPING = 8
_OUTSIDE = 4
# Values of feature maps in windows that are run at a time, at scikit-learn's default
# working memory.
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
        """The head of a network in evaluation mode.

        None if it cannot be traced, or takes maps other than N x C x H x W.

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
        # Windows are cut out of maps, which the head would have to take as tokens.
        has_heads = find_heads(network.module.get_submodule(layer)) is not None
        if has_heads or not maps.layout.is_channels_first:
            return None
        try:
            graph = LayerGraph.trace(network.module, layer, probe)
        except NotTraceable:
            return None
        # Values that bypass the layer belong to the whole image.
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


def window_probabilities(head: ClassHead, maps: FeatureMaps) -> FeatureMaps:
    """Class probabilities in sliding windows of the trained size.

    Parameters
    ----------
    head : ClassHead
    maps : FeatureMaps
        Those of images of one size, at the layer's stride.

    Returns
    -------
    FeatureMaps
        One map for each class, and the windows' centres as receptive fields.
    """
    activations, field = maps.activations, maps.receptive_field
    steps = [max(1, length // _OVERLAPPING) for length in head.grid]
    outside = [
        max(length // _OUTSIDE, -(-(length - available) // 2))
        for length, available in zip(head.grid, activations.shape[2:], strict=True)
    ]
    padded = F.pad(activations, (outside[1], outside[1], outside[0], outside[0]))
    windows = padded.unfold(2, head.grid[0], steps[0]).unfold(3, head.grid[1], steps[1])
    shape = windows.shape[2:4]
    windows = windows.permute(0, 2, 3, 1, 4, 5)
    max_values = within_working_memory(_MAX_VALUES)
    n_at_once = max(1, max_values // windows[0, 0, 0].numel())
    probabilities = []
    # Image by image: rounding must not depend on the others.
    for image in windows:
        each = list(image.flatten(0, 1))
        parts = [
            head.probabilities(torch.stack(each[part]))
            for part in batch_slices(len(each), n_at_once)
        ]
        probabilities.append(torch.cat(parts).T.unflatten(1, shape))
    first = [
        start + stride * ((length - 1) / 2 - padding)
        for start, stride, length, padding in zip(
            field.start, field.stride, head.grid, outside, strict=True
        )
    ]
    centres = field._replace(
        start=(first[0], first[1]),
        stride=(field.stride[0] * steps[0], field.stride[1] * steps[1]),
    )
    return FeatureMaps(torch.stack(probabilities), centres, is_dense=False)


def weigh_by_probability(
    heat: torch.Tensor,
    activations: ImageActivations,
    classes: np.ndarray,
    smoothing: tuple[float, float],
) -> torch.Tensor:
    """Heat times the root of the probability that an object there is of some classes.

    Images of the trained size have one probability for all pixels. Heat stays as it is
    where probabilities are not known.

    Parameters
    ----------
    heat : tensor of shape (n_images, 1, height, width)
        At every pixel.
    activations : ImageActivations
    classes : ndarray of shape (n_images, n_targets)
        Distinct classes for each image.
    smoothing : (float, float)
        Standard deviations in pixels.
    """
    if activations.class_probabilities is not None:
        rows = np.arange(len(classes))[:, np.newaxis]
        probabilities = activations.class_probabilities.cpu().numpy()[rows, classes]
        total = torch.from_numpy(probabilities.sum(axis=1)).to(heat.device)
        at_pixels = total[:, None, None, None]
    elif activations.window_probabilities is not None:
        at_pixels = probability_at_pixels(
            activations.window_probabilities, classes, activations.size, smoothing
        )
    else:
        return heat
    # The root, as it is one of the factors of a geometric mean; NumPy's is the rounded
    # exact root on all machines.
    root = torch.from_numpy(np.sqrt(at_pixels.cpu().numpy()))
    return heat * root.to(heat.device)


def probability_at_pixels(
    windows: FeatureMaps,
    classes: np.ndarray,
    size: Sequence[int],
    smoothing: tuple[float, float],
) -> torch.Tensor:
    """Probability at each pixel that an object there is of some classes.

    Parameters
    ----------
    windows : FeatureMaps
        Class probabilities in windows.
    classes : ndarray of shape (n_images, n_targets)
        Distinct classes for each image.
    size : (int, int)
        Height and width of the images in pixels.
    smoothing : (float, float)
        Standard deviations in pixels.

    Returns
    -------
    tensor of shape (n_images, 1, height, width)
    """
    values = windows.activations
    targets = torch.from_numpy(classes).to(values.device)[:, :, None, None]
    chosen = values.gather(1, targets.expand(-1, -1, *values.shape[2:]))
    total = smooth(chosen.sum(dim=1, keepdim=True), windows, smoothing)
    return interpolate_to_pixels(total, windows, size)

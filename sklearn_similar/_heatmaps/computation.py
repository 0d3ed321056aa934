"""Heatmaps before normalisation, from the activations of a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches

from .._inputs.images import Images
from .._network.activations import FeatureMaps, extract_activations
from .._network.trained import TrainedNetwork
from .contrastive import ContrastiveWeights, contrastive_map
from .weights import interpolate_to_pixels, weighted_sum

# Dense activations are many; in parts of this many pixels they are up to three times as
# fast on a CPU, as they fit into its caches.
_MAX_DENSE_PIXELS = 2**14


@dataclass(frozen=True, kw_only=True)
class HeatmapSpecification:
    """Which layers heatmaps are made from, and how.

    The heatmap of all classes is the geometric mean over the layers of a weighted sum
    of their activations. The heatmap of some classes is the geometric mean of it and of
    the contrastive map for them, or a weighted sum with the classes' own weights in the
    last layer.

    Attributes
    ----------
    layers : tuple of str
    filter_weights : tuple of ndarray of shape (n_filters,)
        Weights of the filters of each layer.
    class_filter_weights : ndarray of shape (n_classes, n_filters)
        Weights of the filters of the last layer for each class, used without
        `contrastive`.
    contrastive : ContrastiveWeights or None
        Weights in the last layer of the contrastive maps.
    resolution : {"pooled", "dense"}
    """

    layers: tuple[str, ...]
    filter_weights: tuple[np.ndarray, ...]
    class_filter_weights: np.ndarray
    contrastive: ContrastiveWeights | None
    resolution: str


class ImageActivations(NamedTuple):
    """Activations of the layers of a specification for some images.

    Attributes
    ----------
    indices : ndarray of shape (n_images,)
        Positions of the images in their array.
    feature_maps : list of FeatureMaps
    size : (int, int)
        Height and width of the images in pixels.
    """

    indices: np.ndarray
    feature_maps: list[FeatureMaps]
    size: Sequence[int]


def image_activations(
    network: TrainedNetwork,
    specification: HeatmapSpecification,
    images: Images,
    indices: np.ndarray | None = None,
) -> Iterator[ImageActivations]:
    """Extract the activations for images, batch by batch."""
    for batch_indices, batch in network.batches(images, indices):
        size = batch.shape[2:]
        n_at_once = len(batch)
        if specification.resolution == "dense" and batch.device.type == "cpu":
            n_at_once = max(1, _MAX_DENSE_PIXELS // size.numel())
        for part in gen_batches(len(batch), n_at_once):
            feature_maps = extract_activations(
                network.module,
                specification.layers,
                batch[part],
                specification.resolution,
            )
            yield ImageActivations(batch_indices[part], feature_maps, size)


def compute_heatmaps(
    activations: ImageActivations,
    specification: HeatmapSpecification,
    classes: np.ndarray | None = None,
    class_constants: np.ndarray | None = None,
    shares: torch.Tensor | None = None,
) -> np.ndarray:
    """Heatmaps, before normalisation.

    Parameters
    ----------
    activations : ImageActivations
    specification : HeatmapSpecification
    classes : ndarray of shape (n_images, n_targets), default=None
        Classes to draw for each image; None: all of them together.
    class_constants : ndarray of shape (n_classes,), default=None
        Normalisation constants, so that several classes have equal shares in one
        heatmap. None: all the same.
    shares : tensor, default=None
        As in `contrastive_map`.

    Returns
    -------
    ndarray of shape (n_images, height, width), float32
    """
    weights = [
        torch.from_numpy(row[np.newaxis]) for row in specification.filter_weights
    ]
    if classes is not None and not specification.contrastive:
        weights[-1] = _mean_weights(specification, classes, class_constants)
    size = activations.size
    heat = _geometric_mean(
        *(
            interpolate_to_pixels(
                weighted_sum(maps, rows.to(maps.activations)), maps, size
            )
            for maps, rows in zip(activations.feature_maps, weights, strict=True)
        )
    )
    if classes is not None and specification.contrastive:
        last = activations.feature_maps[-1]
        targets = torch.from_numpy(classes).to(last.activations.device)
        contrast = contrastive_map(last, specification.contrastive, targets, shares)
        heat = _geometric_mean(heat, interpolate_to_pixels(contrast, last, size))
    return heat[:, 0].cpu().numpy()


def _mean_weights(
    specification: HeatmapSpecification,
    classes: np.ndarray,
    class_constants: np.ndarray | None,
) -> torch.Tensor:
    """Weights of the last layer for some classes, n_images x 1 x n_filters.

    The mean of the classes' weights, each divided by its normalisation constant.
    """
    weights = specification.class_filter_weights
    if class_constants is None:
        class_constants = np.ones(len(weights))
    # The last of several layers is one factor of a geometric mean.
    constants = class_constants[classes, np.newaxis] ** len(specification.layers)
    means = (weights[classes] / constants).mean(axis=1, keepdims=True)
    return torch.from_numpy(means * constants.mean(axis=1, keepdims=True))


def _geometric_mean(*heat: torch.Tensor) -> torch.Tensor:
    if len(heat) == 1:
        return heat[0]
    # The roots first, as the product could be too large a number.
    return reduce(torch.mul, [factor ** (1 / len(heat)) for factor in heat])

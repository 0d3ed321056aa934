"""Heatmaps before normalisation, from the activations of a network."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch

from .._images.batches import batch_slices
from .._images.images import Images
from .._network.activations import FeatureMaps, extract_activations
from .._network.hooks import forward_hook
from .._network.trained import TrainedNetwork
from .maps import interpolate_to_pixels, weighted_sum
from .methods.contrastive import ContrastiveWeights, contrastive_map
from .methods.guided_upsampling import outlined

# Dense activations are many; in parts of this many pixels they are up to three times as
# fast on a CPU, as they fit into its caches.
_MAX_DENSE_PIXELS = 2**14


@dataclass(frozen=True, kw_only=True)
class HeatmapSpecification:
    """Which layers heatmaps are made from, and how.

    The heatmap of all classes is the geometric mean over the layers of a weighted sum
    of their activations. The heatmap of some classes is the geometric mean of it (of
    its outline, where there is an early layer for it) and of the contrastive map for
    them, or a weighted sum with the classes' own weights in the last layer.

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
    outline_layer : str or None
        Early layer of which heatmaps of classes get their outline, with `contrastive`.
    trained_size : (int, int) or None
        Height and width of the images that the network was trained on, if it is asked
        how probable the classes are where they are shown, with `contrastive`.
    """

    layers: tuple[str, ...]
    filter_weights: tuple[np.ndarray, ...]
    class_filter_weights: np.ndarray
    contrastive: ContrastiveWeights | None
    resolution: str
    outline_layer: str | None = None
    trained_size: tuple[int, int] | None = None


class ImageActivations(NamedTuple):
    """Activations of the layers of a specification for some images.

    Attributes
    ----------
    indices : ndarray of shape (n_images,)
        Positions of the images in their array.
    feature_maps : list of FeatureMaps
    size : (int, int)
        Height and width of the images in pixels.
    outline_maps : FeatureMaps or None
        Feature maps of the early layer for outlines.
    output : tensor of shape (n_images, n_classes) or None
        What the network returned, if it was run to the end.
    """

    indices: np.ndarray
    feature_maps: list[FeatureMaps]
    size: Sequence[int]
    outline_maps: FeatureMaps | None = None
    output: torch.Tensor | None = None


def image_activations(
    network: TrainedNetwork,
    specification: HeatmapSpecification,
    images: Images,
    indices: np.ndarray | None = None,
) -> Iterator[ImageActivations]:
    """Extract the activations for images, batch by batch."""
    for batch_indices, batch in network.batches(images, indices):
        n_at_once = len(batch)
        if specification.resolution == "dense" and batch.device.type == "cpu":
            n_at_once = max(1, _MAX_DENSE_PIXELS // batch.shape[2:].numel())
        for part in batch_slices(len(batch), n_at_once):
            yield batch_activations(
                network, specification, batch[part], batch_indices[part]
            )


def batch_activations(
    network: TrainedNetwork,
    specification: HeatmapSpecification,
    batch: torch.Tensor,
    indices: np.ndarray,
) -> ImageActivations:
    """Extract the activations for images of one size.

    Images of the trained size, at the layers' stride, have the network's output, too.
    """
    layers, outline = specification.layers, specification.outline_layer
    is_trained = tuple(batch.shape[2:]) == specification.trained_size
    is_scored = is_trained and specification.resolution == "pooled"
    outputs: list[torch.Tensor] = []
    with (
        forward_hook(network.module, lambda _, output: outputs.append(output))
        if is_scored
        else nullcontext()
    ):
        feature_maps = extract_activations(
            network.module,
            layers if outline is None else (*layers, outline),
            batch,
            specification.resolution,
            to_end=is_scored,
            known_fields=network.known_fields,
        )
    return ImageActivations(
        indices=indices,
        feature_maps=feature_maps[: len(layers)],
        size=batch.shape[2:],
        outline_maps=None if outline is None else feature_maps[-1],
        output=outputs[0] if outputs else None,
    )


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
    sums = [
        weighted_sum(maps, rows.to(maps.activations))
        for maps, rows in zip(activations.feature_maps, weights, strict=True)
    ]
    if classes is not None and specification.contrastive:
        last = activations.feature_maps[-1]
        targets = torch.from_numpy(classes).to(last.activations.device)
        contrast = contrastive_map(last, specification.contrastive, targets, shares)
        # They are on the same grid, and are interpolated together.
        sums[-1] = torch.cat([sums[-1], contrast], dim=1)
    at_pixels = [
        interpolate_to_pixels(total, maps, size)
        for total, maps in zip(sums, activations.feature_maps, strict=True)
    ]
    heat = _geometric_mean(*(values[:, :1] for values in at_pixels))
    if at_pixels[-1].shape[1] > 1:
        if activations.outline_maps is not None:
            heat = outlined(heat, activations.outline_maps, size)
        heat = _geometric_mean(heat, at_pixels[-1][:, 1:])
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

"""Heatmaps of images, from the activations of a trained network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches

from .._inputs.images import Images
from .._network.activations import FeatureMaps, eval_mode, extract_activations
from .._network.trained import TrainedNetwork, check_finite
from .._progress import with_progress
from .contrastive import ContrastiveWeights, contrastive_map
from .weights import interpolate_to_pixels, normalize_per_image, weighted_sum

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


@dataclass(frozen=True, kw_only=True)
class HeatmapModel:
    """A trained network together with all that turns its activations into heatmaps.

    Attributes
    ----------
    network : TrainedNetwork
    specification : HeatmapSpecification
    normalization_constant : float
        Divides heatmaps of all classes.
    class_normalization_constants : ndarray of shape (n_classes,)
        Divide heatmaps of each class; their mean those of several classes.
    """

    network: TrainedNetwork
    specification: HeatmapSpecification
    normalization_constant: float
    class_normalization_constants: np.ndarray

    def heatmaps(
        self,
        images: Images,
        classes: np.ndarray | None,
        normalize: str | None,
        threshold: float | None,
        verbose: int = 0,
    ) -> np.ndarray | list[np.ndarray]:
        """Heatmaps, height x width each.

        Parameters
        ----------
        images : Images
        classes : ndarray of shape (n_images, n_targets) or None
            Classes to draw for each image; None: all of them together.
        normalize : {"validation", "image"} or None
        threshold : float or None
            Values below it become 0. Without normalisation it is a share of the
            normalisation constant.
        verbose : int, default=0
            Whether to show a progress bar.
        """
        # All classes together have no others to be contrasted with.
        if classes is not None and self.specification.contrastive:
            n_classes = len(self.class_normalization_constants)
            classes = classes if classes.shape[1] < n_classes else None
        constants = np.full(len(images), self.normalization_constant)
        if classes is not None:
            constants = self.class_normalization_constants[classes].mean(axis=1)
        heatmaps = images.empty_heatmaps()
        with eval_mode(self.network.module):
            for activations in with_progress(
                image_activations(self.network, self.specification, images),
                *("heatmaps", len(images), "image", verbose),
                size=lambda activations: len(activations.indices),
            ):
                indices = activations.indices
                heat = compute_heatmaps(
                    activations,
                    self.specification,
                    None if classes is None else classes[indices],
                    self.class_normalization_constants,
                )
                check_finite(torch.from_numpy(heat), indices, "heat values")
                constant = constants[indices, np.newaxis, np.newaxis].astype(np.float32)
                heat = _normalize(heat, constant, normalize, threshold)
                for index, heatmap in zip(indices, heat, strict=True):
                    heatmaps[index][...] = heatmap
        return heatmaps


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
        contrast = contrastive_map(last, specification.contrastive, targets)
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


def _normalize(
    heat: np.ndarray,
    constant: np.ndarray | np.float32,
    normalize: str | None,
    threshold: float | None,
) -> np.ndarray:
    """Normalised heatmaps, 0 below the threshold."""
    if normalize == "validation":
        heat, constant = heat / constant, np.float32(1)
    elif normalize == "image":
        heat, constant = normalize_per_image(heat), np.float32(1)
    return heat if threshold is None else np.where(heat < threshold * constant, 0, heat)

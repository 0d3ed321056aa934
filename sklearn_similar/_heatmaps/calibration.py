"""Normalisation constants of heatmaps, measured on reference images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._images.images import Images
from .._images.splits import spread_over_classes
from .._network.recording import MAX_HELD, ActivationRecorder
from .._network.trained import TrainedNetwork
from .class_probability import Presence
from .extraction import (
    HeatmapSpecification,
    ImageActivations,
    compute_heatmaps,
    image_activations,
)
from .maps import median_maximum
from .methods.contrastive import ContrastiveWeights, class_scores

# The constants are medians, which more images hardly change.
_MAX_REFERENCE_IMAGES = 128
# Least share of the images that the reference images are, if they are recorded.
_MIN_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Constants that divide heatmaps and class scores.

    Attributes
    ----------
    normalization : float
    class_normalization : ndarray of shape (n_classes,)
    class_scores : ndarray of shape (n_classes,) or None
    """

    normalization: float
    class_normalization: np.ndarray
    class_scores: np.ndarray | None


class CachedActivations:
    """Activations for some images, to be iterated several times.

    They are extracted once, unless they are there already, and again only if they are
    too many to hold.
    """

    def __init__(
        self,
        network: TrainedNetwork,
        specification: HeatmapSpecification,
        images: Images,
        indices: np.ndarray,
        recorded: list[ImageActivations] | None = None,
    ):
        self._source = network, specification, images, indices
        self._cache = recorded

    def __iter__(self) -> Iterator[ImageActivations]:
        if self._cache is not None:
            yield from self._cache
            return
        cache: list[ImageActivations] = []
        n_values = 0
        for activations in image_activations(*self._source):
            maps = [*activations.feature_maps]
            if activations.outline_maps is not None:
                maps.append(activations.outline_maps)
            n_values += sum(m.activations.numel() for m in maps)
            if n_values <= MAX_HELD:
                cache.append(activations)
            else:
                cache.clear()
            yield activations
        if n_values <= MAX_HELD:
            self._cache = cache


def reference_images(indices: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The images, some of those with the indices, that constants are measured on."""
    return indices[spread_over_classes(y[indices], _MAX_REFERENCE_IMAGES)]


def reference_recorder(
    network: TrainedNetwork,
    layers: Sequence[str],
    outline_layer: str | None,
    indices: np.ndarray,
    y: np.ndarray,
    resolution: str,
) -> ActivationRecorder:
    """A recorder of the activations that `calibrate` needs for the same images."""
    chosen = reference_images(indices, y)
    # Dense activations come from another pass, and a pass over few images takes less
    # time than recording some in each batch of many.
    is_worth_it = resolution == "pooled" and len(chosen) >= _MIN_SHARE * len(indices)
    return ActivationRecorder(
        network, layers, outline_layer, chosen if is_worth_it else chosen[:0]
    )


def recorded_activations(
    recorder: ActivationRecorder, specification: HeatmapSpecification
) -> list[ImageActivations] | None:
    """What was recorded, for heatmaps; None unless all of it was."""
    recordings = recorder.recordings()
    if recordings is None:
        return None
    n_layers = len(specification.layers)
    return [
        ImageActivations(
            indices=one.indices,
            feature_maps=one.feature_maps[:n_layers],
            size=one.size,
            outline_maps=one.feature_maps[-1] if specification.outline_layer else None,
            output=one.output,
        )
        for one in recordings
    ]


def calibrate(
    network: TrainedNetwork,
    specification: HeatmapSpecification,
    images: Images,
    indices: np.ndarray,
    y: np.ndarray,
    background: int | None,
    recorder: ActivationRecorder | None = None,
) -> Calibration:
    """Measure the normalisation constants of a specification.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    specification : HeatmapSpecification
        The score constants of its contrastive weights, if any, are ones.
    images : Images
    indices : ndarray of int
        Images to choose the reference images from.
    y : ndarray of shape (n_images,)
        Class index of each image.
    background : int or None
        Class whose images are left out of the constant of all classes together.
    recorder : ActivationRecorder, default=None
        The `reference_recorder`, after the network was run on the images.
    """
    n_classes = network.n_classes
    chosen = reference_images(indices, y)
    foreground = chosen[y[chosen] != background]
    if len(foreground) == 0:
        foreground = chosen
    recorded = recorded_activations(recorder, specification) if recorder else None
    references = CachedActivations(network, specification, images, chosen, recorded)
    maxima = [
        compute_heatmaps(activations, specification).max(axis=(1, 2))[
            np.isin(activations.indices, foreground)
        ]
        for activations in references
    ]
    score_constants = None
    if specification.contrastive:
        weights = specification.contrastive
        score_constants = class_score_constants(references, y, weights)
        weights = replace(weights, score_constants=score_constants)
        specification = replace(specification, contrastive=weights)
    return Calibration(
        normalization=median_maximum(np.concatenate(maxima)),
        class_normalization=class_normalization_constants(
            references, specification, Presence(network, specification), y, n_classes
        ),
        class_scores=score_constants,
    )


def class_score_constants(
    references: CachedActivations, y: np.ndarray, weights: ContrastiveWeights
) -> np.ndarray:
    """Median score of each class on its images; on all, if it has none."""
    parts = [
        (y[activations.indices], class_scores(activations.feature_maps[-1], weights))
        for activations in references
    ]
    labels = np.concatenate([part for part, _ in parts])
    scores = np.concatenate([part.cpu().numpy() for _, part in parts])
    return np.array(
        [
            median_maximum(column[labels == index] if index in labels else column)
            for index, column in enumerate(scores.T)
        ]
    )


def class_normalization_constants(
    references: CachedActivations,
    specification: HeatmapSpecification,
    presence: Presence,
    y: np.ndarray,
    n_classes: int,
) -> np.ndarray:
    """Median maximum of the heatmaps of each class on its images.

    A class without images has the median of the others.
    """
    labels, maxima = [], []
    for activations in references:
        part = y[activations.indices]
        classes = part[:, np.newaxis]
        heat = compute_heatmaps(activations, specification, classes)
        heat = presence.darken(heat, activations, classes)
        labels.append(part)
        maxima.append(heat.max(axis=(1, 2)))
    label, maximum = np.concatenate(labels), np.concatenate(maxima)
    constants = {c: median_maximum(maximum[label == c]) for c in np.unique(label)}
    fallback = float(np.median(list(constants.values())))
    return np.array([constants.get(index, fallback) for index in range(n_classes)])

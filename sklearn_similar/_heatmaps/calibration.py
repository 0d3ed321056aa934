"""Normalisation constants of heatmaps, measured on reference images."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .._images.images import Images
from .._images.memory import within_working_memory
from .._images.splits import spread_over_classes
from .._network.trained import TrainedNetwork
from .class_map import ClassMap, ClassMapState, ImageActivations
from .extraction import ActivationExtractor, HeatmapSpecification, compute_heatmaps
from .maps import median_maximum

# The constants are medians, which more images hardly change.
_MAX_REFERENCE_IMAGES = 128
# Values of activations that are held, so that they need not be extracted again, at
# scikit-learn's default working memory.
_MAX_CACHED = 2**24


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Constants that divide heatmaps and class scores.

    Attributes
    ----------
    normalization_constant : float
    class_normalization_constants : ndarray of shape (n_classes,)
    class_score_constants : ndarray of shape (n_classes,) or None
    """

    normalization_constant: float
    class_normalization_constants: np.ndarray
    class_score_constants: np.ndarray | None


class CachedActivations:
    """Activations for some images, to be iterated several times.

    They are extracted once, and again only if they are too many to hold.
    """

    def __init__(
        self, extractor: ActivationExtractor, images: Images, indices: np.ndarray
    ):
        self._extractor, self._images, self._indices = extractor, images, indices
        self._cache: list[ImageActivations] | None = None

    def __iter__(self) -> Iterator[ImageActivations]:
        if self._cache is not None:
            yield from self._cache
            return
        cache: list[ImageActivations] = []
        max_values, n_values = within_working_memory(_MAX_CACHED), 0
        for activations in self._extractor.batches(self._images, self._indices):
            maps = [*activations.feature_maps, *activations.mid_level_maps]
            if activations.outline_maps is not None:
                maps.append(activations.outline_maps)
            n_values += sum(m.activations.numel() for m in maps)
            if n_values <= max_values:
                cache.append(activations)
            else:
                cache.clear()
            yield activations
        if n_values <= max_values:
            self._cache = cache


def calibrate(
    network: TrainedNetwork,
    specification: HeatmapSpecification,
    images: Images,
    indices: np.ndarray,
    y: np.ndarray,
    background: int | None,
) -> Calibration:
    """Measure the normalisation constants of a specification.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode.
    specification : HeatmapSpecification
        Without constants in the state of its class map.
    images : Images
    indices : ndarray of int
        Images to choose the reference images from.
    y : ndarray of shape (n_images,)
        Class index of each image.
    background : int or None
        Class whose images are left out of the constant of all classes together.
    """
    references = indices[spread_over_classes(y[indices], _MAX_REFERENCE_IMAGES)]
    foreground = references[y[references] != background]
    if len(foreground) == 0:
        foreground = references
    extractor = ActivationExtractor(network, specification, for_classes=True)
    cached = CachedActivations(extractor, images, references)
    maxima = [
        compute_heatmaps(activations, specification).max(axis=(1, 2))[
            np.isin(activations.indices, foreground)
        ]
        for activations in cached
    ]
    score_constants = class_score_constants(
        cached, y, specification.class_map, specification.class_state
    )
    state = replace(specification.class_state, score_constants=score_constants)
    return Calibration(
        normalization_constant=median_maximum(np.concatenate(maxima)),
        class_normalization_constants=class_normalization_constants(
            cached, y, replace(specification, class_state=state)
        ),
        class_score_constants=score_constants,
    )


def class_score_constants(
    references: CachedActivations,
    y: np.ndarray,
    class_map: ClassMap,
    state: ClassMapState,
) -> np.ndarray | None:
    """Median score of each class on its images; on all images, if it has none.

    None if the class map has no scores.
    """
    labels, parts = [], []
    for activations in references:
        scores = class_map.class_scores(activations, state)
        if scores is None:
            return None
        labels.append(y[activations.indices])
        parts.append(scores.cpu().numpy())
    label, score = np.concatenate(labels), np.concatenate(parts)
    return np.array(
        [
            median_maximum(column[label == index] if index in label else column)
            for index, column in enumerate(score.T)
        ]
    )


def class_normalization_constants(
    references: CachedActivations, y: np.ndarray, specification: HeatmapSpecification
) -> np.ndarray:
    """Median maximum of the heatmaps of each class on its images.

    A class without images has the median of the other constants.
    """
    labels, maxima = [], []
    for activations in references:
        label = y[activations.indices]
        heat = compute_heatmaps(activations, specification, label[:, np.newaxis])
        labels.append(label)
        maxima.append(heat.max(axis=(1, 2)))
    label, maximum = np.concatenate(labels), np.concatenate(maxima)
    constants = {c: median_maximum(maximum[label == c]) for c in np.unique(label)}
    fallback = float(np.median(list(constants.values())))
    n_classes = len(specification.class_state.filter_weights)
    return np.array([constants.get(index, fallback) for index in range(n_classes)])

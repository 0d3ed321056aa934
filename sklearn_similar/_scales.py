"""The heat that counts as 1, measured on reference images."""

import numpy as np
from torch import nn

from ._evidence import Evidence, presence
from ._feature_maps import feature_maps
from ._heatmap import typical_peak
from ._recipe import Batches, Recipe, raw_heatmaps


def heat_scale(module: nn.Module, batches: Batches, recipe: Recipe) -> float:
    """Typical peak of the heatmaps of some images."""
    peaks = [heat.max(axis=(1, 2)) for _, heat in raw_heatmaps(module, batches, recipe)]
    return typical_peak(np.concatenate(peaks))


def evidence_scales(
    module: nn.Module,
    batches: Batches,
    y: np.ndarray,
    layer: str,
    resolution: str,
    evidence: Evidence,
) -> np.ndarray:
    """Typical presence of each class in its images; in all, if it has none."""
    found, labels = [], []
    for indices, images in batches:
        maps = feature_maps(module, layer, images, resolution)
        found.append(presence(maps, evidence).cpu().numpy())
        labels.append(y[indices])
    values, label = np.concatenate(found), np.concatenate(labels)
    return np.array(
        [
            typical_peak(column[label == index] if index in label else column)
            for index, column in enumerate(values.T)
        ]
    )


def class_heat_scales(
    module: nn.Module, batches: Batches, y: np.ndarray, n_classes: int, recipe: Recipe
) -> np.ndarray:
    """Typical peaks of the heatmaps of each class for its images.

    A class without images has the median of the others.
    """
    found = [
        (y[indices], heat.max(axis=(1, 2)))
        for indices, heat in raw_heatmaps(module, batches, recipe, y[:, np.newaxis])
    ]
    label, peaks = map(np.concatenate, zip(*found, strict=True))
    scales = {index: typical_peak(peaks[label == index]) for index in np.unique(label)}
    others = float(np.median(list(scales.values())))
    return np.array([scales.get(index, others) for index in range(n_classes)])

"""The heat that counts as 1, measured on reference images."""

from collections.abc import Iterable

import numpy as np

from .class_discriminative import Evidence, presence
from .computation import Recipe, Seen, draw
from .weights import typical_peak

# Values of responses that are kept, so that images need not be seen again.
_MAX_KEPT = 2**24


class Kept:
    """What `look` saw, for several uses: kept while there is room, else seen again.

    Parameters
    ----------
    look : callable
        Returns an iterator over `Seen`.
    """

    def __init__(self, look):
        self._look = look
        self._kept: list[Seen] | None = None

    def __iter__(self):
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Seen] | None = []
        n_values = 0
        for seen in self._look():
            n_values += sum(own.responses.numel() for own in seen.maps)
            if kept is not None:
                kept = [*kept, seen] if n_values <= _MAX_KEPT else None
            yield seen
        self._kept = kept


def heat_scale(references: Iterable[Seen], recipe: Recipe, shown: np.ndarray) -> float:
    """Typical peak of the heatmaps of some images.

    Parameters
    ----------
    references : iterable of Seen
    recipe : Recipe
    shown : ndarray
        Indices of the images that count.
    """
    peaks = [
        draw(seen, recipe).max(axis=(1, 2))[np.isin(seen.indices, shown)]
        for seen in references
    ]
    return typical_peak(np.concatenate(peaks))


def evidence_scales(
    references: Iterable[Seen], y: np.ndarray, evidence: Evidence
) -> np.ndarray:
    """Typical presence of each class in its images; in all, if it has none."""
    found = [
        (y[seen.indices], presence(seen.maps[-1], evidence).cpu().numpy())
        for seen in references
    ]
    label, values = map(np.concatenate, zip(*found, strict=True))
    return np.array(
        [
            typical_peak(column[label == index] if index in label else column)
            for index, column in enumerate(values.T)
        ]
    )


def class_heat_scales(
    references: Iterable[Seen], y: np.ndarray, n_classes: int, recipe: Recipe
) -> np.ndarray:
    """Typical peaks of the heatmaps of each class for its images.

    A class without images has the median of the others.
    """
    found = [
        (y[seen.indices], draw(seen, recipe, y[:, np.newaxis]).max(axis=(1, 2)))
        for seen in references
    ]
    label, peaks = map(np.concatenate, zip(*found, strict=True))
    scales = {index: typical_peak(peaks[label == index]) for index in np.unique(label)}
    others = float(np.median(list(scales.values())))
    return np.array([scales.get(index, others) for index in range(n_classes)])

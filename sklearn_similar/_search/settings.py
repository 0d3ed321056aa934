"""What a search can be told."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .regions import RegionRecipe

# The name of a source of proposals, or a user's function from an image to boxes.
Source = str | Callable[[np.ndarray], Any]


@dataclass(frozen=True, kw_only=True)
class ProposalSettings:
    """Parameters of `InstanceLocalizer` that act on proposals, also in `fit`.

    Attributes
    ----------
    source : {"image", "grey", "heat"} or callable
    n_thresholds : int
    whole_images : bool
        Whether regions of an image are joined by the image as a whole. A recogniser
        without a class of background takes every image for an object.
    regions : RegionRecipe
        Regions that are proposed.
    window_sizes : tuple of (float, float)
        Width and height of windows that are proposed.
    """

    source: Source
    n_thresholds: int
    whole_images: bool = True
    regions: RegionRecipe = field(default_factory=RegionRecipe)
    window_sizes: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class SizeRange:
    """Sizes that detections may have.

    Attributes
    ----------
    minimum, maximum : float
        Of the longer side of a box, in pixels.
    """

    minimum: float = 0.0
    maximum: float = math.inf

    @classmethod
    def checked(cls, min_size: float | None, max_size: float | None) -> "SizeRange":
        """The range of two parameters of `InstanceLocalizer`; None is for any size."""
        sizes = cls(
            0.0 if min_size is None else float(min_size),
            math.inf if max_size is None else float(max_size),
        )
        if sizes.minimum > sizes.maximum:
            raise ValueError(
                f"min_size={min_size} is larger than max_size={max_size}, so that "
                "no box can be detected; swap them."
            )
        return sizes

    def widened(self, factor: float) -> "SizeRange":
        """The range with both limits moved apart by a factor."""
        return SizeRange(self.minimum / factor, self.maximum * factor)

    def contains(self, boxes: np.ndarray) -> np.ndarray:
        """Whether boxes n x 4 have such a size."""
        sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
        return (sides >= self.minimum) & (sides <= self.maximum)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Parameters of `InstanceLocalizer` that act in a search.

    Attributes
    ----------
    proposals : ProposalSettings
    polarity : {"bright", "dark", "both"}
    scales : sequence of float
    heat_threshold : float or None
        Minimum heat of a detection, and of regions of a heatmap; None: no heatmaps are
        computed.
    score_threshold, nms_threshold : float
    sizes : SizeRange
    """

    proposals: ProposalSettings
    polarity: str
    scales: Sequence[float] = (1.0,)
    heat_threshold: float | None = None
    score_threshold: float
    nms_threshold: float
    sizes: SizeRange = SizeRange()

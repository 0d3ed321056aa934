"""What a search can be told."""

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
    regions : RegionRecipe
        Regions that are proposed.
    window_sizes : tuple of (float, float)
        Width and height of windows that are proposed.
    """

    source: Source
    n_thresholds: int
    regions: RegionRecipe = field(default_factory=RegionRecipe)
    window_sizes: tuple[tuple[float, float], ...] = ()


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
    """

    proposals: ProposalSettings
    polarity: str
    scales: Sequence[float] = (1.0,)
    heat_threshold: float | None = None
    score_threshold: float
    nms_threshold: float

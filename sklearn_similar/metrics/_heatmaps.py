"""Heatmaps, their true boxes or masks, and the thresholds of Choe et al. on them."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from .._compat import Interval
from .._tables.boxes import rasterize
from .._tables.checks import as_instances, image_numbers
from .._tables.values import as_labels, each_array, shared_codes

# Levels are 16-bit numbers, and there is one more than there are thresholds.
N_THRESHOLDS = Interval(Integral, 1, 2**16 - 2, closed="both")


def check_heatmaps(heatmaps: Any) -> list[np.ndarray]:
    """Heatmaps as float64 arrays of shape (h, w), all finite."""
    if isinstance(heatmaps, pd.DataFrame):
        raise ValueError(
            "heatmaps is a DataFrame; reshape its rows to an array of shape (n, h, w)."
        )
    arrays = each_array(heatmaps, "heatmaps", "Heatmap")
    maps = [heatmap.astype(np.float64) for heatmap in arrays]
    if not maps:
        raise ValueError("heatmaps is empty; pass at least one heatmap.")
    for number, heatmap in enumerate(maps):
        if heatmap.ndim != 2 or not heatmap.size:
            raise ValueError(
                f"Heatmap {number} has shape {heatmap.shape}; pass arrays of shape "
                "(height, width)."
            )
        if not np.isfinite(heatmap).all():
            raise ValueError(
                f"Heatmap {number} contains NaN or infinity; drop that image or "
                "replace the values."
            )
    return maps


def true_boxes(
    boxes: Any, maps: list[np.ndarray], *, labels: Any = None, name: str = "boxes"
) -> tuple[np.ndarray, np.ndarray]:
    """Image number and coordinates of the boxes that are the truth for the heatmaps.

    Parameters
    ----------
    boxes : DataFrame or array-like of shape (n_maps, 4)
    maps : list of ndarray of shape (h, w)
    labels : array-like of shape (n_maps,), default=None
        Label of each heatmap; boxes of other labels in a DataFrame are left out.
    name : str
        Name of `boxes` in messages.

    Returns
    -------
    image : ndarray of int of shape (n_boxes,)
    coordinates : ndarray of shape (n_boxes, 4)
    """
    is_table = isinstance(boxes, pd.DataFrame)
    match_label = is_table and labels is not None
    instances = as_instances(
        boxes, name=name, one_per_image=True, needs_label=match_label
    )
    if not is_table and len(instances.boxes) != len(maps):
        raise ValueError(
            f"{name} has {len(instances.boxes)} rows for {len(maps)} heatmaps; pass "
            "one box for each heatmap, or a DataFrame with the column image."
        )
    image = image_numbers(instances, [heatmap.shape for heatmap in maps], name=name)
    is_truth = np.ones(len(image), dtype=bool)
    if labels is not None:
        map_labels = as_labels(labels, "labels", n=len(maps))
        if match_label:
            label, map_label, _ = shared_codes(
                instances.label, map_labels, "label", names=(name, "labels")
            )
            is_truth = label == map_label[image]
    if not is_truth.any():
        raise ValueError(
            f"{name} has no box of any image and label asked for; pass at least one."
        )
    return image[is_truth], instances.boxes[is_truth]


def true_masks(masks: Any, maps: list[np.ndarray]) -> list[np.ndarray]:
    """A boolean mask for each heatmap, from masks or from boxes."""
    is_table = isinstance(masks, pd.DataFrame)
    arrays = [] if is_table else each_array(masks, "masks", "Mask")
    if is_table or all(mask.ndim == 1 for mask in arrays):
        image, coordinates = true_boxes(masks, maps, name="masks")
        return [
            rasterize(coordinates[image == number], heatmap.shape)
            for number, heatmap in enumerate(maps)
        ]
    if len(arrays) != len(maps):
        raise ValueError(
            f"masks has {len(arrays)} entries for {len(maps)} heatmaps; pass one mask "
            "for each."
        )
    for number, (mask, heatmap) in enumerate(zip(arrays, maps, strict=True)):
        if mask.shape != heatmap.shape:
            raise ValueError(
                f"Mask {number} has shape {mask.shape} and its heatmap "
                f"{heatmap.shape}; resize one of them."
            )
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"Mask {number} has values other than 0 and 1; pass a boolean mask."
            )
    return [mask.astype(bool) for mask in arrays]


def choe_thresholds(n_thresholds: int) -> np.ndarray:
    """Thresholds in [0, 1), as shares of a heatmap's maximum."""
    # The products that ``np.arange(0, 1, step)`` holds, always n_thresholds of them.
    return np.arange(n_thresholds) * (1.0 / n_thresholds)


def count_below(
    heatmap: np.ndarray, taus: np.ndarray, *, side: Any, normalize: bool = True
) -> np.ndarray:
    """Number of thresholds below each pixel (side left), or not above it (right)."""
    maximum = heatmap.max() if normalize else 1.0
    if maximum <= 0:
        return np.zeros(heatmap.shape, dtype=np.uint16)
    return np.searchsorted(taus * maximum, heatmap, side=side).astype(np.uint16)

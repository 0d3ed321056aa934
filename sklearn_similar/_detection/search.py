"""All instances in one image, from its heatmap to a list without duplicates."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from .._inputs.images import to_grey
from .crop_specification import CropSpecification
from .proposals import heat_hotspots, image_hotspots, keep_hotspots
from .recognition import (
    Instances,
    heat_in_boxes,
    prefer,
    recognise,
    suppress,
)


class Search(NamedTuple):
    """What `localize` looks for; see the parameters of `SimilarNetClassifier`."""

    hotspots: str
    n_levels: int
    polarity: str
    threshold: float
    min_score: float
    max_overlap: float
    background: int | None


def heat_at_scales(
    heatmap: Callable[[torch.Tensor], np.ndarray],
    pixels: torch.Tensor,
    scales: Sequence[float],
) -> np.ndarray:
    """Greatest heat of an image over some resizings, height x width.

    Parameters
    ----------
    heatmap : callable
        From an image n_channels x height x width to its heat, height x width.
    pixels : tensor of shape (n_channels, height, width)
    scales : sequence of float
        Factors of height and width; resized images have at least one pixel.
    """
    size = list(pixels.shape[1:])

    def heat_at(scale: float) -> np.ndarray:
        resized = [max(1, round(length * scale)) for length in size]
        if resized == size:
            return heatmap(pixels)
        heat = torch.from_numpy(heatmap(_resize(pixels, resized)))
        return _resize(heat[np.newaxis], size)[0].numpy()

    return reduce(np.maximum, map(heat_at, scales))


def _resize(pixels: torch.Tensor, size: list[int]) -> torch.Tensor:
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


def find_instances(
    pixels: torch.Tensor,
    search: Search,
    specification: CropSpecification,
    heatmap: Callable[[torch.Tensor], np.ndarray],
    predict_proba: Callable[[torch.Tensor], np.ndarray],
) -> Instances:
    """Find and recognise what is in an image.

    Parameters
    ----------
    pixels : tensor of shape (n_channels, height, width)
        Pixels as the network knows them.
    search : Search
        `background` is a column of `predict_proba`.
    specification : CropSpecification
        How the training images show their instances.
    heatmap : callable
        From such an image to its heat, height x width, typical peak 1.
    predict_proba : callable
        From such images, n x n_channels x height x width, to probabilities, n x
        n_classes.
    """
    pixels = specification.to_unit(pixels)
    found = []
    for is_dark in {"bright": (False,), "dark": (True,), "both": (False, True)}[
        search.polarity
    ]:
        own = 1 - pixels if is_dark else pixels
        found.append(_find_bright(own, search, specification, heatmap, predict_proba))
    start = len(found[0].boxes)
    spots, label, score, heat = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    parent = spots["parent"]
    parent[start:] += np.where(parent[start:] >= 0, start, 0)
    kept = suppress(spots, prefer(score, spots), parent, search.max_overlap)
    kept = kept[np.argsort(-score[kept], kind="stable")]
    return Instances(spots[kept], label[kept], score[kept], heat[kept])


def _find_bright(
    pixels, search: Search, specification: CropSpecification, heatmap, predict_proba
):
    """Recognised hotspots, parts of each other included."""
    grey = to_grey(pixels).cpu().numpy()
    heat_map = heatmap(specification.from_unit(pixels))
    if search.hotspots == "heat":
        spots = heat_hotspots(heat_map, grey, search.threshold, search.n_levels)
    else:
        spots = image_hotspots(grey, search.n_levels)
    heat = heat_in_boxes(heat_map, spots)
    warm = heat >= search.threshold
    spots, heat = keep_hotspots(spots, warm), heat[warm]
    if not len(spots):
        return Instances(spots, np.empty(0, int), np.empty(0), heat)
    proba = recognise(pixels, spots, specification, predict_proba).astype(np.float64)
    is_background = np.zeros(len(spots), dtype=bool)
    if search.background is not None:
        is_background = proba.argmax(axis=1) == search.background
        proba[:, search.background] = 0
    score = proba.max(axis=1)
    keep = ~is_background & (score >= search.min_score)
    return Instances(
        keep_hotspots(spots, keep), proba.argmax(axis=1)[keep], score[keep], heat[keep]
    )

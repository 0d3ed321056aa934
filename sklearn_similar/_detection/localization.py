"""From one image to its instances: proposals, crops, recognition, suppression."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .._inputs.images import from_tensor, to_grey
from .crop_specification import CropSpecification
from .proposals import heat_hotspots, image_hotspots, keep_hotspots
from .recognition import Instances, crop_batches, heat_in_boxes, prefer, suppress

# Negatives to search for each polarity.
_NEGATIVES = {"bright": (False,), "dark": (True,), "both": (False, True)}


@dataclass(frozen=True)
class Settings:
    """Parameters of `InstanceLocalizer` that act at `localize`."""

    proposals: str
    n_thresholds: int
    polarity: str
    scales: Sequence[float]
    heat_threshold: float
    score_threshold: float
    nms_threshold: float


@dataclass(frozen=True)
class Recognizer:
    """A trained classifier, ready to recognise crops.

    Attributes
    ----------
    estimator : object with `predict_proba`, and `heatmap` if it has heatmaps
    specification : CropSpecification
        How crops have to look for the estimator.
    columns : ndarray of int
        Columns of `predict_proba` that stand for classes of instances.
    dtype, layout : dtype and str
        Of the images that the estimator takes, as in `from_tensor`.
    """

    estimator: Any
    specification: CropSpecification
    columns: np.ndarray
    dtype: np.dtype
    layout: str

    @property
    def has_heatmaps(self) -> bool:
        """Whether the estimator draws heatmaps."""
        return hasattr(self.estimator, "heatmap")

    def predict_proba(self, crops: torch.Tensor) -> np.ndarray:
        """Class probabilities of crops n x n_channels x height x width in [0, 1]."""
        images = from_tensor(
            self.specification.from_unit(crops), self.dtype, self.layout
        )
        return np.asarray(self.estimator.predict_proba(images), dtype=np.float64)

    def heatmap(self, pixels: torch.Tensor, scales: Sequence[float]) -> np.ndarray:
        """Greatest heat over some scales, height x width; pixels are in [0, 1]."""
        size = list(pixels.shape[1:])

        def heat_at(scale: float) -> np.ndarray:
            resized = [max(1, round(length * scale)) for length in size]
            image = pixels if resized == size else _resize(pixels, resized)
            # Rows have the trained size, and an image any.
            layout = "grey" if len(image) == 1 else "colour"
            images = self.specification.from_unit(image[None])
            (heat,) = self.estimator.heatmap(from_tensor(images, self.dtype, layout))
            if resized != size:
                heat = _resize(torch.from_numpy(heat)[None], size)[0].numpy()
            return heat

        return reduce(np.maximum, map(heat_at, scales))


def _resize(pixels: torch.Tensor, size: list[int]) -> torch.Tensor:
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


def find_instances(
    pixels: torch.Tensor, recognizer: Recognizer, settings: Settings
) -> Instances:
    """Find and recognise the instances in an image.

    Parameters
    ----------
    pixels : tensor of shape (n_channels, height, width)
        Floats as the training images were, integers scaled to [0, 1].
    recognizer : Recognizer
    settings : Settings
    """
    pixels = recognizer.specification.to_unit(pixels)
    found = [
        _find_bright(1 - pixels if is_negative else pixels, recognizer, settings)
        for is_negative in _NEGATIVES[settings.polarity]
    ]
    # Parents are rows of the same polarity.
    start = len(found[0].boxes)
    boxes, label, score, heat = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    parent = boxes["parent"]
    parent[start:] += np.where(parent[start:] >= 0, start, 0)
    rows = suppress(boxes, prefer(score, boxes), parent, settings.nms_threshold)
    rows = rows[np.argsort(-score[rows], kind="stable")]
    return Instances(boxes[rows], label[rows], score[rows], heat[rows])


def _find_bright(
    pixels: torch.Tensor, recognizer: Recognizer, settings: Settings
) -> Instances:
    """Recognised bright proposals, parts of each other included."""
    grey = to_grey(pixels).numpy()
    heatmap = None
    if recognizer.has_heatmaps:
        heatmap = recognizer.heatmap(pixels, settings.scales)
    if settings.proposals == "heat" and heatmap is not None:
        proposals = heat_hotspots(
            heatmap, grey, settings.heat_threshold, settings.n_thresholds
        )
    else:
        proposals = image_hotspots(grey, settings.n_thresholds)
    if heatmap is None:
        heat = np.full(len(proposals), np.nan)
    else:
        heat = heat_in_boxes(heatmap, proposals)
        is_hot = heat >= settings.heat_threshold
        proposals, heat = keep_hotspots(proposals, is_hot), heat[is_hot]
    if not len(proposals):
        return Instances(proposals, np.empty(0, int), np.empty(0), heat)
    proba = np.concatenate(
        [
            recognizer.predict_proba(crops)
            for crops in crop_batches(pixels, proposals, recognizer.specification)
        ]
    )
    of_instances = proba[:, recognizer.columns]
    label, score = of_instances.argmax(axis=1), of_instances.max(axis=1)
    # The most probable class of all: a proposal that is rather background is dropped.
    is_instance = proba.max(axis=1) <= score
    confident = is_instance & (score >= settings.score_threshold)
    return Instances(
        keep_hotspots(proposals, confident),
        label[confident],
        score[confident],
        heat[confident],
    )

"""From images to their instances: proposals, crops, recognition, suppression."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from .._boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .._inputs.images import to_grey
from .box_fit import tightest
from .crops import crop_batches
from .image_format import ImageFormat
from .nms import nms, nms_rank
from .proposals import as_proposals, heat_regions, propose
from .score_calibration import UNCALIBRATED, ScoreCalibration

# Whether to search an image's negative, for each polarity.
NEGATIVES = {"bright": (False,), "dark": (True,), "both": (False, True)}
# Crops that are recognised together: enough to hide the cost of a call.
_MIN_CROPS = 512


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Parameters of `InstanceLocalizer` that act at `localize`.

    Where `heat_threshold` is None, no heatmaps are made.
    """

    proposals: str | Callable[[np.ndarray], Any]
    n_thresholds: int
    polarity: str
    scales: Sequence[float]
    heat_threshold: float | None
    score_threshold: float
    nms_threshold: float


@dataclass(frozen=True, kw_only=True)
class Recognizer:
    """A trained classifier, ready to recognise crops.

    Attributes
    ----------
    estimator : object with `predict_proba`, and `heatmap` if it has heatmaps
    image_format : ImageFormat
        Images that the estimator takes.
    columns : ndarray of int
        Columns of `predict_proba` that stand for classes of instances.
    calibration : ScoreCalibration
        Turns the greatest of these probabilities into a score.
    """

    estimator: Any
    image_format: ImageFormat
    columns: np.ndarray
    calibration: ScoreCalibration = UNCALIBRATED

    @property
    def has_heatmaps(self) -> bool:
        """Whether the estimator makes heatmaps."""
        return hasattr(self.estimator, "heatmap")

    def predict_proba(self, crops: torch.Tensor) -> np.ndarray:
        """Class probabilities of crops n x n_channels x height x width in [0, 1]."""
        images = self.image_format.from_unit(crops)
        return np.asarray(self.estimator.predict_proba(images), dtype=np.float64)

    def heatmaps(self, images: list[torch.Tensor]) -> list[np.ndarray]:
        """Heatmap, height x width, of each image in [0, 1]."""
        # Rows have the trained size, and an image any.
        layout = "grey" if len(images[0]) == 1 else "colour"
        image_format = replace(self.image_format, layout=layout)
        pixels = [image_format.from_unit(image[np.newaxis]) for image in images]
        return self.estimator.heatmap([image[0] for image in pixels])


class Instances(NamedTuple):
    """Recognised region proposals of an image."""

    proposals: np.ndarray
    label: np.ndarray
    score: np.ndarray
    heat: np.ndarray


def find_instances(
    images: list[torch.Tensor], recognizer: Recognizer, settings: Settings
) -> list[Instances]:
    """Find and recognise the instances in some images.

    Parameters
    ----------
    images : list of tensor of shape (n_channels, height, width)
        Floats as the training images were, integers scaled to [0, 1].
    recognizer : Recognizer
    settings : Settings

    Returns
    -------
    list of Instances
        Those of each image, in descending order of score.
    """
    negatives = NEGATIVES[settings.polarity]
    specification = recognizer.image_format.specification
    units = [specification.to_unit(image) for image in images]
    views = [
        1 - pixels if is_negative else pixels
        for pixels in units
        for is_negative in negatives
    ]
    heatmaps: list[np.ndarray] | list[None] = [None] * len(views)
    if recognizer.has_heatmaps and settings.heat_threshold is not None:
        heatmaps = _pyramid_heatmaps(views, recognizer, settings.scales)
    if settings.proposals == "heat":
        found = [
            _in_heat(view, heatmap, settings.heat_threshold, settings.n_thresholds)
            for view, heatmap in zip(views, heatmaps, strict=True)
            if heatmap is not None and settings.heat_threshold is not None
        ]
    else:
        found = [
            proposals
            for pixels in units
            for proposals in propose(
                pixels, negatives, settings.proposals, settings.n_thresholds
            )
        ]
    hot = [
        _hot(proposals, heatmap, settings.heat_threshold)
        for proposals, heatmap in zip(found, heatmaps, strict=True)
    ]
    recognised = _recognize(views, hot, recognizer, settings.score_threshold)
    n = len(negatives)
    return [
        suppress(recognised[start : start + n], settings.nms_threshold)
        for start in range(0, len(views), n)
    ]


def _pyramid_heatmaps(
    images: list[torch.Tensor], recognizer: Recognizer, scales: Sequence[float]
) -> list[np.ndarray]:
    """Greatest heat over the scales of an image pyramid, height x width each."""
    greatest = [np.full(image.shape[1:], -np.inf, np.float32) for image in images]
    for scale in scales:
        resized = [
            _resize(image, [max(1, round(n * scale)) for n in image.shape[1:]])
            for image in images
        ]
        for heat, found in zip(greatest, recognizer.heatmaps(resized), strict=True):
            full = _resize(torch.from_numpy(found)[None], list(heat.shape))
            np.maximum(heat, full[0].numpy(), out=heat)
    return greatest


def _resize(pixels: torch.Tensor, size: list[int]) -> torch.Tensor:
    if list(pixels.shape[1:]) == size:
        return pixels
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


def _in_heat(
    pixels: torch.Tensor, heatmap: np.ndarray, threshold: float, n_thresholds: int
) -> np.ndarray:
    """Proposals from a heatmap."""
    grey = to_grey(pixels).numpy()
    return as_proposals(heat_regions(heatmap, grey, threshold, n_thresholds)["box"])


def _hot(
    proposals: np.ndarray, heatmap: np.ndarray | None, threshold: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """The proposals that are hot enough, and the greatest heat in each of them."""
    if heatmap is None or threshold is None:
        return proposals, np.full(len(proposals), np.nan)
    low, high = proposals["box"][:, :2], proposals["box"][:, 2:]
    corners = np.hstack([np.floor(low), np.ceil(high)]).astype(int)
    heat = np.array([heatmap[y0:y1, x0:x1].max() for x0, y0, x1, y1 in corners])
    is_hot = heat >= threshold
    return proposals[is_hot], heat[is_hot].astype(np.float64)


def _recognize(
    images: list[torch.Tensor],
    proposals: list[tuple[np.ndarray, np.ndarray]],
    recognizer: Recognizer,
    score_threshold: float,
) -> list[Instances]:
    """Proposals that are recognised with confidence, parts of each other included."""
    specification = recognizer.image_format.specification
    crops = (
        batch
        for pixels, (found, _) in zip(images, proposals, strict=True)
        for batch in crop_batches(pixels, found["box"], specification)
    )
    label, score, is_instance = [np.empty(0, int)], [np.empty(0)], [np.empty(0, bool)]
    for batch in _joined(crops):
        proba = recognizer.predict_proba(batch)
        instance_proba = proba[:, recognizer.columns]
        label.append(instance_proba.argmax(axis=1))
        greatest = instance_proba.max(axis=1)
        score.append(recognizer.calibration(greatest))
        # The most probable class must not be background.
        is_instance.append(proba.max(axis=1) <= greatest)
    bounds = np.cumsum([len(found) for found, _ in proposals])[:-1]
    parts = [np.split(np.concatenate(p), bounds) for p in (label, score, is_instance)]
    recognised = []
    for (found, heat), *part in zip(proposals, *parts, strict=True):
        own_label, own_score, own_is_instance = part
        keep = own_is_instance & (own_score >= score_threshold)
        recognised.append(
            Instances(
                proposals=found[keep],
                label=own_label[keep],
                score=own_score[keep],
                heat=heat[keep],
            )
        )
    return recognised


def _joined(batches: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Batches of crops, small ones joined: many images have few crops each."""
    waiting: list[torch.Tensor] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _MIN_CROPS:
            yield torch.cat(waiting)
            waiting.clear()
    if waiting:
        yield torch.cat(waiting)


def suppress(polarities: list[Instances], iou_threshold: float) -> Instances:
    """Instances of an image, from those of each polarity, without duplicates."""
    proposals, label, score, heat = map(np.concatenate, zip(*polarities, strict=True))
    rank = nms_rank(score, proposals)
    rows = nms(proposals["box"], rank, iou_threshold)
    tight = proposals[tightest(proposals, label, rows)]
    # Two boxes overlap more where one of them has become smaller.
    distinct = nms(tight["box"], rank[rows], iou_threshold)
    best = distinct[np.argsort(-score[rows[distinct]], kind="stable")]
    rows = rows[best]
    return Instances(tight[best], label[rows], score[rows], heat[rows])


def instances_table(instances: list[Instances], classes: np.ndarray) -> pd.DataFrame:
    """The table of instances of several images."""
    counts = [len(image.label) for image in instances]
    boxes = np.concatenate(
        [np.empty((0, 4)), *(image.proposals["box"] for image in instances)]
    ).astype(np.int64)
    label = np.concatenate([np.empty(0, int), *(image.label for image in instances)])
    columns = {
        "image": np.repeat(np.arange(len(instances)), counts),
        "label": classes[label],
        "score": np.concatenate([np.empty(0), *(image.score for image in instances)]),
        "heat": np.concatenate([np.empty(0), *(image.heat for image in instances)]),
        **dict(zip(BOX_COLUMNS, boxes.T, strict=True)),
    }
    return pd.DataFrame(columns, columns=list(INSTANCE_COLUMNS))

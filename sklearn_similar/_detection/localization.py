"""From images to their instances: proposals, crops, recognition, suppression."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from .._boxes import BOX_COLUMNS, INSTANCE_COLUMNS
from .._inputs.images import from_tensor, to_grey
from .crop_specification import CropSpecification
from .crops import crop_batches
from .nms import nms, nms_rank
from .proposals import extremal_regions, heat_regions, select_regions

# Whether to search an image's negative, for each polarity.
_NEGATIVES = {"bright": (False,), "dark": (True,), "both": (False, True)}
# Crops that are recognised together: enough to hide the cost of a call.
_MIN_CROPS = 512


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Parameters of `InstanceLocalizer` that act at `localize`."""

    proposals: str
    n_thresholds: int
    polarity: str
    scales: Sequence[float]
    heat_threshold: float
    score_threshold: float
    nms_threshold: float


@dataclass(frozen=True, kw_only=True)
class Recognizer:
    """A trained classifier, ready to recognise crops.

    Attributes
    ----------
    estimator : object with `predict_proba`, and `heatmap` if it has heatmaps
    specification : CropSpecification
        Crops that the estimator was trained on.
    columns : ndarray of int
        Columns of `predict_proba` that stand for classes of instances.
    dtype, layout : dtype and str
        Type and layout of the images that the estimator takes, as in `from_tensor`.
    """

    estimator: Any
    specification: CropSpecification
    columns: np.ndarray
    dtype: np.dtype
    layout: str

    @property
    def has_heatmaps(self) -> bool:
        """Whether the estimator makes heatmaps."""
        return hasattr(self.estimator, "heatmap")

    def predict_proba(self, crops: torch.Tensor) -> np.ndarray:
        """Class probabilities of crops n x n_channels x height x width in [0, 1]."""
        images = from_tensor(
            self.specification.from_unit(crops), self.dtype, self.layout
        )
        return np.asarray(self.estimator.predict_proba(images), dtype=np.float64)

    def heatmaps(self, images: list[torch.Tensor]) -> list[np.ndarray]:
        """Heatmap, height x width, of each image in [0, 1]."""
        # Rows have the trained size, and an image any.
        layout = "grey" if len(images[0]) == 1 else "colour"
        pixels = [
            from_tensor(self.specification.from_unit(image[None]), self.dtype, layout)
            for image in images
        ]
        return self.estimator.heatmap([image[0] for image in pixels])


class Instances(NamedTuple):
    """Recognised regions of an image."""

    regions: np.ndarray
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
    negatives = _NEGATIVES[settings.polarity]
    views = [
        1 - pixels if is_negative else pixels
        for pixels in map(recognizer.specification.to_unit, images)
        for is_negative in negatives
    ]
    heatmaps: list[np.ndarray] | list[None] = [None] * len(views)
    if recognizer.has_heatmaps:
        heatmaps = _pyramid_heatmaps(views, recognizer, settings.scales)
    proposals = [
        _propose(pixels, heatmap, settings)
        for pixels, heatmap in zip(views, heatmaps, strict=True)
    ]
    recognised = _recognize(views, proposals, recognizer, settings.score_threshold)
    n = len(negatives)
    return [
        suppress_polarities(recognised[start : start + n], settings.nms_threshold)
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


def _propose(
    pixels: torch.Tensor, heatmap: np.ndarray | None, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Bright region proposals and the greatest heat in each of them."""
    grey = to_grey(pixels).numpy()
    if settings.proposals == "heat" and heatmap is not None:
        regions = heat_regions(
            heatmap, grey, settings.heat_threshold, settings.n_thresholds
        )
    else:
        regions = extremal_regions(grey, settings.n_thresholds)
    if heatmap is None:
        return regions, np.full(len(regions), np.nan)
    corners = regions["box"].astype(int)
    heat = np.array([heatmap[y0:y1, x0:x1].max() for x0, y0, x1, y1 in corners])
    is_hot = heat >= settings.heat_threshold
    return select_regions(regions, is_hot), heat[is_hot].astype(np.float64)


def _recognize(
    images: list[torch.Tensor],
    proposals: list[tuple[np.ndarray, np.ndarray]],
    recognizer: Recognizer,
    score_threshold: float,
) -> list[Instances]:
    """Proposals that are recognised with confidence, parts of each other included."""
    crops = (
        batch
        for pixels, (regions, _) in zip(images, proposals, strict=True)
        for batch in crop_batches(pixels, regions, recognizer.specification)
    )
    label, score, is_instance = [np.empty(0, int)], [np.empty(0)], [np.empty(0, bool)]
    for batch in _joined(crops):
        proba = recognizer.predict_proba(batch)
        instance_proba = proba[:, recognizer.columns]
        label.append(instance_proba.argmax(axis=1))
        score.append(instance_proba.max(axis=1))
        # The most probable class must not be background.
        is_instance.append(proba.max(axis=1) <= score[-1])
    bounds = np.cumsum([len(regions) for regions, _ in proposals])[:-1]
    parts = [np.split(np.concatenate(p), bounds) for p in (label, score, is_instance)]
    recognised = []
    for (regions, heat), *part in zip(proposals, *parts, strict=True):
        region_label, region_score, region_is_instance = part
        keep = region_is_instance & (region_score >= score_threshold)
        recognised.append(
            Instances(
                regions=select_regions(regions, keep),
                label=region_label[keep],
                score=region_score[keep],
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


def suppress_polarities(polarities: list[Instances], iou_threshold: float) -> Instances:
    """Instances of an image, from those of each polarity, without duplicates."""
    regions, label, score, heat = map(np.concatenate, zip(*polarities, strict=True))
    # Parents are rows of the same polarity.
    start = len(polarities[0].regions)
    parent = regions["parent"]
    parent[start:] += np.where(parent[start:] >= 0, start, 0)
    rank = nms_rank(score, regions["box"])
    rows = nms(regions["box"], rank, parent, iou_threshold)
    rows = rows[np.argsort(-score[rows], kind="stable")]
    return Instances(regions[rows], label[rows], score[rows], heat[rows])


def instances_table(instances: list[Instances], classes: np.ndarray) -> pd.DataFrame:
    """The table of instances of several images."""
    counts = [len(image.label) for image in instances]
    boxes = np.concatenate(
        [np.empty((0, 4)), *(image.regions["box"] for image in instances)]
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

"""From images to their instances: proposals, crops, recognition, suppression."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .._images.images import to_grey
from .._images.rasters import Raster
from .instances import Instances, select_instances, suppress
from .large_images import greatest_in_boxes, negative, propose_in_tiles
from .proposals import as_proposals, propose
from .recognizer import Recognizer, recognize
from .regions import heat_regions

# Whether to search an image's negative, for each polarity.
NEGATIVES = {"bright": (False,), "dark": (True,), "both": (False, True)}


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


def find_instances(
    images: list[torch.Tensor] | Raster, recognizer: Recognizer, settings: Settings
) -> list[Instances]:
    """Find and recognise the instances in some images.

    Parameters
    ----------
    images : list of tensor of shape (n_channels, height, width), or Raster
        Floats as the training images were, integers scaled to [0, 1]; a raster is one
        large image.
    recognizer : Recognizer
    settings : Settings

    Returns
    -------
    list of Instances
        Those of each image, in descending order of score.
    """
    if isinstance(images, Raster):
        return [_find_in_tiles(images, recognizer, settings)]
    negatives = NEGATIVES[settings.polarity]
    specification = recognizer.image_format.specification
    units = [specification.to_unit(image) for image in images]
    views = [
        1 - pixels if is_negative else pixels
        for pixels in units
        for is_negative in negatives
    ]
    heatmaps = _Heatmaps(
        views, partial(_pyramid_heatmaps, recognizer=recognizer, scales=settings.scales)
    )
    if settings.proposals == "heat" and settings.heat_threshold is not None:
        found = [
            _in_heat(view, heatmap, settings.heat_threshold, settings.n_thresholds)
            for view, heatmap in zip(views, heatmaps.of(range(len(views))), strict=True)
        ]
    else:
        found = [
            proposals
            for pixels in units
            for proposals in propose(
                pixels,
                negatives,
                settings.proposals,
                settings.n_thresholds,
                specification.fills_frame,
            )
        ]
    recognised = _instances_of_views(views, found, heatmaps, recognizer, settings)
    n, is_refined = len(negatives), recognizer.box_regression is not None
    return [
        suppress(recognised[start : start + n], settings.nms_threshold, is_refined)
        for start in range(0, len(views), n)
    ]


def _find_in_tiles(
    image: Raster, recognizer: Recognizer, settings: Settings
) -> Instances:
    """The same for one large image, of which only tiles are in memory."""
    negatives = NEGATIVES[settings.polarity]
    specification = recognizer.image_format.specification
    unit = image.map(specification.to_unit)
    views = [negative(unit) if is_negative else unit for is_negative in negatives]
    heatmaps = _Heatmaps(
        views, partial(_heat_rasters, recognizer=recognizer, scales=settings.scales)
    )
    threshold = settings.heat_threshold
    if settings.proposals == "heat" and threshold is not None:
        found = [
            _in_heat(
                view.whole(), heat.whole()[0].numpy(), threshold, settings.n_thresholds
            )
            for view, heat in zip(views, heatmaps.of(range(len(views))), strict=True)
        ]
    else:
        found = propose_in_tiles(
            unit,
            negatives,
            settings.proposals,
            settings.n_thresholds,
            specification.fills_frame,
        )
    recognised = _instances_of_views(views, found, heatmaps, recognizer, settings)
    is_refined = recognizer.box_regression is not None
    return suppress(recognised, settings.nms_threshold, is_refined)


class _Heatmaps:
    """Heatmaps of images or negatives, made where they are asked for, and once."""

    def __init__(
        self,
        views: Sequence[torch.Tensor | Raster],
        make: Callable[[list], Sequence[np.ndarray | Raster]],
    ):
        self._views = views
        self._make = make
        self._made: dict[int, Any] = {}

    def of(self, indices: Sequence[int]) -> list[Any]:
        missing = [index for index in indices if index not in self._made]
        if missing:
            made = self._make([self._views[index] for index in missing])
            self._made.update(zip(missing, made, strict=True))
        return [self._made[index] for index in indices]


def _instances_of_views(
    views: Sequence[torch.Tensor | Raster],
    found: list[np.ndarray],
    heatmaps: _Heatmaps,
    recognizer: Recognizer,
    settings: Settings,
) -> list[Instances]:
    """The instances in each image or negative, parts of each other included."""
    recognised = [
        select_instances(own, own.score >= settings.score_threshold)
        for own in recognize(views, found, recognizer)
    ]
    if recognizer.has_heatmaps and settings.heat_threshold is not None:
        return _hot(recognised, heatmaps, settings.heat_threshold)
    return recognised


def _heat_rasters(
    images: list[Raster], recognizer: Recognizer, scales: Sequence[float]
) -> list[Raster]:
    """Greatest heat over the scales; of other scales than 1, it is in memory."""
    if tuple(scales) == (1.0,):
        return [recognizer.heat_raster(image) for image in images]
    return [
        Raster.from_tensor(torch.from_numpy(heat)[np.newaxis])
        for image in images
        for heat in _pyramid_heatmaps([image.whole()], recognizer, scales)
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
    return as_proposals(heat_regions(heatmap, grey, threshold, n_thresholds))


def _hot(
    recognised: list[Instances], heatmaps: _Heatmaps, threshold: float
) -> list[Instances]:
    """The instances that are hot enough, with their heat.

    Few images and negatives have any, and the others need no heatmap.
    """
    hot = list(recognised)
    indices = [index for index, found in enumerate(recognised) if len(found.label)]
    for index, heatmap in zip(indices, heatmaps.of(indices), strict=True):
        found = recognised[index]
        heat = _greatest_heat(heatmap, found.proposals["box"]).astype(np.float64)
        hot[index] = select_instances(found._replace(heat=heat), heat >= threshold)
    return hot


def _greatest_heat(heatmap: np.ndarray | Raster, boxes: np.ndarray) -> np.ndarray:
    corners = np.hstack([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])]).astype(int)
    if isinstance(heatmap, Raster):
        return greatest_in_boxes(heatmap, corners)
    return np.array([heatmap[y0:y1, x0:x1].max() for x0, y0, x1, y1 in corners])

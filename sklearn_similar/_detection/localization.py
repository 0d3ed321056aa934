"""From images to their instances: proposals, crops, recognition, suppression."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .._inputs.images import to_grey, to_tensor
from .._inputs.tiles import Raster, mapped, raster_in_memory
from .box_regression import BoxRegression, wide_view
from .crop_specification import CropSpecification
from .crops import crop_batches
from .image_format import ImageFormat
from .instances import Instances, suppress
from .large_images import (
    crops_in_tiles,
    greatest_in_boxes,
    negative,
    propose_in_tiles,
    whole,
)
from .proposals import (
    as_proposals,
    distinct,
    heat_regions,
    propose,
    with_parts,
)
from .score_calibration import UNCALIBRATED, ScoreCalibration

# Whether to search an image's negative, for each polarity.
NEGATIVES = {"bright": (False,), "dark": (True,), "both": (False, True)}
# Crops that are recognised together: enough to hide the cost of a call.
_MIN_CROPS = 512
# Narrower boxes, in pixels, are not moved to.
_MIN_MOVED_SIDE = 2


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
        Turns these probabilities into a score.
    box_regression : BoxRegression or None
        Moves the boxes of proposals to those of instances.
    """

    estimator: Any
    image_format: ImageFormat
    columns: np.ndarray
    calibration: ScoreCalibration = UNCALIBRATED
    box_regression: BoxRegression | None = None

    @property
    def has_heatmaps(self) -> bool:
        """Whether the estimator makes heatmaps."""
        return hasattr(self.estimator, "heatmap")

    @property
    def crop_device(self) -> torch.device:
        """Where crops are cut: the network's device, if it knows double precision."""
        net = getattr(self.estimator, "net_", None)
        device = torch.device(getattr(net, "device", "cpu"))
        return device if device.type == "cuda" else torch.device("cpu")

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

    def heat_raster(self, image: Raster) -> Raster:
        """Heatmap, 1 x height x width, of a large image in [0, 1].

        In tiles where the estimator is a `SimilarNetClassifier`.
        """
        make_model = getattr(self.estimator, "_heatmap_model", None)
        if make_model is None:
            return raster_in_memory(
                torch.from_numpy(self.heatmaps([whole(image)])[0])[None]
            )
        model, normalize = make_model(), self.estimator.normalize

        def as_in_training(pixels: torch.Tensor) -> torch.Tensor:
            layout = "grey" if len(pixels) == 1 else "colour"
            image_format = replace(self.image_format, layout=layout)
            images = image_format.from_unit(pixels[np.newaxis])
            images = images[..., np.newaxis] if layout == "grey" else images
            return to_tensor(images, model.network.n_channels)[0]

        with model.network.evaluation():
            heat = model.raster(
                mapped(image, as_in_training),
                None,
                model.normalization_constant,
                normalize,
                None,
            )

        def read(rows: slice, columns: slice) -> torch.Tensor:
            with model.network.evaluation():
                return heat.read(rows, columns)

        return Raster(heat.size, read)


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
    recognised = _recognize_views(views, found, heatmaps, recognizer, settings)
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
    unit = mapped(image, specification.to_unit)
    views = [negative(unit) if is_negative else unit for is_negative in negatives]
    heatmaps = _Heatmaps(
        views, partial(_heat_rasters, recognizer=recognizer, scales=settings.scales)
    )
    threshold = settings.heat_threshold
    if settings.proposals == "heat" and threshold is not None:
        found = [
            _in_heat(
                whole(view), whole(heat)[0].numpy(), threshold, settings.n_thresholds
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
    recognised = _recognize_views(views, found, heatmaps, recognizer, settings)
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


def _recognize_views(
    views: Sequence[torch.Tensor | Raster],
    found: list[np.ndarray],
    heatmaps: _Heatmaps,
    recognizer: Recognizer,
    settings: Settings,
) -> list[Instances]:
    """The instances in each image or negative, parts of each other included."""
    refined = [
        refine(view, proposals, recognizer)
        for view, proposals in zip(views, found, strict=True)
    ]
    specification = recognizer.image_format.specification
    crops = [
        _crops(view, proposals["box"], specification, recognizer.crop_device)
        for view, proposals in zip(views, refined, strict=True)
    ]
    recognised = _recognize(crops, refined, recognizer, settings.score_threshold)
    if recognizer.has_heatmaps and settings.heat_threshold is not None:
        return _hot(recognised, heatmaps, settings.heat_threshold)
    return recognised


def refine(
    view: torch.Tensor | Raster, proposals: np.ndarray, recognizer: Recognizer
) -> np.ndarray:
    """Proposals whose boxes are moved to the instances that they show, or a part of.

    Parts of proposals are moved as well, and those of the full-size channel stay as
    they are, too. Without a box regression, all stay.
    """
    regression = recognizer.box_regression
    if regression is None or not len(proposals):
        return proposals
    size = view.size if isinstance(view, Raster) else tuple(view.shape[1:])
    specification = wide_view(recognizer.image_format.specification)
    shown = distinct(with_parts(proposals))["box"]
    boxes = shown.astype(np.float64)
    moved = np.empty_like(boxes)
    for rows, crops in _crops(view, shown, specification, recognizer.crop_device):
        moved[rows] = regression(crops, boxes[rows])
    moved = moved.clip(0, np.tile(size[::-1], 2))
    is_box = (moved[:, 2:] - moved[:, :2] >= _MIN_MOVED_SIDE).all(axis=1)
    # Where an object is crisp, the full-size channel knows its box exactly; elsewhere,
    # and in smaller channels, moved boxes are better, and so the others rank lower.
    others = proposals[proposals["downsampling"] == 1]
    others["downsampling"] *= 2
    return distinct(np.concatenate([as_proposals(moved[is_box]), others]))


def _heat_rasters(
    images: list[Raster], recognizer: Recognizer, scales: Sequence[float]
) -> list[Raster]:
    """Greatest heat over the scales; of other scales than 1, it is in memory."""
    if tuple(scales) == (1.0,):
        return [recognizer.heat_raster(image) for image in images]
    return [
        raster_in_memory(torch.from_numpy(heat)[np.newaxis])
        for image in images
        for heat in _pyramid_heatmaps([whole(image)], recognizer, scales)
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
    recognised: list[Instances], heatmaps: _Heatmaps, threshold: float
) -> list[Instances]:
    """The instances that are hot enough, with their heat.

    Few images and negatives have any, and the others need no heatmap.
    """
    hot = list(recognised)
    indices = [index for index, found in enumerate(recognised) if len(found.label)]
    for index, heatmap in zip(indices, heatmaps.of(indices), strict=True):
        found = recognised[index]
        heat = _greatest_heat(heatmap, found.proposals["box"])
        is_hot = heat >= threshold
        found = found._replace(heat=heat.astype(np.float64))
        hot[index] = Instances(*(field[is_hot] for field in found))
    return hot


def _greatest_heat(heatmap: np.ndarray | Raster, boxes: np.ndarray) -> np.ndarray:
    corners = np.hstack([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])]).astype(int)
    if isinstance(heatmap, Raster):
        return greatest_in_boxes(heatmap, corners)
    return np.array([heatmap[y0:y1, x0:x1].max() for x0, y0, x1, y1 in corners])


Crops = Iterator[tuple[np.ndarray, torch.Tensor]]


def _crops(
    view: torch.Tensor | Raster,
    boxes: np.ndarray,
    specification: CropSpecification,
    device: torch.device,
) -> Crops:
    """Rows of boxes and their crops, batch by batch."""
    if isinstance(view, Raster):
        yield from crops_in_tiles(view, boxes, specification, device)
        return
    start = 0
    for batch in crop_batches(view.to(device), boxes, specification):
        yield np.arange(start, start + len(batch)), batch
        start += len(batch)


def _recognize(
    crops: list[Crops],
    proposals: list[np.ndarray],
    recognizer: Recognizer,
    score_threshold: float,
) -> list[Instances]:
    """Proposals that are recognised with confidence, parts of each other included."""
    starts = np.cumsum([0, *map(len, proposals)])
    label = np.empty(starts[-1], np.int64)
    score, objectness = np.empty((2, starts[-1]))
    is_instance = np.empty(starts[-1], bool)
    batches = (
        (start + rows, batch)
        for start, own in zip(starts[:-1], crops, strict=True)
        for rows, batch in own
    )
    for rows, batch in _joined(batches):
        proba = recognizer.predict_proba(batch)
        instance_proba = proba[:, recognizer.columns]
        label[rows] = instance_proba.argmax(axis=1)
        greatest = instance_proba.max(axis=1)
        objectness[rows] = instance_proba.sum(axis=1)
        score[rows] = recognizer.calibration(greatest, objectness[rows])
        # The most probable class must not be background.
        is_instance[rows] = proba.max(axis=1) <= greatest
    is_sure = is_instance & (score >= score_threshold)
    recognised = []
    for start, found in zip(starts[:-1], proposals, strict=True):
        own = slice(start, start + len(found))
        keep = is_sure[own]
        recognised.append(
            Instances(
                proposals=found[keep],
                label=label[own][keep],
                score=score[own][keep],
                heat=np.full(keep.sum(), np.nan),
                objectness=objectness[own][keep],
            )
        )
    return recognised


def _joined(batches: Crops) -> Crops:
    """Batches of crops, small ones joined: many images have few crops each."""
    waiting: list[tuple[np.ndarray, torch.Tensor]] = []
    for batch in batches:
        waiting.append(batch)
        if sum(len(rows) for rows, _ in waiting) >= _MIN_CROPS:
            yield _join(waiting)
            waiting.clear()
    if waiting:
        yield _join(waiting)


def _join(
    batches: list[tuple[np.ndarray, torch.Tensor]],
) -> tuple[np.ndarray, torch.Tensor]:
    rows, crops = zip(*batches, strict=True)
    return np.concatenate(rows), torch.cat(crops)

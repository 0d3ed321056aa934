"""What region proposals show: they are moved, cropped and recognised."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .._images.images import to_tensor
from .._images.rasters import Raster
from .._images.validation import check_has_importances
from .box_regression import BoxRegression, wide_view
from .crop_specification import CropSpecification
from .crops import crop_batches
from .image_format import ImageFormat
from .instances import Instances, join_instances
from .large_images import crops_in_tiles
from .proposals import as_proposals, distinct, groups_of_like, parts_of, unlike
from .score_calibration import UNCALIBRATED, ScoreCalibration

# Crops that are recognised together: enough to hide the cost of a call.
_MIN_CROPS = 512
# Narrower boxes, in pixels, are not moved to.
_MIN_MOVED_SIDE = 2
# Least probability of an instance in a moved box whose proposal is looked at closer.
_LEAST_OBJECTNESS = 0.01

Crops = Iterator[tuple[np.ndarray, torch.Tensor]]


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

    def check_heatmaps(self) -> None:
        """Raise NotFittedError if a `SimilarNetClassifier` cannot make them yet.

        Whether it is asked for any depends on the images.
        """
        if hasattr(self.estimator, "_heatmap_model"):
            check_has_importances(self.estimator)

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
            return Raster.from_tensor(
                torch.from_numpy(self.heatmaps([image.whole()])[0])[None]
            )
        model = make_model()

        def as_in_training(pixels: torch.Tensor) -> torch.Tensor:
            layout = "grey" if len(pixels) == 1 else "colour"
            image_format = replace(self.image_format, layout=layout)
            images = image_format.from_unit(pixels[np.newaxis])
            images = images[..., np.newaxis] if layout == "grey" else images
            return to_tensor(images, model.network.n_channels)[0]

        (heat,) = model.rasters([image.map(as_in_training)])
        return heat


def recognize(
    views: Sequence[torch.Tensor | Raster],
    found: list[np.ndarray],
    recognizer: Recognizer,
) -> list[Instances]:
    """What proposals of each image or negative show, parts of each other included.

    With a box regression, they show it where they are moved to. Most are background
    there for sure. The others may be an instance, or several that touch: their parts,
    which are moved as well, and their unmoved boxes are looked at, too.

    The score of those that are most probably background is less than any other.
    """
    regression = recognizer.box_regression
    if regression is None:
        return _recognize(views, found, recognizer)
    found = [distinct(own) for own in found]
    moved = _move(views, found, recognizer, regression)
    groups = [groups_of_like(own) for own in moved]
    firsts = [own[first] for own, (first, _) in zip(moved, groups, strict=True)]
    recognised = _recognize(views, firsts, recognizer)
    candidates = [
        proposals[own.objectness[group] >= _LEAST_OBJECTNESS]
        for proposals, own, (_, group) in zip(found, recognised, groups, strict=True)
    ]
    parts = [
        unlike(known, parts_of(own))
        for known, own in zip(found, candidates, strict=True)
    ]
    moved_parts = _move(views, parts, recognizer, regression)
    closer = [
        unlike(known, np.concatenate([of_parts, _unmoved(own)]))
        for known, of_parts, own in zip(firsts, moved_parts, candidates, strict=True)
    ]
    seen_closer = _recognize(views, closer, recognizer)
    return [join_instances(both) for both in zip(recognised, seen_closer, strict=True)]


def refine(
    view: torch.Tensor | Raster, proposals: np.ndarray, recognizer: Recognizer
) -> np.ndarray:
    """Proposals whose boxes are moved to the instances that they show, or a part of.

    Parts of proposals are moved as well, and those of the full-size channel stay as
    they are, too. Without a box regression, all stay.
    """
    regression = recognizer.box_regression
    if regression is None:
        return proposals
    shown = distinct(np.concatenate([proposals, parts_of(proposals)]))
    (moved,) = _move([view], [shown], recognizer, regression)
    return distinct(np.concatenate([moved, _unmoved(proposals)]))


def _move(
    views: Sequence[torch.Tensor | Raster],
    proposals: list[np.ndarray],
    recognizer: Recognizer,
    regression: BoxRegression,
) -> list[np.ndarray]:
    """Proposals whose boxes are moved to the instances that they show, or a part of.

    A box that would be moved to nothing stays.
    """
    boxes = np.concatenate([own["box"] for own in proposals]).astype(np.float64)
    moved = np.empty_like(boxes)
    for rows, crops in _crops_of_all(
        views,
        proposals,
        wide_view(recognizer.image_format.specification),
        recognizer.crop_device,
    ):
        moved[rows] = regression(crops, boxes[rows])
    ends = np.cumsum([len(own) for own in proposals])[:-1]
    for view, own in zip(views, np.split(moved, ends), strict=True):
        height, width = _size(view)
        own.clip(0, [width, height, width, height], out=own)
    sides = moved[:, 2:] - moved[:, :2]
    is_box = sides.min(axis=1, keepdims=True, initial=np.inf) >= _MIN_MOVED_SIDE
    moved = np.where(is_box, moved, boxes)
    return [as_proposals(own) for own in np.split(moved, ends)]


def _unmoved(proposals: np.ndarray) -> np.ndarray:
    """Proposals of the full-size channel, as boxes beside those that are moved.

    Where an object is crisp, that channel knows its box exactly; elsewhere, and in
    smaller channels, moved boxes are better, and so the others rank lower.
    """
    others = proposals[proposals["downsampling"] == 1]
    others["downsampling"] *= 2
    return others


def _size(view: torch.Tensor | Raster) -> tuple[int, int]:
    """Height and width."""
    if isinstance(view, Raster):
        return view.size
    return view.shape[1], view.shape[2]


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


def _crops_of_all(
    views: Sequence[torch.Tensor | Raster],
    proposals: list[np.ndarray],
    specification: CropSpecification,
    device: torch.device,
) -> Crops:
    """Crops of proposals in several views; rows are those of all proposals together.

    Small batches are joined: many images have few crops each.
    """
    starts = np.cumsum([0, *map(len, proposals)])[:-1]
    batches = (
        (start + rows, crops)
        for start, view, own in zip(starts, views, proposals, strict=True)
        for rows, crops in _crops(view, own["box"], specification, device)
    )
    waiting: list[tuple[np.ndarray, torch.Tensor]] = []
    for batch in batches:
        waiting.append(batch)
        if sum(len(rows) for rows, _ in waiting) >= _MIN_CROPS:
            yield _join(waiting)
            waiting.clear()
    if waiting:
        yield _join(waiting)


def _recognize(
    views: Sequence[torch.Tensor | Raster],
    proposals: list[np.ndarray],
    recognizer: Recognizer,
) -> list[Instances]:
    """What proposals show where they are; see `recognize`."""
    n = sum(map(len, proposals))
    label = np.empty(n, np.int64)
    score, objectness = np.empty((2, n))
    for rows, crops in _crops_of_all(
        views,
        proposals,
        recognizer.image_format.specification,
        recognizer.crop_device,
    ):
        proba = recognizer.predict_proba(crops)
        instance_proba = proba[:, recognizer.columns]
        label[rows] = instance_proba.argmax(axis=1)
        greatest = instance_proba.max(axis=1)
        objectness[rows] = instance_proba.sum(axis=1)
        calibrated = recognizer.calibration(greatest, objectness[rows])
        score[rows] = np.where(proba.max(axis=1) <= greatest, calibrated, -np.inf)
    ends = np.cumsum([len(own) for own in proposals])[:-1]
    parts = (np.split(values, ends) for values in (label, score, objectness))
    return [
        Instances(own, labels, scores, np.full(len(own), np.nan), probabilities)
        for own, labels, scores, probabilities in zip(proposals, *parts, strict=True)
    ]


def _join(
    batches: list[tuple[np.ndarray, torch.Tensor]],
) -> tuple[np.ndarray, torch.Tensor]:
    rows, crops = zip(*batches, strict=True)
    return np.concatenate(rows), torch.cat(crops)

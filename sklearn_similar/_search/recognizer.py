"""The detection pipeline: from images to detections, with `Recognizer.detect`.

`localize`, hard-negative mining, calibration and the benchmark of the stages all run
it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MethodType
from typing import Any

import numpy as np
import torch

from .._images.rasters import Raster
from .._images.validation import check_has_importances
from .box_regression import BoxRegression, RefinementRecipe
from .crop_specification import CropSpecification
from .crops import crops
from .detections import Detections, suppress
from .heat import Heatmaps, maximum_in_boxes
from .image_format import ImageFormat
from .proposals import Proposals, propose
from .score_calibration import UNCALIBRATED, ScoreCalibration
from .views import NEGATIVES, Views

# Crops that are recognised together: enough to hide the cost of a call.
_MIN_CROPS = 512


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Parameters of `InstanceLocalizer` that act when it searches.

    Where `heat_threshold` is None, no heatmaps are computed for detections.
    """

    proposals: str | Callable[[np.ndarray], Any]
    n_thresholds: int
    polarity: str
    scales: Sequence[float] = (1.0,)
    heat_threshold: float | None = None
    score_threshold: float
    nms_threshold: float


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Detections of some images, and those of the stages before.

    Attributes
    ----------
    views : Views
        The images that were searched and their negatives.
    recognised : Detections
        All boxes that were recognised, in all views.
    confident : Detections
        Those that reach the thresholds.
    detections : list of Detections
        Those of each image, without duplicates.
    """

    views: Views
    recognised: Detections
    confident: Detections
    detections: list[Detections]


@dataclass(frozen=True, kw_only=True)
class Recognizer(ABC):
    """Detects and labels objects; a subclass says what is in a box.

    Attributes
    ----------
    specification : CropSpecification
        Of the training images.
    calibration : ScoreCalibration
        Turns probabilities into scores.
    box_regression : BoxRegression or None
        Refines the boxes of proposals to those of objects.
    refinement : RefinementRecipe
    """

    specification: CropSpecification
    calibration: ScoreCalibration = UNCALIBRATED
    box_regression: BoxRegression | None = None
    refinement: RefinementRecipe = field(default_factory=RefinementRecipe)

    @abstractmethod
    def probabilities(
        self, views: Sequence[Raster], proposals: Proposals
    ) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities of the content of boxes.

        Parameters
        ----------
        views : sequence of Raster
            Values in [0, 1].
        proposals : Proposals
            In these views.

        Returns
        -------
        of_classes : ndarray of shape (n_proposals, n_classes)
            Of the classes of objects.
        of_background : ndarray of shape (n_proposals,)
            The largest probability of what is not an object; 0 without background.
        """

    @abstractmethod
    def heatmaps(self, views: list[Raster]) -> Sequence[Raster]:
        """Heatmaps, 1 x height x width, of views in [0, 1]."""

    @property
    def has_heatmaps(self) -> bool:
        """Whether there are heatmaps."""
        return False

    @property
    def device(self) -> torch.device:
        """Where crops are computed."""
        return torch.device("cpu")

    def detect(
        self, images: Sequence[Raster], settings: SearchSettings
    ) -> SearchResult:
        """Detect and label the objects in some images.

        Parameters
        ----------
        images : sequence of Raster
            Of any sizes; values as those of the training images, integers scaled to
            [0, 1].
        settings : SearchSettings

        Returns
        -------
        SearchResult
        """
        views = Views(
            [image.map(self.specification.to_unit).cached() for image in images],
            NEGATIVES[settings.polarity],
            any_contrast=self.specification.fills_frame,
        )
        heatmaps = None
        if self.has_heatmaps and settings.heat_threshold is not None:
            heatmaps = Heatmaps(views.rasters, self.heatmaps, settings.scales)
        proposals = propose(views, settings, heatmaps)
        recognised = self._recognise_refined(views, proposals)
        confident = recognised.select(recognised.score >= settings.score_threshold)
        if heatmaps is not None:
            confident = _with_heat(confident, heatmaps)
            confident = confident.select(confident.heat >= settings.heat_threshold)
        return SearchResult(
            views=views,
            recognised=recognised,
            confident=confident,
            detections=[
                suppress(
                    of_image,
                    settings.nms_threshold,
                    is_refined=self.box_regression is not None,
                )
                for of_image in _by_image(confident, views)
            ],
        )

    def _recognise_refined(self, views: Views, proposals: Proposals) -> Detections:
        """Recognise proposals where box regression moves them.

        Most are surely background there. The proposals of the others may show an object
        whose box was right already, or several objects that touch: they are recognised
        unmoved as well, and split into parts, which are refined in their turn.
        """
        if self.box_regression is None:
            return self._recognise(views, proposals)
        proposals = proposals.distinct()
        refined = self._refine(views, proposals)
        first, group = refined.near_duplicate_groups()
        refined = refined.select(first)
        recognised = self._recognise(views, refined)
        may_be_object = recognised.objectness[group] >= self.refinement.min_objectness
        uncertain = proposals.select(may_be_object)
        parts = uncertain.split().without_duplicates_of(proposals)
        candidates = [self._refine(views, parts), uncertain.unrefined()]
        closer = Proposals.concatenate(candidates).without_duplicates_of(refined)
        return Detections.concatenate([recognised, self._recognise(views, closer)])

    def _refine(self, views: Views, proposals: Proposals) -> Proposals:
        """Move boxes to the objects that they show in full or in part."""
        regression = self.box_regression
        if regression is None:
            return proposals
        boxes = proposals.boxes.astype(np.float64)
        moved = np.empty_like(boxes)
        context_crop = self.refinement.context_crop(self.specification)
        for rows, cropped in crops_of_views(
            views.rasters, proposals, context_crop, self.device
        ):
            moved[rows] = regression(cropped, boxes[rows])
        height, width = views.sizes[proposals.source].T
        moved = moved.clip(0, np.stack([width, height, width, height], axis=1))
        sides = moved[:, 2:] - moved[:, :2]
        is_box = sides.min(axis=1, initial=np.inf) >= self.refinement.min_side
        return Proposals.from_boxes(
            np.where(is_box[:, np.newaxis], moved, boxes), proposals.source
        )

    def _recognise(self, views: Views, proposals: Proposals) -> Detections:
        """Recognise proposals where they are."""
        of_classes, of_background = self.probabilities(views.rasters, proposals)
        probability = of_classes.max(axis=1)
        objectness = of_classes.sum(axis=1)
        score = self.calibration(probability, objectness)
        return Detections(
            proposals=proposals,
            label=of_classes.argmax(axis=1),
            probability=probability,
            objectness=objectness,
            score=np.where(of_background <= probability, score, -np.inf),
            heat=np.full(len(proposals), np.nan),
        )


@dataclass(frozen=True, kw_only=True)
class CropRecognizer(Recognizer):
    """Recognises crops by a classifier of images of one size.

    Attributes
    ----------
    estimator : object with `predict_proba`, and `heatmap` if it has heatmaps
    image_format : ImageFormat
        Images that the estimator takes.
    columns : ndarray of int
        Columns of `predict_proba` that stand for classes of objects.
    """

    estimator: Any
    image_format: ImageFormat
    columns: np.ndarray

    @property
    def has_heatmaps(self) -> bool:
        """Whether the estimator makes heatmaps."""
        return hasattr(self.estimator, "heatmap")

    @property
    def device(self) -> torch.device:
        """The network's device, if it knows double precision; else the CPU."""
        net = getattr(self.estimator, "net_", None)
        device = torch.device(getattr(net, "device", "cpu"))
        return device if device.type == "cuda" else torch.device("cpu")

    def check_heatmaps(self) -> None:
        """Raise NotFittedError if the package's classifier cannot make heatmaps yet.

        Whether any are needed depends on the images.
        """
        make = tensor_method(self.estimator, "_heatmap_rasters")
        if make is not None:
            check_has_importances(make.__self__)

    def probabilities(
        self, views: Sequence[Raster], proposals: Proposals
    ) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities of the crops of boxes; see `Recognizer`."""
        of_classes = np.empty((len(proposals), len(self.columns)))
        of_background = np.zeros(len(proposals))
        for rows, cropped in crops_of_views(
            views, proposals, self.specification, self.device
        ):
            proba = self._predict_proba(cropped)
            of_classes[rows] = proba[:, self.columns]
            background = np.delete(proba, self.columns, axis=1)
            of_background[rows] = background.max(axis=1, initial=0)
        return of_classes, of_background

    def _predict_proba(self, cropped: torch.Tensor) -> np.ndarray:
        """Probabilities of crops n x n_channels x height x width in [0, 1]."""
        predict = tensor_method(self.estimator, "_tensor_probabilities")
        if predict is not None:
            return predict(self.image_format.tensor_from_unit(cropped)).astype(float)
        images = self.image_format.array_from_unit(cropped)
        return np.asarray(self.estimator.predict_proba(images), dtype=np.float64)

    def heatmaps(self, views: list[Raster]) -> Sequence[Raster]:
        """Heatmaps of views by the estimator; see `Recognizer`."""
        make = tensor_method(self.estimator, "_heatmap_rasters")
        if make is not None:
            return make(
                [view.map(self.image_format.tensor_from_unit) for view in views]
            )
        images = [self.image_format.image_from_unit(view.whole()) for view in views]
        return [
            Raster.from_tensor(torch.from_numpy(np.asarray(heat, np.float32))[None])
            for heat in self.estimator.heatmap(images)
        ]

    def with_calibration(self, calibration: ScoreCalibration) -> "CropRecognizer":
        """The same recogniser with another calibration."""
        return replace(self, calibration=calibration)


def tensor_method(estimator: Any, name: str) -> MethodType | None:
    """A private method for tensors of this package's classifier, if it is as it was.

    A subclass or an instance with a `predict_proba` or `heatmap` of its own is asked by
    these, as any other estimator.
    """
    method = getattr(estimator, name, None)
    if method is None:
        return None
    owner = method.__self__
    is_replaced = any(
        public in vars(owner)
        or getattr(type(owner), public).__module__ != method.__func__.__module__
        for public in ("predict_proba", "heatmap")
    )
    return None if is_replaced else method


def crops_of_views(
    views: Sequence[Raster],
    proposals: Proposals,
    specification: CropSpecification,
    device: torch.device | str,
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Rows of proposals in several views, and their crops.

    Small batches are joined, as many images have few crops each.
    """
    rows, batches, n_crops = [], [], 0
    for number in np.unique(proposals.source):
        of_view = np.flatnonzero(proposals.source == number)
        boxes = proposals.boxes[of_view]
        for part, cropped in crops(views[number], boxes, specification, device):
            rows.append(of_view[part])
            batches.append(cropped)
            n_crops += len(part)
            if n_crops >= _MIN_CROPS:
                yield np.concatenate(rows), torch.cat(batches)
                rows, batches, n_crops = [], [], 0
    if rows:
        yield np.concatenate(rows), torch.cat(batches)


def _with_heat(detections: Detections, heatmaps: Heatmaps) -> Detections:
    """The detections with the maximum heat in their boxes.

    Few views have any detections, and the others need no heatmap.
    """
    source = detections.proposals.source
    numbers = np.unique(source).tolist()
    heat = np.empty(len(detections))
    for number, heatmap in zip(numbers, heatmaps.of(numbers), strict=True):
        rows = np.flatnonzero(source == number)
        heat[rows] = maximum_in_boxes(heatmap, detections.proposals.boxes[rows])
    return replace(detections, heat=heat)


def _by_image(detections: Detections, views: Views) -> Iterator[Detections]:
    """The detections of each image, in the order of its views."""
    order = np.argsort(detections.proposals.source, kind="stable")
    image = views.image_of(detections.proposals.source[order])
    ends = np.searchsorted(image, np.arange(len(views.images) + 1))
    for first, last in pairwise(ends):
        yield detections.select(order[first:last])

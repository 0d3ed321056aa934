"""The detection pipeline, from images to detections: `Recognizer.detect`.

1. Images are scaled to [0, 1]; they, their negatives, or both are searched (`views`).
2. Boxes are proposed (`sources`).
3. Box regression moves the boxes to the objects that they show (`box_regression`).
4. The content of the boxes is recognised and scored (`score_calibration`).
5. Proposals that may show an object are also recognised unmoved, and split into parts,
   as objects that touch are one region.
6. Boxes with low scores, or without heat, are left out (`heat`).
7. Near-duplicates are suppressed (`suppression`).

Boxes of other sizes than those asked for are left out before each of steps 3 to 5, and
at the end.

`localize`, hard-negative mining, calibration and the benchmark of the stages run it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch

from .._images.rasters import Raster
from .box_regression import BoxRegression, RefinementRecipe
from .crop_specification import CropSpecification
from .crops import crops_of_views
from .detections import Detections
from .heat import Heatmaps
from .proposals import Proposals
from .score_calibration import UNCALIBRATED, ScoreCalibration
from .settings import SearchSettings, SizeRange
from .sources import propose
from .suppression import suppress
from .views import NEGATIVES, Views


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Detections of some images, and the stages before.

    Attributes
    ----------
    views : Views
        The images that were searched and their negatives.
    recognised : Detections
        All boxes that were recognised, in all views; most are background.
    confident : Detections
        Those that reach the thresholds of the score and of the heat.
    detections : list of Detections
        Those of each image, without near-duplicates.
    """

    views: Views
    recognised: Detections
    confident: Detections
    detections: list[Detections]


@dataclass(frozen=True, kw_only=True)
class Recognizer(ABC):
    """Detects and labels objects; a subclass tells what is in a box.

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
            Maximum probability of the labels that are not objects; 0 without any.
        """

    @property
    def has_heatmaps(self) -> bool:
        """Whether `heatmaps` is implemented, which is optional."""
        return False

    def heatmaps(self, views: list[Raster]) -> Sequence[Raster]:
        """Heatmaps, 1 x height x width, of views in [0, 1].

        Called only if `has_heatmaps` is true.
        """
        raise NotImplementedError(f"{type(self).__name__} has no heatmaps.")

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
            heatmaps = Heatmaps(
                views.rasters, self.heatmaps, settings.scales, settings.heat_threshold
            )
        proposals = propose(views, settings.proposals, heatmaps)
        recognised = self._recognise_refined(views, proposals, settings.sizes)
        confident = recognised.select(recognised.score >= settings.score_threshold)
        if heatmaps is not None:
            heat = heatmaps.maximum_in(confident.proposals)
            confident = replace(confident, heat=heat)
            confident = confident.select(heat >= heatmaps.threshold)
        return SearchResult(
            views=views,
            recognised=recognised,
            confident=confident,
            detections=[
                self._suppress(of_image, settings)
                for of_image in _by_image(confident, views)
            ],
        )

    def _suppress(self, detections: Detections, settings: SearchSettings) -> Detections:
        """Detections of an image without near-duplicates, of the sizes asked for."""
        distinct = suppress(
            detections,
            settings.nms_threshold,
            is_refined=self.box_regression is not None,
        )
        # The mean of several boxes may be a little smaller than each of them.
        return distinct.select(settings.sizes.contains(distinct.proposals.boxes))

    def _recognise_refined(
        self, views: Views, proposals: Proposals, sizes: SizeRange
    ) -> Detections:
        """Recognise proposals where box regression moves them, then look again.

        Most proposals are background for sure, and are recognised once.
        """
        if self.box_regression is None:
            return self._recognise(views, _of_size(proposals, sizes))
        # Regions that are too large may show several objects.
        proposals = proposals.distinct()
        is_large = proposals.longer_side() > sizes.maximum
        parts = proposals.select(is_large).split().without_duplicates_of(proposals)
        near = sizes.widened(self.refinement.size_tolerance)
        proposals = _of_size(Proposals.concatenate([proposals, parts]), near)
        moved = self._refine(views, proposals)
        is_asked_for = sizes.contains(moved.boxes)
        proposals, moved = proposals.select(is_asked_for), moved.select(is_asked_for)
        # Several proposals may be moved to one box, which is recognised once.
        first, group = moved.near_duplicate_groups()
        refined = moved.select(first)
        recognised = self._recognise(views, refined)
        may_be_object = recognised.objectness >= self.refinement.min_objectness
        uncertain = proposals.select(may_be_object[group])
        parts = _of_size(uncertain.split().without_duplicates_of(proposals), near)
        second_look = _of_size(
            Proposals.concatenate(
                [self._refine(views, parts), self._unmoved(uncertain)]
            ).without_duplicates_of(refined),
            sizes,
        )
        return Detections.concatenate([recognised, self._recognise(views, second_look)])

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
        height, width = views.sizes[proposals.view].T
        moved = moved.clip(0, np.stack([width, height, width, height], axis=1))
        sides = moved[:, 2:] - moved[:, :2]
        is_box = sides.min(axis=1, initial=np.inf) >= self.refinement.min_side
        return Proposals.from_boxes(
            np.where(is_box[:, np.newaxis], moved, boxes), proposals.view
        )

    def _unmoved(self, proposals: Proposals) -> Proposals:
        """Proposals of the full resolution where they are.

        Where an object is crisp, they are exact; elsewhere refined boxes are better, so
        that unmoved ones count as coarser.
        """
        coarseness = self.refinement.unmoved_coarseness
        return proposals.full_resolution().with_coarseness(coarseness)

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


def _of_size(proposals: Proposals, sizes: SizeRange) -> Proposals:
    return proposals.select(sizes.contains(proposals.boxes))


def _by_image(detections: Detections, views: Views) -> Iterator[Detections]:
    """The detections of each image, in the order of its views."""
    order = np.argsort(detections.proposals.view, kind="stable")
    image = views.image_of(detections.proposals.view[order])
    ends = np.searchsorted(image, np.arange(len(views.images) + 1))
    for first, last in pairwise(ends):
        yield detections.select(order[first:last])

"""The detection pipeline, from images to detections: `Recognizer.detect`.

1. Images are scaled to what the recogniser takes (`views`).
2. Boxes are proposed (`sources`).
3. The recogniser moves the boxes to objects, and recognises and scores their content:
   crop by crop (`refinement`, `crop_recognizer`), or from the feature maps of a
   backbone that sees each image once (`pooled_recognizer`).
4. Boxes with low scores, or without heat, are left out (`heat`).
5. Near-duplicates are suppressed (`suppression`).

Boxes of other sizes than those asked for are left out before each of steps 3 to 5, and
at the end.

`localize`, hard-negative mining, calibration and the benchmark of the stages run it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .._images.rasters import Raster
from .detections import Detections
from .heat import Heatmaps
from .proposals import Proposals
from .score_calibration import UNCALIBRATED, ScoreCalibration
from .settings import SearchSettings, SizeRange
from .sources import propose
from .suppression import suppress
from .views import Views


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
    calibration : ScoreCalibration
        Turns probabilities into scores.
    """

    calibration: ScoreCalibration = UNCALIBRATED

    @abstractmethod
    def views(self, images: Sequence[Raster], polarity: str) -> Views:
        """Images as they are searched.

        Parameters
        ----------
        images : sequence of Raster
            Values as those of the training images, integers scaled to [0, 1].
        polarity : {"bright", "dark", "both"}
        """

    @abstractmethod
    def recognise(
        self, views: Views, proposals: Proposals, sizes: SizeRange
    ) -> Detections:
        """Recognise proposals, after moving them to objects if the recogniser can.

        Parameters
        ----------
        views : Views
        proposals : Proposals
        sizes : SizeRange
            Boxes of other sizes are left out.
        """

    def check_estimator(self) -> None:  # noqa: B027, most have nothing to check
        """Raise if the estimator cannot be used as it is."""

    @property
    def moves_boxes(self) -> bool:
        """Whether boxes are moved to objects before they are recognised."""
        return False

    @property
    def area_weight(self) -> float:
        """Weight of a box's area among near-duplicates; see `suppression.nms_rank`."""
        return 1.0

    @property
    def has_heatmaps(self) -> bool:
        """Whether `heatmaps` is implemented, which is optional."""
        return False

    def heatmaps(
        self, views: list[Raster], in_windows: bool = False
    ) -> Sequence[Raster]:
        """Heatmaps, 1 x height x width, of views in [0, 1].

        Called only if `has_heatmaps` is true. With `in_windows`, small parts of them
        are read.
        """
        raise NotImplementedError(f"{type(self).__name__} has no heatmaps.")

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
        views = self.views(images, settings.polarity)
        heatmaps = None
        if self.has_heatmaps and settings.heat_threshold is not None:
            heatmaps = Heatmaps(
                views.rasters, self.heatmaps, settings.scales, settings.heat_threshold
            )
        proposals = propose(views, settings.proposals, heatmaps)
        recognised = self.recognise(views, proposals, settings.sizes)
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

    def suppress(self, detections: Detections, nms_threshold: float) -> Detections:
        """Detections of an image without near-duplicates."""
        return suppress(
            detections,
            nms_threshold,
            is_refined=self.moves_boxes,
            area_weight=self.area_weight,
        )

    def _suppress(self, detections: Detections, settings: SearchSettings) -> Detections:
        """Detections of an image without near-duplicates, of the sizes asked for."""
        distinct = self.suppress(detections, settings.nms_threshold)
        # The mean of several boxes may be a little smaller than each of them.
        return distinct.select(settings.sizes.contains(distinct.proposals.boxes))

    def scored(
        self, proposals: Proposals, of_classes: np.ndarray, of_background: np.ndarray
    ) -> Detections:
        """Detections of proposals with these probabilities.

        Parameters
        ----------
        proposals : Proposals
        of_classes : ndarray of shape (n_proposals, n_classes)
            Probabilities of the classes of objects.
        of_background : ndarray of shape (n_proposals,)
            Maximum probability of the labels that are not objects; 0 without any.
        """
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


def _by_image(detections: Detections, views: Views) -> Iterator[Detections]:
    """The detections of each image, in the order of its views."""
    order = np.argsort(detections.proposals.view, kind="stable")
    image = views.image_of(detections.proposals.view[order])
    ends = np.searchsorted(image, np.arange(len(views.images) + 1))
    for first, last in pairwise(ends):
        yield detections.select(order[first:last])

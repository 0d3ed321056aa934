"""Refinement of proposals whose content is recognised crop by crop.

1. Box regression moves the boxes to the objects that they show (`box_regression`).
2. The content of the boxes is recognised and scored.
3. Proposals that may show an object are also recognised unmoved, and split into parts,
   as objects that touch are one region.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .._images.rasters import Raster
from .box_regression import BoxRegression, RefinementRecipe
from .crop_specification import CropSpecification
from .crops import crops_of_views
from .detections import Detections
from .proposals import Proposals
from .recognizer import Recognizer
from .settings import SizeRange
from .views import NEGATIVES, Views


@dataclass(frozen=True, kw_only=True)
class RefiningRecognizer(Recognizer):
    """Moves boxes by a network; a subclass gives the probabilities of their content.

    Attributes
    ----------
    specification : CropSpecification
        Of the training images.
    box_regression : BoxRegression or None
        Refines the boxes of proposals to those of objects.
    refinement : RefinementRecipe
    """

    specification: CropSpecification
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
    def device(self) -> torch.device:
        """Where crops are computed."""
        return torch.device("cpu")

    @property
    def moves_boxes(self) -> bool:
        """Whether there is a box regression."""
        return self.box_regression is not None

    def views(self, images: Sequence[Raster], polarity: str) -> Views:
        """Images in [0, 1], their negatives, or both; see `Recognizer`."""
        return Views(
            [image.map(self.specification.to_unit).cached() for image in images],
            NEGATIVES[polarity],
            any_contrast=self.specification.fills_frame,
        )

    def recognise(
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
        return self.scored(proposals, *self.probabilities(views.rasters, proposals))


def _of_size(proposals: Proposals, sizes: SizeRange) -> Proposals:
    return proposals.select(sizes.contains(proposals.boxes))

"""A recogniser of pooled features: a backbone sees each image once.

1. The image, resized so that objects have a typical size, goes through the backbone.
2. Each proposal is pooled; a linear model drops those that show no object, and another
   moves the others to their objects.
3. The moved boxes are pooled, and a classifier recognises them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .._images.images import batch_slices
from .._images.rasters import Raster, Window, tile_rows, tile_side, with_halo
from .._network.backbone import Backbone
from .detections import Detections
from .linear_regression import LinearBoxRegression, PredictedOverlap
from .pooling import PooledMaps, PoolingRecipe
from .proposals import Proposals
from .recognizer import Recognizer
from .settings import SizeRange
from .views import Views

# Bytes of a backbone's activations for each pixel of its input.
_BYTES_PER_PIXEL = 600
# Working pixels around a tile on which its features depend noticeably.
_HALO = 128
# Minimum height and width of what a backbone gets: some networks fail for less.
_MIN_SIDE = 64
# Boxes whose features are in memory at once.
_BOXES_AT_ONCE = 4096
# Factor by which boxes may change their size on their way to objects.
_SIZE_TOLERANCE = 2.0
# Minimum side in pixels of a moved box.
_MIN_BOX = 2.0


@dataclass(frozen=True, kw_only=True)
class FeatureSpecification:
    """How photographs are seen, as learnt from the boxes in training.

    Attributes
    ----------
    scale : float
        Factor by which an image is resized for the backbone, in steps of 1 / 16.
    window_sizes : tuple of (float, float)
        Width and height of the windows that are proposed, in pixels of the image.
    object_sides : (float, float, float)
        Minimum, median and maximum of the longer side of the objects in training, in
        pixels.
    """

    scale: float
    window_sizes: tuple[tuple[float, float], ...]
    object_sides: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PooledRecognizer(Recognizer):
    """Recognises boxes by the feature maps of a backbone.

    Attributes
    ----------
    backbone : Backbone
    specification : FeatureSpecification
    pooling : PoolingRecipe
    overlap : PredictedOverlap or None
        Drops proposals that show no object.
    regressions : tuple of LinearBoxRegression
        Move boxes, one after the other.
    estimator : object with `predict_proba`
        Recognises feature vectors; None before it is trained.
    columns : ndarray of int
        Column of `predict_proba` for each class of objects; -1 for a class that the
        estimator has not seen.
    """

    backbone: Backbone
    specification: FeatureSpecification
    pooling: PoolingRecipe = field(default_factory=PoolingRecipe)
    overlap: PredictedOverlap | None = None
    regressions: tuple[LinearBoxRegression, ...] = ()
    estimator: Any = None
    columns: np.ndarray | None = None

    @property
    def moves_boxes(self) -> bool:
        """Whether there are box regressions."""
        return len(self.regressions) > 0

    @property
    def area_weight(self) -> float:
        """None: parts of objects are background in training, so their scores are low.

        On training photographs of cards that were held out, average precision is .70,
        and with a weight of 1, .63.
        """
        return 0.0

    def views(self, images: Sequence[Raster], polarity: str) -> Views:
        """The images as they are: a backbone knows dark and bright objects."""
        return Views([image.cached() for image in images], any_contrast=True)

    def recognise(
        self, views: Views, proposals: Proposals, sizes: SizeRange
    ) -> Detections:
        """Move and recognise proposals, tile by tile; see `Recognizer`."""
        near = sizes.widened(_SIZE_TOLERANCE)
        proposals = proposals.select(near.contains(proposals.boxes))
        parts = [self.recognise_in([], proposals.select(slice(0)), (1, 1))]
        for number, view in enumerate(views.rasters):
            of_view = proposals.select(proposals.view == number)
            for maps, rows in self.pooled_tiles(view, of_view.boxes):
                if len(rows):
                    parts.append(
                        self.recognise_in(maps, of_view.select(rows), view.size)
                    )
        together = Detections.concatenate(parts)
        return together.select(sizes.contains(together.proposals.boxes))

    def pooled_tiles(
        self, view: Raster, boxes: np.ndarray
    ) -> Iterator[tuple[PooledMaps, np.ndarray]]:
        """Feature maps of the tiles of a view, and the boxes with centres in each.

        Yields
        ------
        maps : PooledMaps
        rows : ndarray of int
        """
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        for window in self._windows(view.size):
            (y, x) = window
            is_inside = (centre[:, 0] >= x.start) & (centre[:, 1] >= y.start)
            # Centres of boxes at the border may lie outside by a rounding error.
            is_inside &= (centre[:, 0] < x.stop) | (x.stop == view.size[1])
            is_inside &= (centre[:, 1] < y.stop) | (y.stop == view.size[0])
            yield self._pooled_maps(view, window), np.flatnonzero(is_inside)

    def moved(
        self, maps: PooledMaps, boxes: np.ndarray, size: tuple[int, int]
    ) -> np.ndarray:
        """The boxes that may show an object, moved to it, without duplicates."""
        return self.steps(maps, boxes, size)[-1]

    def steps(
        self, maps: PooledMaps, boxes: np.ndarray, size: tuple[int, int]
    ) -> list[np.ndarray]:
        """The boxes that may show an object, after each move."""
        boxes = boxes.astype(np.float64)
        if self.overlap is not None:
            predicted = _in_batches(self.overlap, maps.features, boxes)
            boxes = boxes[predicted >= self.overlap.threshold]
        if not self.regressions:
            return [Proposals.from_boxes(boxes).distinct().boxes]
        steps = []
        for regression in self.regressions:
            boxes = self.move(regression, maps, boxes, size)
            boxes = Proposals.from_boxes(boxes).distinct().boxes.astype(np.float64)
            steps.append(boxes)
        return steps

    def move(
        self,
        regression: LinearBoxRegression,
        maps: PooledMaps,
        boxes: np.ndarray,
        size: tuple[int, int],
    ) -> np.ndarray:
        """Boxes moved by one regression, clipped to an image of a height and width."""
        moved = np.concatenate(
            [
                regression(maps.features(boxes[part]), boxes[part])
                for part in batch_slices(len(boxes), _BOXES_AT_ONCE)
            ]
            or [boxes]
        )
        moved = moved.clip(0, [size[1], size[0], size[1], size[0]])
        is_box = (moved[:, 2:] - moved[:, :2] >= _MIN_BOX).all(axis=1, keepdims=True)
        return np.where(is_box, moved, boxes)

    def recognise_in(
        self, maps: Any, proposals: Proposals, size: tuple[int, int]
    ) -> Detections:
        """Move and recognise proposals of one view, by the maps of a tile."""
        columns = np.asarray(self.columns)
        boxes = proposals.boxes
        if len(boxes):
            boxes = self.moved(maps, boxes, size)
        if len(boxes) == 0:
            none = proposals.select(slice(0))
            return self.scored(none, np.empty((0, len(columns))), np.empty(0))
        predict_proba = self.estimator.predict_proba
        proba = _in_batches(predict_proba, maps.features_and_details, boxes)
        of_classes = np.where(columns >= 0, proba[:, columns], 0)
        moved = Proposals.from_boxes(boxes, proposals.view[0])
        # The calibration alone says how likely an object is.
        return self.scored(moved, of_classes, np.zeros(len(boxes)))

    def _windows(self, size: tuple[int, int]) -> Iterator[Window]:
        """Tiles of an image of a size; one tile if all its features fit into memory."""
        scale = self.specification.scale
        whole = slice(0, size[0]), slice(0, size[1])
        side = tile_side(_BYTES_PER_PIXEL * scale**2, multiple=self._alignment)
        if math.prod(size) <= side**2:
            yield whole
            return
        for row in tile_rows(whole, side):
            yield from row

    @property
    def _alignment(self) -> int:
        """Pixels after which cells of all strides begin anew."""
        fraction = Fraction(self.specification.scale).limit_denominator(16)
        return 32 * fraction.denominator

    def _pooled_maps(self, view: Raster, window: Window) -> PooledMaps:
        """Feature maps of a tile of a view, with its surroundings."""
        scale = self.specification.scale
        halo = _HALO / scale + max(max(self.specification.window_sizes, key=max))
        outer, _ = with_halo(window, math.ceil(halo), view.size, self._alignment)
        pixels = resize(view.read(*outer), scale)
        maps, details = self.backbone.maps_and_details(pixels)
        origin = outer[1].start, outer[0].start
        return PooledMaps(maps, scale, origin, self.pooling, details)


def resize(pixels: torch.Tensor, scale: float) -> torch.Tensor:
    """An image resized by a factor, and extended to the minimum that a network takes.

    The factor is exact, whatever the size: tiles are resized as the whole image is.
    """
    # Extended before, as an image cannot be resized to less than a pixel.
    pixels = _at_least(pixels, math.ceil(_MIN_SIDE / scale))
    if scale == 1:
        return pixels
    resized = F.interpolate(
        pixels[None],
        scale_factor=scale,
        mode="bilinear",
        antialias=True,
        recompute_scale_factor=False,
    )
    return resized[0]


def _at_least(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """An image, extended at the right and at the bottom by its last pixels."""
    height, width = pixels.shape[1:]
    padding = (0, max(0, side - width), 0, max(0, side - height))
    return F.pad(pixels[None], padding, mode="replicate")[0] if any(padding) else pixels


def _in_batches(
    function: Callable[[np.ndarray], np.ndarray],
    features: Callable[[np.ndarray], np.ndarray],
    boxes: np.ndarray,
) -> np.ndarray:
    """A function of the features of boxes, one row for each."""
    return np.concatenate(
        [
            function(features(boxes[part]))
            for part in batch_slices(len(boxes), _BOXES_AT_ONCE)
        ]
    )

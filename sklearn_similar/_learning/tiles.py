"""Tiles of photographs: feature maps, with the objects and the proposals in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._search.pooled_recognizer import PooledRecognizer
from .._search.pooling import PooledMaps
from .._search.settings import ProposalSettings
from .._search.sources import propose
from .._tables.boxes import iou_matrix, max_share_inside, mirrored
from .annotated import MAX_CROWD_SHARE, AnnotatedPhotographs
from .recipe import PhotographRecipe


@dataclass(frozen=True)
class Tile:
    """The feature maps of a tile of a photograph, and boxes to learn from.

    Attributes
    ----------
    image : int
        Index of the photograph.
    maps : PooledMaps
    size : (int, int)
        Height and width of the photograph.
    objects : ndarray of shape (n_objects, 4)
        Boxes of all objects in the photograph.
    labels : ndarray of int of shape (n_objects,)
    proposals : ndarray of shape (n_proposals, 4)
        With their centre in the tile.
    is_mirrored : bool
        Whether the tile is of the mirror image, which is learnt from only.
    """

    image: int
    maps: PooledMaps
    size: tuple[int, int]
    objects: np.ndarray
    labels: np.ndarray
    proposals: np.ndarray
    is_mirrored: bool = False

    @cached_property
    def objects_inside(self) -> np.ndarray:
        """Boxes of the objects that a proposal of the tile overlaps."""
        if len(self.objects) == 0 or len(self.proposals) == 0:
            return self.objects[:0]
        overlap = iou_matrix(self.proposals, self.objects).max(axis=0)
        return self.objects[overlap > 0]

    def nearest(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """IoU with the nearest object, and its index; 0 and -1 without objects."""
        if len(self.objects) == 0 or len(boxes) == 0:
            return np.zeros(len(boxes)), np.full(len(boxes), -1)
        iou = iou_matrix(boxes, self.objects)
        return iou.max(axis=1), iou.argmax(axis=1)


def photograph_tiles(
    recognizer: PooledRecognizer,
    data: AnnotatedPhotographs,
    settings: ProposalSettings,
    recipe: PhotographRecipe,
) -> Iterator[Tile]:
    """The tiles of photographs and, if objects are few, of their mirror images."""
    n_objects = sum(map(len, data.boxes))
    for number, (image, objects, labels, crowds) in enumerate(
        zip(data.images, data.boxes, data.labels, data.crowds, strict=True)
    ):
        views = recognizer.views([image], "both")
        proposals = propose(views, settings).boxes
        in_crowd = max_share_inside(proposals, crowds) >= MAX_CROWD_SHARE
        if in_crowd.any():
            # They are neither background nor, unless an object has a box, objects.
            overlap = iou_matrix(proposals, objects).max(axis=1, initial=0)
            proposals = proposals[~in_crowd | (overlap >= recipe.object_iou)]
        view = views.rasters[0]
        for maps, rows in recognizer.pooled_tiles(view, proposals):
            yield Tile(number, maps, image.size, objects, labels, proposals[rows])
        if n_objects > recipe.max_mirrored:
            continue
        width = image.size[1]
        objects, proposals = mirrored(objects, width), mirrored(proposals, width)
        for maps, rows in recognizer.pooled_tiles(view.mirrored(), proposals):
            yield Tile(number, maps, image.size, objects, labels, proposals[rows], True)

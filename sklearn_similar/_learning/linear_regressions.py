"""Linear models that drop boxes without an object, and move the others to objects."""

from dataclasses import dataclass, fields, replace

import numpy as np

from .._search.linear_regression import LinearBoxRegression, PredictedOverlap
from .._search.pooled_recognizer import PooledRecognizer
from .recipe import PhotographRecipe
from .tiles import Tile

# Groups of boxes of background that are held out together.
_N_BACKGROUND_GROUPS = 10


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """Boxes, and the objects that they show.

    Attributes
    ----------
    features : ndarray of shape (n_boxes, n_features)
    boxes : ndarray of shape (n_boxes, 4)
    targets : ndarray of shape (n_boxes, 4)
        The box of the nearest object, or the box itself if no object is near.
    iou : ndarray of shape (n_boxes,)
        With the nearest object.
    shown : ndarray of int of shape (n_boxes,)
        Number of this object, -1 if no object is near.
    """

    features: np.ndarray
    boxes: np.ndarray
    targets: np.ndarray
    iou: np.ndarray
    shown: np.ndarray

    @classmethod
    def concatenate(cls, parts: "list[_Examples]") -> "_Examples":
        """The examples of all parts, in order."""
        return cls(
            **{
                field.name: np.concatenate(
                    [getattr(part, field.name) for part in parts]
                )
                for field in fields(cls)
            }
        )


def fit_regressions(
    recognizer: PooledRecognizer,
    tiles: list[Tile],
    boxes: list[np.ndarray],
    recipe: PhotographRecipe,
) -> PooledRecognizer:
    """Learn which boxes to drop, and to move the remaining boxes in several steps.

    Parameters
    ----------
    recognizer : PooledRecognizer
        Without regressions.
    tiles : list of Tile
    boxes : list of ndarray of shape (n_boxes, 4)
        The boxes to learn from in each tile.
    recipe : PhotographRecipe
    """
    first_object = _first_objects(tiles)
    for step in range(recipe.n_regressions):
        if step > 0:
            last = recognizer.regressions[-1]
            boxes = [
                recognizer.move(last, tile.maps, of_tile, tile.size)
                for tile, of_tile in zip(tiles, boxes, strict=True)
            ]
        # Later steps need no background.
        min_iou = 0 if step == 0 else recipe.near_iou
        examples = _Examples.concatenate(
            [
                _examples(tile, of_tile, min_iou, first_object[tile.image], recipe)
                for tile, of_tile in zip(tiles, boxes, strict=True)
            ]
        )
        if step == 0:
            overlap = PredictedOverlap.fit(
                examples.features,
                examples.iou,
                _groups(examples.shown),
                recipe.penalty,
                recipe.missed,
            )
            recognizer = replace(recognizer, overlap=overlap)
        is_near = examples.iou >= recipe.near_iou
        regression = LinearBoxRegression.fit(
            examples.features[is_near],
            examples.boxes[is_near],
            examples.targets[is_near],
            recipe.penalty,
        )
        regressions = (*recognizer.regressions, regression)
        recognizer = replace(recognizer, regressions=regressions)
    return recognizer


def _examples(
    tile: Tile,
    boxes: np.ndarray,
    min_iou: float,
    first_object: int,
    recipe: PhotographRecipe,
) -> _Examples:
    """Examples of the boxes of a tile that overlap an object by at least `min_iou`."""
    iou, nearest = tile.nearest(boxes)
    rows = np.flatnonzero(iou >= min_iou)
    boxes, iou, nearest = boxes[rows], iou[rows], nearest[rows]
    is_near = iou >= recipe.near_iou
    targets = boxes.copy()
    targets[is_near] = tile.objects[nearest[is_near]]
    return _Examples(
        features=tile.maps.features(boxes),
        boxes=boxes,
        targets=targets,
        iou=iou,
        shown=np.where(is_near, first_object + nearest, -1),
    )


def _first_objects(tiles: list[Tile]) -> dict[int, int]:
    """Number of the first object of each photograph, which its mirror image shares."""
    numbers: dict[int, int] = {}
    n_objects = 0
    for tile in tiles:
        if tile.image not in numbers:
            numbers[tile.image] = n_objects
            n_objects += len(tile.objects)
    return numbers


def _groups(shown: np.ndarray) -> np.ndarray:
    """Group of each box: the object that it shows, or one of those of background."""
    of_background = -1 - np.arange(len(shown)) % _N_BACKGROUND_GROUPS
    return np.where(shown >= 0, shown, of_background)

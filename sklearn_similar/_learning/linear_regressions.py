"""Linear models that drop boxes without an object, and move the others to objects."""

from dataclasses import replace

import numpy as np

from .._search.linear_regression import LinearBoxRegression, PredictedOverlap
from .._search.pooled_recognizer import PooledRecognizer
from .recipe import PhotographRecipe
from .tiles import Tile

# Groups of boxes of background that are held out together.
_N_BACKGROUND_GROUPS = 10


def fit_regressions(
    recognizer: PooledRecognizer,
    tiles: list[Tile],
    boxes: list[np.ndarray],
    recipe: PhotographRecipe,
) -> PooledRecognizer:
    """Learn which boxes to drop, and to move the others in several steps."""
    for step in range(recipe.n_regressions):
        if step > 0:
            boxes = [
                recognizer.move(
                    recognizer.regressions[-1], tile.maps, of_tile, tile.size
                )
                for tile, of_tile in zip(tiles, boxes, strict=True)
            ]
        features, sources, targets, ious, shown = [], [], [], [], []
        first_object = _first_objects(tiles)
        for tile, of_tile in zip(tiles, boxes, strict=True):
            iou, nearest = tile.nearest(of_tile)
            # Later steps need no background.
            rows = np.flatnonzero(iou >= (0 if step == 0 else recipe.near_iou))
            features.append(tile.maps.features(of_tile[rows]))
            sources.append(of_tile[rows])
            is_near = iou[rows] >= recipe.near_iou
            target = of_tile[rows].copy()
            target[is_near] = tile.objects[nearest[rows][is_near]]
            targets.append(target)
            ious.append(iou[rows])
            number = first_object[tile.image] + nearest[rows]
            shown.append(np.where(is_near, number, -1))
        X, iou = np.concatenate(features), np.concatenate(ious)
        del features
        if step == 0:
            recognizer = replace(
                recognizer,
                overlap=PredictedOverlap.fit(
                    X, iou, _groups(shown), recipe.penalty, recipe.missed
                ),
            )
        near = iou >= recipe.near_iou
        regression = LinearBoxRegression.fit(
            X[near],
            np.concatenate(sources)[near],
            np.concatenate(targets)[near],
            recipe.penalty,
        )
        recognizer = replace(
            recognizer, regressions=(*recognizer.regressions, regression)
        )
    return recognizer


def _first_objects(tiles: list[Tile]) -> dict[int, int]:
    """Number of the first object of each photograph, which its mirror image shares."""
    numbers: dict[int, int] = {}
    n_objects = 0
    for tile in tiles:
        if tile.image not in numbers:
            numbers[tile.image] = n_objects
            n_objects += len(tile.objects)
    return numbers


def _groups(shown: list[np.ndarray]) -> np.ndarray:
    """Group of each box: the object that it shows, or one of those of background."""
    shown_object = np.concatenate(shown)
    of_background = -1 - np.arange(len(shown_object)) % _N_BACKGROUND_GROUPS
    return np.where(shown_object >= 0, shown_object, of_background)

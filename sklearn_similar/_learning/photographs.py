"""Training on photographs with boxes: examples, box regression, classifier, mining.

1. Boxes to learn from: jittered boxes of the objects, windows near objects, and windows
   anywhere.
2. Linear models learn to drop boxes without an object, and to move the others.
3. The classifier learns the content of moved boxes.
4. What it takes for objects and is none joins the background, and it learns anew.
5. Scores are calibrated on photographs that were held out in turn (cross-validation).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from .._images.messages import count, warn_user
from .._network.backbone import Backbone
from .._network.isolation import random_seed
from .._progress import with_progress
from .._search.detections import Detections
from .._search.pooled_recognizer import FeatureSpecification, PooledRecognizer
from .._search.proposals import Proposals
from .._search.score_calibration import fit_calibration
from .._search.settings import ProposalSettings
from .._search.suppression import nms
from .._search.windows import typical_sizes
from .._tables.boxes import jitter
from .annotated import AnnotatedPhotographs
from .backbone import train_backbone
from .linear_regressions import fit_regressions
from .mirroring import mirroring_helps
from .recipe import PhotographRecipe
from .tiles import Tile, photograph_tiles


@dataclass
class Examples:
    """Feature vectors and their labels; -1 is background."""

    features: np.ndarray
    labels: np.ndarray

    def background(self) -> "Examples":
        """The examples of background."""
        rows = np.flatnonzero(self.labels < 0)
        return Examples(self.features[rows], self.labels[rows])

    @classmethod
    def concatenate(cls, parts: list["Examples"]) -> "Examples":
        """The examples of all parts, in order."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )


@dataclass(frozen=True, kw_only=True)
class _Training:
    """What training is told, besides the photographs."""

    estimator: Any
    names: np.ndarray
    is_complete: bool
    n_mining_rounds: int
    recipe: PhotographRecipe
    rng: np.random.RandomState


def train_on_photographs(
    estimator: Any,
    data: AnnotatedPhotographs,
    names: np.ndarray,
    backbone: Backbone | None,
    settings: ProposalSettings,
    recipe: PhotographRecipe,
    rng: np.random.RandomState,
    *,
    n_mining_rounds: int,
    verbose: int,
) -> PooledRecognizer:
    """Train a recogniser on photographs with boxes.

    Parameters
    ----------
    estimator : classifier with `predict_proba`
        To be cloned and trained on feature vectors.
    data : AnnotatedPhotographs
    names : ndarray
        Labels of the classes, that of background last.
    backbone : Backbone or None
        None: a small network is trained on the photographs.
    settings : ProposalSettings
        Sizes of windows are learnt.
    recipe : PhotographRecipe
    rng : RandomState
    n_mining_rounds : int
    verbose : int
        1 shows progress bars.

    Warns
    -----
    UserWarning
        If there are too few photographs to calibrate scores.
    """
    boxes = np.concatenate(data.boxes)
    specification = feature_specification(
        boxes, recipe, backbone is not None, random_seed(rng)
    )
    if backbone is not None and len(boxes) < recipe.min_detailed:
        backbone = replace(backbone, detail_layer=None)
    if backbone is None:
        backbone = train_backbone(
            data, specification.scale, recipe.backbone, rng, verbose
        )
    recognizer = PooledRecognizer(backbone=backbone, specification=specification)
    settings = replace(settings, window_sizes=specification.window_sizes)
    tiles = list(
        with_progress(
            photograph_tiles(recognizer, data, settings, recipe),
            "photographs",
            None,
            "tile",
            verbose,
        )
    )
    training = _Training(
        estimator=estimator,
        names=names,
        is_complete=data.is_complete,
        n_mining_rounds=n_mining_rounds,
        recipe=recipe,
        rng=rng,
    )
    if not _mirroring_helps(tiles, training):
        tiles = [tile for tile in tiles if not tile.is_mirrored]
    folds = _held_out_photographs(data, recipe, rng)
    judged = [
        _judged_detections(recognizer, tiles, rows, training)
        for rows in with_progress(
            folds, "calibration", len(folds), "fold", verbose and len(folds)
        )
    ]
    trained = _train(recognizer, tiles, training)
    if not judged:
        _warn_uncalibrated(data, recipe)
        return trained
    detections = Detections.concatenate(of_fold for of_fold, _ in judged)
    calibration = fit_calibration(
        detections.probability,
        detections.objectness,
        np.concatenate([is_right for _, is_right in judged]),
    )
    return replace(trained, calibration=calibration)


def _train(
    recognizer: PooledRecognizer, tiles: list[Tile], training: _Training
) -> PooledRecognizer:
    """Train box regressions and classifier on the tiles of photographs."""
    boxes = _boxes_to_learn_from(tiles, training)
    recognizer = fit_regressions(recognizer, tiles, boxes, training.recipe)
    parts = []
    for tile, of_tile in zip(tiles, boxes, strict=True):
        # Boxes on their way to objects vary more than those that have arrived.
        steps = recognizer.steps(tile.maps, of_tile, tile.size)
        examples = np.concatenate([*steps, tile.objects_inside])
        parts.append(_examples(tile, examples, training))
    if all((part.labels >= 0).all() for part in parts):
        # All boxes were dropped or moved to objects.
        parts += [
            _examples(tile, of_tile, training).background()
            for tile, of_tile in zip(tiles, boxes, strict=True)
        ]
    recognizer = _fit(recognizer, parts, training)
    for _ in range(training.n_mining_rounds):
        parts += [_hard_examples(recognizer, tile, training) for tile in tiles]
        recognizer = _fit(recognizer, parts, training)
    return recognizer


def _held_out_photographs(
    data: AnnotatedPhotographs, recipe: PhotographRecipe, rng: np.random.RandomState
) -> list[np.ndarray]:
    """Photographs that are held out in turn; none where there are too few."""
    rows = np.flatnonzero([len(boxes) > 0 for boxes in data.boxes])
    if len(rows) < recipe.min_photographs:
        return []
    folds = np.array_split(rng.permutation(rows), recipe.n_folds)
    # One fold of many photographs has enough detections.
    is_enough = len(folds[0]) >= recipe.enough_photographs
    return folds[:1] if is_enough else folds


def _warn_uncalibrated(data: AnnotatedPhotographs, recipe: PhotographRecipe) -> None:
    n_photographs = sum(len(boxes) > 0 for boxes in data.boxes)
    warn_user(
        f"Scores are not calibrated, as {count(n_photographs, 'photograph')} with "
        f"objects cannot be held out in turn (at least {recipe.min_photographs} are "
        "needed): look at detections before trusting score_threshold, or pass more "
        "photographs."
    )


def _judged_detections(
    recognizer: PooledRecognizer,
    tiles: list[Tile],
    held_out: np.ndarray,
    training: _Training,
) -> tuple[Detections, np.ndarray]:
    """Detections in held-out photographs, and whether each of them is right."""
    recipe = training.recipe
    training_tiles = [tile for tile in tiles if tile.image not in held_out]
    trained = _train(recognizer, training_tiles, training)
    detections, is_right = [], []
    for image in np.unique(held_out):
        of_image = [
            tile for tile in tiles if tile.image == image and not tile.is_mirrored
        ]
        candidates = Detections.concatenate(
            trained.recognise_in(
                tile.maps, Proposals.from_boxes(tile.proposals), tile.size
            )
            for tile in of_image
        )
        candidates = candidates.select(candidates.score >= recipe.min_score)
        distinct = trained.suppress(candidates, recipe.nms_threshold)
        iou, nearest = of_image[0].nearest(distinct.proposals.boxes)
        is_same = of_image[0].labels[nearest] == distinct.label
        # In partial photographs, there may be objects without boxes elsewhere.
        is_known = iou >= (0 if training.is_complete else recipe.part_iou)
        detections.append(distinct.select(is_known))
        is_right.append((is_same & (iou >= recipe.object_iou))[is_known])
    return Detections.concatenate(detections), np.concatenate(is_right)


def _mirroring_helps(tiles: list[Tile], training: _Training) -> bool:
    """Whether objects, and as many boxes of background, are learnt better mirrored."""
    if not any(tile.is_mirrored for tile in tiles):
        return False
    parts, images, is_mirrored = [], [], []
    for tile in tiles:
        boxes = [tile.objects_inside]
        if training.is_complete:
            iou, _ = tile.nearest(tile.proposals)
            far = np.flatnonzero(iou < training.recipe.near_iou)
            far = _some(far, max(1, len(tile.objects_inside)), training.rng)
            boxes.append(tile.proposals[far])
        part = _examples(tile, np.concatenate(boxes), training)
        parts.append(part)
        images += [tile.image] * len(part.labels)
        is_mirrored += [tile.is_mirrored] * len(part.labels)
    examples = Examples.concatenate(parts)
    return mirroring_helps(
        examples.features, examples.labels, np.array(images), np.array(is_mirrored)
    )


def _boxes_to_learn_from(tiles: list[Tile], training: _Training) -> list[np.ndarray]:
    """Jittered boxes and proposals, near objects and elsewhere, of each tile."""
    recipe, rng = training.recipe, training.rng
    n_objects = sum(len(tile.objects_inside) for tile in tiles)
    n_near = int(np.clip(recipe.max_near // max(1, n_objects), 1, recipe.n_near))
    n_jittered = min(n_near, recipe.n_jittered)
    n_far = int(np.clip(recipe.max_far // len(tiles), 1, recipe.n_far))
    boxes = []
    for tile in tiles:
        objects = tile.objects_inside
        iou, _ = tile.nearest(tile.proposals)
        near = _some(np.flatnonzero(iou >= recipe.near_iou), n_near * len(objects), rng)
        far = _some(np.flatnonzero(iou < recipe.near_iou), n_far, rng)
        repeated = np.repeat(objects, n_jittered, axis=0)
        jittered = _jittered(repeated, tile.size, recipe, rng)
        boxes.append(
            np.concatenate([jittered, tile.proposals[near], tile.proposals[far]])
        )
    return boxes


def _some(rows: np.ndarray, n: int, rng: np.random.RandomState) -> np.ndarray:
    return rng.permutation(rows)[:n]


def _jittered(
    boxes: np.ndarray,
    size: tuple[int, int],
    recipe: PhotographRecipe,
    rng: np.random.RandomState,
) -> np.ndarray:
    moved = jitter(boxes, recipe.jitter, rng)
    moved = moved.clip(0, [size[1], size[0], size[1], size[0]])
    is_box = (moved[:, 2:] - moved[:, :2] >= 2).all(axis=1, keepdims=True)
    return np.where(is_box, moved, boxes)


def _examples(tile: Tile, boxes: np.ndarray, training: _Training) -> Examples:
    """Examples of objects and of background; boxes between the two are left out."""
    recipe = training.recipe
    boxes = Proposals.from_boxes(boxes).boxes
    iou, nearest = tile.nearest(boxes)
    is_object = iou >= recipe.object_iou
    is_background = iou < recipe.background_iou
    if not training.is_complete and len(tile.objects):
        # Elsewhere there may be objects without boxes.
        is_background &= iou >= recipe.part_iou
    labels = np.full(len(boxes), -1)
    labels[is_object] = tile.labels[nearest[is_object]]
    rows = np.flatnonzero(is_object | is_background)
    return Examples(tile.maps.features_and_details(boxes[rows]), labels[rows])


def _hard_examples(
    recognizer: PooledRecognizer,
    tile: Tile,
    training: _Training,
) -> Examples:
    """Background that the recogniser takes for objects, and some of its objects."""
    recipe = training.recipe
    result = recognizer.recognise_in(
        tile.maps, Proposals.from_boxes(tile.proposals), tile.size
    )
    boxes = result.proposals.boxes
    iou, _ = tile.nearest(boxes)
    is_hard = (iou < recipe.background_iou) & (
        result.objectness > recipe.hard_probability
    )
    hard = np.flatnonzero(is_hard)
    distinct = nms(boxes[hard], result.objectness[hard], recipe.hard_iou)
    hard = hard[distinct][: recipe.n_hard]
    easy = np.flatnonzero(iou >= recipe.object_iou)
    easy = _some(easy, recipe.n_near * len(tile.objects_inside) // 2, training.rng)
    return _examples(tile, boxes[np.concatenate([hard, easy])], training)


def _fit(
    recognizer: PooledRecognizer, parts: list[Examples], training: _Training
) -> PooledRecognizer:
    """Train a clone of the estimator on examples."""
    examples = Examples.concatenate(parts)
    if (examples.labels >= 0).all():
        raise ValueError(
            "The objects leave no background to learn from; pass background_images, or "
            "photographs with more around the objects."
        )
    names = training.names
    # The index of background is that of the last name.
    trained = clone(training.estimator).fit(examples.features, names[examples.labels])
    column_of = {
        label: column for column, label in enumerate(trained.classes_.tolist())
    }
    columns = [column_of.get(label, -1) for label in names[:-1].tolist()]
    return replace(recognizer, estimator=trained, columns=np.array(columns))


def feature_specification(
    boxes: np.ndarray, recipe: PhotographRecipe, is_pretrained: bool, seed: int
) -> FeatureSpecification:
    """How photographs are seen, by the boxes n x 4 of their objects."""
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    median = float(np.median(longer))
    if is_pretrained:
        reduced = min(recipe.object_side / median, 1.0)
        enlarged = min(recipe.enlarged_side / median, recipe.max_scale)
        scale = max(reduced, enlarged)
    else:
        scale = min(recipe.small_object_side / median, recipe.max_scale)
    sizes = typical_sizes(boxes, recipe.n_window_sizes, seed)
    return FeatureSpecification(
        scale=max(1, round(16 * scale)) / 16,
        window_sizes=tuple((float(width), float(height)) for width, height in sizes),
        object_sides=(
            float(longer.min()),
            median,
            float(longer.max()),
        ),
    )

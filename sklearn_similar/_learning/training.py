"""Training of a recogniser: examples, hard negatives, calibration of its scores."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._images.images import Images, batch_slices
from .._images.labels import BACKGROUND
from .._images.messages import count, warn_user
from .._images.splits import rank_within
from .._network.isolation import random_seed
from .._progress import with_progress
from .._scenes.backgrounds import make_backgrounds
from .._search.box_regression import BoxRegression
from .._search.crop_recognizer import CropRecognizer
from .._search.image_format import ImageFormat
from .box_regression import fit_box_regression
from .calibration import calibrate
from .examples import TrainingExamples, make_examples
from .mining import mine_hard_negatives
from .recipe import CalibrationRecipe, LearningRecipe, ViewRecipe
from .settings import TrainingSettings
from .stages import StagedTraining

# Images that are read together.
_IMAGES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """The images to train on.

    Attributes
    ----------
    images : Images
        As the user passed them.
    rows : ndarray of int of shape (n_objects,)
        Those that show an object.
    objects : ndarray of shape (n_objects, height, width) or \
            (n_objects, height, width, n_channels)
        The same in 8 bits, bright on black, to be pasted into scenes.
    labels : ndarray of int of shape (n_objects,)
        Indices into `names`.
    background_rows : ndarray of int
        Images of background.
    background_images : list of ndarray
        Images without objects, of any sizes, uint8.
    names : ndarray
        Labels that the estimator is trained on, that of background last.
    """

    images: Images
    rows: np.ndarray
    objects: np.ndarray
    labels: np.ndarray
    background_rows: np.ndarray
    background_images: list[np.ndarray]
    names: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Training:
    """The arguments of `train_recognizer` that several steps share."""

    data: TrainingImages
    image_format: ImageFormat
    settings: TrainingSettings
    recipe: LearningRecipe
    rng: np.random.RandomState


def read_objects(
    images: Images, rows: np.ndarray, image_format: ImageFormat
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of images that are not blank, and these images in 8 bits.

    Raises
    ------
    ValueError
        If all of them are blank, or have one pixel.
    """
    if image_format.specification.size == (1, 1):
        raise ValueError(
            f"X has {image_format.n_channels} feature(s), images of one pixel; pass "
            "images that show an instance."
        )
    objects = np.concatenate(
        [
            image_format.read_as_uint8(images, rows[part])
            for part in batch_slices(len(rows), _IMAGES_AT_ONCE)
        ]
    )
    is_blank = ~objects.any(axis=tuple(range(1, objects.ndim)))
    if is_blank.all():
        raise ValueError("All images in X are blank; pass bright objects on black.")
    if is_blank.any():
        warn_user(
            f"{is_blank.sum()} images in X are blank, the first of them image "
            f"{rows[is_blank][0]}; they are not trained on.",
        )
    return rows[~is_blank], objects[~is_blank]


def train_recognizer(
    estimator: Any,
    data: TrainingImages,
    image_format: ImageFormat,
    settings: TrainingSettings,
    recipe: LearningRecipe,
    rng: np.random.RandomState,
) -> CropRecognizer:
    """Train an estimator on crops of scenes, mine its errors, calibrate its scores.

    Raises
    ------
    ValueError
        If the estimator knows other classes than those that it was trained on.
    """
    held_out = _held_out(data.labels, recipe.calibration, rng)
    rows = np.setdiff1d(np.arange(len(data.labels)), held_out)
    _warn_of_few_objects(len(held_out), len(rows), settings, recipe)
    backgrounds, held_out_backgrounds = _split_backgrounds(
        data.background_images, recipe.calibration, rng
    )
    training = _Training(
        data=data, image_format=image_format, settings=settings, recipe=recipe, rng=rng
    )
    examples = make_examples(
        data.objects[rows],
        backgrounds,
        image_format,
        settings,
        recipe,
        rng,
        n_box_examples=settings.n_instance_crops,
    )
    box_regression = fit_box_regression(
        examples.box_examples, recipe.box_regression, random_seed(rng), settings.verbose
    )
    crops, labels = _with_plain_images(examples, rows, training)
    # Frees as much memory as the crops take.
    del examples
    crops, labels = _shuffled(crops, labels, rng)
    stages = StagedTraining(
        estimator=estimator,
        epoch_share=recipe.mining.epoch_share,
        min_last_share=recipe.mining.min_last_share,
        scaling=image_format.scaling,
    )
    if settings.n_mining_rounds:
        rows = stages.hold_out(crops, data.names[labels], rng)
        crops, labels = crops[rows], labels[rows]
    for _ in range(settings.n_mining_rounds):
        few = _few_of_each(labels, recipe.mining.max_crops)
        recognizer = _fit(stages.fit, crops[few], labels[few], box_regression, training)
        hard_negatives = _hard_negatives(recognizer, backgrounds, training)
        crops = np.concatenate([crops, hard_negatives])
        labels = np.append(labels, np.full(len(hard_negatives), BACKGROUND))
        crops, labels = _shuffled(crops, labels, rng)
    recognizer = _fit(stages.fit_last, crops, labels, box_regression, training)
    if not len(held_out):
        return recognizer
    backgrounds = _fresh_backgrounds(
        held_out_backgrounds,
        recipe.calibration.views,
        training,
        texture_share=recipe.calibration.texture_share,
    )
    objects, labels = data.objects[held_out], data.labels[held_out]
    calibration = calibrate(
        recognizer, objects, labels, backgrounds, settings, recipe, rng
    )
    return replace(recognizer, calibration=calibration)


def frozen_recognizer(
    estimator: Any, classes: np.ndarray, background: Any, image_format: ImageFormat
) -> tuple[CropRecognizer, np.ndarray]:
    """Recogniser of a trained estimator, and the labels of its objects.

    Raises
    ------
    ValueError
        If the estimator does not know one of the classes.
    """
    known = np.asarray(estimator.classes_)
    unknown = np.setdiff1d(classes, known).tolist()
    if unknown:
        raise ValueError(
            f"y holds labels that the frozen estimator does not know: {unknown}; "
            "leave such images out, or pass an estimator that is not frozen."
        )
    is_object = np.ones(len(known), dtype=bool)
    if background is not None:
        is_object = known != background
    columns = np.flatnonzero(is_object)
    recognizer = CropRecognizer(
        specification=image_format.specification,
        estimator=estimator,
        image_format=image_format,
        columns=columns,
    )
    # Next to a background of -1, bools have become integers: restore those of y.
    restored = known[columns].astype(classes.dtype)
    is_same = np.array_equal(restored, known[columns])
    return recognizer, restored if is_same else known[columns]


def _held_out(
    labels: np.ndarray, recipe: CalibrationRecipe, rng: np.random.RandomState
) -> np.ndarray:
    """Indices of a share of the images of each class, none of a class with few.

    Of few images, a larger share is held out, or none.
    """
    order = rng.permutation(len(labels))
    counts = np.bincount(labels)
    rank = rank_within(labels[order])

    def chosen(share: float) -> np.ndarray:
        return rank < np.floor(share * counts).astype(int)[labels[order]]

    share = min(recipe.held_out_fraction, recipe.max_held_out / len(labels))
    is_held_out = chosen(share)
    if is_held_out.sum() >= recipe.min_held_out:
        return order[is_held_out]
    candidates = np.flatnonzero(chosen(recipe.max_fraction))
    if len(candidates) < recipe.min_held_out:
        return order[:0]
    # As many of each class as possible.
    evenly = candidates[np.argsort(rank[candidates], kind="stable")]
    return order[evenly[: recipe.min_held_out]]


def _warn_of_few_objects(
    n_held_out: int, n_training: int, settings: TrainingSettings, recipe: LearningRecipe
) -> None:
    """Warn of what cannot be learnt from few objects, in one sentence."""
    calibration, regression = recipe.calibration, recipe.box_regression
    consequences = []
    if n_held_out == 0:
        consequences.append(
            f"scores are not calibrated, as {calibration.min_held_out} images would "
            f"have to be held out, and at most {calibration.max_fraction:.0%} of each "
            "class"
        )
    if settings.n_instance_crops and not regression.n_held_out_objects(n_training):
        n_needed = math.ceil(regression.min_objects / regression.max_fraction)
        consequences.append(f"boxes are not refined, which takes {n_needed} images")
    if consequences:
        warn_user(
            f"X has {count(n_held_out + n_training, 'image')} of objects: "
            f"{'; '.join(consequences)}. Pass more images, or choose score_threshold "
            "with care, on images whose objects are known."
        )


def _split_backgrounds(
    images: list[np.ndarray], recipe: CalibrationRecipe, rng: np.random.RandomState
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Background images to train on, and those to calibrate scores on.

    The same for both if there are few.
    """
    if len(images) < recipe.min_backgrounds:
        return images, images
    order = rng.permutation(len(images))
    n_held_out = max(1, int(recipe.held_out_fraction * len(images)))
    parts = order[n_held_out:], order[:n_held_out]
    training, held_out = ([images[index] for index in part] for part in parts)
    return training, held_out


def _some_of_each(
    labels: np.ndarray, max_images: int, rng: np.random.RandomState
) -> np.ndarray:
    """Indices of about so many images at random, at least one of each class."""
    order = rng.permutation(len(labels))
    is_first = rank_within(labels[order]) == 0
    n_images = max(max_images, is_first.sum())
    return order[np.argsort(~is_first, kind="stable")][:n_images]


def _few_of_each(labels: np.ndarray, max_crops: int) -> np.ndarray:
    """Rows of the first crops of each class, which are in random order."""
    codes = labels - BACKGROUND
    share = min(1, max_crops / len(labels))
    max_of_class = np.ceil(share * np.bincount(codes)).astype(int)
    return np.flatnonzero(rank_within(codes) < max_of_class[codes])


def _with_plain_images(
    examples: TrainingExamples, rows: np.ndarray, training: _Training
) -> tuple[np.ndarray, np.ndarray]:
    """Crops to train on, after images of X as they are; and their classes."""
    data, recipe = training.data, training.recipe
    labels = data.labels[rows]
    n_plain = int(recipe.plain_share * training.settings.n_instance_crops)
    plain = _some_of_each(labels, max(recipe.min_plain, n_plain), training.rng)
    images = training.image_format.select(data.images, data.rows[rows[plain]])
    is_object = examples.labels != BACKGROUND
    of_crops = np.where(is_object, labels[examples.labels], BACKGROUND)
    return (
        np.concatenate([images, examples.crops]),
        np.concatenate([labels[plain], of_crops]),
    )


def _shuffled(
    crops: np.ndarray, labels: np.ndarray, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(len(crops))
    return crops[order], labels[order]


def _fit(
    fit_estimator: Callable[[np.ndarray, np.ndarray], Any],
    crops: np.ndarray,
    labels: np.ndarray,
    box_regression: BoxRegression | None,
    training: _Training,
) -> CropRecognizer:
    """The recogniser of what a stage trains on crops and the images of background."""
    data, image_format = training.data, training.image_format
    if len(data.background_rows):
        background = image_format.select(data.images, data.background_rows)
        crops = np.concatenate([crops, background])
        labels = np.append(labels, np.full(len(background), BACKGROUND))
    # The index of background is that of the last name.
    trained = fit_estimator(crops, data.names[labels])
    known = np.asarray(trained.classes_)
    if not np.array_equal(known, np.unique(data.names)):
        raise ValueError(
            "After fit, the estimator has other classes than it was trained on; "
            "if a part of it is frozen, freeze all of it: FrozenEstimator(estimator)."
        )
    return CropRecognizer(
        specification=image_format.specification,
        estimator=trained,
        image_format=image_format,
        columns=np.searchsorted(known, data.names[:-1]),
        box_regression=box_regression,
        refinement=training.recipe.refinement,
    )


def _hard_negatives(
    recognizer: CropRecognizer, backgrounds: list[np.ndarray], training: _Training
) -> np.ndarray:
    """Crops of fresh backgrounds that the recogniser takes for objects."""
    settings, recipe = training.settings, training.recipe.mining
    images = _fresh_backgrounds(backgrounds, recipe.views, training)
    return mine_hard_negatives(
        recognizer,
        with_progress(images, "hard negatives", len(images), "image", settings.verbose),
        training.image_format,
        settings.proposals,
        recipe,
        int(recipe.share * settings.n_background_crops),
    )


def _fresh_backgrounds(
    images: list[np.ndarray],
    views: ViewRecipe,
    training: _Training,
    *,
    texture_share: float = 1.0,
) -> list[np.ndarray]:
    """Other textures and views of the background images than in the crops."""
    recipe, objects = training.recipe, training.data.objects
    n_crops = training.settings.n_background_crops
    n_textures = n_crops // recipe.mining.crops_per_texture
    n_textures = int(np.clip(n_textures, *recipe.mining.n_textures))
    return make_backgrounds(
        int(texture_share * n_textures),
        images,
        objects.shape[3] if objects.ndim == 4 else None,
        recipe.scenes,
        training.rng,
        n_views=views.n_views(len(images), n_crops),
        max_side=views.max_side,
    )

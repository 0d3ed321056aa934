"""Training of a recogniser: crops, hard negatives, calibration of its scores."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from .._images.checks import check_background_images
from .._images.grouping import rank_within
from .._images.value_range import ranges_are_checked
from .._network.isolation import random_seed
from .._progress import with_progress
from .._scenes.scene import Scene
from .._scenes.training_scenes import make_backgrounds, make_training_scenes
from .._search.box_regression import BoxRegression, fit_box_regression
from .._search.crops import to_unit_tensor
from .._search.image_format import ImageFormat
from .._search.localization import Settings, find_instances
from .._search.recognizer import Recognizer
from .._search.score_calibration import ScoreCalibration, fit_calibration
from .mining import mine_hard_negatives
from .training_crops import instance_overlap, make_scene_crops

BACKGROUND = -1
# One image of so many is held out for the calibration, and at most so many in all.
_HELD_OUT = 10
_MAX_HELD_OUT = 1000
# Images that are trained on as they are, in parts of the crops of instances, and how
# many at least: what sets like classes apart is learnt from many.
_PLAIN_SHARE = 1.25
_MIN_PLAIN = 2000
# Crops that an estimator is trained on whose errors are mined.
_MAX_BEFORE_MINING = 10_000
# Hard negatives, in parts of the crops of background.
_MINED_SHARE = 0.5
# Images without instances: crops of background for each texture, most textures,
# most of the user's images, how often they are varied, largest height and width.
_CROPS_OF_A_TEXTURE = 200
_MAX_TEXTURES = 100
_MAX_BACKGROUND_IMAGES = 8
_VARIATIONS = 3
_MAX_SIZE = 320
# Instances in the scenes that scores are calibrated by: of few held-out images, each
# is shown several times, up to so many in all and in parts of the training crops.
_MIN_CALIBRATED = 300
_CALIBRATED_SHARE = 0.1
_LEAST_SCORE = 0.02
_RIGHT_IOU = 0.5
# Scenes are full of instances. Images that are searched hold fewer, so that what is
# found in images without any counts so many times.
_EMPTY_WEIGHT = 3.0


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Parameters of `InstanceLocalizer` that act in `fit`."""

    n_instance_crops: int
    n_background_crops: int
    n_mining_rounds: int
    rotation: float
    n_thresholds: int
    verbose: int


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """What there is to train on.

    Attributes
    ----------
    instances : ndarray of shape (n_images, height, width) or \
            (n_images, height, width, n_channels)
        One object each, uint8.
    labels : ndarray of int of shape (n_images,)
        Indices into `names`.
    background : ndarray
        Images of background, as the estimator takes images.
    background_images : list of images, or None
        Images without instances, of any sizes.
    names : ndarray
        Labels that the estimator is trained on, that of background last.
    """

    instances: np.ndarray
    labels: np.ndarray
    background: np.ndarray
    background_images: Any
    names: np.ndarray


def train_recognizer(
    estimator: Any,
    images: TrainingImages,
    image_format: ImageFormat,
    settings: TrainingSettings,
    rng: np.random.RandomState,
) -> Recognizer:
    """Train clones of an estimator on crops, the last with hard negatives among them.

    Raises
    ------
    ValueError
        If the estimator knows other classes than those that it was trained on.
    """
    held_out = _held_out(images.labels, rng)
    training = np.setdiff1d(np.arange(len(images.labels)), held_out)
    crops, owner, examples = make_scene_crops(
        images.instances[training],
        replace(image_format.specification, low=0.0, high=1.0),
        background_images=images.background_images,
        n_instances=settings.n_instance_crops,
        n_background=settings.n_background_crops,
        n_examples=settings.n_instance_crops,
        rotation=settings.rotation,
        n_thresholds=settings.n_thresholds,
        rng=rng,
        verbose=settings.verbose,
    )
    box_regression = fit_box_regression(examples, random_seed(rng), settings.verbose)
    del examples
    n_plain = max(_MIN_PLAIN, int(_PLAIN_SHARE * settings.n_instance_crops))
    plain = training[_some_of_each(images.labels[training], n_plain, rng)]
    labels = np.where(owner >= 0, images.labels[training][owner], BACKGROUND)
    order = rng.permutation(len(plain) + len(crops))
    crops = np.concatenate([images.instances[plain], crops])[order]
    labels = np.concatenate([images.labels[plain], labels])[order]
    for _ in range(settings.n_mining_rounds):
        few = _few_of_each(labels)
        recognizer = _fit(
            estimator, crops[few], labels[few], images, image_format, box_regression
        )
        backgrounds = _fresh_backgrounds(images, settings, _VARIATIONS, rng)
        mined = mine_hard_negatives(
            recognizer,
            with_progress(
                backgrounds,
                "hard negatives",
                len(backgrounds),
                "image",
                settings.verbose,
            ),
            settings.n_thresholds,
            int(_MINED_SHARE * settings.n_background_crops),
        )
        crops = np.concatenate([crops, mined.reshape(-1, *crops.shape[1:])])
        labels = np.concatenate([labels, np.full(len(mined), BACKGROUND)])
        order = rng.permutation(len(crops))
        crops, labels = crops[order], labels[order]
    recognizer = _fit(estimator, crops, labels, images, image_format, box_regression)
    if not len(held_out):
        return recognizer
    calibration = _calibrate(recognizer, images, held_out, settings, rng)
    return replace(recognizer, calibration=calibration)


def frozen_recognizer(
    estimator: Any, classes: np.ndarray, background: Any, image_format: ImageFormat
) -> tuple[Recognizer, np.ndarray]:
    """Recogniser of a trained estimator, and the labels of its instances.

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
    is_instance = np.ones(len(known), dtype=bool)
    if background is not None:
        is_instance = known != background
    columns = np.flatnonzero(is_instance)
    recognizer = Recognizer(
        estimator=estimator, image_format=image_format, columns=columns
    )
    # Beside a background of -1, bools have become integers: those of y are back.
    own = known[columns].astype(classes.dtype)
    return recognizer, own if np.array_equal(own, known[columns]) else known[columns]


def _held_out(labels: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Indices of a share of the images of each class, none of a class with few."""
    order = rng.permutation(len(labels))
    counts = np.bincount(labels)
    share = min(1 / _HELD_OUT, _MAX_HELD_OUT / len(labels))
    n_held_out = np.floor(share * counts).astype(int)
    return order[rank_within(labels[order]) < n_held_out[labels[order]]]


def _some_of_each(
    labels: np.ndarray, n_most: int, rng: np.random.RandomState
) -> np.ndarray:
    """Indices of about so many images at random, at least one of each class."""
    order = rng.permutation(len(labels))
    is_first = rank_within(labels[order]) == 0
    return order[np.argsort(~is_first, kind="stable")][: max(n_most, is_first.sum())]


def _few_of_each(labels: np.ndarray) -> np.ndarray:
    """Rows of the first crops of each class, which stand in random order."""
    codes = labels - BACKGROUND
    share = min(1, _MAX_BEFORE_MINING / len(labels))
    n_most = np.ceil(share * np.bincount(codes)).astype(int)
    return np.flatnonzero(rank_within(codes) < n_most[codes])


def _fit(
    estimator: Any,
    crops: np.ndarray,
    labels: np.ndarray,
    images: TrainingImages,
    image_format: ImageFormat,
    box_regression: BoxRegression | None,
) -> Recognizer:
    """Train a clone of the estimator on crops and the images of background."""
    X = np.concatenate([image_format.from_uint8(crops), images.background])
    # The index of the background is that of the last name.
    empty = np.full(len(images.background), BACKGROUND)
    y = images.names[np.concatenate([labels, empty])]
    with ranges_are_checked():
        trained = clone(estimator).fit(X, y)
    known = np.asarray(trained.classes_)
    if not np.array_equal(known, np.unique(images.names)):
        raise ValueError(
            "After fit, the estimator has other classes than it was trained on; "
            "if a part of it is frozen, freeze all of it: FrozenEstimator(estimator)."
        )
    return Recognizer(
        estimator=trained,
        image_format=image_format,
        columns=np.searchsorted(known, images.names[:-1]),
        box_regression=box_regression,
    )


def _fresh_backgrounds(
    images: TrainingImages,
    settings: TrainingSettings,
    variations: int,
    rng: np.random.RandomState,
) -> list[np.ndarray]:
    """Other textures and views of the background images than in the crops."""
    behind: list[np.ndarray] = []
    if images.background_images is not None:
        behind = check_background_images(images.background_images, "background_images")
        chosen = rng.permutation(len(behind))[:_MAX_BACKGROUND_IMAGES]
        behind = variations * [behind[index] for index in chosen]
    n_channels = images.instances.shape[3] if images.instances.ndim == 4 else None
    n_textures = settings.n_background_crops // _CROPS_OF_A_TEXTURE
    n_textures = int(np.clip(n_textures, 3, _MAX_TEXTURES)) * variations // _VARIATIONS
    backgrounds = make_backgrounds(n_textures, behind, n_channels, rng)
    return [_random_part(image, rng) for image in backgrounds]


def _random_part(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    y, x = (rng.randint(max(1, n - _MAX_SIZE + 1)) for n in image.shape[:2])
    return image[y : y + _MAX_SIZE, x : x + _MAX_SIZE]


def _calibrate(
    recognizer: Recognizer,
    images: TrainingImages,
    held_out: np.ndarray,
    settings: TrainingSettings,
    rng: np.random.RandomState,
) -> ScoreCalibration:
    """Calibration on scenes of held-out images, and on images without instances."""
    backgrounds = _fresh_backgrounds(images, settings, 1, rng)
    nothing = np.empty((0, 4)), np.empty(0, int)
    n_shown = min(_MIN_CALIBRATED, int(_CALIBRATED_SHARE * settings.n_instance_crops))
    scenes = [
        *make_training_scenes(
            images.instances[held_out],
            backgrounds,
            max(len(held_out), n_shown),
            settings.rotation,
            rng,
            recognizer.image_format.specification.fills_frame,
        ),
        *(Scene(image, *nothing) for image in backgrounds),
    ]
    score, objectness, weight = ([np.empty(0)] for _ in range(3))
    is_right = [np.empty(0, bool)]
    for scene in with_progress(
        scenes, "calibration", len(scenes), "scene", settings.verbose
    ):
        unit = to_unit_tensor(scene.pixels[np.newaxis])[0]
        pixels = recognizer.image_format.specification.from_unit(unit)
        search = Settings(
            proposals="image",
            n_thresholds=settings.n_thresholds,
            polarity="bright" if len(scene.boxes) else "both",
            scales=(1.0,),
            heat_threshold=None,
            score_threshold=_LEAST_SCORE,
            nms_threshold=0.3,
        )
        (found,) = find_instances([pixels], recognizer, search)
        labels = np.where(
            scene.labels >= 0, images.labels[held_out][scene.labels], BACKGROUND
        )
        overlap = instance_overlap(
            found.proposals["box"],
            scene.boxes,
            recognizer.image_format.specification,
        )
        is_same = found.label[:, np.newaxis] == labels
        score.append(found.score)
        objectness.append(found.objectness)
        is_right.append(((overlap >= _RIGHT_IOU) & is_same).any(axis=1))
        counts = 1.0 if len(scene.boxes) else _EMPTY_WEIGHT
        weight.append(np.full(len(found.score), counts))
    return fit_calibration(*map(np.concatenate, (score, objectness, is_right, weight)))

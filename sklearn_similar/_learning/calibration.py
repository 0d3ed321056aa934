"""Calibration of scores, on scenes of held-out images and on images without objects."""

from itertools import chain

import numpy as np

from .._images.labels import BACKGROUND
from .._images.rasters import Raster
from .._progress import with_progress
from .._scenes.scene import Scene
from .._scenes.training_scenes import n_scenes, training_scenes
from .._search.detections import Detections
from .._search.refinement import RefiningRecognizer
from .._search.score_calibration import ScoreCalibration, fit_calibration
from .._search.settings import ProposalSettings, SearchSettings
from .examples import object_overlap
from .recipe import LearningRecipe
from .settings import TrainingSettings


def calibrate(
    recognizer: RefiningRecognizer,
    objects: np.ndarray,
    labels: np.ndarray,
    background_images: list[np.ndarray],
    settings: TrainingSettings,
    recipe: LearningRecipe,
    rng: np.random.RandomState,
) -> ScoreCalibration:
    """Learn how often detections are right, by their probabilities.

    Parameters
    ----------
    recognizer : RefiningRecognizer
        Without calibration.
    objects : ndarray of shape (n, height, width) or (n, height, width, n_channels)
        Held-out images of one object each, uint8.
    labels : ndarray of int of shape (n,)
        Index of the class of each.
    background_images : list of ndarray
        Images without objects, uint8.
    settings : TrainingSettings
    recipe : LearningRecipe
    rng : RandomState
    """
    max_pasted = int(recipe.calibration.share * settings.n_instance_crops)
    n_objects = max(len(objects), min(recipe.calibration.min_objects, max_pasted))
    pasted = training_scenes(
        objects, background_images, n_objects, settings.rotation, recipe.scenes, rng
    )
    scenes = with_progress(
        chain(pasted, map(Scene.from_levels, background_images)),
        "calibration",
        n_scenes(objects, n_objects, recipe.scenes) + len(background_images),
        "scene",
        settings.verbose,
    )
    detections, is_right, weight = [], [], []
    for scene in scenes:
        of_scene = _detect(recognizer, scene, settings.proposals, recipe)
        classes = np.where(scene.labels == BACKGROUND, BACKGROUND, labels[scene.labels])
        detections.append(of_scene)
        is_right.append(_are_right(of_scene, scene, classes, recognizer, recipe))
        is_empty = len(scene.boxes) == 0
        weight_of_each = recipe.calibration.background_weight if is_empty else 1.0
        weight.append(np.full(len(of_scene), weight_of_each))
    together = Detections.concatenate(detections)
    return fit_calibration(
        together.probability,
        together.objectness,
        np.concatenate(is_right),
        np.concatenate(weight),
    )


def _detect(
    recognizer: RefiningRecognizer,
    scene: Scene,
    settings: ProposalSettings,
    recipe: LearningRecipe,
) -> Detections:
    """Detections in a scene, also with low scores."""
    search = SearchSettings(
        proposals=settings,
        polarity="bright" if len(scene.boxes) else "both",
        score_threshold=recipe.calibration.min_score,
        nms_threshold=recipe.calibration.nms_threshold,
    )
    pixels = recognizer.specification.from_unit(scene.pixels)
    result = recognizer.detect([Raster.from_tensor(pixels)], search)
    return result.detections[0]


def _are_right(
    detections: Detections,
    scene: Scene,
    classes: np.ndarray,
    recognizer: RefiningRecognizer,
    recipe: LearningRecipe,
) -> np.ndarray:
    """Whether each detection has the box and the label of an object."""
    overlap = object_overlap(
        detections.proposals.boxes, scene.boxes, recognizer.specification
    )
    is_same = detections.label[:, np.newaxis] == classes
    return ((overlap >= recipe.calibration.right_iou) & is_same).any(axis=1)

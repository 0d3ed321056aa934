"""Hard negatives: background that a recogniser takes for objects."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from .._images.rasters import Raster
from .._scenes.scene import Scene
from .._search.crops import crop_boxes
from .._search.image_format import ImageFormat
from .._search.refinement import RefiningRecognizer
from .._search.settings import ProposalSettings, SearchSettings
from .recipe import MiningRecipe


def mine_hard_negatives(
    recognizer: RefiningRecognizer,
    images: Iterable[np.ndarray],
    image_format: ImageFormat,
    settings: ProposalSettings,
    recipe: MiningRecipe,
    max_crops: int,
) -> np.ndarray:
    """Crops of images without objects that score as objects.

    Parameters
    ----------
    recognizer : RefiningRecognizer
    images : iterable of ndarray
        Images of any sizes without objects, some of them negatives, uint8.
    image_format : ImageFormat
        How the estimator takes crops.
    settings : ProposalSettings
    recipe : MiningRecipe
    max_crops : int

    Returns
    -------
    ndarray of shape (n_crops, ...)
        As the estimator takes images, the most probable first.
    """
    # All recognised boxes are looked at, and no detections are asked for.
    search = SearchSettings(
        proposals=settings, polarity="bright", score_threshold=np.inf, nms_threshold=1.0
    )
    refinement = replace(recognizer.refinement, min_objectness=recipe.min_objectness)
    recognizer = replace(recognizer, refinement=refinement)
    specification = recognizer.specification
    crops = [np.empty((0, *image_format.shape), image_format.dtype)]
    probabilities = [np.empty(0)]
    for image in images:
        pixels = specification.from_unit(Scene.from_levels(image).pixels)
        result = recognizer.detect([Raster.from_tensor(pixels)], search)
        hard = result.recognised.select(
            result.recognised.probability >= recipe.min_probability
        )
        for number, view in enumerate(result.views.rasters):
            of_view = hard.select(hard.proposals.view == number)
            boxes = of_view.proposals.boxes
            crops.append(
                image_format.array_from_unit(crop_boxes(view, boxes, specification))
            )
            probabilities.append(of_view.probability)
    order = np.argsort(-np.concatenate(probabilities), kind="stable")
    return np.concatenate(crops)[order[:max_crops]]

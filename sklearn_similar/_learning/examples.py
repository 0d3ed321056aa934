"""Training examples: crops of scenes with their labels, and proposals to refine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .._images.labels import BACKGROUND
from .._images.rasters import Raster
from .._images.splits import rank_within
from .._progress import with_progress
from .._scenes.backgrounds import make_backgrounds
from .._scenes.restyling import restyle
from .._scenes.scene import Scene
from .._scenes.training_scenes import n_scenes, training_scenes
from .._search.crop_specification import CropSpecification
from .._search.crops import crop_boxes, crop_windows
from .._search.image_format import ImageFormat
from .._search.settings import ProposalSettings
from .._search.sources import propose
from .._search.views import Views
from .._tables.boxes import area, jitter, paired_iou
from .box_regression import BoxExamples
from .recipe import CropRecipe, LearningRecipe
from .settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class TrainingExamples:
    """Crops as an estimator takes images, and proposals to learn box regression from.

    Attributes
    ----------
    crops : ndarray of shape (n_crops, ...)
    labels : ndarray of int of shape (n_crops,)
        Row of the image that each crop shows; `BACKGROUND` for others.
    box_examples : BoxExamples
    """

    crops: np.ndarray
    labels: np.ndarray
    box_examples: BoxExamples


def make_examples(
    images: np.ndarray,
    background_images: list[np.ndarray],
    image_format: ImageFormat,
    settings: TrainingSettings,
    recipe: LearningRecipe,
    rng: np.random.RandomState,
    *,
    n_box_examples: int,
) -> TrainingExamples:
    """Paste images into scenes, and crop these as a search crops images.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, n_channels)
        One object each, uint8.
    background_images : list of ndarray
        Images without objects, uint8; textures are added.
    image_format : ImageFormat
    settings : TrainingSettings
    recipe : LearningRecipe
    rng : RandomState
    n_box_examples : int
        Maximum number of proposals to learn box regression from.

    Returns
    -------
    TrainingExamples
        Crops of objects first.
    """
    n_objects, n_background = settings.n_instance_crops, settings.n_background_crops
    n_channels = images.shape[3] if images.ndim == 4 else None
    n_textures = n_background // recipe.crops_per_texture
    backgrounds = make_backgrounds(
        int(np.clip(n_textures, *recipe.n_textures)),
        background_images,
        n_channels,
        recipe.scenes,
        rng,
        n_views=recipe.views.n_views(len(background_images), n_background),
        max_side=recipe.views.max_side,
    )
    chosen = rng.permutation(len(images))[: max(n_objects, recipe.min_restyled)]
    restyled = np.stack(
        [restyle(image, recipe.scenes, rng) for image in images[chosen]]
    )
    total = n_scenes(restyled, n_objects, recipe.scenes) + 2 * len(backgrounds)
    scenes = with_progress(
        _with_empty_scenes(
            training_scenes(
                restyled, backgrounds, n_objects, settings.rotation, recipe.scenes, rng
            ),
            backgrounds,
        ),
        f"training crops ({n_objects:,} of objects, {n_background:,} of background)",
        total,
        "scene",
        settings.verbose,
    )
    # As many crops are made as may be needed, and 8 bytes would double their memory.
    is_double = image_format.dtype == np.float64
    compact = replace(image_format, dtype=np.dtype(np.float32))
    n_spare = -(-recipe.spare_background * n_background // total)
    parts = [
        crop_scene(
            scene,
            compact if is_double else image_format,
            settings.proposals,
            recipe,
            rng,
            max_background=n_spare,
            with_box_examples=n_box_examples > 0,
        )
        for scene in scenes
    ]
    examples = _sample(parts, chosen, rng, n_objects, n_background, n_box_examples)
    return replace(examples, crops=examples.crops.astype(image_format.dtype))


def _with_empty_scenes(
    scenes: Iterable[Scene], backgrounds: list[np.ndarray]
) -> Iterator[Scene]:
    """The scenes, and backgrounds of both polarities without objects."""
    yield from scenes
    for image in backgrounds:
        empty = Scene.from_levels(image)
        yield empty
        yield empty.negative()


def crop_scene(
    scene: Scene,
    image_format: ImageFormat,
    settings: ProposalSettings,
    recipe: LearningRecipe,
    rng: np.random.RandomState,
    *,
    max_background: int,
    with_box_examples: bool,
) -> TrainingExamples:
    """Crops of a scene's proposals: all of objects, and some of background."""
    specification = image_format.specification
    image = Raster.from_tensor(scene.pixels)
    views = Views([image], any_contrast=specification.fills_frame)
    proposals = propose(views, settings)
    boxes = np.concatenate(
        [proposals.boxes, proposals.split().boxes, _jittered(scene, recipe.crops, rng)]
    )
    iou, nearest = _best_overlap(boxes, scene, specification)
    label = np.full(len(boxes), BACKGROUND)
    is_object = iou >= recipe.crops.object_iou
    label[is_object] = scene.labels[nearest[is_object]]
    is_background = (label == BACKGROUND) & (
        is_object | (iou < recipe.crops.background_iou)
    )
    background = rng.permutation(np.flatnonzero(is_background))[:max_background]
    is_cropped = label != BACKGROUND
    is_cropped[background] = True
    crops = crop_boxes(image, boxes[is_cropped], specification)
    rows = np.flatnonzero(iou >= recipe.crops.example_iou)
    # In a scene of the wrong polarity, nothing is an object.
    rows = rows[scene.labels[nearest[rows]] != BACKGROUND]
    n_boxes = with_box_examples * recipe.crops.examples_per_object * len(scene.boxes)
    rows = rng.permutation(rows)[:n_boxes]
    context_crop = recipe.refinement.context_crop(specification)
    return TrainingExamples(
        crops=image_format.array_from_unit(crops),
        labels=label[is_cropped],
        box_examples=BoxExamples(
            crop_boxes(image, boxes[rows], context_crop),
            boxes[rows].astype(np.float64),
            scene.boxes[nearest[rows]],
            scene.labels[nearest[rows]],
        ),
    )


def _best_overlap(
    boxes: np.ndarray, scene: Scene, specification: CropSpecification
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum IoU of each box with an object, and which object that is."""
    if len(scene.boxes) == 0 or len(boxes) == 0:
        return np.zeros(len(boxes)), np.full(len(boxes), -1)
    overlap = object_overlap(boxes, scene.boxes, specification)
    return overlap.max(axis=1), overlap.argmax(axis=1)


def object_overlap(
    boxes: np.ndarray, objects: np.ndarray, specification: CropSpecification
) -> np.ndarray:
    """IoU of boxes and objects, n_boxes x n_objects.

    Where images fill their frame, that of the crops: the box of an object inside its
    image is not known.
    """
    if specification.fills_frame:
        boxes = crop_windows(boxes, specification)
        objects = crop_windows(objects, specification)
    return paired_iou(boxes[:, np.newaxis], objects)


def _jittered(
    scene: Scene, recipe: CropRecipe, rng: np.random.RandomState
) -> np.ndarray:
    """Boxes of objects with jittered corners, clipped to the scene."""
    boxes = np.repeat(scene.boxes, recipe.n_jittered, axis=0)
    boxes = np.rint(jitter(boxes, recipe.jitter, rng))
    height, width = scene.pixels.shape[1:]
    boxes = boxes.clip(0, [width, height, width, height])
    return boxes[area(boxes) > 0].astype(np.float32)


def _sample(
    parts: list[TrainingExamples],
    chosen: np.ndarray,
    rng: np.random.RandomState,
    n_objects: int,
    n_background: int,
    n_box_examples: int,
) -> TrainingExamples:
    """Sample examples of each kind, background evenly from all scenes.

    Labels of the parts are indices into `chosen`, which are rows of all images.
    """
    crops = np.concatenate([part.crops for part in parts])
    label = np.concatenate([part.labels for part in parts])
    scene = np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts])
    objects = rng.permutation(np.flatnonzero(label != BACKGROUND))[:n_objects]
    background = rng.permutation(np.flatnonzero(label == BACKGROUND))
    rank = rank_within(scene[background])
    background = background[np.argsort(rank, kind="stable")[:n_background]]
    boxes = BoxExamples.concatenate(part.box_examples for part in parts)
    boxes = replace(boxes, rows=chosen[boxes.rows])
    rows = np.concatenate([objects, background])
    labels = np.where(label[rows] == BACKGROUND, BACKGROUND, chosen[label[rows]])
    return TrainingExamples(
        crops=crops[rows],
        labels=labels,
        box_examples=boxes.select(rng.permutation(len(boxes))[:n_box_examples]),
    )

"""Training crops for `InstanceLocalizer`, from scenes made of labelled images."""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length, check_random_state

from .._compat import Interval, validate_params
from .._images.reading import uint8_image_list, uint8_images
from .._images.splits import rank_within
from .._progress import with_progress
from .._scenes.scene import Scene
from .._scenes.training_scenes import (
    make_backgrounds,
    make_training_scenes,
    n_views,
    restyle,
)
from .._search.box_regression import BoxExamples, wide_view
from .._search.crop_specification import (
    CropSpecification,
    choose_images,
    learn_crop_specification,
)
from .._search.crops import crop_boxes, crop_windows, to_unit_tensor
from .._search.polarity import warn_if_dark_on_light
from .._search.proposals import parts_of, propose
from .._tables.boxes import area, paired_iou

# Crops whose overlap with an instance is between these are left out. What fills its
# frame has no edges of its own, and is proposed less exactly.
# (Least of an instance, greatest of background.)
_IOUS = (0.7, 0.6)
_IOUS_IN_FRAMES = (0.5, 0.3)
# Boxes near each instance, and by how much of its sides their corners differ: about as
# exact as those that `localize` crops.
_N_NEAR = 1
_NEAR = 0.12
_N_NEAR_IN_FRAMES = 3
_NEAR_IN_FRAMES = 0.2
# Least overlap with an instance of boxes from which its own is learnt, and how many of
# these are taken from a scene for each instance in it.
_LEAST_EXAMPLE_IOU = 0.3
_EXAMPLES_OF_INSTANCE = 2
_N_TEXTURES = (6, 60)
_CROPS_OF_A_TEXTURE = 500
# Images that are shown at least, in fragments where no instance is wanted.
_MIN_SHOWN = 1000
# Crops of background that are made of a scene, in parts of its share of those wanted:
# not all scenes have enough.
_SPARE_BACKGROUND = 3


@validate_params(
    {
        "images": ["array-like"],
        "labels": ["array-like"],
        "background": "no_validation",
        "background_images": ["array-like", None],
        "n_instances": [Interval(Integral, 0, None, closed="left")],
        "n_background": [Interval(Integral, 1, None, closed="left")],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "n_thresholds": [Interval(Integral, 1, 255, closed="both")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def make_training_crops(
    images,
    labels,
    *,
    background,
    background_images=None,
    n_instances=40_000,
    n_background=30_000,
    rotation=10.0,
    n_thresholds=31,
    random_state=None,
    verbose=0,
):
    """Make crops of scenes and background, as `InstanceLocalizer` will meet them.

    The images are restyled (sheared, thickened, thinned, drawn in lines), placed on
    black, noise, textures and photographs, and region proposals are cropped as in
    `localize`. Crops of an instance get its label; fragments, neighbours, holes and
    everything else in the images behind are background. No boxes are needed, as the
    scenes are made here.

    Parameters
    ----------
    images : array-like of shape (n, height, width) or (n, height, width, n_channels)
        One object each, bright on black or cut out of photographs with its
        surroundings; uint8 or float between 0 and 1.
    labels : array-like of shape (n,)
        Label of the object in each image.
    background : label
        New label, of the type of `labels`, that means "nothing here".
    background_images : list of images, default=None
        Images without instances, of any sizes. Without them, textures stand in.
    n_instances, n_background : int, default=40_000, 30_000
        Most crops of each kind that are added.
    rotation : float, default=10.0
        Greatest angle in degrees by which an instance is turned, either way.
    n_thresholds : int, default=31
        Thresholds of the region proposals, as in `InstanceLocalizer`.
    random_state : int, RandomState instance or None, default=None
        Source of all random choices.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    X : ndarray of shape (n_all, height, width) or (n_all, height, width, n_channels)
        The images given and the crops, shuffled; uint8.
    y : ndarray of shape (n_all,)
        Their labels.

    Raises
    ------
    ValueError
        If images and labels do not fit each other, an image is blank, or `background`
        is one of `labels` or of another type.

    See Also
    --------
    datasets.make_scenes : Scenes with the box of each instance.
    datasets.sample_background : Background alone.

    Examples
    --------
    >>> from sklearn_similar import make_training_crops
    >>> from sklearn_similar.datasets import load_mnist_sample
    >>> images, _, labels, _ = load_mnist_sample(return_X_y=True)
    >>> X, y = make_training_crops(
    ...     images[:100], labels[:100], background=-1, n_instances=200,
    ...     n_background=200, random_state=0,
    ... )
    >>> X.shape[1:], int((y == -1).sum())
    ((28, 28), 200)
    """
    images = uint8_images(images, "images")
    labels = np.asarray(labels)
    check_consistent_length(images, labels)
    _check_kind(labels, background)
    if (labels == background).any():
        raise ValueError(
            f"background is {background!r}, which is one of the labels; choose another."
        )
    is_blank = ~images.any(axis=tuple(range(1, images.ndim)))
    if is_blank.any():
        raise ValueError(
            f"images[{is_blank.argmax()}] is blank; leave out images that show nothing."
        )
    rng = check_random_state(random_state)
    samples = to_unit_tensor(
        images[choose_images(pd.factorize(labels, use_na_sentinel=False)[0])]
    )
    specification = learn_crop_specification(samples)
    warn_if_dark_on_light(samples, specification)
    crops, owner, _ = make_scene_crops(
        images,
        specification,
        background_images=background_images,
        n_instances=n_instances,
        n_background=n_background,
        n_examples=0,
        rotation=rotation,
        n_thresholds=n_thresholds,
        rng=rng,
        verbose=verbose,
    )
    is_instance = owner >= 0
    X = np.concatenate([images, crops[is_instance], crops[~is_instance]])
    empty = np.full((~is_instance).sum(), background)
    y = np.concatenate([labels, labels[owner[is_instance]], empty])
    # Folds that are cut without shuffling hold all kinds.
    order = rng.permutation(len(X))
    return X[order], y[order]


def make_scene_crops(
    images: np.ndarray,
    specification: CropSpecification,
    *,
    background_images: Any,
    n_instances: int,
    n_background: int,
    n_examples: int,
    rotation: float,
    n_thresholds: int,
    rng: np.random.RandomState,
    verbose: int,
) -> tuple[np.ndarray, np.ndarray, BoxExamples]:
    """The crops of `make_training_crops`, instances first, and rows of what they show.

    The row of background is -1. Values of the specification are between 0 and 1. Beside
    these, at most `n_examples` to learn boxes from, in random order.
    """
    n_channels = images.shape[3] if images.ndim == 4 else None
    n_textures = int(np.clip(n_background // _CROPS_OF_A_TEXTURE, *_N_TEXTURES))
    images_behind = []
    if background_images is not None:
        images_behind = uint8_image_list(background_images, "background_images")
    backgrounds = make_backgrounds(n_textures, images_behind, n_channels, rng)
    chosen = rng.permutation(len(images))[: max(n_instances, _MIN_SHOWN)]
    fills_frame = specification.fills_frame
    styled = np.stack([restyle(image, rng, fills_frame) for image in images[chosen]])

    n_sources = n_views(styled, n_instances, fills_frame) + 2 * len(backgrounds)
    n_spare = -(-_SPARE_BACKGROUND * n_background // n_sources)
    scenes = with_progress(
        _scenes(styled, backgrounds, n_instances, rotation, rng, fills_frame),
        "training crops",
        n_sources,
        "scene",
        verbose,
    )
    settings = CropSettings(n_thresholds, n_spare, n_examples > 0)
    parts = [crop_scene(scene, specification, settings, rng) for scene in scenes]
    crops, owners, examples = zip(*parts, strict=True)
    sources = np.repeat(np.arange(len(owners)), list(map(len, owners)))
    pixels, owner = np.concatenate(crops), np.concatenate(owners)
    instances = rng.permutation(np.flatnonzero(owner >= 0))[:n_instances]
    empty = _spread(np.flatnonzero(owner < 0), sources, n_background, rng)
    shown = np.concatenate([chosen[owner[instances]], np.full(len(empty), -1)])
    return (
        pixels[np.concatenate([instances, empty])],
        shown,
        _some_examples(examples, n_examples, rng),
    )


def _check_kind(labels: np.ndarray, background) -> None:
    """Raise ValueError for a background that would change the type of the labels."""
    kinds = [labels.dtype.kind, np.asarray(background).dtype.kind]
    found, wanted = ("number" if kind in "biuf" else kind for kind in kinds)
    if found != wanted and labels.dtype.kind != "O":
        raise ValueError(
            f"background is {background!r}, but labels are of type {labels.dtype}; "
            "pass a background of that type."
        )


def _scenes(
    styled: np.ndarray,
    backgrounds: list[np.ndarray],
    n_instances: int,
    rotation: float,
    rng: np.random.RandomState,
    fills_frame: bool,
) -> Iterator[Scene]:
    """Scenes with instances, and backgrounds of both polarities without."""
    yield from make_training_scenes(
        styled, backgrounds, n_instances, rotation, rng, fills_frame
    )
    nothing = np.empty((0, 4)), np.empty(0, int)
    for image in backgrounds:
        yield Scene(image, *nothing)
        yield Scene(255 - image, *nothing)


@dataclass(frozen=True)
class CropSettings:
    """How a scene is cropped.

    Attributes
    ----------
    n_thresholds : int
        Of the region proposals.
    n_background : int
        Most crops of background.
    with_examples : bool
        Whether boxes are to be learnt from it.
    """

    n_thresholds: int
    n_background: int
    with_examples: bool


def crop_scene(
    scene: Scene, specification: CropSpecification, settings: CropSettings, rng
) -> tuple[np.ndarray, np.ndarray, BoxExamples]:
    """Crops of a scene's regions, uint8, the instance in each, -1 for none, examples.

    All of instances, and at most `n_background` of background.
    """
    pixels = to_unit_tensor(scene.pixels[np.newaxis])[0]
    fills_frame = specification.fills_frame
    (found,) = propose(pixels, (False,), "image", settings.n_thresholds, fills_frame)
    boxes = np.concatenate([found, parts_of(found)])["box"]
    boxes = np.concatenate([boxes, _near(scene, fills_frame, rng)])
    instance_iou, background_iou = _IOUS_IN_FRAMES if fills_frame else _IOUS
    owner = np.full(len(boxes), -1)
    best, nearest = np.zeros(len(boxes)), np.full(len(boxes), -1)
    if len(scene.boxes) and len(boxes):
        overlap = instance_overlap(boxes, scene.boxes, specification)
        best, nearest = overlap.max(axis=1), overlap.argmax(axis=1)
        owner = np.where(best >= instance_iou, scene.labels[nearest], -1)
    is_clear = (best >= instance_iou) | (best < background_iou)
    empty = rng.permutation(np.flatnonzero(is_clear & (owner < 0)))
    is_shown = is_clear & (owner >= 0)
    is_shown[empty[: settings.n_background]] = True
    crops = _as_bytes(crop_boxes(pixels, boxes[is_shown], specification))
    examples = np.flatnonzero(best >= _LEAST_EXAMPLE_IOU)
    # In a scene of the wrong polarity, nothing is an instance.
    examples = examples[scene.labels[nearest[examples]] >= 0]
    n_examples = settings.with_examples * _EXAMPLES_OF_INSTANCE * len(scene.boxes)
    examples = rng.permutation(examples)[:n_examples]
    wide = crop_boxes(pixels, boxes[examples], wide_view(specification))
    return (
        crops if scene.pixels.ndim == 3 else crops[..., 0],
        owner[is_shown],
        BoxExamples(
            _as_bytes(wide),
            boxes[examples].astype(np.float64),
            scene.boxes[nearest[examples]],
        ),
    )


def _as_bytes(crops: np.ndarray) -> np.ndarray:
    return np.rint(crops * 255).astype(np.uint8)


def _some_examples(
    parts: tuple[BoxExamples, ...], n_most: int, rng: np.random.RandomState
) -> BoxExamples:
    """At most some of the examples, in random order."""
    joined = [*map(np.concatenate, zip(*parts, strict=True))]
    chosen = rng.permutation(len(joined[0]))[:n_most]
    return BoxExamples(*(part[chosen] for part in joined))


def instance_overlap(
    boxes: np.ndarray, instances: np.ndarray, specification: CropSpecification
) -> np.ndarray:
    """Intersection over union of boxes and instances, n_boxes x n_instances.

    Where images fill their frame, that of the crops: what an instance's own box is in
    its frame is not known.
    """
    if specification.fills_frame:
        boxes, instances = (
            crop_windows(own, specification) for own in (boxes, instances)
        )
    return paired_iou(boxes[:, np.newaxis], instances)


def _near(scene: Scene, fills_frame: bool, rng: np.random.RandomState) -> np.ndarray:
    """Boxes inside a scene that are nearly those of its instances."""
    n, near = (_N_NEAR_IN_FRAMES, _NEAR_IN_FRAMES) if fills_frame else (_N_NEAR, _NEAR)
    boxes = np.repeat(scene.boxes, n, axis=0)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = boxes + rng.uniform(-near, near, size=boxes.shape) * sides
    edge = np.tile(scene.pixels.shape[1::-1], 2)
    boxes = np.rint(boxes).clip(0, edge)
    return boxes[area(boxes) > 0].astype(np.float32)


def _spread(rows: np.ndarray, sources: np.ndarray, n_most: int, rng) -> np.ndarray:
    """At most some of the rows, as evenly over their sources as these allow."""
    rows = rng.permutation(rows)
    rank = rank_within(sources[rows])
    return rows[np.argsort(rank, kind="stable")[:n_most]]

"""Scenes of any size made of labelled images, with the box of every instance."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from .._compat import Interval, StrOptions, validate_params
from .._images.messages import count, shape_text
from .._images.reading import uint8_image_list, uint8_images, with_channels
from .._scenes.rendering import (
    brightest_channel,
    may_fit,
    paste,
    render,
    resize_to_cover,
)
from .._tables.boxes import BOX_COLUMNS
from ..metrics._values import as_labels
from ._checks import allocate, check_range, check_size

_SCENE_ATTEMPTS = 20
# Instances in a row for which no place is found, after which a scene counts as full.
_FULL_AFTER = 100
_CORNER_BATCHES = 8
_CORNERS_PER_BATCH = 25


@dataclass(frozen=True)
class _SceneSpecification:
    images: np.ndarray
    masks: np.ndarray | None
    size: tuple[int, int]
    n_instances: tuple[int, int]
    scale: tuple[float, float]
    background_images: str | list[np.ndarray]
    background_brightness: tuple[float, float]
    polarity: str
    contrast: tuple[float, float]
    rotation: float
    allow_overlap: bool


@validate_params(
    {
        "images": ["array-like"],
        "labels": ["array-like"],
        "masks": ["array-like", None],
        "n_scenes": [Interval(Integral, 1, None, closed="left")],
        "size": ["array-like"],
        "n_instances": [Integral, "array-like"],
        "scale": [Real, "array-like"],
        "background_images": [StrOptions({"black", "noise"}), "array-like"],
        "background_brightness": [Real, "array-like"],
        "polarity": [StrOptions({"bright", "dark", "both"})],
        "contrast": [Real, "array-like"],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "allow_overlap": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_scenes(
    images,
    labels,
    *,
    n_scenes,
    masks=None,
    size=(160, 160),
    n_instances=(1, 5),
    scale=(0.8, 2.0),
    background_images="black",
    background_brightness=(0.3, 0.6),
    polarity="bright",
    contrast=(1.0, 1.0),
    rotation=0,
    allow_overlap=False,
    random_state=None,
):
    """Paste labelled images at random into black, noise or background images.

    Parameters
    ----------
    images : array-like of shape (n_images, height, width) or \
            (n_images, height, width, 3)
        Bright objects on black, or with `masks` any, uint8 or float between 0 and 1.
        Colour images make colour scenes.
    labels : array-like of shape (n_images,)
        Label of the object in each image.
    n_scenes : int
        Number of scenes.
    masks : array-like of shape (n_images, height, width), default=None
        Opacity of the images' pixels: bool, uint8 or float between 0 and 1. None: they
        are as opaque as they are bright.
    size : (int, int), default=(160, 160)
        Height and width of a scene in pixels.
    n_instances : int or (int, int), default=(1, 5)
        Least and greatest number of instances in a scene. Fewer than drawn are
        placed where no room is left, but never fewer than the least.
    scale : float or (float, float), default=(0.8, 2.0)
        Least and greatest factor by which an image is resized.
    background_images : {"black", "noise"} or images, default="black"
        Images that the instances are pasted into. One image, an array or a list of
        images of any sizes, grey or colour, from which random crops are taken; those
        smaller than a scene are enlarged first.
    background_brightness : float or (float, float), default=(0.3, 0.6)
        Least and greatest factor by which background images and noise are darkened,
        between 0 and 1. With dark instances they are made as much lighter instead.
    polarity : {"bright", "dark", "both"}, default="bright"
        Bright instances, dark instances on a light background (black becomes white), or
        either for a whole scene with equal probability.
    contrast : float or (float, float), default=(1.0, 1.0)
        Least and greatest opacity of an instance as a whole, between 0 and 1: the share
        of the way from the background's brightness to the instance's own.
    rotation : float, default=0
        Greatest angle in degrees by which an instance is turned, either way.
    allow_overlap : bool, default=False
        Whether instances may cover each other. If not, no two boxes intersect.
    random_state : int, RandomState instance or None, default=None
        Source of all random choices. With an int, the first scenes stay the same
        when `n_scenes` grows.

    Returns
    -------
    scenes : ndarray of shape (n_scenes, height, width) or (n_scenes, height, width, 3)
        The scenes, uint8.
    instances : DataFrame
        One row an instance: ``image`` (the scene's position), ``label``, ``x_min``,
        ``y_min``, ``x_max``, ``y_max`` (pixels, half-open).

    Raises
    ------
    ValueError
        If a parameter is outside its range, an image or its mask is blank, a scene has
        no room for the least number of instances, or there is no memory for the scenes.

    See Also
    --------
    sample_background : Images without an instance.

    Notes
    -----
    A box is the tightest around the pixels above 0.2 of the instance's most opaque
    pixel, after resizing and turning. An instance lies inside its scene as a whole,
    including its fainter pixels. Its opacity, that of `masks` or its own brightness (in
    colour, its brightest channel), is taken times `contrast`. A dark scene is the
    negative of a bright scene on the background's negative.

    Examples
    --------
    >>> from sklearn_similar.datasets import load_mnist_sample, make_scenes
    >>> digits = load_mnist_sample()
    >>> scenes, instances = make_scenes(
    ...     digits.X_train, digits.y_train, n_scenes=3, random_state=0
    ... )
    >>> scenes.shape
    (3, 160, 160)
    >>> list(instances.columns)
    ['image', 'label', 'x_min', 'y_min', 'x_max', 'y_max']
    """
    images = uint8_images(images, "images")
    masks = _check_masks(masks, images)
    labels = _check_labels(labels, images, masks)
    size = check_size(size)
    specification = _SceneSpecification(
        images=images,
        masks=masks,
        size=size,
        n_instances=_check_n_instances(n_instances, size),
        scale=_check_scale(scale, images),
        background_images=_check_background(background_images, size, images),
        background_brightness=check_range(
            background_brightness, "background_brightness", low=0, high=1
        ),
        polarity=polarity,
        contrast=check_range(contrast, "contrast", high=1),
        rotation=rotation,
        allow_overlap=allow_overlap,
    )
    # A generator for each scene keeps a scene the same however many follow it.
    shape = (n_scenes, *specification.size, *images.shape[3:])
    scenes = allocate(shape, np.uint8, "n_scenes")
    seeds = check_random_state(random_state).randint(2**31 - 1, size=n_scenes)
    chosen, boxes = [], []
    for index, seed in enumerate(seeds):
        scenes[index], scene_chosen, scene_boxes = _make_scene(
            specification, index, seed
        )
        chosen.append(scene_chosen)
        boxes.append(scene_boxes)
    return scenes, _tabulate(labels, chosen, boxes)


def _check_n_instances(n_instances, size):
    least, greatest = check_range(n_instances, "n_instances", low=0, kind=Integral)
    if greatest > size[0] * size[1]:
        raise ValueError(
            f"n_instances is {n_instances!r}, but a scene of {shape_text(size)} has "
            f"{count(size[0] * size[1], 'pixel')}: choose fewer instances or a larger "
            "size."
        )
    return least, greatest


def _check_scale(scale, images):
    least, greatest = check_range(scale, "scale")
    side = max(images.shape[1:3])
    if least * side < 0.5:
        raise ValueError(
            f"scale is {scale!r}, which leaves less than half a pixel of images of "
            f"{shape_text(images.shape[1:3])}: choose a scale of at least "
            f"{1 / side:.2g}."
        )
    return least, greatest


def _check_masks(masks, images):
    if masks is None:
        return None
    given = np.asarray(masks)
    masks = uint8_images(masks, "masks")
    if given.dtype.kind in "iu" and masks.max(initial=0) == 1:
        raise ValueError(
            "masks are integers up to 1, of which 255 is opaque: pass masks of type "
            "bool, or times 255."
        )
    if masks.shape != images.shape[:3]:
        raise ValueError(
            f"masks have the shape {masks.shape}, but images {images.shape}: give one "
            "mask for each image, of its height and width."
        )
    return masks


def _check_labels(labels, images, masks):
    as_labels(labels, "labels", n=len(images))
    name, shown = ("images", images) if masks is None else ("masks", masks)
    blank = np.flatnonzero(~shown.any(axis=tuple(range(1, shown.ndim))))
    if len(blank):
        raise ValueError(
            f"{name}[{blank[0]}] is blank ({len(blank)} such in all), so that no box "
            "can be drawn around it: leave it out."
        )
    return np.asarray(labels)


def _check_background(background_images, size, images):
    if isinstance(background_images, str):
        return background_images
    n_channels = images.shape[3] if images.ndim == 4 else None
    return [
        resize_to_cover(
            with_channels(image, n_channels), size, f"background_images[{index}]"
        )
        for index, image in enumerate(
            uint8_image_list(background_images, "background_images")
        )
    ]


def _make_scene(specification, index, seed):
    rng = np.random.RandomState(seed)
    dark = specification.polarity == "dark" or (
        specification.polarity == "both" and bool(rng.randint(2))
    )
    most = 0
    for _ in range(_SCENE_ATTEMPTS):
        chosen, placed, boxes = _place_instances(specification, rng)
        if len(boxes) >= specification.n_instances[0]:
            break
        most = max(most, len(boxes))
    else:
        raise ValueError(
            f"Scene {index} of {specification.size} pixels could take only "
            f"{most} of at least {specification.n_instances[0]} instances: "
            "choose a larger size, a smaller scale, fewer n_instances or "
            "allow_overlap=True."
        )
    # Dark instances are pasted as bright ones into the background's negative.
    scene = _make_background(specification, rng, dark)
    for patch, opacity, corner in placed:
        paste(scene, patch, opacity, corner, rng.uniform(*specification.contrast))
    pixels = np.rint(scene).astype(np.uint8)
    return 255 - pixels if dark else pixels, chosen, boxes


def _place_instances(specification, rng):
    count = rng.randint(specification.n_instances[0], specification.n_instances[1] + 1)
    chosen, placed, boxes = [], [], []
    taken = np.empty((count, 2, 2), dtype=np.int64)
    n_missed = n_missed_in_a_row = 0
    for image in rng.randint(len(specification.images), size=count):
        angle = rng.uniform(-specification.rotation, specification.rotation)
        scale = rng.uniform(*specification.scale)
        corner = None
        pixels, mask = specification.images[image], None
        if specification.masks is not None:
            mask = specification.masks[image]
        whole_opacity = brightest_channel(pixels) if mask is None else mask
        if may_fit(whole_opacity, scale, specification.size):
            patch, opacity, box = render(pixels, mask, scale, angle)
            obstacles = taken[: 0 if specification.allow_overlap else len(boxes)]
            corner = _free_corner(rng, opacity.shape, specification.size, obstacles)
        if corner is None or not opacity.any():
            n_missed += 1
            n_missed_in_a_row += 1
            too_few = count - n_missed < specification.n_instances[0]
            if too_few or n_missed_in_a_row == _FULL_AFTER:
                break
            continue
        n_missed_in_a_row = 0
        taken[len(boxes)] = corner, corner + opacity.shape
        chosen.append(image)
        placed.append((patch, opacity, corner))
        boxes.append(box + np.tile(corner[::-1], 2))
    return chosen, placed, boxes


def _free_corner(rng, shape, size, taken):
    """Draw a corner where `shape` fits into `size` and meets none of `taken`."""
    room = np.subtract(size, shape)
    if room.min() < 0:
        return None
    for _ in range(_CORNER_BATCHES):
        starts = rng.randint(0, room + 1, size=(_CORNERS_PER_BATCH, 2))
        stops = starts + shape
        meets = (starts[:, None] < taken[:, 1]) & (stops[:, None] > taken[:, 0])
        free = np.flatnonzero(~meets.all(axis=2).any(axis=1))
        if len(free):
            return starts[free[0]]
    return None


def _make_background(specification, rng, dark):
    shape = (*specification.size, *specification.images.shape[3:])
    images = specification.background_images
    if isinstance(images, str) and images == "black":
        return np.zeros(shape, dtype=np.float32)
    dim = rng.uniform(*specification.background_brightness)
    if isinstance(images, str):
        return (255 * dim * rng.random_sample(shape)).astype(np.float32)
    image = images[rng.randint(len(images))]
    room = np.subtract(image.shape[:2], specification.size)
    y, x = rng.randint(0, room + 1)
    crop = image[y : y + specification.size[0], x : x + specification.size[1]]
    return np.float32(dim) * (255 - crop if dark else crop)


def _tabulate(labels, chosen, boxes):
    counts = [len(scene_boxes) for scene_boxes in boxes]
    rows = np.array([box for scene in boxes for box in scene], dtype=np.int64)
    flat = np.array([image for scene in chosen for image in scene], dtype=np.int64)
    table = pd.DataFrame(rows.reshape(-1, 4), columns=BOX_COLUMNS)
    table.insert(0, "image", np.repeat(np.arange(len(counts)), counts))
    table.insert(1, "label", labels[flat])
    return table

"""Scenes of any size made of labelled images, with the box of every instance."""

from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from .._compat import Interval, StrOptions, validate_params
from .._images.images import from_tensor
from .._images.messages import count, shape_text
from .._images.reading import scaling_of, uint8_image_list, uint8_images
from .._scenes.pasting import SceneRecipe, cover_scenes, paste_scenes
from .._scenes.scene import SceneImages
from .._tables.boxes import BOX_COLUMNS
from .._tables.values import as_labels
from ._checks import allocate, check_range, check_size


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
        Bright objects on black, or any objects with `masks`; uint8 or float between 0
        and 1. Colour images make colour scenes.
    labels : array-like of shape (n_images,)
        Label of the object in each image.
    n_scenes : int
        Number of scenes.
    masks : array-like of shape (n_images, height, width), default=None
        Opacity of the images' pixels: bool, uint8 or float between 0 and 1. None: as
        opaque as bright.
    size : (int, int), default=(160, 160)
        Height and width of a scene in pixels.
    n_instances : int or (int, int), default=(1, 5)
        Minimum and maximum number of instances in a scene. In a full scene there are
        fewer than the random number, but never fewer than the minimum.
    scale : float or (float, float), default=(0.8, 2.0)
        Minimum and maximum factor by which an image is resized.
    background_images : {"black", "noise"} or images, default="black"
        What the instances are pasted into: black, noise, or random crops of images. One
        image, an array or a list of images of any sizes, grey or colour; those smaller
        than a scene are enlarged first.
    background_brightness : float or (float, float), default=(0.3, 0.6)
        Minimum and maximum factor by which background images and noise are dimmed,
        between 0 and 1. Behind dark instances, their negatives are dimmed instead.
    polarity : {"bright", "dark", "both"}, default="bright"
        Bright instances, dark instances on a light background (black becomes white), or
        either for a whole scene with equal probability.
    contrast : float or (float, float), default=(1.0, 1.0)
        Minimum and maximum opacity of an instance as a whole, between 0 and 1: 1 gives
        the pixels of its image, 0 those of the background.
    rotation : float, default=0
        Maximum angle in degrees by which an instance is rotated, either way.
    allow_overlap : bool, default=False
        Whether instances may overlap. If not, no two boxes intersect.
    random_state : int, RandomState instance or None, default=None
        Source of all random choices. With an int, the first scenes stay the same
        when `n_scenes` grows.

    Returns
    -------
    scenes : ndarray of shape (n_scenes, height, width) or (n_scenes, height, width, 3)
        The scenes, uint8.
    instances : DataFrame
        One row for each instance: ``image`` (index of the scene), ``label``, ``x_min``,
        ``y_min``, ``x_max``, ``y_max`` (pixels, half-open).

    Raises
    ------
    ValueError
        If a parameter is outside its range, an image or its mask is blank, a scene has
        no room for the minimum number of instances, or the scenes do not fit in memory.

    Notes
    -----
    A box is the tightest box around the pixels above 0.2 of the instance's most opaque
    pixel, after resizing and rotation. All of an instance is inside the scene, fainter
    pixels included. The opacity of a pixel, that of `masks` or its brightness (in
    colour, that of its brightest channel), is multiplied by the contrast. A dark
    scene is the negative of a bright scene on the background's negative.

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
    pixels = images
    images = uint8_images(pixels, "images")
    masks = _check_masks(masks, images)
    labels = _check_labels(labels, images, masks)
    size = check_size(size)
    source = SceneImages(images, masks=masks)
    background = background_images
    if not isinstance(background_images, str):
        background = "images"
        backgrounds = uint8_image_list(
            background_images, "background_images", scaling_of(pixels)
        )
        backgrounds = cover_scenes(backgrounds, size, source.n_channels)
        source = replace(source, backgrounds=backgrounds)
    recipe = SceneRecipe(
        size=size,
        n_instances=_check_n_instances(n_instances, size),
        scale=_check_scale(scale, images),
        background=background,
        background_brightness=check_range(
            background_brightness, "background_brightness", low=0, high=1
        ),
        polarity=polarity,
        contrast=check_range(contrast, "contrast", high=1),
        rotation=rotation,
        allow_overlap=allow_overlap,
        is_8_bit=True,
    )
    scenes = allocate((n_scenes, *size, *images.shape[3:]), np.uint8, "n_scenes")
    rng = check_random_state(random_state)
    boxes, rows = [], []
    for index, scene in enumerate(paste_scenes(source, recipe, n_scenes, rng)):
        pixels = from_tensor(scene.pixels[np.newaxis], scenes.dtype, "colour")
        scenes[index] = pixels.reshape(scenes.shape[1:])
        boxes.append(scene.boxes)
        rows.append(scene.labels)
    return scenes, _tabulate(boxes, rows, labels)


def _check_n_instances(n_instances, size):
    n_min, n_max = check_range(n_instances, "n_instances", low=0, kind=Integral)
    if n_max > size[0] * size[1]:
        raise ValueError(
            f"n_instances is {n_instances!r}, but a scene of {shape_text(size)} has "
            f"{count(size[0] * size[1], 'pixel')}: choose fewer instances or a larger "
            "size."
        )
    return n_min, n_max


def _check_scale(scale, images):
    minimum, maximum = check_range(scale, "scale")
    side = max(images.shape[1:3])
    if minimum * side < 0.5:
        raise ValueError(
            f"scale is {scale!r}, which leaves less than half a pixel of images of "
            f"{shape_text(images.shape[1:3])}: choose a scale of at least "
            f"{1 / side:.2g}."
        )
    return minimum, maximum


def _check_masks(masks, images):
    if masks is None:
        return None
    given = np.asarray(masks)
    masks = uint8_images(masks, "masks")
    if given.dtype.kind in "iu" and masks.max(initial=0) == 1:
        raise ValueError(
            "masks are integers up to 1, of which 255 is opaque: pass masks of type "
            "bool, or multiply them by 255."
        )
    if masks.shape != images.shape[:3]:
        raise ValueError(
            f"masks have the shape {masks.shape}, but images {images.shape}: give one "
            "mask for each image, of its height and width."
        )
    return masks


def _check_labels(labels, images, masks):
    as_labels(labels, "labels", n=len(images))
    name, opacity = ("images", images) if masks is None else ("masks", masks)
    blank = np.flatnonzero(~opacity.any(axis=tuple(range(1, opacity.ndim))))
    if len(blank):
        raise ValueError(
            f"{name}[{blank[0]}] is blank ({len(blank)} such in all), so that it has "
            "no box: leave it out."
        )
    return np.asarray(labels)


def _tabulate(boxes, rows, labels):
    """The table of the instances of all scenes, from the rows of their images."""
    table = pd.DataFrame(np.concatenate(boxes).astype(np.int64), columns=BOX_COLUMNS)
    counts = [len(scene_boxes) for scene_boxes in boxes]
    table.insert(0, "image", np.repeat(np.arange(len(counts)), counts))
    table.insert(1, "label", labels[np.concatenate(rows)])
    return table

"""Training crops for `InstanceLocalizer`, from scenes made of labelled images."""

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_consistent_length, check_random_state

from .._compat import Interval, StrOptions, validate_params
from .._images.images import to_tensor
from .._images.labels import BACKGROUND
from .._images.reading import scaling_of, uint8_image_list, uint8_images
from .._search.crop_specification import (
    choose_images,
    learn_crop_specification,
)
from .._search.image_format import ImageFormat
from .._search.polarity import warn_if_dark_on_light
from .._search.settings import ProposalSettings
from .examples import make_examples
from .recipe import CropNumberRecipe, LearningRecipe, learning_recipe
from .settings import TrainingSettings


@validate_params(
    {
        "images": ["array-like"],
        "labels": ["array-like"],
        "background": "no_validation",
        "background_images": ["array-like", None],
        "n_instances": [
            Interval(Integral, 0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "n_background": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "n_thresholds": [Interval(Integral, 1, 255, closed="both")],
        "fills_frame": ["boolean", None],
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
    n_instances="auto",
    n_background="auto",
    rotation=10.0,
    n_thresholds=31,
    fills_frame=None,
    random_state=None,
    verbose=0,
):
    """Make training crops as `InstanceLocalizer` crops images.

    The images are augmented (sheared, their strokes thickened, thinned or drawn in
    lines) and pasted onto black, noise, textures and photographs, and region proposals
    are cropped as in `localize`. Crops of an object get its label; fragments,
    neighbours, holes and everything in the backgrounds are background. No boxes are
    needed, as those of synthetic scenes are known.

    Parameters
    ----------
    images : array-like of shape (n, height, width) or (n, height, width, n_channels)
        One object each, bright on black or cropped from photographs with its
        surroundings; uint8 or float between 0 and 1.
    labels : array-like of shape (n,)
        Label of the object in each image.
    background : label
        Label of background: a new one, of the type of `labels`.
    background_images : list of images, default=None
        Images without objects, of any sizes. If none are given, synthetic textures are
        used.
    n_instances, n_background : int or "auto", default="auto"
        Maximum number of crops of objects and of background that are added. "auto":
        by the number of images, as in `InstanceLocalizer`.
    rotation : float, default=10.0
        Maximum angle in degrees by which objects are rotated, either way.
    n_thresholds : int, default=31
        Number of thresholds of the region proposals, as in `InstanceLocalizer`.
    fills_frame : bool, default=None
        Whether the images are crops of photographs, with background context. None:
        learnt, as in `InstanceLocalizer`.
    random_state : int, RandomState instance or None, default=None
        Source of randomness.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    X : ndarray of shape (n_all, height, width) or (n_all, height, width, n_channels)
        The images passed and the crops, shuffled; uint8.
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
    pixels = images
    images = uint8_images(pixels, "images")
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
    if background_images is not None:
        background_images = uint8_image_list(
            background_images, "background_images", scaling_of(pixels)
        )
    numbers = CropNumberRecipe().numbers(len(images), n_instances, n_background)
    return labelled_crops(
        images,
        labels,
        background,
        background_images or [],
        check_random_state(random_state),
        n_instances=numbers[0],
        n_background=numbers[1],
        rotation=rotation,
        n_thresholds=n_thresholds,
        fills_frame=fills_frame,
        verbose=verbose,
    )


def labelled_crops(
    images: np.ndarray,
    labels: np.ndarray,
    background: Any,
    background_images: list[np.ndarray],
    rng: np.random.RandomState,
    *,
    n_instances: int,
    n_background: int,
    rotation: float,
    n_thresholds: int,
    verbose: int,
    fills_frame: bool | None = None,
    choose_recipe: Callable[[bool], LearningRecipe] = learning_recipe,
) -> tuple[np.ndarray, np.ndarray]:
    """`make_training_crops` without checks, by a recipe for images with context or not.

    Images are uint8.
    """
    codes, _ = pd.factorize(labels, use_na_sentinel=False)
    samples = _as_unit_tensor(images[choose_images(codes)])
    specification = learn_crop_specification(samples, fills_frame)
    warn_if_dark_on_light(samples, specification)
    examples = make_examples(
        images,
        background_images,
        ImageFormat(
            specification=replace(specification, low=0.0, high=1.0),
            n_channels=images.shape[3] if images.ndim == 4 else 1,
            dtype=np.dtype(np.uint8),
            layout="grey" if images.ndim == 3 else "colour",
        ),
        TrainingSettings(
            n_instance_crops=n_instances,
            n_background_crops=n_background,
            rotation=rotation,
            proposals=ProposalSettings(source="image", n_thresholds=n_thresholds),
            verbose=verbose,
        ),
        choose_recipe(specification.fills_frame),
        rng,
        n_box_examples=0,
    )
    is_object = examples.labels != BACKGROUND
    X = np.concatenate([images, examples.crops])
    y = np.concatenate(
        [
            labels,
            labels[examples.labels[is_object]],
            np.full((~is_object).sum(), background),
        ]
    )
    # Folds that are cut without shuffling hold all kinds.
    order = rng.permutation(len(X))
    return X[order], y[order]


def _as_unit_tensor(images: np.ndarray) -> torch.Tensor:
    """Pixels in [0, 1], n x n_channels x height x width, of images in 8 bits."""
    pixels = images if images.ndim == 4 else images[..., np.newaxis]
    return to_tensor(pixels, pixels.shape[3])


def _check_kind(labels: np.ndarray, background) -> None:
    """Raise ValueError for a background that would change the type of the labels."""
    kinds = [labels.dtype.kind, np.asarray(background).dtype.kind]
    found, wanted = ("number" if kind in "biuf" else kind for kind in kinds)
    if found != wanted and labels.dtype.kind != "O":
        raise ValueError(
            f"background is {background!r}, but labels are of type {labels.dtype}; "
            "pass a background of that type."
        )

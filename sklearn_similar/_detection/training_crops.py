"""Training crops for `InstanceLocalizer`, from scenes made of labelled images."""

from collections.abc import Iterator
from numbers import Integral
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from sklearn.utils import check_consistent_length, check_random_state

from .._compat import Interval, validate_params
from .._grouping import rank_within
from .._inputs.images import to_grey
from .._progress import with_progress
from ..datasets._pixels import (
    check_background_images,
    check_images,
    with_channels,
)
from ..datasets._scenes import make_scenes
from ..datasets._textures import make_textures, vary_views
from ..metrics import box_iou
from .crop_specification import (
    CropSpecification,
    choose_images,
    learn_crop_specification,
)
from .crops import crop_regions
from .polarity import warn_if_dark_on_light
from .proposals import extremal_regions

# Crops whose overlap with an instance is between these are left out.
_INSTANCE_IOU = 0.7
_BACKGROUND_IOU = 0.5
# Less stable and fainter regions than in `localize`: more background to learn from.
_MIN_STABILITY = 0.05
_MIN_CONTRAST = 0.1
_MAX_RISE = 0.3
_N_TEXTURES = (6, 60)
_CROPS_OF_A_TEXTURE = 500
_TEXTURE_SIZE = (320, 320)
_N_STYLED = 20_000
_SCALE = (0.4, 2.0)
_ROTATION = 10


class _Scenes(NamedTuple):
    """Scenes of one kind; `share` is their number for each instance wanted."""

    background: str
    share: float
    size: tuple[int, int]
    n_instances: tuple[int, int]
    contrast: tuple[float, float]
    polarity: str
    background_brightness: tuple[float, float]


_SCENES = (
    _Scenes("black", 0.010, (480, 480), (30, 60), (0.3, 1), "bright", (0, 0)),
    _Scenes("black", 0.003, (480, 480), (30, 60), (0.5, 1), "both", (0, 0)),
    _Scenes("images", 0.020, (320, 320), (8, 20), (0.7, 1), "bright", (0.2, 0.7)),
    _Scenes("noise", 0.003, (320, 320), (8, 20), (0.8, 1), "both", (0.1, 0.8)),
)


@validate_params(
    {
        "images": ["array-like"],
        "labels": ["array-like"],
        "background": "no_validation",
        "background_images": ["array-like", None],
        "n_instances": [Interval(Integral, 0, None, closed="left")],
        "n_background": [Interval(Integral, 1, None, closed="left")],
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
    n_thresholds=15,
    random_state=None,
    verbose=0,
):
    """Make crops of scenes and background, as `InstanceLocalizer` will meet them.

    The images are restyled (sheared, thickened, thinned), placed on black, noise,
    textures and photographs, and region proposals are cropped as in `localize`. Crops
    of an instance get its label; fragments, neighbours, holes and everything else in
    the images behind are background. No boxes are needed, as the scenes are made here.

    Parameters
    ----------
    images : array-like of shape (n, height, width) or (n, height, width, n_channels)
        Bright objects on black, one each; uint8 or float between 0 and 1.
    labels : array-like of shape (n,)
        Label of the object in each image.
    background : label
        New label, of the type of `labels`, that means "nothing here".
    background_images : list of images, default=None
        Images without instances, of any sizes. Without them, textures stand in.
    n_instances, n_background : int, default=40_000, 30_000
        Most crops of each kind that are added.
    n_thresholds : int, default=15
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
        If images and labels do not fit each other, or `background` is one of `labels`
        or of another type.

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
    images = check_images(images, "images")
    labels = np.asarray(labels)
    check_consistent_length(images, labels)
    _check_kind(labels, background)
    if (labels == background).any():
        raise ValueError(
            f"background is {background!r}, which is one of the labels; choose another."
        )
    rng = check_random_state(random_state)
    n_channels = images.shape[3] if images.ndim == 4 else None
    n_textures = int(np.clip(n_background // _CROPS_OF_A_TEXTURE, *_N_TEXTURES))
    backgrounds = make_textures(n_textures, _TEXTURE_SIZE, rng)
    if background_images is not None:
        images_behind = check_background_images(background_images, "background_images")
        backgrounds += vary_views(images_behind, rng)
    backgrounds = [with_channels(image, n_channels) for image in backgrounds]
    chosen = rng.permutation(len(images))[:_N_STYLED]
    styled = np.stack([_restyle(image, rng) for image in images[chosen]])
    samples = images[choose_images(pd.factorize(labels, use_na_sentinel=False)[0])]
    samples = _to_tensor(samples if n_channels else samples[..., np.newaxis])
    specification = learn_crop_specification(samples)
    warn_if_dark_on_light(samples, specification)

    parts = with_progress(
        _scene_crops(
            styled, backgrounds, specification, n_instances, n_thresholds, rng
        ),
        "training crops",
        _n_views(n_instances, len(backgrounds)),
        "scene",
        verbose,
    )
    crops, owners = zip(*parts, strict=True)
    sources = np.repeat(np.arange(len(owners)), list(map(len, owners)))
    pixels, owner = np.concatenate(crops), np.concatenate(owners)
    instances = rng.permutation(np.flatnonzero(owner >= 0))[:n_instances]
    empty = _spread(np.flatnonzero(owner < 0), sources, n_background, rng)
    names = labels[chosen][owner[instances]]
    X = np.concatenate([images, pixels[instances], pixels[empty]])
    y = np.concatenate([labels, names, np.full(len(empty), background)])
    # Folds that are cut without shuffling hold all kinds.
    order = rng.permutation(len(X))
    return X[order], y[order]


def _check_kind(labels: np.ndarray, background) -> None:
    """Raise ValueError for a background that would change the type of the labels."""
    kinds = [labels.dtype.kind, np.asarray(background).dtype.kind]
    found, wanted = ("number" if kind in "biuf" else kind for kind in kinds)
    if found != wanted and labels.dtype.kind != "O":
        raise ValueError(
            f"background is {background!r}, but labels are of type {labels.dtype}; "
            "pass a background of that type."
        )


def _n_scenes(kind: _Scenes, n_instances: int) -> int:
    return max(1, round(kind.share * n_instances))


def _n_views(n_instances: int, n_backgrounds: int) -> int:
    """Scenes and images without instances, once for each polarity searched."""
    return 2 * n_backgrounds + sum(
        _n_scenes(kind, n_instances) * (2 if kind.polarity == "both" else 1)
        for kind in _SCENES
    )


def _scene_crops(
    styled: np.ndarray,
    backgrounds: list[np.ndarray],
    specification: CropSpecification,
    n_instances: int,
    n_thresholds: int,
    rng,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Crops of each scene, and the instance in each of them; see `_crop_scene`."""
    for kind in _SCENES:
        scenes, truth = make_scenes(
            styled,
            np.arange(len(styled)),
            n_scenes=_n_scenes(kind, n_instances),
            size=kind.size,
            n_instances=kind.n_instances,
            scale=_SCALE,
            background_images=(
                backgrounds if kind.background == "images" else kind.background
            ),
            background_brightness=kind.background_brightness,
            polarity=kind.polarity,
            contrast=kind.contrast,
            rotation=_ROTATION,
            random_state=rng,
        )
        for index, scene in enumerate(scenes):
            instances = truth[truth["image"] == index]
            for is_dark in (False, True) if kind.polarity == "both" else (False,):
                yield _crop_scene(
                    scene, instances, is_dark, specification, n_thresholds, rng
                )
    for image in backgrounds:
        for is_dark in (False, True):
            yield _crop_scene(image, None, is_dark, specification, n_thresholds, rng)


def _restyle(image: np.ndarray, rng) -> np.ndarray:
    """Shear and stretch an image a little; sometimes thicken or thin its strokes."""
    picture = image / 255
    extra = (1,) * (image.ndim - 2)
    if rng.uniform() < 0.3:
        change = ndimage.grey_dilation if rng.uniform() < 0.5 else ndimage.grey_erosion
        picture = ndimage.zoom(picture, (2, 2, *extra), order=1)
        picture = change(picture, (*rng.randint(2, 4, size=2), *extra))
    shape = np.array(picture.shape[:2])
    matrix = np.eye(image.ndim)
    matrix[:2, :2] += rng.uniform(-0.15, 0.15, size=(2, 2))
    offset = np.zeros(image.ndim)
    offset[:2] = (shape - 1) / 2 - matrix[:2, :2] @ ((shape - 1) / 2)
    picture = ndimage.affine_transform(picture, matrix, offset, order=1)
    if len(picture) > len(image):
        halves = (image.shape[0], 2, image.shape[1], 2, *image.shape[2:])
        picture = picture.reshape(halves).mean(axis=(1, 3))
    restyled = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    # Thin strokes can vanish.
    return restyled if restyled.max() >= image.max() / 2 else image


def _to_tensor(images: np.ndarray) -> torch.Tensor:
    """Float tensor ... x n_channels x height x width from grey or colour images."""
    tensor = torch.from_numpy(images.astype(np.float32) / 255)
    return tensor.movedim(-1, -3)


def _crop_scene(
    scene: np.ndarray,
    truth: pd.DataFrame | None,
    is_dark: bool,
    specification: CropSpecification,
    n_thresholds: int,
    rng,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops of a scene's regions, uint8, and the instance in each, -1 for none."""
    channels = scene if scene.ndim == 3 else scene[..., np.newaxis]
    pixels = _to_tensor(255 - channels if is_dark else channels)
    regions = extremal_regions(
        to_grey(pixels).numpy(),
        n_thresholds,
        min_stability=_MIN_STABILITY,
        min_contrast=_MIN_CONTRAST,
    )
    owner = np.full(len(regions), -1)
    if truth is not None and len(truth) and len(regions):
        overlap = box_iou(regions["box"], truth)
        best = overlap.max(axis=1)
        nearest = truth["label"].to_numpy()[overlap.argmax(axis=1)]
        owner = np.where(best >= _INSTANCE_IOU, nearest, -1)
        is_clear = (best >= _INSTANCE_IOU) | (best < _BACKGROUND_IOU)
        regions, owner = regions[is_clear], owner[is_clear]
    # Higher thresholds for some, at which faint parts of a stroke are lost.
    rise = rng.uniform(size=len(regions)) ** 2 * _MAX_RISE
    regions["threshold"] += rise * (regions["peak"] - regions["threshold"])
    crops = crop_regions(pixels, regions, specification)
    crops = np.rint(crops * 255).astype(np.uint8)
    return crops if scene.ndim == 3 else crops[..., 0], owner


def _spread(rows: np.ndarray, sources: np.ndarray, n_most: int, rng) -> np.ndarray:
    """At most some of the rows, as evenly over their sources as these allow."""
    rows = rng.permutation(rows)
    rank = rank_within(sources[rows])
    return rows[np.argsort(rank, kind="stable")[:n_most]]

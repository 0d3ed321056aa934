"""Training images for `localize`: what it will cut out of scenes, and what it is."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from .._boxes import BOX_COLUMNS
from .._grouping import rank_within
from .._inputs.images import to_grey
from ..datasets._pixels import (
    check_images,
    check_photographs,
    with_channels,
)
from ..datasets._scenes import make_scenes
from ..datasets._textures import make_textures, vary_photographs
from ..metrics import box_iou
from .crop_specification import CropSpecification, learn_crop_specification
from .proposals import image_hotspots
from .recognition import crop_hotspots

# Crops between these overlaps with an instance are neither it nor background.
_INSTANCE_IOU = 0.7
_BACKGROUND_IOU = 0.5
# Less stable and fainter parts than `localize` looks at: more background to learn from.
_MIN_RUN = 0.05
_MIN_CONTRAST = 0.1
_MAX_RISE = 0.3
_N_LEVELS = 15
_N_TEXTURES = (6, 60)
_CROPS_OF_A_TEXTURE = 500
_GROUND_SIZE = (320, 320)
_N_STYLED = 20_000
_MAX_SPECIFICATION_IMAGES = 1000
_SCALE = (0.4, 2.0)
_ROTATION = 10


class _Scenes(NamedTuple):
    """Scenes of one kind; `share` is their number for each instance wanted."""

    ground: str
    share: float
    size: tuple[int, int]
    n_instances: tuple[int, int]
    contrast: tuple[float, float]
    polarity: str
    ground_dim: tuple[float, float]


_SCENES = (
    _Scenes("black", 0.010, (480, 480), (30, 60), (0.3, 1), "bright", (0, 0)),
    _Scenes("black", 0.003, (480, 480), (30, 60), (0.5, 1), "both", (0, 0)),
    _Scenes("grounds", 0.020, (320, 320), (8, 20), (0.7, 1), "bright", (0.2, 0.7)),
    _Scenes("noise", 0.003, (320, 320), (8, 20), (0.8, 1), "both", (0.1, 0.8)),
)


@validate_params(
    {
        "images": ["array-like"],
        "labels": ["array-like"],
        "background": "no_validation",
        "photographs": ["array-like", None],
        "n_instances": [Interval(Integral, 0, None, closed="left")],
        "n_background": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_training_crops(
    images,
    labels,
    *,
    background,
    photographs=None,
    n_instances=40_000,
    n_background=30_000,
    random_state=None,
):
    """Add to labelled images what `localize` will meet: scenes cut up, and background.

    The images are restyled (sheared, thickened, thinned), placed on black, noise,
    textures and photographs, and the scenes are cut up as `localize` cuts them. Crops
    that show an instance get its label; fragments, neighbours, holes and what else the
    grounds hold are background. No boxes are needed, as the scenes are made here.

    Parameters
    ----------
    images : array-like of shape (n, height, width) or (n, height, width, n_channels)
        Bright objects on black, one each; uint8 or float between 0 and 1.
    labels : array-like of shape (n,)
        What each image shows.
    background : label
        New label, of the type of `labels`, that means "nothing here".
    photographs : list of images, default=None
        Grounds without instances, of any sizes. Without them, textures stand in.
    n_instances, n_background : int, default=40_000, 30_000
        Most crops of each kind that are added.
    random_state : int, RandomState instance or None, default=None
        Source of all random choices.

    Returns
    -------
    X : ndarray of shape (n_all, height, width) or (n_all, height, width, n_channels)
        The images given and the crops, shuffled; uint8.
    y : ndarray of shape (n_all,)
        Their labels.

    Raises
    ------
    ValueError
        If images and labels do not fit each other, or `background` is one of `labels`.

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
    if (labels == background).any():
        raise ValueError(
            f"background is {background!r}, which is one of the labels; choose another."
        )
    rng = check_random_state(random_state)
    n_channels = images.shape[3] if images.ndim == 4 else None
    n_textures = int(np.clip(n_background // _CROPS_OF_A_TEXTURE, *_N_TEXTURES))
    grounds = make_textures(n_textures, _GROUND_SIZE, rng)
    if photographs is not None:
        grounds += vary_photographs(check_photographs(photographs, "photographs"), rng)
    grounds = [with_channels(ground, n_channels) for ground in grounds]
    chosen = rng.permutation(len(images))[:_N_STYLED]
    styled = np.stack([_restyle(image, rng) for image in images[chosen]])
    samples = images[:_MAX_SPECIFICATION_IMAGES]
    specification = learn_crop_specification(
        _to_tensor(samples if n_channels else samples[..., np.newaxis])
    )

    crops, shown = [], []
    for kind in _SCENES:
        scenes, truth = make_scenes(
            styled,
            np.arange(len(styled)),
            n_scenes=max(1, round(kind.share * n_instances)),
            size=kind.size,
            n_instances=kind.n_instances,
            scale=_SCALE,
            ground=grounds if kind.ground == "grounds" else kind.ground,
            ground_dim=kind.ground_dim,
            polarity=kind.polarity,
            contrast=kind.contrast,
            rotation=_ROTATION,
            random_state=rng,
        )
        for number, scene in enumerate(scenes):
            own = truth[truth["image"] == number]
            for is_dark in (False, True) if kind.polarity == "both" else (False,):
                cut = _cut_up(scene, own, is_dark, specification, rng)
                crops.append(cut[0])
                shown.append(cut[1])
    for ground in grounds:
        for is_dark in (False, True):
            cut = _cut_up(ground, None, is_dark, specification, rng)
            crops.append(cut[0])
            shown.append(cut[1])

    sources = np.repeat(np.arange(len(shown)), [len(rows) for rows in shown])
    crops, shown = np.concatenate(crops), np.concatenate(shown)
    instances = rng.permutation(np.flatnonzero(shown >= 0))[:n_instances]
    empty = _spread(np.flatnonzero(shown < 0), sources, n_background, rng)
    names = labels[chosen][shown[instances]]
    X = np.concatenate([images, crops[instances], crops[empty]])
    y = np.concatenate([labels, names, np.full(len(empty), background)])
    # Folds that are cut without shuffling hold all kinds.
    order = rng.permutation(len(X))
    return X[order], y[order]


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


def _cut_up(
    scene: np.ndarray,
    truth: pd.DataFrame | None,
    is_dark: bool,
    specification: CropSpecification,
    rng,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops of a scene's parts, uint8, and the label of each, -1 for background."""
    channels = scene if scene.ndim == 3 else scene[..., np.newaxis]
    pixels = _to_tensor(255 - channels if is_dark else channels)
    spots = image_hotspots(
        to_grey(pixels).numpy(), _N_LEVELS, min_run=_MIN_RUN, min_contrast=_MIN_CONTRAST
    )
    shown = np.full(len(spots), -1)
    if truth is not None and len(truth) and len(spots):
        found = np.stack([spots[name] for name in BOX_COLUMNS], axis=1)
        overlap = box_iou(found, truth[list(BOX_COLUMNS)].to_numpy())
        best = overlap.max(axis=1)
        owner = truth["label"].to_numpy()[overlap.argmax(axis=1)]
        shown = np.where(best >= _INSTANCE_IOU, owner, -1)
        clear = (best >= _INSTANCE_IOU) | (best < _BACKGROUND_IOU)
        spots, shown = spots[clear], shown[clear]
    # Some are cut at a higher level, at which faint parts of a stroke are lost.
    rise = rng.uniform(size=len(spots)) ** 2 * _MAX_RISE
    spots["level"] += rise * (spots["peak"] - spots["level"])
    crops = crop_hotspots(pixels, spots, specification)
    crops = np.rint(crops * 255).astype(np.uint8)
    return crops if scene.ndim == 3 else crops[..., 0], shown


def _spread(rows: np.ndarray, sources: np.ndarray, n_most: int, rng) -> np.ndarray:
    """At most some of the rows, as evenly over their sources as these allow."""
    rows = rng.permutation(rows)
    rank = rank_within(sources[rows])
    return rows[np.argsort(rank, kind="stable")[:n_most]]

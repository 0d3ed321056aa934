"""Size, object extent and value range of training images, which crops share."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from .._images.images import VISIBLE_SHARE, to_grey
from .._images.messages import warn_user
from .._images.splits import spread_over_classes

# Maximum number of images from which a crop specification is learnt.
_MAX_IMAGES = 1000


@dataclass(frozen=True, kw_only=True)
class ContextRecipe:
    """When images count as crops of photographs, with background context.

    Attributes
    ----------
    dark_quantile : float
        Quantile of an image's grey levels that stands for its dark part.
    min_share : float
        Share of the images with a visible border above which all have context.
    close_vote : (float, float)
        Shares that decide nothing for sure. Of digits, clothes, coins and blood cells,
        at most 10 % or at least 99 % of the crops have a visible border, of faces 76 %.
        Of playing cards, which have a light border and lie on tables of any brightness,
        42 to 70 %.
    """

    dark_quantile: float = 0.05
    min_share: float = 0.5
    close_vote: tuple[float, float] = (0.3, 0.7)


_CONTEXT = ContextRecipe()


@dataclass(frozen=True, kw_only=True)
class CropSpecification:
    """Properties that crops share with the training images.

    Attributes
    ----------
    size : (int, int)
        Height and width of an image in pixels.
    object_extent : float
        Share of the longer side that the object takes: the larger of its shares of
        width and height.
    low, high : float
        Minimum and maximum value of a pixel.
    fills_frame : bool
        Whether images were cropped from photographs: an object has background context
        instead of an empty background.
    """

    size: tuple[int, int]
    object_extent: float = 1.0
    low: float = 0.0
    high: float = 1.0
    fills_frame: bool = False

    def to_unit(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels from 0 to 1."""
        return ((pixels - self.low) / (self.high - self.low)).clamp(0, 1)

    def from_unit(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in the range of the training images, from pixels between 0 and 1."""
        return pixels * (self.high - self.low) + self.low


def pack_specification(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a localizer with a dict in the place of its crop specification.

    So loading needs to trust no type but those of the estimators.
    """
    if "crop_specification_" not in state:
        # A copy as well: the state may be the estimator's dictionary itself.
        return dict(state)
    return state | {"crop_specification_": asdict(state["crop_specification_"])}


def unpack_specification(state: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `pack_specification`."""
    if "crop_specification_" not in state:
        return state
    specification = CropSpecification(**state["crop_specification_"])
    return state | {"crop_specification_": specification}


def choose_images(y: np.ndarray) -> np.ndarray:
    """Indices of the images to learn from, of all classes; y holds class indices."""
    return spread_over_classes(y, _MAX_IMAGES)


def learn_crop_specification(
    images: torch.Tensor, fills_frame: bool | None = None
) -> CropSpecification:
    """The crop specification of images n x n_channels x height x width.

    Parameters
    ----------
    images : tensor
    fills_frame : bool, default=None
        Whether the images have background context. None: learnt, with a warning if that
        is doubtful.
    """
    low, high = float(images.min()), float(images.max())
    if high == low:
        high = low + 1
    shape = images.shape[2], images.shape[3]
    specification = CropSpecification(size=shape, low=low, high=high)
    grey = to_grey(specification.to_unit(images)).numpy()
    if fills_frame is None:
        fills_frame = _have_context(grey)
    if fills_frame:
        return replace(specification, fills_frame=True)
    return replace(specification, object_extent=_object_extent(grey))


def border_mask(shape: tuple[int, ...]) -> np.ndarray:
    """Mask of the pixels at the edges of an image of a height and width."""
    is_border = np.ones(shape, dtype=bool)
    is_border[1:-1, 1:-1] = False
    return is_border


def _have_context(images: np.ndarray) -> bool:
    """Whether most images n x height x width have a visible border.

    All images are treated alike, so that of a close vote, a few more images of either
    kind would change all that is learnt; it warns.
    """
    has_context = _has_visible_border(images)
    n_images, share = len(images), float(has_context.mean())
    is_context = share > _CONTEXT.min_share
    low, high = _CONTEXT.close_vote
    if low <= share <= high:
        warn_user(
            f"{has_context.sum()} of {n_images} sampled images have a border that is "
            "brighter than their dark part, so that it is doubtful whether the images "
            "are crops of photographs with background context or objects on black; "
            f"they are used as {'crops' if is_context else 'objects on black'}. Pass "
            "fills_frame=True for crops of photographs, and fills_frame=False for "
            "objects on black."
        )
    return is_context


def _has_visible_border(images: np.ndarray) -> np.ndarray:
    """Whether most of the border of each image n x height x width is visible.

    A visible pixel is brighter than the dark part of its image by a share of the
    range. A plain background of any level is not visible, even with a dead pixel.
    """
    border = np.median(images[:, border_mask(images.shape[1:])], axis=1)
    dark = np.quantile(images, _CONTEXT.dark_quantile, axis=(1, 2))
    brightest = images.max(axis=(1, 2))
    return border - dark > VISIBLE_SHARE * (brightest - dark)


def _object_extent(images: np.ndarray) -> float:
    """Median object extent of images n x height x width."""
    visible = images > VISIBLE_SHARE * images.max(axis=(1, 2), keepdims=True)
    shares = []
    for axis in (1, 2):
        hit = visible.any(axis=axis)
        length = hit.shape[1] - hit.argmax(axis=1) - hit[:, ::-1].argmax(axis=1)
        shares.append(np.where(hit.any(axis=1), length / hit.shape[1], 0))
    share = np.max(shares, axis=0)
    share = share[share > 0]
    return float(np.median(share)) if len(share) else 1.0

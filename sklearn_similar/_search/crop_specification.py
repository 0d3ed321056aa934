"""Size, object extent and value range of training images, for crops to share."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from .._images.images import VISIBLE_SHARE, to_grey
from .._images.splits import spread_over_classes

# Images from which a crop specification is learned.
_MAX_IMAGES = 1000
# Share of an image's pixels that are its dark part.
_DARK_QUANTILE = 0.05


@dataclass(frozen=True, kw_only=True)
class CropSpecification:
    """Properties that crops share with the training images.

    Attributes
    ----------
    size : (int, int)
        Height and width of an image in pixels.
    object_extent : float
        Greater of the shares of width and height that the object takes.
    low, high : float
        Least and greatest value of a pixel.
    fills_frame : bool
        Whether images have no empty ground: they are cut out of photographs, and show
        an object with all that is around it in its box.
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

    Whoever loads it has no type to trust but those of the estimators.
    """
    if "crop_specification_" not in state:
        return state
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


def learn_crop_specification(images: torch.Tensor) -> CropSpecification:
    """The crop specification of images n x n_channels x height x width."""
    low, high = float(images.min()), float(images.max())
    if high == low:
        high = low + 1
    shape = images.shape[2], images.shape[3]
    specification = CropSpecification(size=shape, low=low, high=high)
    grey = to_grey(specification.to_unit(images)).numpy()
    if _fill_frame(grey):
        return replace(specification, fills_frame=True)
    return replace(specification, object_extent=_object_extent(grey))


def border_mask(shape: tuple[int, ...]) -> np.ndarray:
    """Which pixels of an image of a height and width are at its edges."""
    is_border = np.ones(shape, dtype=bool)
    is_border[1:-1, 1:-1] = False
    return is_border


def _fill_frame(images: np.ndarray) -> bool:
    """Whether most images n x height x width have borders that are mostly visible.

    What is visible is so much brighter than the dark part of the same image: a plain
    ground of any level is none, and a single dark pixel makes none of one.
    """
    border = np.median(images[:, border_mask(images.shape[1:])], axis=1)
    dark = np.quantile(images, _DARK_QUANTILE, axis=(1, 2))
    brightest = images.max(axis=(1, 2))
    is_full = border - dark > VISIBLE_SHARE * (brightest - dark)
    return bool(is_full.mean() > 0.5)


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

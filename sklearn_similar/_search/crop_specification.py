"""Size, object extent and value range of training images, which crops share."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from .._images.images import VISIBLE_SHARE, to_grey
from .._images.splits import spread_over_classes

# Maximum number of images from which a crop specification is learnt.
_MAX_IMAGES = 1000
# Quantile of an image's grey levels that stands for its dark part.
_DARK_QUANTILE = 0.05


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
    """Mask of the pixels at the edges of an image of a height and width."""
    is_border = np.ones(shape, dtype=bool)
    is_border[1:-1, 1:-1] = False
    return is_border


def _fill_frame(images: np.ndarray) -> bool:
    """Whether most images n x height x width have borders that are mostly visible.

    A visible pixel is brighter than the dark part of its image by a share of the
    range. A plain background of any level is not visible, even with a dead pixel.
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

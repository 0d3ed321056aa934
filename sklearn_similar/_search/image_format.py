"""How an estimator takes images, for crops and scenes that are made here."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from .._images.images import Images, batch_slices, from_tensor, n_channels, to_tensor
from .._images.messages import warn_user
from .crop_specification import CropSpecification
from .crops import to_unit_tensor

_IMAGES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """Range, type and layout of the training images.

    Attributes
    ----------
    specification : CropSpecification
    dtype, layout : dtype and str
        As in `from_tensor`.
    """

    specification: CropSpecification
    dtype: np.dtype
    layout: str

    def from_unit(self, pixels: torch.Tensor) -> np.ndarray:
        """Images from pixels n x n_channels x height x width in [0, 1]."""
        return from_tensor(
            self.specification.from_unit(pixels), self.dtype, self.layout
        )

    def from_uint8(self, images: np.ndarray) -> np.ndarray:
        """Images from n x height x width (x n_channels), uint8: 0 black, 255 white."""
        parts = batch_slices(len(images), _IMAGES_AT_ONCE)
        return np.concatenate(
            [self.from_unit(to_unit_tensor(images[part])) for part in parts]
        )

    def to_uint8(self, images: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
        """The inverse, n x height x width (x n_channels)."""
        pixels = to_tensor(images, n_channels(image_shape))
        unit = self.specification.to_unit(pixels) * 255
        uint8 = unit.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return uint8 if len(image_shape) == 3 else uint8[..., 0]


def read_instances(
    images: Images,
    indices: np.ndarray,
    image_format: ImageFormat,
    image_shape: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Some of the images, uint8, and their indices; blank ones are left out.

    Raises
    ------
    ValueError
        If all of them are blank, or have one pixel.
    """
    if image_shape[:2] == (1, 1):
        raise ValueError(
            f"X has {math.prod(image_shape)} feature(s), images of one pixel; pass "
            "images that show an instance."
        )
    pixels = np.concatenate(
        [
            image_format.to_uint8(images.select(indices[part]), image_shape)
            for part in batch_slices(len(indices), _IMAGES_AT_ONCE)
        ]
    )
    is_blank = ~pixels.any(axis=tuple(range(1, pixels.ndim)))
    if is_blank.all():
        raise ValueError("All images in X are blank; pass bright objects on black.")
    if is_blank.any():
        warn_user(
            f"{is_blank.sum()} images in X are blank, the first of them image "
            f"{indices[is_blank][0]}; they are not trained on.",
        )
    return pixels[~is_blank], indices[~is_blank]

"""How an estimator takes images: range, type and layout of its training images."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from .._images.images import Images, from_tensor
from .._images.scaling import BY_TYPE, Scaling
from .crop_specification import CropSpecification


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """From pixels in [0, 1] to images as an estimator was trained on.

    Attributes
    ----------
    specification : CropSpecification
    n_channels : int
    dtype, layout : dtype and str
        As in `from_tensor`.
    scaling : Scaling
    """

    specification: CropSpecification
    n_channels: int
    dtype: np.dtype
    layout: str
    scaling: Scaling = BY_TYPE

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image as a user passes it."""
        size, n_channels = self.specification.size, self.n_channels
        if self.layout == "rows":
            return (math.prod(size) * n_channels,)
        return size if self.layout == "grey" else (*size, n_channels)

    def select(self, images: Images, rows: np.ndarray) -> np.ndarray:
        """Some of a user's images, as the user passes them."""
        return self._from_tensor(images.tensor(rows, self.n_channels))

    def read_as_uint8(self, images: Images, rows: np.ndarray) -> np.ndarray:
        """Some of a user's images, n x height x width (x n_channels), in 8 bits."""
        pixels = images.tensor(rows, self.n_channels)
        layout = "grey" if self.n_channels == 1 else "colour"
        return from_tensor(self.specification.to_unit(pixels), np.dtype("u1"), layout)

    def array_from_unit(self, pixels: torch.Tensor) -> np.ndarray:
        """Images as a user passes them, from n x n_channels x height x width."""
        return self._from_tensor(self.specification.from_unit(pixels))

    def image_from_unit(self, pixels: torch.Tensor) -> np.ndarray:
        """An image of any size, height x width (x n_channels)."""
        layout = "grey" if len(pixels) == 1 else "colour"
        values = self.specification.from_unit(pixels[np.newaxis])
        return from_tensor(values, self.dtype, layout, self.scaling)[0]

    def tensor_from_unit(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels as a network takes them, with as many levels as training images."""
        values = self.specification.from_unit(pixels)
        if self.dtype.kind in "iub":
            levels = self.scaling.unscale(values, self.dtype)
            return self.scaling.scale(levels, self.dtype)
        return values.half().float() if self.dtype == np.float16 else values

    def _from_tensor(self, values: torch.Tensor) -> np.ndarray:
        return from_tensor(values, self.dtype, self.layout, self.scaling)

"""Images that are not in memory: whatever has a shape, a type and slices."""

from typing import Any

import numpy as np
import torch


def is_lazy(image: Any) -> bool:
    """Whether an image is to be read by slices alone (zarr, h5py and the like)."""
    return not isinstance(image, (np.ndarray, torch.Tensor, np.generic)) and all(
        hasattr(image, name) for name in ("shape", "dtype", "__getitem__")
    )


class LazyPixels:
    """An image height x width x n_channels, of which windows are read.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, n_channels)
    """

    def __init__(self, image: Any):
        self._image = image
        shape = tuple(image.shape)
        self.shape = shape if len(shape) == 3 else (*shape, 1)
        self.dtype = np.dtype(image.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        return np.asarray(self._image[window]).reshape(
            *(
                len(range(*part.indices(length)))
                for part, length in zip(window, self.shape, strict=False)
            ),
            self.shape[2],
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:, :], dtype=dtype)

"""Resizing whole images."""

import numpy as np
import torch
import torch.nn.functional as F


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image by linear interpolation, averaging where it gets smaller.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, n_channels)
    size : (int, int)
        New height and width in pixels.

    Returns
    -------
    ndarray of float32, with as many axes as `image` and in its units
    """
    channels = np.atleast_3d(image).transpose(2, 0, 1).astype(np.float32, order="C")
    resized = F.interpolate(
        torch.from_numpy(channels[np.newaxis]), size, mode="bilinear", antialias=True
    )
    return resized[0].numpy().transpose(1, 2, 0).reshape(*size, *image.shape[2:])

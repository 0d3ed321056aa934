"""Whether objects are brighter or darker than what is around them."""

import numpy as np
import torch

from .._images.images import to_grey
from .._images.messages import warn_user
from .crop_specification import CropSpecification, border_mask

# An image is dark on light if most of its border is about as light as the border's
# light part, nothing is lighter, and something is much darker. Objects that are cropped
# tightly reach the border; photographs that fill the image are rarely so plain there.
_QUANTILE = 0.75
_MIN_BORDER_SHARE = 0.5
_TOLERANCE = 0.1
_MIN_LEVEL = 0.5
_MIN_CONTRAST = 0.25
_MIN_AREA = 0.02


def warn_if_dark_on_light(
    images: torch.Tensor, specification: CropSpecification
) -> None:
    """Warn if most of the training images, n x c x h x w, are dark on light."""
    grey = to_grey(specification.to_unit(images)).numpy()
    n_dark = int(are_dark_on_light(grey).sum())
    if n_dark > len(grey) / 2:
        warn_user(
            f"{n_dark} of {len(grey)} sampled images are dark on light, and are used "
            "as they are; bright objects on black are detected more reliably: pass "
            "the negative, 255 - X for 8-bit images, 1 - X for floats up to 1, and "
            "polarity='dark' for images like these.",
        )


def are_dark_on_light(images: np.ndarray) -> np.ndarray:
    """Whether each image, n x height x width in [0, 1], is a dark object on light."""
    border = images[:, border_mask(images.shape[1:])]
    level = np.quantile(border, _QUANTILE, axis=1)
    is_plain = np.abs(border - level[:, np.newaxis]) <= _TOLERANCE
    above = images - level[:, np.newaxis, np.newaxis]
    return (
        (level >= _MIN_LEVEL)
        & (is_plain.mean(axis=1) >= _MIN_BORDER_SHARE)
        & ((above < -_MIN_CONTRAST).mean(axis=(1, 2)) >= _MIN_AREA)
        & ((above > _TOLERANCE).mean(axis=(1, 2)) < _MIN_AREA)
    )

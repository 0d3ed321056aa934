"""Images without their alpha channel: a level of grey stands behind the pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .images import LUMA, LazyPixels, batch_slices
from .memory import within_working_memory
from .messages import warn_user
from .scaling import BY_TYPE, Scaling, ValueRange, white_level

_LEVELS: dict[str, Literal["black", "white", "contrast"]] = {
    "bright": "black",
    "dark": "white",
    "both": "contrast",
}
# Pixels that are worked on at a time, at scikit-learn's default working memory.
_PART_PIXELS = 2**20
# Grey levels that differ by less than this share of white are hard to tell apart.
_MIN_CONTRAST = 0.1
# Mean grey level below which an image is dark.
_DARK = 1 / 3


@dataclass(frozen=True)
class Fill:
    """What stands behind transparent pixels.

    Attributes
    ----------
    level : {"black", "white", "contrast"} or None
        "contrast": white if the visible pixels of an image are dark, else black. None:
        black, even if nothing is visible there.
    scaling : Scaling
        Which values are black and white, for each type.
    """

    level: Literal["black", "white", "contrast"] | None = "contrast"
    scaling: Scaling = BY_TYPE


# For images in which no estimator searches for anything.
OPAQUE = Fill()


def fill_for(estimator: Any, scaling: Scaling | None = None) -> Fill:
    """The fill in which the objects that an estimator searches for are visible.

    The scaling is that of the fitted estimator, unless another is given.
    """
    level = _LEVELS[getattr(estimator, "polarity", "both")]
    return Fill(level, scaling or Scaling.of(estimator))


def has_alpha(pixels: Any) -> bool:
    """Whether the last of 2 or 4 channels seems to be alpha rather than a band.

    Its maximum is then that of opaque pixels, or it is 0 all over.

    Parameters
    ----------
    pixels : ndarray or lazy array of shape (..., height, width, n_channels)
    """
    if pixels.shape[-1] not in (2, 4) or pixels.dtype.kind not in "biuf":
        return False
    if 0 in pixels.shape:
        return False
    maximum = np.max(pixels[..., -1])
    return maximum in (0, white_level(pixels.dtype))


def without_alpha(pixels: np.ndarray, fill: Fill, name: str) -> np.ndarray:
    """Lay an image on a plain background; warn if it cannot be seen there.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 2) or (height, width, 4)
        Grey or colour, and alpha.
    fill : Fill
    name : str
        What messages call the image.

    Returns
    -------
    ndarray of shape (height, width, 1) or (height, width, 3)
        Of the same type.
    """
    return _lay_on(pixels, _background(pixels, fill, name))


class LazyOpaquePixels(LazyPixels):
    """An image with alpha that is not in memory, laid on a plain background.

    Parameters
    ----------
    pixels : LazyPixels
    fill : Fill
    name : str
        What messages call the image.
    """

    def __init__(self, pixels: LazyPixels, fill: Fill, name: str):
        super().__init__(pixels)
        self.shape = (*pixels.shape[:2], pixels.shape[2] - 1)
        self._background = _background(pixels, fill, name)

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        return _lay_on(self._image[window], self._background)


def _background(pixels: np.ndarray | LazyPixels, fill: Fill, name: str) -> float:
    """The value behind an image; warns if nothing is visible there.

    The nearest one that the type holds, as the range of a user may exceed it.
    """
    black, white = _within_type(fill.scaling.limits(pixels.dtype), pixels.dtype)
    if fill.level is None:
        return black
    low, mean, high = _visible_range(pixels, fill.scaling)
    level = fill.level
    if level == "contrast":
        level = "white" if mean < _DARK else "black"
    grey = 1.0 if level == "white" else 0.0
    if max(abs(low - grey), abs(high - grey)) < _MIN_CONTRAST:
        other = "dark" if level == "black" else "bright"
        warn_user(
            f"{name} shows nothing: its visible pixels have grey levels from {low:.2g} "
            f"to {high:.2g}, and its transparent pixels are filled with {level}; pass "
            f"polarity={other!r} or 'both' to InstanceLocalizer, or an image without "
            "transparent pixels."
        )
    return white if level == "white" else black


def _within_type(limits: ValueRange, dtype: np.dtype) -> ValueRange:
    """The nearest values that a type of integers or booleans holds."""
    if dtype.kind not in "biu":
        return limits
    lowest, highest = 0, 1
    if dtype.kind != "b":
        lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    black, white = np.clip(limits, lowest, highest).tolist()
    return black, white


def _lay_on(pixels: np.ndarray, background: float) -> np.ndarray:
    opaque = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), pixels.dtype)
    for rows in _row_slices(pixels):
        colour, alpha = _split(pixels[rows])
        values = alpha * colour + (1 - alpha) * background
        opaque[rows] = values if pixels.dtype.kind == "f" else np.rint(values)
    return opaque


def _visible_range(
    pixels: np.ndarray | LazyPixels, scaling: Scaling
) -> tuple[float, float, float]:
    """Minimum, mean and maximum grey level of the visible pixels, where white is 1.

    0, 0.5 and 1 if all pixels are visible, or none is.
    """
    low, high, total, weight = np.inf, -np.inf, 0.0, 0.0
    for rows in _row_slices(pixels):
        values, alpha = _split(pixels[rows, :])
        colour = scaling.scale(values, pixels.dtype)
        grey = (
            colour @ np.array(LUMA, np.float32)
            if colour.shape[2] == 3
            else colour[..., 0]
        )
        total += float((alpha[..., 0] * grey).sum(dtype=np.float64))
        weight += float(alpha.sum(dtype=np.float64))
        visible = grey[alpha[..., 0] > 0.5]
        low = min(low, float(visible.min(initial=np.inf)))
        high = max(high, float(visible.max(initial=-np.inf)))
    if low > high or weight == pixels.shape[0] * pixels.shape[1]:
        return 0.0, 0.5, 1.0
    return low, total / weight, high


def _row_slices(pixels: np.ndarray | LazyPixels) -> Iterator[slice]:
    height, width = pixels.shape[:2]
    return batch_slices(height, max(1, within_working_memory(_PART_PIXELS) // width))


def _split(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of colours, and alpha from 0 to 1, in floats that hold the type."""
    values = pixels.astype(np.result_type(pixels.dtype, np.float32))
    return values[..., :-1], np.clip(values[..., -1:] / white_level(pixels.dtype), 0, 1)

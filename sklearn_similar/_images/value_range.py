"""Ranges of pixel values: those of the training images, and what is far from them.

A network recognises nothing in images that are scaled in another way than the images
it was trained on, and gives its wrong answers with confidence.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from .images import Images, white_level
from .messages import warn_user
from .position import image_name

_LARGEST = float(np.finfo(np.float32).max)
# Accuracy of LeNet on digits falls to that of guessing if it is trained on values that
# take less than a fifteenth of the range from 0 to 1: 10 of 16 bits, integers up to 16,
# masks of 0 and 1 in integers.
_MIN_TRAINING_SPREAD = 1 / 15
# Least part of the training images' range that others take. Values divided by 255 or
# 257 too often take less; so few grey levels of the trained type are an empty image.
_MIN_SHARE = 1 / 200
# The same for 16-bit images where training had others: 12 bits take a sixteenth.
_MIN_SHARE_16_BIT = 1 / 15
# Beyond the trained range by more than this many times its length is far outside. A
# factor of 3 in brightness is not.
_MAX_BEYOND = 2
# Values below zero, in parts of the trained range: more than resampling makes of images
# that have none.
_MIN_NEGATIVE = 0.1
_ARE_CHECKED = ContextVar("_ARE_CHECKED", default=False)

ValueRange = tuple[float, float]


def value_ranges(images: Images, enough: float = 1.0) -> dict[np.dtype, ValueRange]:
    """Least and greatest value that reaches the network, for each type of pixels.

    Parameters
    ----------
    images : Images
        Read batch by batch.
    enough : float
        Length of a range after which unsigned integers are not read any further.

    Raises
    ------
    ValueError
        For NaN and what is infinite in float32; the message names the image.
    """
    ranges: dict[np.dtype, ValueRange] = {}
    # What is left to read cannot be beyond the range of the type.
    known: set[np.dtype] = set()
    for start, pixels in images.views(known):
        level = white_level(pixels.dtype)
        low, high = ranges.get(pixels.dtype, (np.inf, -np.inf))
        if pixels.dtype in known:
            continue
        least, greatest = float(pixels.min()), float(pixels.max())
        # NaN is the minimum of anything it is in, and no comparison with it is true.
        if not (least >= -_LARGEST and greatest <= _LARGEST):
            _refuse(pixels, start, "Row" if images.layout == "rows" else "Image")
        low, high = min(low, least / level), max(high, greatest / level)
        ranges[pixels.dtype] = low, high
        if _is_bounded(pixels.dtype) and high - low >= enough:
            known.add(pixels.dtype)
    return ranges


def training_range(images: Images) -> ValueRange:
    """Range of the values of images of one type; warns where it is a tiny one."""
    ((dtype, (low, high)),) = value_ranges(images).items()
    if 0 < high - low < _MIN_TRAINING_SPREAD and not _ARE_CHECKED.get():
        warn_user(
            f"X reaches the network as values from {low:.3g} to {high:.3g} "
            f"({_scaling(dtype)}), of which most networks learn little; scale X to the "
            "range from 0 to 1, as X / X.max() does.",
        )
    return low, high


def check_value_range(images: Images, trained: ValueRange, dtype: np.dtype) -> bool:
    """Warn once of images whose values are scaled unlike those of the training images.

    Parameters
    ----------
    images : Images
    trained : (float, float)
        Range of the training images.
    dtype : dtype
        Type of their pixels.

    Returns
    -------
    bool
        Whether there was something to warn of.

    Raises
    ------
    ValueError
        As `value_ranges` does.
    """
    least, greatest = trained
    # All that unsigned integers can be is the range from 0 to 1.
    is_within = not _differs((0.0, 1.0), trained, _MIN_SHARE_16_BIT)
    enough = _MIN_SHARE_16_BIT * (greatest - least) if is_within else np.inf
    for found, (low, high) in value_ranges(images, enough).items():
        is_other_depth = white_level(found) == 65535 != white_level(dtype)
        min_share = _MIN_SHARE_16_BIT if is_other_depth else _MIN_SHARE
        if _differs((low, high), trained, min_share) and not _ARE_CHECKED.get():
            warn_user(
                f"X reaches the network as values from {low:.3g} to {high:.3g} "
                f"({_scaling(found)}), but the images of fit did from {least:.3g} to "
                f"{greatest:.3g} ({_scaling(dtype)}), so that results may be wrong; "
                "give X the type and the scaling of the images of fit.",
            )
            return True
    return False


@contextmanager
def ranges_are_checked() -> Iterator[None]:
    """Let estimators inside another one not repeat its warnings."""
    token = _ARE_CHECKED.set(True)
    try:
        yield
    finally:
        _ARE_CHECKED.reset(token)


def _differs(found: ValueRange, trained: ValueRange, min_share: float) -> bool:
    """Whether a range is not likely to be one of images like the training images."""
    (low, high), (least, greatest) = found, trained
    spread = greatest - least
    if spread == 0:
        return False
    is_outside = max(high - greatest, least - low) > _MAX_BEYOND * spread
    # Blank images have a range of length 0, wherever they are.
    is_tiny = 0 < high - low < min_share * spread
    # Standardised images have values below zero, raw ones begin at zero.
    was_signed = least < -_MIN_NEGATIVE * spread
    if was_signed:
        is_other_sign = 0 <= low < high and low < _MIN_NEGATIVE / 2 * spread
    else:
        is_other_sign = low < -2 * _MIN_NEGATIVE * spread
    return is_outside or is_tiny or is_other_sign


def _is_bounded(dtype: np.dtype) -> bool:
    """Whether a type holds nothing beyond its black and white."""
    return dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2)


def _scaling(dtype: np.dtype) -> str:
    """A type and what its values are divided by."""
    level = white_level(dtype)
    return f"{dtype}" if level == 1 else f"{dtype}, divided by {level}"


def _refuse(pixels: np.ndarray, start: int, noun: str) -> None:
    """Raise ValueError for the first image with a value that float32 cannot hold."""
    for index, values in enumerate(pixels, start):
        bad = values[~(np.abs(values.astype(np.float64)) <= _LARGEST)]
        if len(bad):
            found = "NaN" if np.isnan(bad[0]) else f"{bad[0]:.3g}"
            raise ValueError(
                f"{image_name(index, noun)} of X contains {found}; pass finite numbers "
                "that float32 can hold."
            )

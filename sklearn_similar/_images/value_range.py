"""Ranges of pixel values, and those that differ from the training images.

A network recognises nothing in images that are scaled in another way than the images
it was trained on, and gives its wrong answers with confidence.
"""

import numpy as np

from .images import Images, white_level
from .messages import ImageNames, count, warn_user

_FLOAT32_MAX = float(np.finfo(np.float32).max)
# Accuracy of LeNet on digits falls to that of guessing if it is trained on values that
# take less than a fifteenth of the range from 0 to 1: 10 of 16 bits, integers up to 16,
# masks of 0 and 1 in integers.
_MIN_TRAINING_LENGTH = 1 / 15
# Minimum length of a range, as a share of that of the training images. Values divided
# by 255 or 257 too often take less; so few grey levels of the trained type are an empty
# image.
_MIN_SHARE = 1 / 200
# The same for 16-bit images where training had another type: 12 bits take a sixteenth.
_MIN_SHARE_16_BIT = 1 / 15
# Values are far outside if they exceed the trained range by more than this many times
# its length. A factor of 3 in brightness is not.
_MAX_EXCESS = 2
# Values below zero count from this share of the trained range on: resampling makes
# smaller ones in images that have none.
_MIN_NEGATIVE = 0.1
# Share of images that may differ from the others: some are nearly blank.
_MAX_DIFFERENT = 0.05

ValueRange = tuple[float, float]


def value_ranges(images: Images, enough: float = 1.0) -> dict[np.dtype, ValueRange]:
    """Minimum and maximum that reach the network, for each type of pixels.

    Parameters
    ----------
    images : Images
        Read batch by batch.
    enough : float
        Length of a range after which unsigned integers are not read any further.

    Raises
    ------
    ValueError
        For NaN and for values that are infinite in float32; the message names the
        image.
    """
    return _scan(images, enough)[0]


def _scan(
    images: Images, enough: float
) -> tuple[dict[np.dtype, ValueRange], np.ndarray]:
    """The ranges of `value_ranges`, and those of single images, (n_images, 2).

    Ranges of single images are NaN for types that are not read to the end.
    """
    ranges: dict[np.dtype, ValueRange] = {}
    settled: set[np.dtype] = set()
    each = np.full((len(images), 2), np.nan)
    for start, pixels in images.views(skipped=settled):
        dtype, level = pixels.dtype, white_level(pixels.dtype)
        lows, highs = pixels.min(axis=(1, 2, 3)), pixels.max(axis=(1, 2, 3))
        minimum, maximum = float(lows.min()), float(highs.max())
        # The minimum is NaN if there is one, and no comparison with it is true.
        if not (minimum >= -_FLOAT32_MAX and maximum <= _FLOAT32_MAX):
            noun = "Row" if images.layout == "rows" else images.names.noun
            _raise_not_finite(pixels, start, images.names.with_noun(noun))
        low, high = ranges.get(dtype, (np.inf, -np.inf))
        low, high = min(low, minimum / level), max(high, maximum / level)
        ranges[dtype] = low, high
        if _is_bounded(dtype) and high - low >= enough:
            settled.add(dtype)
        if not _is_bounded(dtype):
            read = each[start : start + len(pixels)]
            read[:, 0] = np.fmin(read[:, 0], lows / level)
            read[:, 1] = np.fmax(read[:, 1], highs / level)
    return ranges, each


def _raise_not_finite(pixels: np.ndarray, start: int, names: ImageNames) -> None:
    """Raise ValueError for the first image with a value that float32 cannot hold."""
    for index, values in enumerate(pixels, start):
        bad = values[~(np.abs(values.astype(np.float64)) <= _FLOAT32_MAX)]
        if len(bad):
            value = "NaN" if np.isnan(bad[0]) else f"{bad[0]:.3g}"
            raise ValueError(
                f"{names.name(index)} of X contains {value}; pass finite numbers that "
                "float32 can hold."
            )


def training_range(images: Images, warn: bool = True) -> ValueRange:
    """Range of the values of images of one type.

    Parameters
    ----------
    images : Images
    warn : bool
        Whether to warn of a tiny range.
    """
    ranges, each = _scan(images, 1.0)
    ((dtype, (low, high)),) = ranges.items()
    if warn:
        _warn_of_mixed_scales(images.names, each, (low, high), "all images")
    if warn and 0 < high - low < _MIN_TRAINING_LENGTH:
        warn_user(
            f"X reaches the network as values from {low:.3g} to {high:.3g} "
            f"({_scaling(dtype)}), of which most networks learn little; scale X to the "
            "range from 0 to 1 by the same number in fit and later, such as "
            f"{_remedy(dtype, high)}.",
        )
    return low, high


def _remedy(dtype: np.dtype, high: float) -> str:
    """How X is scaled whose maximum reaches the network as `high`."""
    maximum = high * white_level(dtype)
    if dtype.kind != "u" or dtype.itemsize < 2:
        return f"X / {maximum:.6g}"
    n_bits = max(1, round(maximum).bit_length())
    return f"X / {2**n_bits - 1} for {count(n_bits, 'bit')}"


def check_value_range(
    images: Images, trained: ValueRange, dtype: np.dtype, warn: bool = True
) -> bool:
    """Warn once of images whose values are scaled unlike those of the training images.

    Parameters
    ----------
    images : Images
    trained : (float, float)
        Range of the training images.
    dtype : dtype
        Type of their pixels.
    warn : bool
        If False, values are read, and refused where float32 cannot hold them, without a
        warning.

    Returns
    -------
    bool
        Whether there was a warning.

    Raises
    ------
    ValueError
        As `value_ranges` does.
    """
    trained_low, trained_high = trained
    # Unsigned integers cannot leave the range from 0 to 1.
    is_within = not _differs((0.0, 1.0), trained, _MIN_SHARE_16_BIT)
    length = trained_high - trained_low
    enough = _MIN_SHARE_16_BIT * length if is_within else np.inf
    ranges, each = _scan(images, enough)
    for given, (low, high) in ranges.items():
        is_other_depth = white_level(given) == 65535 != white_level(dtype)
        min_share = _MIN_SHARE_16_BIT if is_other_depth else _MIN_SHARE
        if warn and _differs((low, high), trained, min_share):
            warn_user(
                f"X reaches the network as values from {low:.3g} to {high:.3g} "
                f"({_scaling(given)}), but the images of fit did from "
                f"{trained_low:.3g} to {trained_high:.3g} ({_scaling(dtype)}), so that "
                "results may be wrong; give X the type and the scaling of the images "
                "of fit.",
            )
            return True
    return warn and _warn_of_mixed_scales(
        images.names, each, trained, "the images of fit did"
    )


def _warn_of_mixed_scales(
    names: ImageNames, each: np.ndarray, usual: ValueRange, source: str
) -> bool:
    """Warn of single images that are scaled unlike the others; whether there are any.

    Parameters
    ----------
    names : ImageNames
    each : ndarray of shape (n_images, 2)
        Minimum and maximum of each image; NaN for those that are not considered.
    usual : (float, float)
    source : str
        The images that have this range.
    """
    differs = [_differs((low, high), usual, _MIN_SHARE) for low, high in each]
    n_images, n_different = len(each), sum(differs)
    if n_different <= _MAX_DIFFERENT * n_images:
        return False
    low, high = each[np.argmax(differs)]
    warn_user(
        f"{n_different} of {n_images} images in X are scaled unlike the others: "
        f"{names.name(int(np.argmax(differs)))} reaches the network as values from "
        f"{low:.3g} to {high:.3g}, and {source} from {usual[0]:.3g} to {usual[1]:.3g}, "
        "so that results may be wrong; scale all images alike.",
    )
    return True


def _differs(given: ValueRange, trained: ValueRange, min_share: float) -> bool:
    """Whether a range is unlikely for images like the training images."""
    (low, high), (trained_low, trained_high) = given, trained
    length = trained_high - trained_low
    if length == 0:
        return False
    is_outside = max(high - trained_high, trained_low - low) > _MAX_EXCESS * length
    # Blank images have a range of length 0, whatever their value.
    is_tiny = 0 < high - low < min_share * length
    # Standardised images have values below zero, raw ones begin at zero.
    if trained_low < -_MIN_NEGATIVE * length:
        is_other_sign = 0 <= low < high and low < _MIN_NEGATIVE / 2 * length
    else:
        is_other_sign = low < -2 * _MIN_NEGATIVE * length
    return is_outside or is_tiny or is_other_sign


def _is_bounded(dtype: np.dtype) -> bool:
    """Whether black and white are the limits of a type."""
    return dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2)


def _scaling(dtype: np.dtype) -> str:
    """A type, and the number that its values are divided by."""
    level = white_level(dtype)
    return f"{dtype}" if level == 1 else f"{dtype}, divided by {level}"

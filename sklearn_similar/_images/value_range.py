"""Ranges of pixel values, and those that differ from the training images.

A network recognises nothing in images that are scaled in another way than the images
it was trained on, and gives its wrong answers with confidence.
"""

import numpy as np

from .images import Images
from .messages import ImageNames, warn_user
from .scaling import (
    ANY,
    BY_TYPE,
    Scaling,
    ValueRange,
    extremes,
    learn_scaling,
    white_level,
)

_FLOAT32_MAX = float(np.finfo(np.float32).max)
# Accuracy of LeNet on digits falls to that of guessing if it is trained on values that
# take less than a fifteenth of the range from 0 to 1: 10 of 16 bits, integers up to 16,
# masks of 0 and 1 in integers.
_MIN_TRAINING_LENGTH = 1 / 15
# Minimum length of a range, as a share of that of the training images. Values divided
# by 255 or 257 too often take less; so few grey levels of the trained type are an empty
# image.
_MIN_SHARE = 1 / 200
# The same for types that training did not have and that may hold fewer bits: 14 of 16
# bits take a quarter.
_MIN_SHARE_OTHER_DEPTH = 0.26
# Values are far outside if they exceed the trained range by more than this many times
# its length. A factor of 3 in brightness is not.
_MAX_EXCESS = 2
# Values below zero count from this share of the trained range on: resampling makes
# smaller ones in images that have none.
_MIN_NEGATIVE = 0.1
# Share of images that may differ from the others: some are nearly blank.
_MAX_DIFFERENT = 0.05


def value_ranges(images: Images, enough: float = 1.0) -> dict[np.dtype, ValueRange]:
    """Minimum and maximum pixel as they were passed, for each type of pixels.

    Parameters
    ----------
    images : Images
        Read batch by batch.
    enough : float
        Length of a scaled range after which types are not read any further that cannot
        leave the range from 0 to 1.

    Raises
    ------
    ValueError
        For NaN and for values that are infinite in float32; the message names the
        image.
    """
    return _scan(images, enough)[0]


def _scan(
    images: Images, enough: float, counted: np.ndarray | None = None
) -> tuple[dict[np.dtype, ValueRange], np.ndarray]:
    """The ranges of `value_ranges`, and scaled ones of single images, (n_images, 2).

    Ranges of single images are NaN for types that are not read to the end, and for
    images that are only checked: those outside the mask `counted`.
    """
    if counted is None:
        counted = np.ones(len(images), bool)
    ranges: dict[np.dtype, ValueRange] = {}
    settled: set[np.dtype] = set()
    each = np.full((len(images), 2), np.nan)
    for start, pixels in images.views(skipped=settled):
        dtype, (black, white) = pixels.dtype, images.scaling.limits(pixels.dtype)
        is_bounded = _is_bounded(dtype) and (black, white) == (0, white_level(dtype))
        counts = counted[start : start + len(pixels)]
        if not is_bounded:
            lows, highs = pixels.min(axis=(1, 2, 3)), pixels.max(axis=(1, 2, 3))
            # The minimum is NaN if there is one, and no comparison with it is true.
            if not (
                float(lows.min()) >= -_FLOAT32_MAX
                and float(highs.max()) <= _FLOAT32_MAX
            ):
                noun = "Row" if images.layout == "rows" else images.names.noun
                _raise_not_finite(pixels, start, images.names.with_noun(noun))
        if not counts.any():
            continue
        if is_bounded:
            # Several times as fast as the range of each image.
            values = pixels if counts.all() else pixels[counts]
            minimum, maximum = float(values.min()), float(values.max())
        else:
            lows, highs = lows[counts], highs[counts]
            minimum, maximum = float(lows.min()), float(highs.max())
            indices = start + np.flatnonzero(counts)
            length = white - black
            # An image may come in several parts.
            each[indices, 0] = np.fmin(each[indices, 0], (lows - black) / length)
            each[indices, 1] = np.fmax(each[indices, 1], (highs - black) / length)
        low, high = ranges.get(dtype, (np.inf, -np.inf))
        low, high = ranges[dtype] = min(low, minimum), max(high, maximum)
        if is_bounded and high - low >= enough * (white - black):
            settled.add(dtype)
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


def learnt_scaling(
    images: Images, counted: np.ndarray, known: Scaling = BY_TYPE
) -> Scaling:
    """The scaling of images of one type, learnt if it is not known.

    Images outside the mask `counted` are left out.
    """
    settled = {images.dtype} if known.knows(images.dtype) else set()
    parts = (
        pixels[counts] if not counts.all() else pixels
        for start, pixels in images.views(skipped=settled)
        if (counts := counted[start : start + len(pixels)]).any()
    )
    return learn_scaling(extremes(parts, settled), known)


def warn_if_unlike_learnt(images: Images, counted: np.ndarray, known: Scaling) -> bool:
    """Warn of images that `learn_scaling` would scale in another way than by type.

    Whether there was a warning; there is none if the scaling is known.
    """
    dtype = images.dtype
    low, high = learnt_scaling(images, counted, known).limits(dtype)
    differs = (low, high) != known.limits(dtype)
    if differs:
        warn_user(
            f"X seems to have values up to {high:.6g}, but reaches the network as "
            f"{BY_TYPE.text(dtype)}, because max_epochs=0 leaves the network as it was "
            f"trained elsewhere; pass value_range=({low:.6g}, {high:.6g}) if it was "
            "trained on images that were scaled so."
        )
    return differs


def training_range(
    images: Images, counted: np.ndarray | None = None, warn: bool = True
) -> ValueRange:
    """Range of the values of images of one type.

    Parameters
    ----------
    images : Images
    counted : ndarray of bool of shape (n_images,), optional
        False for images that are only checked.
    warn : bool
        Whether to warn of a tiny range.
    """
    ranges, each = _scan(images, 1.0, counted)
    ((dtype, given),) = ranges.items()
    low, high = _scaled(given, dtype, images.scaling)
    if warn and not warn_of_clipping(images.scaling, ranges):
        _warn_of_mixed_scales(images.names, each, (low, high), "all images", counted)
    if warn and 0 < high - low < _MIN_TRAINING_LENGTH:
        warn_user(
            f"X reaches the network as values from {low:.3g} to {high:.3g} "
            f"({images.scaling.text(dtype)}), of which most networks learn little; "
            f"pass value_range=({min(0, given[0]):.6g}, {given[1]:.6g}) so that "
            "these values become 0 and 1, in fit and later."
        )
    return low, high


def _scaled(given: ValueRange, dtype: np.dtype, scaling: Scaling) -> ValueRange:
    """The range that pixels of a type and a range have in the network."""
    low, high = scaling.scale(np.array(given), dtype).tolist()
    return low, high


def warn_of_clipping(scaling: Scaling, ranges: dict[np.dtype, ValueRange]) -> bool:
    """Warn of values outside the user's range; whether there are any."""
    clipped = [both for dtype, both in ranges.items() if scaling.clips(dtype)]
    black, white = scaling.ranges.get(ANY, (0.0, 1.0))
    low, high = np.min(clipped, initial=black), np.max(clipped, initial=white)
    if low >= black and high <= white:
        return False
    warn_user(
        f"X has values from {low:.6g} to {high:.6g}; "
        f"those outside value_range=({black:.6g}, {white:.6g}) are clipped to it."
    )
    return True


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
    is_within = not _differs((0.0, 1.0), trained, _MIN_SHARE_OTHER_DEPTH)
    length = trained_high - trained_low
    enough = _MIN_SHARE_OTHER_DEPTH * length if is_within else np.inf
    scaling = images.scaling
    ranges, each = _scan(images, enough)
    if warn and warn_of_clipping(scaling, ranges):
        return True
    for given, values in ranges.items():
        low, high = _scaled(values, given, scaling)
        is_other_depth = not scaling.knows(given) and (
            white_level(given) == 65535 != white_level(dtype)
        )
        min_share = _MIN_SHARE_OTHER_DEPTH if is_other_depth else _MIN_SHARE
        if warn and _differs((low, high), trained, min_share):
            warn_user(
                f"X reaches the network as values from {low:.3g} to {high:.3g} "
                f"({scaling.text(given)}), but the images of fit did from "
                f"{trained_low:.3g} to {trained_high:.3g} ({scaling.text(dtype)}), so "
                "that results may be wrong; give X the type and the scaling of the "
                "images of fit.",
            )
            return True
    return warn and _warn_of_mixed_scales(
        images.names, each, trained, "the images of fit did"
    )


def _warn_of_mixed_scales(
    names: ImageNames,
    each: np.ndarray,
    usual: ValueRange,
    source: str,
    counted: np.ndarray | None = None,
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
    counted : ndarray of bool of shape (n_images,), optional
        False for images that are only checked.
    """
    considered = np.flatnonzero(~np.isnan(each[:, 0]))
    differs = np.zeros(len(each), bool)
    differs[considered] = [
        _differs((low, high), usual, _MIN_SHARE)
        for low, high in each[considered].tolist()
    ]
    n_images = len(each) if counted is None else int(counted.sum())
    n_different = int(differs.sum())
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

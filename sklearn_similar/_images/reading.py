"""Checks that turn what callers pass as images, sizes and ranges into one form."""

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np

from .images import LUMA, shape_text, to_numpy


def allocate(shape: tuple[int, ...], dtype: type, name: str) -> np.ndarray:
    """Return an array to be filled, or raise for one that no memory can hold.

    Where a system promises more memory than it has, it would end the process while the
    array is being filled.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= _physical_memory():
        try:
            return np.empty(shape, dtype=dtype)
        except MemoryError:
            pass
    raise ValueError(
        f"{name}={shape[0]} images of {shape_text(shape[1:])} take "
        f"{n_bytes / 2**30:,.0f} GiB, more than there is memory: make fewer or smaller "
        "ones at a time."
    )


def _physical_memory() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # unknown to this system
        return math.inf


def check_images(images, name: str) -> np.ndarray:
    """Return same-sized images as uint8 of shape (n, h, w) or (n, h, w, c)."""
    try:
        array = to_numpy(images)
    except ValueError as error:
        raise ValueError(
            f"{name} must all have one size, found several: resize them first."
        ) from error
    if array.ndim == 4 and array.shape[3] not in (1, 3):
        raise ValueError(
            f"{name} must have 1 or 3 channels, found {array.shape[3]} in the shape "
            f"{array.shape}: pass grey or RGB images."
        )
    if array.ndim not in (3, 4) or array.size == 0:
        raise ValueError(
            f"{name} must have the shape (n, height, width) or "
            f"(n, height, width, channels) and not be empty, found {array.shape}: "
            "reshape them first."
        )
    return _to_uint8(array, name)


def check_background_images(images, name: str) -> list[np.ndarray]:
    """Return images of any sizes as a list of uint8 (h, w) or (h, w, c)."""
    if hasattr(images, "__array__"):
        images = _split_images(to_numpy(images))
    is_array = isinstance(images, np.ndarray) and images.ndim > 0
    if not is_array and not isinstance(images, Sequence):
        raise ValueError(
            f"{name} is of the type {type(images).__name__}: pass one image, an array "
            "or a list of images."
        )
    if not len(images):
        raise ValueError(f"{name} holds no image: pass at least one.")
    return [_check_image(image, f"{name}[{i}]") for i, image in enumerate(images)]


def _split_images(array: np.ndarray) -> np.ndarray:
    one_grey = array.ndim == 2
    one_colour = array.ndim == 3 and array.shape[2] in (1, 3)
    return array[np.newaxis] if one_grey or one_colour else array


def _check_image(image, name: str) -> np.ndarray:
    try:
        array = to_numpy(image)
    except ValueError as error:
        raise ValueError(
            f"{name} has rows of several lengths: pass grey or RGB images."
        ) from error
    colour = array.ndim == 3 and array.shape[2] in (1, 3)
    if not (array.ndim == 2 or colour) or array.size == 0:
        raise ValueError(
            f"{name} must have the shape (height, width) or (height, width, 3) and "
            f"not be empty, found {array.shape}: pass grey or RGB images."
        )
    return _to_uint8(array, name)


def _to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "buif":
        raise ValueError(
            f"{name} must hold numbers, found the dtype {array.dtype}: pass uint8 "
            "from 0 to 255 or float from 0 to 1."
        )
    if array.dtype.kind == "b":
        return array * np.uint8(255)
    # A NaN makes both comparisons false, so it is refused here too.
    low, high = array.min(), array.max()
    top = 1 if array.dtype.kind == "f" else 255
    if not (low >= 0 and high <= top):
        raise ValueError(
            f"{name} of dtype {array.dtype} must lie between 0 and {top}, found "
            f"{low} to {high}: rescale them or pass uint8."
        )
    return np.rint(array * np.float32(255 / top)).astype(np.uint8)


def with_channels(image: np.ndarray, n_channels: int | None) -> np.ndarray:
    """Return an image with that many channels; None is grey with no such axis."""
    if image.ndim == 3 and image.shape[2] == n_channels:
        return image
    if image.ndim == 3:
        grey = image[..., 0] if image.shape[2] == 1 else _luminance(image)
    else:
        grey = image
    if n_channels is None:
        return grey
    return np.repeat(grey[..., np.newaxis], n_channels, axis=2)


def _luminance(image: np.ndarray) -> np.ndarray:
    return np.rint(image.astype(np.float32) @ np.array(LUMA, dtype=np.float32)).astype(
        np.uint8
    )


def _values(value) -> list:
    """The numbers of a sequence, or a number alone; empty for other things."""
    if isinstance(value, Real):
        return [value]
    array = np.asarray(value, dtype=object)
    return array.tolist() if array.ndim == 1 else []


def check_size(size) -> tuple[int, int]:
    """Return (height, width) as two positive integers."""
    values = _values(size)
    if len(values) != 2 or not all(
        isinstance(v, Integral) and int(v) > 0 for v in values
    ):
        raise ValueError(
            f"size must be two positive integers (height, width), found {size!r}."
        )
    return int(values[0]), int(values[1])


def _is_finite(value) -> bool:
    """Whether a number is one that a float can be: integers may be larger."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_range(value, name: str, *, low=None, high=np.inf, kind: type = Real):
    """Return (least, greatest) of a pair, or of a single value for both.

    Both must be finite and lie between `low` and `high`; None is "above 0".
    """
    values = _values(value)
    pair = values * 2 if len(values) == 1 else values
    valid = len(pair) == 2 and all(isinstance(v, kind) for v in pair)
    valid = valid and pair[0] <= pair[1] <= high and _is_finite(pair[1])
    if not valid or not (pair[0] > 0 if low is None else pair[0] >= low):
        noun = "integers" if kind is Integral else "finite numbers"
        bounds = "above 0" if low is None else f"of at least {low}"
        bounds += f" and at most {high}" if high < np.inf else ""
        raise ValueError(
            f"{name} must be one or two {noun} {bounds}, the least first, found "
            f"{value!r}."
        )
    return pair[0], pair[1]

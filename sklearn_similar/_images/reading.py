"""The gate for images in memory: array-likes in, checked arrays out.

Estimators and metrics read images of any size and type as `Images`, data sets and
training scenes as uint8.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .files import ImageFiles
from .images import LUMA, Images, LazyPixels, is_lazy, n_channels
from .messages import ImageNames, count, shape_text, type_text, warn_user
from .pillow_images import is_pillow_image, read_pillow_image
from .scaling import BY_TYPE, Scaling, extremes, learn_scaling
from .transparency import OPAQUE, Fill, LazyOpaquePixels, has_alpha, without_alpha


def is_dask(X) -> bool:
    """Whether X is a collection of Dask, which is not imported to tell."""
    return "dask" in sys.modules and hasattr(X, "__dask_graph__")


def is_list_of_delayed(X) -> bool:
    """Whether X is a list of ``dask.delayed``, of whose images nothing is known."""
    # A delayed object seems to have any attribute.
    return isinstance(X, (list, tuple)) and any(
        is_dask(x) and type(x).__module__ == "dask.delayed" for x in X
    )


def is_list_of_images(X) -> bool:
    """Whether X is a list of images rather than of rows."""
    if not isinstance(X, (list, tuple)) or len(X) == 0:
        return False
    if is_list_of_delayed(X):
        raise ValueError(
            "X is a list of dask.delayed, which only predict, predict_proba, "
            "transform, heatmap, localize and count take; pass dask.compute(*X), if it "
            "fits into memory."
        )
    if is_pillow_image(X[0]):
        return True
    # An image that has a shape need not be read to count its dimensions.
    shape = getattr(X[0], "shape", None)
    return (np.ndim(X[0]) if shape is None else len(shape)) >= 2


def is_images(X) -> bool:
    """Whether X holds images rather than rows."""
    return is_list_of_images(X) or getattr(X, "ndim", 2) > 2


def to_numpy(X: Any, name: str = "X", fill: Fill | None = None) -> np.ndarray:
    """The array of an array-like; a tensor may be on a GPU or require gradients.

    Parameters
    ----------
    X : array-like or image of Pillow's
    name : str
        What messages call it.
    fill : Fill, optional
        What stands behind transparent pixels of Pillow's images.
    """
    if is_pillow_image(X):
        return read_pillow_image(X, name, fill or OPAQUE)
    check_not_masked(X, name)
    if is_dask(X):
        raise ValueError(
            f"X is of the type {type(X).__module__}.{type(X).__qualname__}; predict, "
            "predict_proba, transform and localize take dask.array and dask.bag, and "
            "anything else X.compute(), if it fits into memory."
        )
    if not isinstance(X, torch.Tensor):
        return np.asarray(X)
    # NumPy has no type of 16 bits with so many exponents.
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy(force=True)


def check_not_masked(X: Any, name: str) -> None:
    """Raise ValueError for values that are masked, which would be read as they are."""
    parts = X if isinstance(X, (list, tuple)) else [X]
    masks = [np.ma.getmaskarray(part) for part in parts if np.ma.isMaskedArray(part)]
    n_masked = sum(int(mask.sum()) for mask in masks)
    if n_masked:
        raise ValueError(
            f"{name} is a masked array, and {count(n_masked, 'value')} of it masked; "
            "pass its method .filled(0), or another level, or .data to ignore the mask."
        )


def check_numeric(array: Any, name: str) -> None:
    """Raise ValueError unless an array holds real numbers."""
    if array.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} has dtype {array.dtype}; pass its "
            "real part or its magnitude."
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} has dtype {array.dtype}; pass numbers, integers from 0 to 255 or "
            "floats."
        )


def channels_seem_first(shape: tuple[int, ...]) -> bool:
    """Whether an image's shape looks like (n_channels, height, width)."""
    return (
        len(shape) == 3 and shape[0] in (1, 3) and shape[1] > shape[0] and shape[2] > 4
    )


def read_images(
    X,
    trained: tuple[int, ...] | None = None,
    names: ImageNames | None = None,
    fill: Fill | None = None,
) -> Images:
    """Check images of any size, and give them as views of what was passed.

    Parameters
    ----------
    X : array-like of shape (n, h, w) or (n, h, w, c), or list of images
        As `is_images` tells them from rows.
    trained : tuple, optional
        Shape of an image that the network was trained with. Other images have as many
        channels, or are grey or colour for a network of the other.
    names : ImageNames, optional
        What messages call the images.
    fill : Fill, optional
        What stands behind transparent pixels. None: the alpha channel of an array is a
        channel like others.

    Raises
    ------
    ValueError
        If an image is empty, not numeric, or has another number of channels; the
        message names it. Values are not read; see `value_ranges`.
    """
    names = ImageNames() if names is None else names
    if is_list_of_images(X):
        pixels = [
            read_image(image, f"{names.name(index)} of X", trained, fill)
            for index, image in enumerate(X)
        ]
        return Images(pixels, "list", names)
    X = to_numpy(X)
    _check_array_of_images(X, trained)
    if X.ndim == 4 and _drops_alpha(X, trained, fill):
        pixels = [
            read_image(image, f"{names.name(index)} of X", trained, fill)
            for index, image in enumerate(X)
        ]
        return Images(np.stack(pixels), "images", names)
    # The first image stands for all, which have its shape and type.
    read_image(X[0], "Each image of X", trained)
    return Images(X if X.ndim == 4 else X[..., np.newaxis], "images", names)


def check_images_of_any_size(X: Any) -> None:
    """Raise ValueError for rows, and for an array that seems to be one image."""
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if not is_images(X) or (len(shape) == 3 and shape[2] in (2, 3, 4)):
        text = f"has shape {shape}" if shape else f"is {type_text(X)}"
        raise ValueError(
            f"X {text}; pass a list or an array of images, and [X] if X is one image."
        )


def _check_array_of_images(X: np.ndarray, trained: tuple[int, ...] | None) -> None:
    """Raise ValueError for an array that is not (n, h, w) or (n, h, w, c)."""
    if len(X) == 0:
        raise ValueError(f"X has shape {X.shape} and so no images; pass at least one.")
    if X.ndim > 4:
        raise ValueError(
            f"X has {X.ndim} dimensions; pass grey images (n, height, width) or colour "
            "images (n, height, width, n_channels)."
        )
    if X.ndim == 3 and X.shape[2] in (3, 4) and trained and X.shape[2] != trained[1]:
        raise ValueError(
            f"X has shape {shape_text(X.shape)}; pass [X] for one colour image, "
            f"or X[..., np.newaxis] for grey images {X.shape[2]} pixels wide."
        )


def read_image(
    image: Any,
    name: str,
    trained: tuple[int, ...] | None = None,
    fill: Fill | None = None,
) -> Any:
    """Check an image, and give it as height x width x n_channels.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, n_channels), or \
            image of Pillow's
    name : str
        What messages call it.
    trained, fill : optional
        As for `read_images`.

    Returns
    -------
    ndarray or LazyPixels
    """
    pixels = image if is_lazy(image) else to_numpy(image, name, fill)
    shape = pixels.shape
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(
            f"{name} has shape {shape}; pass (height, width) or (height, width, "
            "n_channels), none of them 0."
        )
    check_numeric(pixels, name)
    drops_alpha = len(shape) == 3 and _drops_alpha(pixels, trained, fill)
    if trained is not None and not drops_alpha:
        _check_channels(shape, n_channels(trained), name)
    fill = fill if drops_alpha else None
    if not isinstance(pixels, np.ndarray):
        lazy = LazyPixels(pixels)
        return LazyOpaquePixels(lazy, fill, name) if fill else lazy
    if fill:
        return without_alpha(pixels, fill, name)
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def with_learnt_scaling(fill: Fill, X: Any) -> Fill:
    """A fill with the scaling of images, learnt from their visible pixels.

    Types are learnt unless its scaling knows them.

    Parameters
    ----------
    fill : Fill
    X : array or list of images
    """
    settled: set[np.dtype] = set()
    images = read_images(X, fill=replace(fill, level=None))
    values = extremes((part for _, part in images.views(skipped=settled)), settled)
    return replace(fill, scaling=learn_scaling(values, fill.scaling))


def _drops_alpha(
    pixels: Any, trained: tuple[int, ...] | None, fill: Fill | None
) -> bool:
    n_wanted = n_channels(trained) if trained else None
    return fill is not None and n_wanted in (None, 1, 3) and has_alpha(pixels)


def _check_channels(shape: tuple[int, ...], n_trained: int, name: str) -> None:
    """Raise ValueError unless the network can take the channels of an image."""
    n_given = n_channels(shape)
    if n_given == n_trained or (n_given, n_trained) in ((3, 1), (1, 3)):
        return
    hint = "move them to the end" if channels_seem_first(shape) else "convert it"
    raise ValueError(
        f"{name} has shape {shape_text(shape)} and so {count(n_given, 'channel')}, "
        f"but the network was trained with {n_trained}; {hint}."
    )


def check_one_size(images: Images) -> np.ndarray:
    """The pixels of images of one shape and type, n x height x width x n_channels."""
    if isinstance(images.pixels, np.ndarray):
        return images.pixels
    first = images.pixels[0]
    for index, image in enumerate(images.pixels):
        for name, value, expected in [
            ("size", _size_text(image), _size_text(first)),
            ("type", image.dtype, first.dtype),
        ]:
            if value != expected:
                raise ValueError(
                    f"fit wants images of one {name}, but image 0 of X has {expected} "
                    f"and image {index} {value}; make them the same."
                )
    return np.stack(images.pixels)


def _size_text(pixels: np.ndarray) -> str:
    """The shape of an image, height x width x n_channels, as people write it."""
    return shape_text(pixels.shape[:2] if pixels.shape[2] == 1 else pixels.shape)


def uint8_images(images, name: str) -> np.ndarray:
    """Grey or RGB images of one size as uint8, (n, h, w) or (n, h, w, c)."""
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
    _check_kind(array, name)
    return _to_uint8(array, name, scaling_of(array))


def scaling_of(images) -> Scaling:
    """The scaling that is learnt from images of one type."""
    return learn_scaling(extremes([np.asarray(images)], set()))


def uint8_image_list(images, name: str, scaling: Scaling = BY_TYPE) -> list[np.ndarray]:
    """Grey or RGB images of any sizes, or one, as a list of uint8, (h, w) or (h, w, c).

    The name of each in messages is ``name[index]``. Types that the scaling does not
    know are scaled as training images are; of others, values outside their range are
    clipped with a warning.
    """
    if is_pillow_image(images):
        images = [images]
    elif hasattr(images, "__array__"):
        array = to_numpy(images, name)
        images = array[np.newaxis] if _is_grey_or_rgb(array) else array
    is_array = isinstance(images, np.ndarray) and images.ndim > 0
    if not is_array and not isinstance(images, Sequence):
        raise ValueError(
            f"{name} is of the type {type(images).__name__}: pass one image, an array "
            "or a list of images."
        )
    if not len(images):
        raise ValueError(f"{name} holds no image: pass at least one.")
    arrays = _opaque_arrays(images, name, Fill(scaling=scaling))
    if not all(a.dtype.itemsize == 1 or scaling.knows(a.dtype) for a in arrays):
        visible = _opaque_arrays(images, name, Fill(None, scaling))
        known = learn_scaling(extremes(visible, set()), scaling)
        arrays = _opaque_arrays(images, name, Fill(scaling=known))
    _warn_of_clipping(arrays, name, scaling)
    known = learn_scaling(extremes(arrays, set()), scaling)
    return [
        _to_uint8(array, f"{name}[{i}]", known, clips=scaling.knows(array.dtype))
        for i, array in enumerate(arrays)
    ]


def _opaque_arrays(images: Any, name: str, fill: Fill) -> list[np.ndarray]:
    if isinstance(images, ImageFiles):
        images = ImageFiles(images.paths, fill)
    return [_grey_or_rgb(image, f"{name}[{i}]", fill) for i, image in enumerate(images)]


def _warn_of_clipping(arrays: list[np.ndarray], name: str, scaling: Scaling) -> None:
    """Warn once of values outside the range of their type."""
    for index, array in enumerate(arrays):
        low, high = scaling.limits(array.dtype)
        least, most = float(array.min()), float(array.max())
        if scaling.knows(array.dtype) and (least < low or most > high):
            warn_user(
                f"{name} have values outside the range of X, which are clipped to it: "
                f"{name}[{index}] has {least:.6g} to {most:.6g}, and the range is "
                f"({low:.6g}, {high:.6g}); pass value_range to choose another."
            )
            return


def _grey_or_rgb(image, name: str, fill: Fill) -> np.ndarray:
    """The array of an image, without alpha; raises ValueError for other images."""
    if is_pillow_image(image):
        return to_numpy(image, name, fill)
    check_not_masked(image, name)
    try:
        array = to_numpy(image)
    except ValueError as error:
        raise ValueError(
            f"{name} has rows of several lengths: pass grey or RGB images."
        ) from error
    if array.ndim == 3 and has_alpha(array):
        array = without_alpha(array, fill, name)
    if not _is_grey_or_rgb(array) or array.size == 0:
        raise ValueError(
            f"{name} must have the shape (height, width) or (height, width, 3) and "
            f"not be empty, found {array.shape}: pass grey or RGB images."
        )
    _check_kind(array, name)
    return array


def _is_grey_or_rgb(array: np.ndarray) -> bool:
    """Whether an array has the shape of one grey or colour image."""
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))


def _check_kind(array: np.ndarray, name: str) -> None:
    if array.dtype.kind not in "buif":
        raise ValueError(
            f"{name} must hold numbers, found the dtype {array.dtype}: pass uint8 "
            "from 0 to 255 or float from 0 to 1."
        )


def _to_uint8(
    array: np.ndarray, name: str, scaling: Scaling, *, clips: bool = False
) -> np.ndarray:
    _check_kind(array, name)
    black, white = scaling.limits(array.dtype)
    if array.dtype.kind == "b":
        return array * np.uint8(255)
    if array.dtype == np.uint8 and (black, white) == (0, 255):
        return array
    low, high = array.min(), array.max()
    # Both comparisons are false for NaN, which is refused here too.
    is_inside = low >= black and high <= white
    if not is_inside and not (clips and np.isfinite([low, high]).all()):
        raise ValueError(
            f"{name} of dtype {array.dtype} must lie between {black:g} and {white:g}, "
            f"found {low} to {high}: rescale them or pass uint8."
        )
    values = array if black == 0 else array.astype(np.float32) - np.float32(black)
    levels = np.rint(values * np.float32(255 / (white - black)))
    return levels.clip(0, 255).astype(np.uint8)


def with_channels(image: np.ndarray, n_channels: int | None) -> np.ndarray:
    """A uint8 image with a number of channels; None: grey without that axis."""
    if image.ndim == 3 and image.shape[2] == n_channels:
        return image
    grey = image
    if image.ndim == 3:
        grey = image[..., 0] if image.shape[2] == 1 else _luma(image)
    if n_channels is None:
        return grey
    return np.repeat(grey[..., np.newaxis], n_channels, axis=2)


def _luma(image: np.ndarray) -> np.ndarray:
    weighted = image.astype(np.float32) @ np.array(LUMA, dtype=np.float32)
    return np.rint(weighted).astype(np.uint8)

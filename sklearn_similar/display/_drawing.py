"""Parts that all plots share: importing Matplotlib, pictures, a grid of axes."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral

import numpy as np

from .._images.images import white_level
from .._images.messages import shape_text
from .._images.reading import is_images, is_list_of_images
from ..metrics._values import as_numbers, each_array

_FIGURE_WIDTH = 8.0
_PIXELS_PER_INCH = 50
# Inches that a single image may be wide: small ones stay visible, large ones fit.
_IMAGE_WIDTHS = (1.5, 6.4)
# A column or row of pixels fits onto a canvas, and is seen.
_ROW_HEIGHTS = (0.5, 30.0)


def check_finite(values: np.ndarray, name: str) -> None:
    """Raise ValueError unless all values can be drawn."""
    bad = values[~np.isfinite(values)]
    if bad.size:
        found = "NaN" if np.isnan(bad[0]) else f"{bad[0]:.3g}"
        raise ValueError(f"{name} contains {found}; pass finite numbers.")


def import_pyplot(caller: str):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs Matplotlib, which is not installed: "
            'pip install "sklearn-similar[plot]"'
        ) from error
    return plt


def each_image(X, shape, name: str = "X") -> list[np.ndarray]:
    """Single images from any layout of X; `shape` is that of an image in a row."""
    if is_list_of_images(X):
        return check_images(X, name)
    X = as_numbers(X, name)
    if is_images(X):
        return check_images(X, name)
    is_rows = X.ndim == 2 and shape is not None and X.shape[1] == math.prod(shape)
    if not is_rows:
        raise ValueError(
            f"{name} has shape {shape_text(X.shape)}; pass [{name}], if it is one "
            "image, or a list of images."
        )
    return check_images(X.reshape(len(X), *shape), name)


def check_images(images, name: str) -> list[np.ndarray]:
    """Images as arrays of finite numbers that can be drawn."""
    arrays = each_array(images, name, f"Image of {name}")
    if not arrays:
        raise ValueError("There are no images to draw; pass at least one.")
    if all(array.ndim == 1 for array in arrays) and arrays[0].size:
        shape = (len(arrays), len(arrays[0]))
        raise ValueError(
            f"{name} has shape {shape_text(shape)}, that of one image; pass [image]."
        )
    for index, array in enumerate(arrays):
        if array.ndim not in (2, 3) or not array.size:
            raise ValueError(
                f"Image {index} of {name} has shape {shape_text(array.shape)}; pass "
                "(height, width) or (height, width, n_channels)."
            )
        check_finite(array, f"Image {index} of {name}")
    return arrays


def picture(image: np.ndarray) -> np.ndarray:
    """Grey (2-D) or red, green and blue from 0 to 1, from what an estimator takes."""
    if image.ndim == 3 and image.shape[2] != 3:
        image = image.mean(axis=2, dtype=np.float32) / white_level(image.dtype)
    else:
        image = image.astype(np.float32) / white_level(image.dtype)
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        return (image - low) / ((high - low) or 1.0)
    return image


def is_axes(ax) -> bool:
    from matplotlib.axes import Axes

    return isinstance(ax, Axes)


def check_axes(axes, n_images: int) -> np.ndarray:
    """The axes that a user gave, as many as there are images."""
    given = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    wrong = [ax for ax in given if not is_axes(ax)]
    if wrong:
        raise ValueError(
            f"axes holds {wrong[0]!r}; pass matplotlib Axes, one for "
            "each image, or axes=None."
        )
    if len(given) < n_images:
        raise ValueError(
            f"axes has {len(given)} axes for {n_images} images; pass one for each, or "
            "axes=None."
        )
    return given[:n_images]


def check_kw(params, name: str) -> dict:
    """Parameters that are passed on to Matplotlib."""
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise ValueError(f"{name} is {params!r}; pass a dict of parameters, or None.")
    return dict(params)


def check_colormap(cmap) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Colormap

    if not isinstance(cmap, Colormap) and cmap not in list(colormaps):
        raise ValueError(
            f"cmap is {cmap!r}; pass a matplotlib Colormap or the name of one, such as "
            "'viridis'."
        )


@contextmanager
def axes_for(plt, axes, images, n_columns) -> Iterator[np.ndarray]:
    """Axes, given or new, one for each image; new ones are gone after an error."""
    if n_columns is not None and not (
        isinstance(n_columns, Integral) and int(n_columns) >= 1
    ):
        raise ValueError(
            f"n_columns is {n_columns!r}; pass a positive integer or None."
        )
    if axes is not None:
        yield check_axes(axes, len(images))
        return
    new = _new_axes(plt, images, n_columns)
    with closed_on_error(plt, new[0].figure):
        yield new


@contextmanager
def closed_on_error(plt, figure) -> Iterator[None]:
    """Leave no figure half drawn."""
    try:
        yield
    except BaseException:
        plt.close(figure)
        raise


def _new_axes(plt, images, n_columns) -> np.ndarray:
    """Axes in a grid with room for the largest image's width and height."""
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    inches = float(np.clip(width / _PIXELS_PER_INCH, *_IMAGE_WIDTHS))
    if n_columns is None:
        n_rows = math.ceil(len(images) / max(1, _FIGURE_WIDTH // inches))
        n_columns = math.ceil(
            len(images) / n_rows
        )  # rows alike, holes as few as can be
    n_columns = min(n_columns, len(images))
    n_rows = -(-len(images) // n_columns)
    inches = min(inches, _FIGURE_WIDTH / n_columns)
    row_height = float(np.clip(inches * height / width, *_ROW_HEIGHTS))
    # A fifth of an inch for a title, one inch for the colour bar.
    size = (n_columns * inches + 1, n_rows * (row_height + 0.2))
    _, axes = plt.subplots(
        n_rows, n_columns, squeeze=False, layout="constrained", figsize=size
    )
    for ax in axes.flat[len(images) :]:
        ax.remove()
    return axes.ravel()[: len(images)]

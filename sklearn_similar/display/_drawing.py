"""What all displays share: importing Matplotlib, checks, pictures, a grid of axes."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np

from .._compat import Interval, StrOptions, validate_parameter_constraints
from .._images.messages import shape_text
from .._images.reading import is_images, is_list_of_images
from .._images.scaling import learnt_range
from .._images.streams import image_files
from .._tables.values import as_numbers, each_array

_CONSTRAINTS: dict[str, list] = {
    "alpha": [Interval(Real, 0, 1, closed="both")],
    "im_kw": [Mapping, None],
    "labels": ["boolean", StrOptions({"auto"})],
    "legend": ["boolean"],
    "iou_threshold": [Interval(Real, 0, 1, closed="right")],
    "max_heat": [Interval(Real, 0, None, closed="neither"), None],
    "n_columns": [Interval(Integral, 1, None, closed="left"), None],
    "text_kw": [Mapping, None],
}


def check_parameters(caller: str, **parameters: Any) -> None:
    """Raise ValueError for the first invalid parameter of a display."""
    constraints = {name: _CONSTRAINTS[name] for name in parameters}
    validate_parameter_constraints(constraints, parameters, caller_name=caller)


def check_finite(values: np.ndarray, name: str) -> None:
    """Raise ValueError unless all values are finite."""
    bad = values[~np.isfinite(values)]
    if bad.size:
        found = "NaN" if np.isnan(bad[0]) else f"{bad[0]:.3g}"
        raise ValueError(f"{name} contains {found}; pass finite numbers.")


def import_pyplot(caller: str):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs Matplotlib, which is not installed: pip install matplotlib"
        ) from error
    return plt


def each_image(X, shape, name: str = "X") -> list[np.ndarray]:
    """Single images from any layout of X; a row of X has an image of this `shape`."""
    if is_list_of_images(X) or image_files(X) is not None:
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
    """Images as arrays of finite numbers, from arrays, a folder or a list of paths."""
    files = image_files(images)
    if files is not None:
        images = list(files)
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
    """Grey (2-D) or RGB values in [0, 1] of an image that an estimator takes."""
    white = 1.0
    if image.dtype.kind in "iu":
        _, white = learnt_range(image.dtype, float(image.min()), float(image.max()))
    if image.ndim == 3 and image.shape[2] != 3:
        image = image.mean(axis=2, dtype=np.float32) / white
    else:
        image = image.astype(np.float32) / white
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        return (image - low) / ((high - low) or 1.0)
    return image


def is_axes(ax) -> bool:
    from matplotlib.axes import Axes

    return isinstance(ax, Axes)


def check_axes(axes, n_images: int) -> np.ndarray:
    """Axes from the user, one for each image."""
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
    """Given or new axes, one for each image; a new figure is closed after an error."""
    if axes is not None:
        yield check_axes(axes, len(images))
        return
    new = _new_axes(plt, images, n_columns)
    with closed_on_error(plt, new[0].figure):
        yield new


@contextmanager
def closed_on_error(plt, figure) -> Iterator[None]:
    """Close the figure after an error."""
    try:
        yield
    except BaseException:
        plt.close(figure)
        raise


def _new_axes(
    plt, images, n_columns, figure_width: float = 8.0, pixels_per_inch: float = 50
) -> np.ndarray:
    """Axes in a grid for images of the maximum width and height; sizes in inches."""
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    # Small images remain visible, and large ones fit into the figure.
    inches = float(np.clip(width / pixels_per_inch, 1.5, 6.4))
    if n_columns is None:
        n_rows = math.ceil(len(images) / max(1, figure_width // inches))
        # Rows of equal length, with as few gaps as possible.
        n_columns = math.ceil(len(images) / n_rows)
    n_columns = min(n_columns, len(images))
    n_rows = math.ceil(len(images) / n_columns)
    inches = min(inches, figure_width / n_columns)
    # Single rows or columns of pixels stay visible and fit onto a canvas.
    row_height = float(np.clip(inches * height / width, 0.5, 30.0))
    # A fifth of an inch for a title, one inch for the colour bar.
    size = (n_columns * inches + 1, n_rows * (row_height + 0.2))
    _, axes = plt.subplots(
        n_rows, n_columns, squeeze=False, layout="constrained", figsize=size
    )
    for ax in axes.flat[len(images) :]:
        ax.remove()
    return axes.ravel()[: len(images)]

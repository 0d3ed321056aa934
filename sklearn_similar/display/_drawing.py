"""Parts that all plots share: importing Matplotlib, pictures, a grid of axes."""

import numpy as np

from sklearn_similar._inputs.images import is_images, is_list_of_images, white_level

_FIGURE_WIDTH = 8.0
_PIXELS_PER_INCH = 50
# Inches that a single image may be wide: small ones stay visible, large ones fit.
_IMAGE_WIDTHS = (1.5, 6.4)


def import_pyplot(caller: str):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs Matplotlib, which is not installed: "
            'pip install "sklearn-similar[plot]"'
        ) from error
    return plt


def each_image(X, shape) -> list[np.ndarray]:
    """Single images from any layout of X; `shape` is that of an image in a row."""
    if is_list_of_images(X):
        return [np.asarray(image) for image in X]
    X = np.asarray(X)
    return list(X if is_images(X) else X.reshape(len(X), *shape))


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


def new_axes(plt, images, n_columns) -> np.ndarray:
    """Axes in a grid with room for the largest image's width and height."""
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    inches = float(np.clip(width / _PIXELS_PER_INCH, *_IMAGE_WIDTHS))
    if n_columns is None:
        n_columns = max(1, int(_FIGURE_WIDTH // inches))
    n_columns = min(n_columns, len(images))
    n_rows = -(-len(images) // n_columns)
    inches = min(inches, _FIGURE_WIDTH / n_columns)
    # A fifth of an inch for a title, one inch for the colour bar.
    size = (n_columns * inches + 1, n_rows * (inches * height / width + 0.2))
    _, axes = plt.subplots(
        n_rows, n_columns, squeeze=False, layout="constrained", figsize=size
    )
    for ax in axes.flat[len(images) :]:
        ax.remove()
    return axes.ravel()[: len(images)]

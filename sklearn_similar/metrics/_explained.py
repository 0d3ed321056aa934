"""Images, a heatmap that explains a label of each, and the explained estimator."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from .._compat import HasMethods
from .._images.images import Images, batch_slices, n_channels
from .._images.labels import find_labels
from .._images.memory import within_working_memory
from .._images.messages import shape_text
from .._images.reading import check_numeric, check_one_size, is_images, read_images
from .._images.rows import infer_image_shape, readable_rows
from .._images.value_range import value_ranges
from .._tables.values import as_labels, as_numbers, each_array, factorize
from ._heatmaps import check_heatmaps

# Pixels of a batch; activations of a network take some hundred bytes a pixel.
_PIXELS_AT_ONCE = 2**17
# The sum of float32 probabilities may exceed 1 by rounding.
_PROBABILITY_TOLERANCE = 1e-3

EXPLAINED: dict[str, Any] = {
    "estimator": [HasMethods("predict_proba")],
    "X": "no_validation",
    "heatmaps": [pd.DataFrame, "array-like", None],
    "labels": "no_validation",
}


class Batch(NamedTuple):
    """Consecutive images with their heatmaps.

    Attributes
    ----------
    span : slice
        Positions in X.
    pixels : ndarray of shape (m, h, w, n_channels)
        Of the dtype of `Explained`.
    heat : ndarray of shape (m, h, w)
    """

    span: slice
    pixels: np.ndarray
    heat: np.ndarray


class Explained:
    """Images, a label and a heatmap of each, and the explained estimator.

    Parameters
    ----------
    estimator, X, heatmaps, labels
        As in `average_drop`.

    Attributes
    ----------
    pixels : ndarray of shape (n, h, w, n_channels)
        A view of X, if that is an array.
    dtype : numpy.dtype
        Of the images that the estimator gets: that of X, but float32 for booleans,
        which have no values between True and False.
    """

    def __init__(self, estimator: Any, X: Any, heatmaps: Any, labels: Any):
        name = type(estimator).__name__
        if not hasattr(estimator, "classes_"):
            raise NotFittedError(
                f"This {name} has no classes_ yet; pass a fitted classifier."
            )
        if heatmaps is None and not hasattr(_last_step(estimator), "heatmap"):
            raise ValueError(
                f"{name} has no method heatmap; pass heatmaps, one for each image of X."
            )
        self._estimator = estimator
        self._classes = np.asarray(estimator.classes_)
        self._columns = X.columns if isinstance(X, pd.DataFrame) else None
        maps = None if heatmaps is None else _read_heatmaps(heatmaps, "heatmaps")
        self._images, self._shape = _read_images_of_one_size(estimator, X, maps)
        self.pixels = self._images.pixels
        is_bool = self.pixels.dtype.kind == "b"
        self.dtype = np.dtype(np.float32) if is_bool else self.pixels.dtype
        n_images, *size = self.pixels.shape[:3]
        self._labels = _label_columns(labels, self._classes, n_images)
        self._maps = None if maps is None else _fit_heatmaps(maps, n_images, size)

    def probabilities(
        self, perturb: Callable[[Batch], Iterable[np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each image's label, before and after perturbations.

        Parameters
        ----------
        perturb : callable
            Yields perturbed versions of the pixels of a `Batch`, equally many for each
            batch.

        Returns
        -------
        before : ndarray of shape (n,)
        after : ndarray of shape (n, n_versions)
        """
        n_images, height, width = self.pixels.shape[:3]
        batch_size = within_working_memory(_PIXELS_AT_ONCE) // (height * width)
        before, after = [], []
        for span in batch_slices(n_images, max(1, batch_size)):
            pixels = self._images.select(np.arange(span.start, span.stop))
            pixels = pixels.astype(self.dtype, copy=False)
            original = self._predict(pixels)
            label = original.argmax(axis=1)
            if self._labels is not None:
                label = self._labels[span]
            batch = Batch(span, pixels, heat=self._heat(pixels, label, span))
            rows = np.arange(len(label))
            versions = [self._predict(p)[rows, label] for p in perturb(batch)]
            before.append(original[rows, label])
            after.append(np.stack(versions, axis=1))
        return np.concatenate(before), np.concatenate(after)

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        """A view of an array that broadcasts to X, with the axes of `pixels`."""
        shape = (len(self.pixels), *self._shape)
        return np.broadcast_to(values, shape).reshape(self.pixels.shape)

    def _predict(self, pixels: np.ndarray) -> np.ndarray:
        name = f"The result of {type(self._estimator).__name__}.predict_proba"
        returned = self._estimator.predict_proba(self._in_layout_of_x(pixels))
        probabilities = as_numbers(returned, name).astype(np.float64)
        expected = (len(pixels), len(self._classes))
        if probabilities.shape != expected:
            raise ValueError(
                f"{name} has shape {probabilities.shape} for {expected[0]} images and "
                f"{expected[1]} classes; it should have a row for each image and a "
                "column for each of classes_."
            )
        # NaN makes the comparison false.
        if not np.all(np.abs(probabilities - 0.5) <= 0.5 + _PROBABILITY_TOLERANCE):
            raise ValueError(
                f"{name} holds values from {probabilities.min():.3g} to "
                f"{probabilities.max():.3g}; probabilities lie between 0 and 1."
            )
        return np.clip(probabilities, 0, 1)

    def _heat(self, pixels: np.ndarray, label: np.ndarray, span: slice) -> np.ndarray:
        if self._maps is not None:
            return np.stack(self._maps[span])
        heat = np.empty(pixels.shape[:3])
        last = _last_step(self._estimator)
        for column in np.unique(label):
            members = np.flatnonzero(label == column)
            X = self._in_layout_of_x(pixels[members])
            if isinstance(self._estimator, Pipeline) and len(self._estimator) > 1:
                X = self._estimator[:-1].transform(X)
            maps = _read_heatmaps(
                last.heatmap(X, self._classes[column]),
                f"The result of {type(last).__name__}.heatmap",
            )
            heat[members] = _fit_heatmaps(maps, len(members), heat.shape[1:])
        return heat

    def _in_layout_of_x(self, pixels: np.ndarray) -> Any:
        images = pixels.reshape(len(pixels), *self._shape)
        if self._columns is None:
            return images
        return pd.DataFrame(images, columns=self._columns)


def _last_step(estimator: Any) -> Any:
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _read_images_of_one_size(
    estimator: Any, X: Any, maps: list[np.ndarray] | None
) -> tuple[Images, tuple[int, ...]]:
    """The images in an array with channels, and the shape of an image in X."""
    if isinstance(X, list | tuple):
        X = [as_numbers(image, f"Image {index} of X") for index, image in enumerate(X)]
    if is_images(X):
        images = read_images(X)
        first, *further = (members[0] for members in images.group_by_shape())
        if further:
            texts = [
                f"{shape_text(images.pixels[index].shape)} {images.pixels[index].dtype}"
                for index in (first, further[0])
            ]
            raise ValueError(
                f"Image 0 of X is {texts[0]} and image {further[0]} {texts[1]}; pass "
                "images of one size and type."
            )
        pixels = check_one_size(images)
        shape = pixels.shape[1 : 1 + np.ndim(X[0])]
    else:
        rows = readable_rows(X)
        if 0 in rows.shape:
            raise ValueError(f"X has shape {rows.shape}; pass at least one image.")
        rows = check_array(rows, ensure_all_finite=False, input_name="X")
        check_numeric(rows, "X")
        image_shape = _shape_of_rows(estimator, rows.shape[1], maps)
        pixels = rows.reshape(len(rows), *image_shape[:2], n_channels(image_shape))
        shape = rows.shape[1:]
    images = Images(pixels, "rows" if len(shape) == 1 else "images")
    value_ranges(images)
    return images, shape


def _shape_of_rows(
    estimator: Any, n_features: int, maps: list[np.ndarray] | None
) -> tuple[int, ...]:
    """Shape of an image: the estimator's or the heatmaps', else a square or a row."""
    shapes = [getattr(_last_step(estimator), "image_shape_", ())]
    shapes += [heatmap.shape for heatmap in maps or ()][:1]
    for shape in shapes:
        if len(shape) > 1 and np.prod(shape) == n_features:
            return shape
    return infer_image_shape(None, n_features, None)


def _label_columns(labels: Any, classes: np.ndarray, n_images: int) -> Any:
    """The column of each image's label; None for the predicted labels."""
    if labels is None:
        return None
    is_single = isinstance(labels, str | bytes) or not hasattr(labels, "__len__")
    if is_single or getattr(labels, "shape", None) == ():
        return np.repeat(find_labels(classes, labels, "labels"), n_images)
    codes, uniques = factorize(as_labels(labels, "labels", n=n_images))
    return find_labels(classes, uniques, "labels")[codes]


def _read_heatmaps(heatmaps: Any, name: str) -> list[np.ndarray]:
    """Heatmaps as arrays of shape (h, w) or (h * w,)."""
    if isinstance(heatmaps, pd.DataFrame):
        heatmaps = heatmaps.to_numpy()
    return each_array(heatmaps, name, "Heatmap")


def _fit_heatmaps(
    maps: list[np.ndarray], n_images: int, size: Sequence[int]
) -> list[np.ndarray]:
    """Heatmaps of shape (h, w), one for each image of this size."""
    if len(maps) != n_images:
        raise ValueError(
            f"heatmaps has {len(maps)} entries for {n_images} images; pass one for "
            "each."
        )
    maps = check_heatmaps([np.atleast_2d(heatmap) for heatmap in maps])
    for number, heatmap in enumerate(maps):
        if heatmap.shape == (1, np.prod(size)):
            maps[number] = heatmap.reshape(size)
        elif heatmap.shape != tuple(size):
            raise ValueError(
                f"Heatmap {number} is {shape_text(heatmap.shape)} and its image "
                f"{shape_text(size)}; pass one value for each pixel."
            )
    return maps

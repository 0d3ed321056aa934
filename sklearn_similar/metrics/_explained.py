"""Images and the heatmaps that explain one label of each, read batch by batch."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from .._compat import HasMethods
from .._images.images import Images, batch_slices, n_at_once, n_channels
from .._images.labels import find_labels
from .._images.messages import shape_text
from .._images.reading import check_numeric, check_one_size, is_images, read_images
from .._images.rows import infer_image_shape, readable_rows
from .._images.value_range import value_ranges
from ._truth import check_heatmaps
from ._values import as_labels, as_numbers, each_array, factorize

# Probabilities in float32 may sum up to a little more than 1.
_ROUNDING = 1e-3

EXPLAINED: dict[str, Any] = {
    "estimator": [HasMethods("predict_proba")],
    "X": "no_validation",
    "heatmaps": [pd.DataFrame, "array-like", None],
    "labels": "no_validation",
}


class Batch(NamedTuple):
    """Some of the images; `label` is a column of `predict_proba`."""

    span: slice  # their places in X
    pixels: np.ndarray  # (m, h, w, n_channels), of the type of Explained
    heat: np.ndarray  # (m, h, w)
    label: np.ndarray  # (m,)
    probability: np.ndarray  # (m,) of the label


class Explained:
    """Images, a label and a heatmap of each, and the estimator that they explain.

    Parameters
    ----------
    estimator, X, heatmaps, labels
        As in `average_drop`.

    Attributes
    ----------
    pixels : ndarray of shape (n, h, w, n_channels)
        A view of X, if it is an array.
    dtype : numpy.dtype
        Type of the images that the estimator gets: that of X, but float32 for booleans,
        as there is nothing between True and False.
    """

    def __init__(self, estimator: Any, X: Any, heatmaps: Any, labels: Any):
        name = type(estimator).__name__
        if not hasattr(estimator, "classes_"):
            raise NotFittedError(
                f"This {name} has no classes_ yet; pass a classifier that is fitted."
            )
        if heatmaps is None and not hasattr(_last_step(estimator), "heatmap"):
            raise ValueError(
                f"{name} has no method heatmap; pass heatmaps, one for each image of X."
            )
        self._estimator = estimator
        self._classes = np.asarray(estimator.classes_)
        self._columns = X.columns if isinstance(X, pd.DataFrame) else None
        maps = None if heatmaps is None else _read_maps(heatmaps, "heatmaps")
        self._images = _read(estimator, X, maps)
        self._has_channels = self._images.layout == "images" and np.ndim(X[0]) == 3
        self.pixels = check_one_size(self._images)
        is_bool = self.pixels.dtype.kind == "b"
        self.dtype = np.dtype(np.float32) if is_bool else self.pixels.dtype
        n_images, *size = self.pixels.shape[:3]
        self._labels = _find_columns(labels, self._classes, n_images)
        self._maps = None if maps is None else _fit_maps(maps, n_images, size)

    def batches(self) -> Iterator[Batch]:
        """All images in order, as many at once as `predict_proba` gets."""
        for span in batch_slices(len(self.pixels), n_at_once(self.pixels[0])):
            pixels = self._images.select(np.arange(span.start, span.stop))
            pixels = pixels.astype(self.dtype, copy=False)
            probabilities = self._predict(pixels)
            label = probabilities.argmax(axis=1)
            if self._labels is not None:
                label = self._labels[span]
            heat = self._explain(pixels, label, span)
            probability = probabilities[np.arange(len(label)), label]
            yield Batch(span, pixels, heat, label, probability)

    def probability(self, pixels: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Probability of the label of each image, given its pixels as in a `Batch`."""
        return self._predict(pixels)[np.arange(len(label)), label]

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        """An array that broadcasts to X, with the axes of `pixels`; a view."""
        if self._images.layout == "rows":
            shape: tuple[int, ...] = (len(self.pixels), self.pixels[0].size)
        else:
            shape = self.pixels.shape[: 4 if self._has_channels else 3]
        return np.broadcast_to(values, shape).reshape(self.pixels.shape)

    def _predict(self, pixels: np.ndarray) -> np.ndarray:
        name = f"The result of {type(self._estimator).__name__}.predict_proba"
        returned = self._estimator.predict_proba(self._in_layout(pixels))
        probabilities = as_numbers(returned, name).astype(np.float64)
        wanted = (len(pixels), len(self._classes))
        if probabilities.shape != wanted:
            raise ValueError(
                f"{name} has shape {probabilities.shape} for {wanted[0]} images and "
                f"{wanted[1]} classes; it should have a row for each image and a "
                "column for each of classes_."
            )
        # NaN makes the comparison false.
        if not np.all(np.abs(probabilities - 0.5) <= 0.5 + _ROUNDING):
            raise ValueError(
                f"{name} holds values from {probabilities.min():.3g} to "
                f"{probabilities.max():.3g}; probabilities lie between 0 and 1."
            )
        return np.clip(probabilities, 0, 1)

    def _explain(
        self, pixels: np.ndarray, label: np.ndarray, span: slice
    ) -> np.ndarray:
        if self._maps is not None:
            return np.stack(self._maps[span])
        heat = np.empty(pixels.shape[:3])
        for column in np.unique(label):
            members = np.flatnonzero(label == column)
            X = self._in_layout(pixels[members])
            if isinstance(self._estimator, Pipeline) and len(self._estimator) > 1:
                X = self._estimator[:-1].transform(X)
            last = _last_step(self._estimator)
            maps = _read_maps(
                last.heatmap(X, self._classes[column]),
                f"The result of {type(last).__name__}.heatmap",
            )
            heat[members] = _fit_maps(maps, len(members), heat.shape[1:])
        return heat

    def _in_layout(self, pixels: np.ndarray) -> Any:
        """Images as X has them, for the estimator."""
        if self._images.layout == "rows":
            rows = pixels.reshape(len(pixels), -1)
            columns = self._columns
            return rows if columns is None else pd.DataFrame(rows, columns=columns)
        return pixels if self._has_channels else pixels[..., 0]


def to_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in a type of pixels, for integers the nearest."""
    if dtype.kind in "iu":
        values = np.rint(values)
    return values.astype(dtype, copy=False)


def _last_step(estimator: Any) -> Any:
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _read(estimator: Any, X: Any, heatmaps: list[np.ndarray] | None) -> Images:
    if isinstance(X, list | tuple):
        X = [as_numbers(image, f"Image {index} of X") for index, image in enumerate(X)]
    if is_images(X):
        images = read_images(X)
        _check_alike(images)
        images = Images(check_one_size(images), "images")
    else:
        rows = readable_rows(X)
        if 0 in rows.shape:
            raise ValueError(f"X has shape {rows.shape}; pass at least one image.")
        rows = check_array(rows, ensure_all_finite=False, input_name="X")
        check_numeric(rows, "X")
        shape = _shape_of_rows(estimator, rows.shape[1], heatmaps)
        pixels = rows.reshape(len(rows), *shape[:2], n_channels(shape))
        images = Images(pixels, "rows")
    value_ranges(images)
    return images


def _check_alike(images: Images) -> None:
    """Raise for the first image of another size or type than image 0."""
    first, *others = (members[0] for members in images.group_by_shape())
    if others:
        texts = [
            f"{shape_text(images.pixels[index].shape)} {images.pixels[index].dtype}"
            for index in (first, others[0])
        ]
        raise ValueError(
            f"Image 0 of X is {texts[0]} and image {others[0]} {texts[1]}; pass images "
            "of one size and type."
        )


def _shape_of_rows(
    estimator: Any, n_features: int, maps: list[np.ndarray] | None
) -> tuple[int, ...]:
    """That of the estimator or of the heatmaps if it fits, else a square or a row."""
    shapes = [getattr(_last_step(estimator), "image_shape_", ())]
    shapes += [heatmap.shape for heatmap in maps or ()][:1]
    for shape in shapes:
        if len(shape) > 1 and np.prod(shape) == n_features:
            return shape
    return infer_image_shape(None, n_features, None)


def _find_columns(labels: Any, classes: np.ndarray, n_images: int) -> Any:
    """The column of each image's label, or None for what is predicted."""
    if labels is None:
        return None
    is_one = isinstance(labels, str | bytes) or not hasattr(labels, "__len__")
    if is_one or getattr(labels, "shape", None) == ():
        return np.repeat(find_labels(classes, labels, "labels"), n_images)
    codes, unique = factorize(as_labels(labels, "labels", n=n_images))
    return find_labels(classes, unique, "labels")[codes]


def _read_maps(heatmaps: Any, name: str) -> list[np.ndarray]:
    """Heatmaps as arrays, each of shape (h, w) or (h * w,)."""
    if isinstance(heatmaps, pd.DataFrame):
        heatmaps = heatmaps.to_numpy()
    return each_array(heatmaps, name, "Heatmap")


def _fit_maps(
    maps: list[np.ndarray], n_images: int, size: Sequence[int]
) -> list[np.ndarray]:
    """Heatmaps of shape (h, w), one for each image."""
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

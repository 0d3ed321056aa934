"""The gate for what the user passes: estimator and X in, `Images` and classes out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .._compat import get_output_config
from .image_shape import infer_image_shape
from .images import (
    Images,
    check_numeric,
    check_one_size,
    is_images,
    n_channels,
    read_images,
    shape_text,
    to_numpy,
)
from .labels import check_classes, check_labels, encode
from .messages import warn_user
from .position import image_name
from .value_range import check_value_range, training_range

_ACCEPTED = (
    "rows (n, n_features), grey images (n, height, width), colour images (n, height, "
    "width, n_channels) or a list of images"
)


def check_training_data(
    estimator, X, y, image_shape, classes=None, min_classes: int = 2
) -> tuple[Images, np.ndarray]:
    """Labelled images of one size; sets the attributes that come from them.

    These are `classes_`, `image_shape_`, `n_features_in_`, `value_range_` and the type
    of the pixels, `_dtype`.

    Returns
    -------
    images : Images
    y : ndarray of shape (n_images,)
        Index of each image's label in `classes_`.
    """
    found, layout = None, "rows"
    if is_images(X):
        images = read_images(X)
        pixels, layout = check_one_size(images), images.layout
        found = np.shape(X[0])
        rows = pixels.reshape(len(pixels), -1)
    else:
        rows = readable_rows(X)
    check_labels(y, rows.shape[0], "y")
    rows, y = validate_data(
        estimator, rows, y, ensure_all_finite=False, ensure_min_samples=2
    )
    check_numeric(rows, "X")
    try:
        found_classes, y_index = np.unique(y, return_inverse=True)
    except TypeError as error:
        types = sorted({type(label).__name__ for label in y})
        raise ValueError(
            f"y holds labels of the types {', '.join(types)}; make them all the same."
        ) from error
    check_classification_targets(y)
    if classes is None:
        classes = found_classes
    else:
        classes = check_classes(classes)
        y_index = encode(classes, found_classes, "y", "classes")[y_index]
    estimator.classes_ = classes
    if len(classes) < min_classes:
        raise ValueError(
            f"y holds one class, {classes.tolist()[0]!r}; a classifier needs images of "
            "at least 2 classes."
        )
    shape = infer_image_shape(found, rows.shape[1], image_shape)
    estimator.image_shape_ = shape
    images = Images(_as_images(rows, shape), layout)
    estimator.value_range_ = training_range(images)
    # A name, as whoever loads the estimator should have no other type to trust.
    estimator._dtype = images.dtype.name
    return images, y_index


def check_images(estimator, X, layout: str = "rows") -> Images:
    """Images of any size, or rows of the trained size; warns of other values.

    Parameters
    ----------
    estimator : SimilarNetClassifier or InstanceLocalizer
    X : array, DataFrame or list of images
    layout : {"rows", "grey", "colour"}
        Layout of the images in `fit`; if not "rows", an array of rows gets a warning,
        as it may be an image.
    """
    images = _read(estimator, X, layout)
    check_value_range(images, estimator.value_range_, np.dtype(estimator._dtype))
    return images


def _read(estimator, X, layout: str) -> Images:
    trained = estimator.image_shape_
    if is_images(X):
        return read_images(X, trained)
    rows = readable_rows(X)
    if isinstance(rows, np.ndarray):
        _check_not_one_image(estimator, rows, layout)
    rows = validate_data(estimator, rows, reset=False, ensure_all_finite=False)
    check_numeric(rows, "X")
    return Images(_as_images(rows, trained), "rows")


def _check_not_one_image(estimator, rows: np.ndarray, layout: str) -> None:
    """Raise ValueError or warn for rows that may be an image."""
    if rows.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {rows.shape[1]} features, but {type(estimator).__name__} is "
            f"expecting {estimator.n_features_in_} features as input; if X is one "
            "image, pass [X]."
        )
    if layout != "rows":
        warn_user(
            f"X has shape {rows.shape} and is read as {len(rows)} rows of "
            f"{shape_text(estimator.image_shape_)} pixels; if X is one image, pass "
            "[X].",
        )


def check_output_container(estimator, X) -> None:
    """Raise ValueError if `set_output` asks for a table of what is not one."""
    container = get_output_config("transform", estimator)["dense"]
    if container != "default" and is_images(X):
        raise ValueError(
            f"set_output asks for {container}, but heatmaps of images are no table; "
            "pass rows, X.reshape(len(X), -1), or call set_output(transform='default')."
        )


def check_has_importances(estimator, attribute: str = "filter_weights_") -> None:
    """Raise NotFittedError unless an attribute of the importances is there."""
    # It takes long to find that nothing is missing.
    if hasattr(estimator, "net_") and hasattr(estimator, attribute):
        return
    check_is_fitted(estimator, "net_")
    message = (
        "This %(name)s has no filter importances yet; call fit (with "
        "validation_fraction) or fit_importance first."
    )
    check_is_fitted(estimator, attribute, msg=message)


def check_trained_size(estimator, X, method: str) -> Images:
    """Images of the trained size, for a method of that name."""
    images = check_images(estimator, X)
    wanted = estimator.image_shape_[:2]
    for index in (members[0] for members in images.group_by_shape()):
        found = images.pixels[index].shape[:2]
        if found != wanted:
            raise ValueError(
                f"{image_name(index)} of X is {shape_text(found)}, but {method} wants "
                f"the trained size {shape_text(wanted)}; resize it, or find what is in "
                "images of any size with InstanceLocalizer."
            )
    return images


@contextmanager
def published_at_end(estimator) -> Iterator[Any]:
    """A working copy of an estimator, whose state becomes the estimator's at the end.

    Until then, and if anything is raised, the estimator is as before: also in other
    threads, and for a Ctrl-C that comes at any time. One assignment replaces the state,
    but for parameters that were set meanwhile.
    """
    working = _with_state(estimator, vars(estimator).copy())
    yield working
    estimator.__dict__ = vars(working) | estimator.get_params(deep=False)


def snapshot(estimator):
    """An estimator in its present state, whatever a later or concurrent fit changes."""
    return _with_state(estimator, vars(estimator))


def _with_state(estimator, state: dict[str, Any]):
    copied = object.__new__(type(estimator))
    copied.__dict__ = state
    return copied


def readable_rows(X):
    """X, where scikit-learn's checks read it; they would print all of other things."""
    if sparse.issparse(X):
        return X
    _check_not_paths(X)
    if isinstance(X, pd.DataFrame):
        return _without_extension_types(X)
    try:
        X = to_numpy(X)
    except ValueError as error:
        raise ValueError(
            f"X is a {type(X).__name__} of sequences of several lengths; pass "
            f"{_ACCEPTED}."
        ) from error
    if X.ndim == 0:
        raise ValueError(f"X is of type {type(X.item()).__name__}; pass {_ACCEPTED}.")
    if X.dtype.kind != "O":
        check_numeric(X, "X")
    if X.shape == (0,):
        raise ValueError("X is empty; pass at least one image.")
    if X.ndim == 1 and X.dtype.kind == "O":
        raise ValueError("X is an array of objects; pass list(X), if these are images.")
    if X.ndim == 1:
        raise ValueError(
            f"Reshape your data of shape {X.shape} with X.reshape(1, -1), if it is one "
            f"row, or pass {_ACCEPTED}."
        )
    return X


def _check_not_paths(X) -> None:
    """Raise ValueError for the path of a file, or for several."""
    first = X
    if isinstance(X, np.ndarray) and X.ndim == 0:
        first = X.item()
    elif isinstance(X, (list, tuple, np.ndarray, pd.Series)) and len(X):
        first = X.iloc[0] if isinstance(X, pd.Series) else X[0]
    elif isinstance(X, pd.DataFrame) and X.shape[1] == 1 and len(X):
        first = X.iloc[0, 0]
    if isinstance(first, (str, os.PathLike)):
        raise ValueError(
            f"X holds text, {os.fspath(first)[:80]!r}; if these are file paths, pass "
            "the images, as in [np.asarray(PIL.Image.open(path)) for path in paths]."
        )


def _without_extension_types(X: pd.DataFrame) -> pd.DataFrame:
    """Integers stay integers, where scikit-learn makes floats of pandas' own types."""
    own = {
        name: dtype.numpy_dtype
        for name, dtype in X.dtypes.items()
        if pd.api.types.is_extension_array_dtype(dtype)
        and pd.api.types.is_integer_dtype(dtype)
        and not X[name].hasnans
    }
    return X.astype(own) if own else X


def _as_images(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return rows.reshape(len(rows), *shape[:2], n_channels(shape))

"""The gate for what the user passes: estimator and X in, `Images` and classes out."""

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from ._images import (
    Images,
    as_rows,
    check_any_size,
    check_finite,
    infer_image_shape,
    is_images,
    is_list_of_images,
    n_channels,
    shape_text,
)


def check_training_data(estimator, X, y) -> tuple[Images, np.ndarray]:
    """Labelled images of one size; sets `classes_`, `image_shape_`, `n_features_in_`.

    Returns
    -------
    images : Images
    y : ndarray of shape (n_images,)
        Index of each image's label in `classes_`.
    """
    fields = getattr(getattr(y, "dtype", None), "names", None)
    if fields:
        raise ValueError(
            f"y has the fields {', '.join(fields)}; pass one label for each image."
        )
    rows, y = validate_data(
        estimator, as_rows(X), y, ensure_all_finite=False, ensure_min_samples=2
    )
    check_finite(rows)
    check_classification_targets(y)
    estimator.classes_, y = np.unique(y, return_inverse=True)
    if len(estimator.classes_) < 2:
        raise ValueError(
            f"y holds one class, {estimator.classes_.tolist()[0]!r}; a classifier needs "
            "images of at least 2 classes."
        )
    shape = infer_image_shape(X, rows.shape[1], estimator.image_shape)
    estimator.image_shape_ = shape
    return _from_rows(X, rows, shape), y


def check_trained_size(estimator, X, method: str) -> Images:
    """Images of the size that `fit` has seen, for a method of that name."""
    trained = estimator.image_shape_
    if is_images(X):
        for index, image in enumerate(X if is_list_of_images(X) else X[:1]):
            found = np.shape(image)
            if found != trained and found != (*trained, 1) and (*found, 1) != trained:
                raise ValueError(
                    f"Image {index} of X is {shape_text(found)}, but {method} wants the "
                    f"trained size {shape_text(trained)}; resize it, or find what is in "
                    "images of any size with localize."
                )
    rows = validate_data(estimator, as_rows(X), reset=False, ensure_all_finite=False)
    check_finite(rows)
    return _from_rows(X, rows, trained)


def check_images(estimator, X) -> Images:
    """Images of any size, or rows of the trained size."""
    if is_images(X):
        return check_any_size(X, n_channels(estimator.image_shape_))
    return check_trained_size(estimator, X, "transform")


def encode_labels(estimator, y, n_images: int) -> np.ndarray:
    """Index of each image's label in `classes_`."""
    y = column_or_1d(y, warn=True)
    check_consistent_length(range(n_images), y)
    unseen = np.setdiff1d(y, estimator.classes_)
    if len(unseen):
        raise ValueError(
            f"y_val holds labels that fit has not seen: {unseen[:5].tolist()}; leave "
            "such images out, or fit with them."
        )
    return np.searchsorted(estimator.classes_, y)


def find_labels(classes: np.ndarray, target) -> np.ndarray:
    """Indices of one or several labels in the classes."""
    labels = np.atleast_1d(target).tolist()
    known = classes.tolist()
    unknown = [label for label in labels if label not in known]
    if unknown or not labels:
        raise ValueError(
            f"target holds {unknown or 'no label'}, but the classes are {known}; pass "
            "one of them, or a list of some."
        )
    return np.array([known.index(label) for label in labels])


def _from_rows(X, rows: np.ndarray, image_shape: tuple[int, ...]) -> Images:
    layout = "list" if is_list_of_images(X) else "images" if is_images(X) else "rows"
    shape = (len(rows), *image_shape[:2], n_channels(image_shape))
    return Images(rows.reshape(shape), layout)

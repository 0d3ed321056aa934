"""The gate for what the user passes: estimator and X in, `Images` and classes out."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .._compat import get_output_config
from .._warnings import warn_user
from .image_shape import infer_image_shape
from .images import (
    Images,
    check_numeric,
    check_one_size,
    count,
    is_images,
    n_channels,
    read_images,
    shape_text,
    to_numpy,
)
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
        classes = _check_classes(classes)
        y_index = _encode(classes, found_classes, "y", "classes")[y_index]
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


def unused_label(classes: np.ndarray):
    """A label like those of the classes: a negative integer, a date, "background"."""
    if classes.dtype.kind in "mM":
        return classes.max() + 1
    if classes.dtype.kind in "biuf":
        return next(label for label in itertools.count(-1, -1) if label not in classes)
    name = "background"
    while name in classes:
        name += "_"
    return name


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


def _check_classes(classes) -> np.ndarray:
    """The labels of a network's outputs, which `classes_` holds in sorted order."""
    known = np.asarray(classes)
    try:
        is_sorted = np.array_equal(np.unique(known), known)
    except TypeError:
        is_sorted = False
    if not is_sorted or len(known) < 2:
        raise ValueError(
            f"classes is {classes!r}; pass at least 2 labels of one type, sorted and "
            "each once, and let the network's outputs be in that order."
        )
    return known


def encode_labels(estimator, y, n_images: int, name: str) -> np.ndarray:
    """Index of each image's label in `classes_`."""
    check_labels(y, n_images, name)
    # It passes what is such an array already, and takes as long as a small network.
    is_vector = type(y) is np.ndarray and y.ndim == 1
    labels = y if is_vector else column_or_1d(y, warn=True)
    return _encode(estimator.classes_, labels, name, "fit")


def _encode(classes: np.ndarray, labels, name: str, source: str) -> np.ndarray:
    """Indices of labels in the classes that a parameter or method was given."""
    known = {label: index for index, label in enumerate(_values(classes))}
    values = _values(labels)
    unseen = [label for label in dict.fromkeys(values) if label not in known]
    if unseen:
        remedy = f"leave such images out, or include them in {source}"
        raise ValueError(
            f"{name} holds labels that {source} was not given: {_some(unseen)}; "
            f"{_conversion(unseen, known) or remedy}."
        )
    return np.array([known[label] for label in values])


def find_labels(
    classes: np.ndarray,
    target,
    name: str,
    remedy: str = "pass one of them, or a list of some",
) -> np.ndarray:
    """Indices in the classes of the label or labels that a parameter holds."""
    labels, known = _values(np.atleast_1d(target)), _values(classes)
    unknown = [label for label in labels if label not in known]
    if unknown or not labels:
        raise ValueError(
            f"{name} holds {_some(unknown) or 'no label'}, but the classes are "
            f"{_some(known)}; {_conversion(unknown, known) or remedy}."
        )
    return np.array([known.index(label) for label in labels])


def comparable_labels(labels, name: str, classes: np.ndarray, background) -> list:
    """Labels as objects; ValueError if their type is that of no class or background."""
    values, known = _values(np.asarray(labels)), _values(classes)
    if conversion := _conversion(values, [*known, background]):
        raise ValueError(
            f"{name} holds {_some(dict.fromkeys(values))}, but the classes are "
            f"{_some(known)}; {conversion}."
        )
    return values


def _values(labels: np.ndarray) -> list:
    """Labels as objects that are equal if they mean the same, dates of any type."""
    if labels.dtype.kind == "M":
        return pd.DatetimeIndex(labels).tolist()
    return [
        pd.Timestamp(label) if isinstance(label, date) else label
        for label in labels.tolist()
    ]


def _conversion(unknown, known) -> str:
    """The remedy for labels all of which are of another type than the classes."""
    kinds = [
        {Real if isinstance(label, Real) else type(label) for label in labels}
        for labels in (unknown, known)
    ]
    if not unknown or kinds[0] & kinds[1]:
        return ""
    found, wanted = (type(next(iter(labels))).__name__ for labels in (unknown, known))
    return f"convert {found} to {wanted}"


def find_background(classes: np.ndarray, background) -> int | None:
    """Index in the classes of the background's label; None without background."""
    if background is None:
        return None
    if np.ndim(background):
        raise ValueError(f"background is {background!r}; pass one label of y, or None.")
    remedy = "pass one of them, or None"
    return int(find_labels(classes, background, "background", remedy)[0])


def without_class(
    classes: np.ndarray, labels: np.ndarray, background
) -> tuple[np.ndarray, np.ndarray]:
    """Classes but for that of background, and indices in them: -1 for background."""
    comparable_labels([background], "background", classes, None)
    is_background = classes == background
    if is_background.all():
        raise ValueError(f"y holds the background {background!r} alone.")
    code = np.where(is_background, -1, np.cumsum(~is_background) - 1)
    return classes[~is_background], code[labels]


def find_targets(estimator, target, labels, images: Images) -> np.ndarray | None:
    """Classes to draw in the heatmap of each image; None: all of them together.

    Returns
    -------
    ndarray of shape (n_images, n_targets) or None
        Indices in `classes_`.
    """
    if labels is None:
        if target is None:
            return None
        classes = np.unique(find_labels(estimator.classes_, target, "target"))
        return np.broadcast_to(classes, (len(images), len(classes)))
    if target is not None:
        raise ValueError(
            "target and labels are both given; pass target for all images, or labels, "
            "one for each."
        )
    if np.ndim(labels) != 1:
        raise ValueError(
            f"labels has the shape {np.shape(labels)}; pass one label for each image, "
            "or target for all of them."
        )
    return encode_labels(estimator, labels, len(images), "labels")[:, np.newaxis]


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


def _some(labels) -> str:
    """Labels as people list them, shortened where there are many."""
    shown = [repr(label) for label in labels]
    return ", ".join([*shown[:10], "..."] if len(shown) > 12 else shown)


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


def check_labels(y, n_images: int, name: str) -> None:
    """Raise ValueError for what scikit-learn's checks of y pass, or print in full."""
    labels = np.asarray(y)
    if labels.dtype.names:
        raise ValueError(
            f"{name} has the fields {', '.join(labels.dtype.names)}; pass one label "
            "for each image."
        )
    if labels.dtype.kind == "c":
        raise ValueError(f"{name} holds complex numbers; pass labels.")
    if labels.ndim and len(labels) != n_images:
        raise ValueError(
            f"X holds {count(n_images, 'image')}, but {name} holds "
            f"{count(len(labels), 'label')}; pass one label for each image."
        )
    if labels.ndim and labels.dtype.kind not in "biu":
        # NumPy makes text of NaN among text.
        values = np.asarray(y, dtype=object) if isinstance(y, (list, tuple)) else labels
        missing = np.argwhere(pd.isna(values))
        if len(missing):
            value = values[tuple(missing[0])]
            raise ValueError(
                f"{name} holds {value} for image {missing[0][0]}, which is no label; "
                "leave such images out."
            )


def check_sample_weight(sample_weight, n_images: int) -> np.ndarray:
    """Weight of each image; 1 where all that are not 0 are the same, or there are none.

    Raises
    ------
    ValueError
        If there is not one number for each image, finite, none negative and not all 0.
    """
    if sample_weight is None:
        return np.ones(n_images)
    sample_weight = to_numpy(sample_weight)
    if np.ndim(sample_weight) == 0:
        sample_weight = np.full(n_images, sample_weight)
    weights = check_array(
        sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight"
    )
    if weights.shape != (n_images,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, but X holds "
            f"{count(n_images, 'image')}; pass one weight for each image."
        )
    bad = np.flatnonzero(weights < 0)
    if len(bad):
        raise ValueError(
            f"sample_weight holds {weights[bad[0]]:.3g} for image {bad[0]}; weights "
            "are 0 or more."
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if total == 0 or not np.isfinite(total):
        found = "nothing but zeros" if total == 0 else "weights whose sum is infinite"
        raise ValueError(
            f"sample_weight holds {found}; weigh the images that matter by about 1."
        )
    return (
        (weights > 0) * 1.0
        if (weights[weights > 0] == weights.max()).all()
        else weights
    )


def check_weighted_classes(classes: np.ndarray, y: np.ndarray, chosen) -> None:
    """Raise ValueError if weights of 0 leave images of one class, where y has more."""
    left = np.unique(y[chosen])
    if len(left) == 1 < len(np.unique(y)):
        raise ValueError(
            f"sample_weight is 0 for all images but those of the class "
            f"{classes[left].tolist()[0]!r}; a classifier needs images of at least 2 "
            "classes."
        )


def _as_images(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return rows.reshape(len(rows), *shape[:2], n_channels(shape))

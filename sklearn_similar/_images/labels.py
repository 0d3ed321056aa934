"""Labels, classes and weights of images, and parameters that name classes."""

import itertools
import reprlib
from datetime import date
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.utils import check_array, column_or_1d

from .images import Images
from .messages import count, warn_user
from .reading import to_numpy

# Code of background, and of objects in the wrong polarity, among indices of classes.
BACKGROUND = -1


def unused_label(classes: np.ndarray):
    """A label that is not a class: a negative integer, a date or "background"."""
    if classes.dtype.kind in "mM":
        return classes.max() + 1
    if classes.dtype.kind in "biuf":
        return next(label for label in itertools.count(-1, -1) if label not in classes)
    name = "background"
    while name in classes:
        name += "_"
    return name


def check_classes(classes) -> np.ndarray:
    """The labels of a network's outputs, which `classes_` holds in sorted order."""
    labels = np.asarray(classes)
    fact = remedy = ""
    try:
        unique, counts = np.unique(labels, return_counts=True)
        is_sorted = np.array_equal(unique, labels)
    except TypeError:
        is_sorted = False
    else:
        if not is_sorted and labels.ndim == 1:
            repeated = unique[counts > 1].tolist()[:3]
            fact = f" (twice: {repeated})" if repeated else " (not sorted)"
            remedy = (
                f"; or pass classes=range({len(labels)}), and in y the positions of "
                "the outputs, which stand for the names"
            )
    if not is_sorted or len(labels) < 2:
        raise ValueError(
            f"classes is {reprlib.repr(classes)}{fact}; pass at least 2 labels of one "
            "type, sorted and each once, and let the network's outputs be in that order"
            f"{remedy}."
        )
    return labels


def encode_labels(estimator, y, n_images: int, name: str) -> np.ndarray:
    """Index of each image's label in `classes_`."""
    check_labels(y, n_images, name)
    # `column_or_1d` takes as long as a small network, also for a vector.
    is_vector = type(y) is np.ndarray and y.ndim == 1
    labels = y if is_vector else column_or_1d(y, warn=True)
    return encode(estimator.classes_, labels, name, "fit")


def encode(classes: np.ndarray, labels, name: str, source: str) -> np.ndarray:
    """Indices of labels in the classes that a parameter or method was given."""
    index_of = {label: index for index, label in enumerate(_values(classes))}
    values = _values(labels)
    unknown = [label for label in dict.fromkeys(values) if label not in index_of]
    if unknown:
        remedy = f"leave these images out, or include the labels in {source}"
        raise ValueError(
            f"{name} holds labels that {source} was not given: {_some(unknown)}; "
            f"{_conversion(unknown, index_of) or remedy}."
        )
    return np.array([index_of[label] for label in values])


def find_labels(
    classes: np.ndarray,
    target,
    name: str,
    remedy: str = "pass one of them, or a list of some",
) -> np.ndarray:
    """Indices in the classes of the label or labels that a parameter holds."""
    labels, values = _values(np.atleast_1d(target)), _values(classes)
    unknown = [label for label in labels if label not in values]
    if unknown or not labels:
        raise ValueError(
            f"{name} holds {_some(unknown) or 'no label'}, but the classes are "
            f"{_some(values)}; {_conversion(unknown, values) or remedy}."
        )
    return np.array([values.index(label) for label in labels])


def comparable_labels(labels, name: str, classes: np.ndarray, background) -> list:
    """Labels as objects; ValueError unless some have the type of the classes."""
    values, class_values = _values(np.asarray(labels)), _values(classes)
    if conversion := _conversion(values, [*class_values, background]):
        raise ValueError(
            f"{name} holds {_some(dict.fromkeys(values))}, but the classes are "
            f"{_some(class_values)}; {conversion}."
        )
    return values


def _values(labels: np.ndarray) -> list:
    """Labels as comparable objects, dates of any type as timestamps."""
    if labels.dtype.kind == "M":
        return pd.DatetimeIndex(labels).tolist()
    return [
        pd.Timestamp(label) if isinstance(label, date) else label
        for label in labels.tolist()
    ]


def _conversion(labels, classes) -> str:
    """The remedy for labels whose types are not those of the classes; else empty."""
    types_of_labels, types_of_classes = (
        {Real if isinstance(value, Real) else type(value) for value in values}
        for values in (labels, classes)
    )
    if not labels or types_of_labels & types_of_classes:
        return ""
    given, needed = (type(next(iter(values))).__name__ for values in (labels, classes))
    return f"convert {given} to {needed}"


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
    """Classes without that of background, and indices in them or `BACKGROUND`."""
    comparable_labels([background], "background", classes, None)
    is_background = classes == background
    if is_background.all():
        raise ValueError(f"y holds the background {background!r} alone.")
    code = np.where(is_background, BACKGROUND, np.cumsum(~is_background) - 1)
    return classes[~is_background], code[labels]


def find_targets(estimator, target, labels, images: Images) -> np.ndarray | None:
    """Classes that the heatmap of each image shows; None: all of them together.

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


def _some(labels) -> str:
    """A list of labels in words, shortened if it is long."""
    texts = [repr(label) for label in labels]
    return ", ".join([*texts[:10], "..."] if len(texts) > 12 else texts)


def check_labels(y, n_images: int, name: str) -> None:
    """Raise ValueError for labels that scikit-learn would accept, or print in full."""
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
        # In an array of text, NumPy would turn NaN into text.
        values = np.asarray(y, dtype=object) if isinstance(y, (list, tuple)) else labels
        missing = np.argwhere(pd.isna(values))
        if len(missing):
            value = values[tuple(missing[0])]
            raise ValueError(
                f"{name} holds {value} for image {missing[0][0]}, which is not a "
                "label; leave such images out."
            )


def check_sample_weight(sample_weight, n_images: int) -> np.ndarray:
    """Weight of each image.

    Weights are 1 if there are none, and 0 or 1 if all positive ones are equal.

    Raises
    ------
    ValueError
        Unless there is a finite number >= 0 for each image, and a positive one.
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
        fact = "nothing but zeros" if total == 0 else "weights whose sum is infinite"
        raise ValueError(
            f"sample_weight holds {fact}; weigh the images that matter by about 1."
        )
    are_equal = (weights[weights > 0] == weights.max()).all()
    return (weights > 0) * 1.0 if are_equal else weights


def check_weighted_classes(classes: np.ndarray, y: np.ndarray, chosen) -> None:
    """Raise ValueError if weights of 0 leave only one of several classes in y."""
    weighted = np.unique(y[chosen])
    if len(weighted) == 1 < len(np.unique(y)):
        raise ValueError(
            f"sample_weight is 0 for all images but those of the class "
            f"{classes[weighted].tolist()[0]!r}; a classifier needs images of at "
            "least 2 classes."
        )


def warn_of_absent_classes(classes: np.ndarray, y: np.ndarray) -> None:
    """Warn of classes without an image among those that importances are measured on."""
    absent = np.setdiff1d(np.arange(len(classes)), y)
    if len(absent):
        names = ", ".join(repr(label) for label in classes[absent].tolist()[:3])
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        warn_user(
            f"{len(absent)} of {len(classes)} classes ({names}{more}) have no image "
            "among those that importances are measured on, and their heatmaps follow "
            "from their scores on images of other classes, which may be worse; pass "
            "images of all classes to fit_importance."
        )

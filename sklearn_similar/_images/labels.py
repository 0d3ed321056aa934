"""Labels and classes, and parameters that name some of them."""

import itertools
from datetime import date
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.utils import column_or_1d

from .images import Images, count


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


def check_classes(classes) -> np.ndarray:
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
    return encode(estimator.classes_, labels, name, "fit")


def encode(classes: np.ndarray, labels, name: str, source: str) -> np.ndarray:
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


def _some(labels) -> str:
    """Labels as people list them, shortened where there are many."""
    shown = [repr(label) for label in labels]
    return ", ".join([*shown[:10], "..."] if len(shown) > 12 else shown)


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

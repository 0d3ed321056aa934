"""The error of the number of instances."""

from numbers import Integral
from typing import Any

import numpy as np

from .._compat import Interval, validate_params
from .._tables.checks import as_instances
from .._tables.matching import NAMES, TABLES
from .._tables.values import shared_codes


@validate_params(
    TABLES | {"n_images": [Interval(Integral, 1, None, closed="left"), None]},
    prefer_skip_nested_validation=True,
)
def count_error(y_true: Any, y_pred: Any, *, n_images: int | None = None) -> float:
    """Compute the mean absolute error of the number of instances in an image.

    Parameters
    ----------
    y_true, y_pred : DataFrame or array-like of shape (n, 4)
        True and predicted instances; labels and scores of a DataFrame do not count. An
        array holds the boxes of one image.
    n_images : int, default=None
        Number of images looked at. None: those that y_true or y_pred mentions. Give it
        where images may be empty, for an empty image has no row.

    Returns
    -------
    error : float
        Instances per image; 0.0 where there are no images at all.

    Raises
    ------
    ValueError
        If the tables mention more than n_images images, or are malformed.

    Notes
    -----
    The mean absolute error of counting by detection: labels, scores and places are not
    compared, so that a missed and a false instance in one image cancel.

    Examples
    --------
    >>> from sklearn_similar.metrics import count_error
    >>> count_error([[0, 0, 4, 4]], [[0, 0, 4, 4], [5, 5, 9, 9], [1, 7, 3, 9]])
    2.0
    """
    truth = as_instances(y_true, name="y_true", needs_label=False)
    detections = as_instances(y_pred, name="y_pred", needs_label=False)
    true_image, predicted_image, images = shared_codes(
        truth.image, detections.image, "image", names=NAMES
    )
    if n_images is None:
        n_images = len(images)
    if len(images) > n_images:
        raise ValueError(
            f"n_images={n_images} but y_true and y_pred mention {len(images)} images; "
            "give the number of all images."
        )
    counts = [
        np.bincount(image, minlength=len(images))
        for image in (true_image, predicted_image)
    ]
    return float(np.abs(counts[0] - counts[1]).sum() / max(n_images, 1))

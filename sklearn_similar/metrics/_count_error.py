"""Error of the number of instances."""

from numbers import Integral
from typing import Any

import numpy as np

from .._compat import Interval, validate_params
from .._tables.checks import as_instances
from .._tables.matching import NAMES
from .._tables.values import shared_codes
from ._detection import TABLES


@validate_params(
    TABLES | {"n_images": [Interval(Integral, 1, None, closed="left"), None]},
    prefer_skip_nested_validation=True,
)
def count_error(y_true: Any, y_pred: Any, *, n_images: int | None = None) -> float:
    """Compute the mean absolute error of the number of instances in an image.

    Parameters
    ----------
    y_true, y_pred : DataFrame or array-like of shape (n, 4)
        True and predicted instances; labels and scores are ignored. An array holds the
        boxes of one image.
    n_images : int, default=None
        Number of images. None: the number of images in y_true and y_pred. Pass it if
        some images may be empty, as an empty image has no row.

    Returns
    -------
    error : float
        Instances per image; 0.0 without any images.

    Raises
    ------
    ValueError
        If the tables have more than n_images images, or are malformed.

    Notes
    -----
    This is the mean absolute error of counting by detection. Labels, scores and boxes
    are not compared, so a missed and a false instance in the same image cancel.

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
            f"n_images={n_images} but y_true and y_pred have {len(images)} images; "
            "pass the number of all images."
        )
    n_true = np.bincount(true_image, minlength=len(images))
    n_predicted = np.bincount(predicted_image, minlength=len(images))
    return float(np.abs(n_true - n_predicted).sum() / max(n_images, 1))

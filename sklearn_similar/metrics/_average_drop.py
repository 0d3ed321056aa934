"""Faithfulness of heatmaps: probabilities of images that are masked by their heat."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._compat import validate_params
from .._heatmaps.maps import normalize_per_image
from ._explained import EXPLAINED, Batch, Explained
from ._perturbation import to_dtype


@validate_params(EXPLAINED, prefer_skip_nested_validation=True)
def average_drop(
    estimator: Any, X: Any, heatmaps: Any = None, *, labels: Any = None
) -> float:
    """Compute the drop of probability of images masked by heat; lower is better.

    Parameters
    ----------
    estimator : fitted classifier
        Any object with `predict_proba` and `classes_`: a SimilarNetClassifier, or a
        classifier or Pipeline of scikit-learn.
    X : array-like of shape (n, n_features), (n, h, w) or (n, h, w, n_channels)
        Images as the estimator takes them: rows, an array or a DataFrame; grey images;
        or images with channels. Rows are reshaped to the estimator's `image_shape_`, if
        it has one, else to the heatmaps' shape, else to squares.
    heatmaps : array-like of shape (n, h, w) or (n, h * w), or list, default=None
        One heatmap for each image. None: ``estimator.heatmap(X, label)``, by the last
        step of a Pipeline.
    labels : label or array-like of shape (n,), default=None
        Explained class: one label for all images or one for each. None: the label
        that the estimator predicts.

    Returns
    -------
    drop : float
        Share in [0, 1]. (The authors print percent.)

    Raises
    ------
    NotFittedError
        If the estimator has no `classes_`.
    ValueError
        If no heatmaps are given and the estimator has no `heatmap`, heatmaps do not fit
        the images or are not finite, or labels are not classes of the estimator.

    Notes
    -----
    The mean over the images of ``max(0, Y - O) / Y``, where Y is the probability of the
    label for the image, and O that for the image times its heatmap, which is min-max
    scaled for each image [1]_. An image with Y = 0 has a drop of 0. A constant heatmap
    is scaled to 0, which makes the masked image black.

    The product has the dtype of X, so that the estimator scales it as it scales X:
    integers are rounded, by half a grey level at most. If integers have few levels,
    pass floats. Booleans become 0.0 and 1.0.

    A heatmap that is constant except for one cold pixel has almost no drop [2]_, so
    report this together with a metric that favours small heatmaps, such as
    `deletion_auc`.

    References
    ----------
    .. [1] Chattopadhay et al. (2018). Grad-CAM++: Generalized Gradient-based Visual
       Explanations for Deep Convolutional Networks. WACV.
    .. [2] Poppi et al. (2021). Revisiting The Evaluation of Class Activation Mapping
       for Explainability. CVPR Workshops.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import average_drop
    >>> class Left:  # its probability is the left pixel
    ...     classes_ = ["left", "other"]
    ...     def predict_proba(self, X):
    ...         return np.stack([X[:, 0, 0], 1 - X[:, 0, 0]], axis=1)
    >>> X = np.array([[[0.8, 0.8]], [[0.4, 0.8]]])
    >>> average_drop(Left(), X, [[[1, 0]], [[1, 0]]], labels="left")
    0.0
    >>> average_drop(Left(), X, [[[1, 0]], [[0, 1]]], labels="left")
    0.5
    """
    original, masked = _original_and_masked(Explained(estimator, X, heatmaps, labels))
    drop = np.maximum(original - masked, 0)
    return float(np.divide(drop, original, out=drop, where=original > 0).mean())


@validate_params(EXPLAINED, prefer_skip_nested_validation=True)
def average_increase(
    estimator: Any, X: Any, heatmaps: Any = None, *, labels: Any = None
) -> float:
    """Compute the share of images that masking makes more probable; higher is better.

    Parameters
    ----------
    estimator, X, heatmaps, labels
        As in `average_drop`.

    Returns
    -------
    increase : float
        Share of images in [0, 1]. (The authors print percent.)

    Raises
    ------
    NotFittedError, ValueError
        As in `average_drop`.

    Notes
    -----
    The "increase in confidence" of [1]_: the share of images with O > Y, as defined in
    `average_drop`. It is 0 for a network with Y = 1 for all images.

    References
    ----------
    .. [1] Chattopadhay et al. (2018). Grad-CAM++: Generalized Gradient-based Visual
       Explanations for Deep Convolutional Networks. WACV.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import average_increase
    >>> class Left:  # more confident if the right pixel is dark
    ...     classes_ = ["left", "other"]
    ...     def predict_proba(self, X):
    ...         left = (1 + X[:, 0, 0] - X[:, 0, 1]) / 2
    ...         return np.stack([left, 1 - left], axis=1)
    >>> X = np.array([[[0.8, 0.8]], [[0.4, 0.8]]])
    >>> average_increase(Left(), X, [[[1, 0]], [[0, 1]]], labels="left")
    0.5
    """
    original, masked = _original_and_masked(Explained(estimator, X, heatmaps, labels))
    return float((masked > original).mean())


def _original_and_masked(explained: Explained) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the images (Y), and of the images times their heatmaps (O)."""

    def mask(batch: Batch) -> Iterator[np.ndarray]:
        heat = normalize_per_image(batch.heat)[..., np.newaxis]
        yield to_dtype(batch.pixels * heat, explained.dtype)

    original, masked = explained.probabilities(mask)
    return original, masked[:, 0]

"""Faithfulness of heatmaps: what the estimator makes of the explanation alone."""

from typing import Any

import numpy as np

from .._compat import validate_params
from .._heatmaps.maps import normalize_per_image
from ._explained import EXPLAINED, Explained, to_type


@validate_params(EXPLAINED, prefer_skip_nested_validation=True)
def average_drop(
    estimator: Any, X: Any, heatmaps: Any = None, *, labels: Any = None
) -> float:
    """Compute how much probability is lost outside of the heatmaps; lower is better.

    Parameters
    ----------
    estimator : fitted classifier
        Anything with `predict_proba` and `classes_`: a SimilarNetClassifier, or any
        classifier or Pipeline of scikit-learn.
    X : array-like of shape (n, n_features), (n, h, w) or (n, h, w, n_channels)
        Images of the size that the estimator predicts, as it takes them: rows, an array
        or a DataFrame; grey images; or images with channels. Rows are read as images of
        the estimator's `image_shape_`, if it has one, or else of the heatmaps' shape,
        or else as squares.
    heatmaps : array-like of shape (n, h, w) or (n, h * w), or list, default=None
        One heatmap for each image. None asks the estimator, or the last step of a
        Pipeline, for its own: ``estimator.heatmap(X, label)``.
    labels : label or array-like of shape (n,), default=None
        Explained class: one label for all images or one for each. None: the label
        that the estimator predicts.

    Returns
    -------
    drop : float
        Share in [0, 1]. (Its authors print percent.)

    Raises
    ------
    NotFittedError
        If the estimator has no `classes_`.
    ValueError
        If the estimator has no `heatmap` and none are given, heatmaps do not fit the
        images or are not finite, or labels are not classes of the estimator.

    Notes
    -----
    The mean over the images of ``max(0, Y - O) / Y``, where Y is the probability of the
    label for the image, and O that for the image times its heatmap, which is scaled
    from 0 to 1 in each image [1]_. An image whose Y is 0 has nothing to lose and counts
    as 0. A constant heatmap becomes 0, and its explanation is black.

    The product has the type of X, so that the estimator scales it as it scales X:
    integers are rounded to the nearest, which is half a grey level at most. Where
    integers count few levels, pass floats. Booleans become 0.0 and 1.0.

    A heatmap that is almost constant but for one cold pixel loses next to nothing
    [2]_, so report this together with a measure that asks for small heatmaps, such as
    `deletion_auc`.

    Images are perturbed batch by batch.

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
    before, after = _with_and_without(Explained(estimator, X, heatmaps, labels))
    lost = np.maximum(before - after, 0)
    return float(np.divide(lost, before, out=lost, where=before > 0).mean())


@validate_params(EXPLAINED, prefer_skip_nested_validation=True)
def average_increase(
    estimator: Any, X: Any, heatmaps: Any = None, *, labels: Any = None
) -> float:
    """Compute in how many images the heatmap alone is surer; higher is better.

    Parameters
    ----------
    estimator, X, heatmaps, labels
        As in `average_drop`.

    Returns
    -------
    increase : float
        Share of images in [0, 1]. (Its authors print percent.)

    Raises
    ------
    NotFittedError, ValueError
        As in `average_drop`.

    Notes
    -----
    The "increase in confidence" of [1]_: the share of images with O > Y, as in
    `average_drop`. A network with Y = 1 for all images leaves no room for an increase.

    References
    ----------
    .. [1] Chattopadhay et al. (2018). Grad-CAM++: Generalized Gradient-based Visual
       Explanations for Deep Convolutional Networks. WACV.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import average_increase
    >>> class Left:  # surer, if the right pixel is dark
    ...     classes_ = ["left", "other"]
    ...     def predict_proba(self, X):
    ...         left = (1 + X[:, 0, 0] - X[:, 0, 1]) / 2
    ...         return np.stack([left, 1 - left], axis=1)
    >>> X = np.array([[[0.8, 0.8]], [[0.4, 0.8]]])
    >>> average_increase(Left(), X, [[[1, 0]], [[0, 1]]], labels="left")
    0.5
    """
    before, after = _with_and_without(Explained(estimator, X, heatmaps, labels))
    return float((after > before).mean())


def _with_and_without(explained: Explained) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the images (Y), and of these times their heatmaps (O)."""
    pairs = []
    for batch in explained.batches():
        heat = normalize_per_image(batch.heat)[..., np.newaxis]
        explanation = to_type(batch.pixels * heat, explained.dtype)
        after = explained.probability(explanation, batch.label)
        pairs.append((batch.probability, after))
    before, after = map(np.concatenate, zip(*pairs, strict=True))
    return before, after

"""Faithfulness of heatmaps: probabilities while pixels come and go by their heat."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from .._compat import Interval, validate_params
from ._baselines import BASELINE, find_baseline
from ._explained import EXPLAINED, Explained

_PERTURBED: dict[str, Any] = {
    **EXPLAINED,
    "n_steps": [Interval(Integral, 1, None, closed="left")],
    "baseline": BASELINE,
}


class PerturbationCurve(NamedTuple):
    """Probability of each image's label, while pixels are inserted or deleted.

    Attributes
    ----------
    shares : ndarray of shape (n_points,)
        Share of the pixels that are inserted or deleted, from 0 to 1.
    probabilities : ndarray of shape (n, n_points)
        Probability of the label, one row for each image.
    """

    shares: np.ndarray
    probabilities: np.ndarray


@validate_params(_PERTURBED, prefer_skip_nested_validation=True)
def insertion_auc(
    estimator: Any,
    X: Any,
    heatmaps: Any = None,
    *,
    labels: Any = None,
    n_steps: int = 50,
    baseline: Any = "blur",
) -> float:
    """Compute how soon the hottest pixels bring the label back; higher is better.

    Parameters
    ----------
    estimator, X, heatmaps, labels
        As in `average_drop`.
    n_steps : int, default=50
        Steps in which the pixels are inserted, of the same size but for rounding; at
        most one a pixel. The estimator predicts each image ``n_steps + 2`` times.
    baseline : {"black", "blur", "mean"}, float or array-like, default="blur"
        Image that the pixels are inserted into. "black" is 0; "blur" the image after a
        Gaussian filter, whose standard deviation is an eighth of its longer side;
        "mean" the mean of the image in each channel. Or values in the units of X: a
        number, or an array that broadcasts to the shape of X, such as one image, or one
        for each.

    Returns
    -------
    auc : float
        Value in [0, 1].

    Raises
    ------
    NotFittedError
        As in `average_drop`.
    ValueError
        As in `average_drop`, or if the type of X cannot hold the baseline.

    Notes
    -----
    Pixels are put into the baseline in the order of their heat, the hottest first, and
    the probability of the label is drawn over the share of pixels that are in. The
    result is the mean over the images of the area under this curve, by the trapezoidal
    rule [1]_. "blur" for insertion and "black" for deletion are the authors' choices;
    the strength of the blur is ours. Compare values only for one baseline.

    Pixels of the same heat come in an order that is drawn once, the same for all images
    of a size and on every computer, so that neither the pixels at the top nor those at
    the left gain from it. A constant heatmap thus gives the value of a random order,
    which a heatmap should beat.

    Only the order of the heat counts. The images have the type of X, and blurred and
    mean values are rounded to integers, where X holds these.

    References
    ----------
    .. [1] Petsiuk et al. (2018). RISE: Randomized Input Sampling for Explanation of
       Black-box Models. BMVC.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import insertion_auc
    >>> class Left:  # its probability is the left pixel
    ...     classes_ = ["left", "other"]
    ...     def predict_proba(self, X):
    ...         return np.stack([X[:, 0, 0], 1 - X[:, 0, 0]], axis=1)
    >>> X = np.ones((1, 1, 4))
    >>> insertion_auc(Left(), X, [[[9, 5, 3, 1]]], labels="left", baseline="black")
    0.875
    >>> insertion_auc(Left(), X, [[[1, 3, 5, 9]]], labels="left", baseline="black")
    0.125
    """
    return _area(
        insertion_curve(
            estimator, X, heatmaps, labels=labels, n_steps=n_steps, baseline=baseline
        )
    )


@validate_params(_PERTURBED, prefer_skip_nested_validation=True)
def deletion_auc(
    estimator: Any,
    X: Any,
    heatmaps: Any = None,
    *,
    labels: Any = None,
    n_steps: int = 50,
    baseline: Any = "black",
) -> float:
    """Compute how long the label outlives its hottest pixels; lower is better.

    Parameters
    ----------
    estimator, X, heatmaps, labels
        As in `average_drop`.
    n_steps : int, default=50
        As in `insertion_auc`.
    baseline : {"black", "blur", "mean"}, float or array-like, default="black"
        Image that replaces removed pixels, as in `insertion_auc`.

    Returns
    -------
    auc : float
        Value in [0, 1].

    Raises
    ------
    NotFittedError, ValueError
        As in `insertion_auc`.

    Notes
    -----
    The reverse of `insertion_auc`: pixels of the image are replaced by those of the
    baseline, the hottest first [1]_. Deleting pixels that are black already changes
    nothing: for bright objects on black, each background pixel that is deleted early
    costs as much as a pixel of the object that is deleted late.

    References
    ----------
    .. [1] Petsiuk et al. (2018). RISE: Randomized Input Sampling for Explanation of
       Black-box Models. BMVC.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import deletion_auc
    >>> class Left:  # its probability is the left pixel
    ...     classes_ = ["left", "other"]
    ...     def predict_proba(self, X):
    ...         return np.stack([X[:, 0, 0], 1 - X[:, 0, 0]], axis=1)
    >>> X = np.ones((1, 1, 4))
    >>> deletion_auc(Left(), X, [[[9, 5, 3, 1]]], labels="left")
    0.125
    """
    return _area(
        deletion_curve(
            estimator, X, heatmaps, labels=labels, n_steps=n_steps, baseline=baseline
        )
    )


@validate_params(_PERTURBED, prefer_skip_nested_validation=True)
def insertion_curve(
    estimator: Any,
    X: Any,
    heatmaps: Any = None,
    *,
    labels: Any = None,
    n_steps: int = 50,
    baseline: Any = "blur",
) -> PerturbationCurve:
    """Compute the probability of the labels while the hottest pixels come in.

    Parameters
    ----------
    estimator, X, heatmaps, labels, n_steps, baseline
        As in `insertion_auc`, whose value is the mean area under these curves.

    Returns
    -------
    curve : PerturbationCurve
        Named tuple ``shares, probabilities``.

    Raises
    ------
    NotFittedError, ValueError
        As in `insertion_auc`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import insertion_curve
    >>> class Left:  # its probability is the left pixel
    ...     classes_ = ["left", "other"]
    ...     def predict_proba(self, X):
    ...         return np.stack([X[:, 0, 0], 1 - X[:, 0, 0]], axis=1)
    >>> X = np.array([[[0.5, 1.0, 1.0, 1.0]]])
    >>> curve = insertion_curve(
    ...     Left(), X, [[[5, 9, 3, 1]]], labels="left", baseline="black"
    ... )
    >>> curve.shares
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    >>> curve.probabilities
    array([[0. , 0. , 0.5, 0.5, 0.5]])
    """
    explained = Explained(estimator, X, heatmaps, labels)
    return _curve(explained, n_steps, baseline, insert=True)


@validate_params(_PERTURBED, prefer_skip_nested_validation=True)
def deletion_curve(
    estimator: Any,
    X: Any,
    heatmaps: Any = None,
    *,
    labels: Any = None,
    n_steps: int = 50,
    baseline: Any = "black",
) -> PerturbationCurve:
    """Compute the probability of the labels while the hottest pixels go.

    Parameters
    ----------
    estimator, X, heatmaps, labels, n_steps, baseline
        As in `deletion_auc`, whose value is the mean area under these curves.

    Returns
    -------
    curve : PerturbationCurve
        Named tuple ``shares, probabilities``.

    Raises
    ------
    NotFittedError, ValueError
        As in `insertion_auc`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.metrics import deletion_curve
    >>> class Left:  # its probability is the left pixel
    ...     classes_ = ["left", "other"]
    ...     def predict_proba(self, X):
    ...         return np.stack([X[:, 0, 0], 1 - X[:, 0, 0]], axis=1)
    >>> X = np.array([[[0.5, 1.0, 1.0, 1.0]]])
    >>> curve = deletion_curve(Left(), X, [[[5, 9, 3, 1]]], labels="left")
    >>> curve.probabilities
    array([[0.5, 0.5, 0. , 0. , 0. ]])
    """
    explained = Explained(estimator, X, heatmaps, labels)
    return _curve(explained, n_steps, baseline, insert=False)


def _area(curve: PerturbationCurve) -> float:
    return float(np.trapezoid(curve.probabilities, curve.shares).mean())


def _curve(
    explained: Explained, n_steps: int, baseline: Any, *, insert: bool
) -> PerturbationCurve:
    n_images, height, width = explained.pixels.shape[:3]
    n_pixels = height * width
    n_steps = min(n_steps, n_pixels)
    counts = np.arange(n_steps + 1) * n_pixels // n_steps
    replacement = find_baseline(baseline, explained)
    probabilities = np.empty((n_images, len(counts)))
    for batch in explained.batches():
        rank = _ranks(batch.heat)[..., np.newaxis]
        hot, cold = batch.pixels, replacement(batch)
        if not insert:
            hot, cold = cold, hot
        for column, count in enumerate(counts):
            images = np.where(rank < count, hot, cold)
            probability = explained.probability(images, batch.label)
            probabilities[batch.span, column] = probability
    return PerturbationCurve(counts / n_pixels, probabilities)


def _ranks(heat: np.ndarray) -> np.ndarray:
    """The place of each pixel of (m, h, w) in the order of its image, hottest first."""
    flat = heat.reshape(len(heat), -1)
    # A legacy generator: its numbers are the same in all versions of NumPy.
    drawn = np.random.RandomState(0).permutation(flat.shape[1])
    order = drawn[np.argsort(-flat[:, drawn], axis=1, kind="stable")]
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(flat.shape[1])[np.newaxis], axis=1)
    return rank.reshape(heat.shape)

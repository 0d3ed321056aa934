"""Faithfulness of heatmaps: insertion and deletion of pixels by their heat."""

from numbers import Integral
from typing import Any

import numpy as np

from .._compat import Interval, validate_params
from ._explained import EXPLAINED, Explained
from ._perturbation import BASELINE, PerturbationCurve, perturb_by_rank

_PERTURBED: dict[str, Any] = {
    **EXPLAINED,
    "n_steps": [Interval(Integral, 1, None, closed="left")],
    "baseline": BASELINE,
}


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
    """Compute the area under the insertion curve; higher is better.

    Parameters
    ----------
    estimator, X, heatmaps, labels
        As in `average_drop`.
    n_steps : int, default=50
        Number of steps in which the pixels are inserted, of equal size up to rounding;
        at most one for each pixel. The estimator predicts each image ``n_steps + 2``
        times.
    baseline : {"black", "blur", "mean"}, float or array-like, default="blur"
        Image into which the pixels are inserted. "black": 0. "blur": the image after a
        Gaussian filter with a standard deviation of an eighth of its longer side.
        "mean": the mean of each channel of the image. Or values in the units of X: a
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
        As in `average_drop`, or if the dtype of X cannot represent the baseline.

    Notes
    -----
    Pixels are inserted into the baseline by descending heat. The result is the area
    under the curve of the label's probability over the share of inserted pixels, by the
    trapezoidal rule, and its mean over the images [1]_. "blur" for insertion and
    "black" for deletion are the authors' choices; the strength of the blur is ours.
    Only values for the same baseline can be compared.

    Pixels of equal heat are inserted in a random order, the same for all images of a
    size and on every computer, so that no part of the image has an advantage. A
    constant heatmap thus has the value of a random order, which a heatmap should
    exceed.

    Only the order of the heat matters. Perturbed images have the dtype of X: the values
    of "blur" and "mean" are rounded if X holds integers.

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
    """Compute the area under the deletion curve; lower is better.

    Parameters
    ----------
    estimator, X, heatmaps, labels
        As in `average_drop`.
    n_steps : int, default=50
        As in `insertion_auc`.
    baseline : {"black", "blur", "mean"}, float or array-like, default="black"
        Image whose pixels replace the deleted pixels, as in `insertion_auc`.

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
    baseline, by descending heat [1]_. Deleting black pixels changes nothing: for bright
    objects on black, each background pixel that is deleted early costs as much as a
    pixel of the object that is deleted late.

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
    """Compute the probability of the labels while pixels are inserted.

    Parameters
    ----------
    estimator, X, heatmaps, labels, n_steps, baseline
        As in `insertion_auc`, which returns the mean area under these curves.

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
    return perturb_by_rank(explained, n_steps, baseline, insert=True)


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
    """Compute the probability of the labels while pixels are deleted.

    Parameters
    ----------
    estimator, X, heatmaps, labels, n_steps, baseline
        As in `deletion_auc`, which returns the mean area under these curves.

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
    return perturb_by_rank(explained, n_steps, baseline, insert=False)


def _area(curve: PerturbationCurve) -> float:
    return float(np.trapezoid(curve.probabilities, curve.shares).mean())

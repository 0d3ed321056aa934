"""Whether mirror images show the labels that photographs show."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_N_FOLDS = 3


def mirroring_helps(
    X: np.ndarray, labels: np.ndarray, images: np.ndarray, is_mirrored: np.ndarray
) -> bool:
    """Whether a classifier that also learns from mirror images is as good or better.

    It is worse where mirror images change the label, as those of arrows and of letters
    do. Linear classifiers are compared, by their log loss in photographs that are held
    out in turn.

    Parameters
    ----------
    X : ndarray of shape (n_boxes, n_features)
        Features of boxes, in photographs and in their mirror images.
    labels : ndarray of int of shape (n_boxes,)
    images : ndarray of int of shape (n_boxes,)
        The photograph of each box, which is that of the mirror image, too.
    is_mirrored : ndarray of bool of shape (n_boxes,)

    Returns
    -------
    bool
        False if there are fewer than two photographs or labels to compare with.
    """
    n_folds = min(_N_FOLDS, len(np.unique(images[~is_mirrored])))
    if n_folds < 2 or len(np.unique(labels)) < 2:
        return False
    alone, together = 0.0, 0.0
    for train, test in GroupKFold(n_folds).split(X, groups=images):
        plain = train[~is_mirrored[train]]
        test = test[~is_mirrored[test]]
        # Of labels that were not learnt, neither knows anything.
        test = test[np.isin(labels[test], labels[plain])]
        if len(test) == 0 or len(np.unique(labels[plain])) < 2:
            continue
        alone += _total_loss(X[plain], labels[plain], X[test], labels[test])
        together += _total_loss(X[train], labels[train], X[test], labels[test])
    return 0 < together <= alone


def _total_loss(
    X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray
) -> float:
    """Sum of the log losses of a classifier on other examples."""
    # With such a strong penalty, ten examples of thousands of features are enough.
    classifier = LogisticRegression(C=0.01, max_iter=1000)
    model = make_pipeline(StandardScaler(), classifier)
    proba = model.fit(X, y).predict_proba(X_test)
    return float(log_loss(y_test, proba, normalize=False, labels=model.classes_))

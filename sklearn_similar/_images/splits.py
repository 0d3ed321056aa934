"""Which images are held out of training, and which stand for the others."""

import numpy as np

from .grouping import rank_within


def hold_out(
    y: np.ndarray,
    weights: np.ndarray,
    fraction: float | None,
    random_state: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Split indices into training and validation, the same share of each class.

    At least one image of each class is trained on, so a class with one image is never
    held out, nor is an image that is most of its class: one that weighs more than the
    mean and more than the share. If that leaves nothing, all images are in both parts.

    Parameters
    ----------
    y, weights : ndarray of shape (n_images,)
        Class index and weight of each image.
    fraction : float or None
        Share to hold out; None: hold out nothing.
    random_state : RandomState

    Returns
    -------
    training : ndarray of int, sorted
    validation : ndarray of int, sorted, or None
    """
    if fraction is None:
        return np.arange(len(y)), None
    order = random_state.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    counts = np.bincount(y)
    # Where each image stands among those of its class, from 0 to 1; cutting at the
    # fraction in this order rounds the classes' shares so that they add up.
    rank = rank_within(y[order])
    n_of_class = np.repeat(counts, counts)
    total = np.bincount(y, weights)[y[order]]
    # The mean of equal weights can be rounded to less than they are.
    most = (1 + 1e-9) * np.maximum(fraction * total, total / n_of_class)
    can_go = (rank > 0) & (weights[order] <= most)
    position = (rank - 0.5) / n_of_class
    candidates = order[can_go][np.argsort(position[can_go], kind="stable")]
    n_validation = min(max(1, round(fraction * len(y))), len(candidates))
    if n_validation == 0:
        return np.arange(len(y)), np.arange(len(y))
    validation = np.sort(candidates[:n_validation])
    return np.setdiff1d(np.arange(len(y)), validation), validation


def spread_over_classes(y: np.ndarray, n_most: int) -> np.ndarray:
    """Indices of at most `n_most` images, evenly spaced, as many of each class.

    A class with few images has all of them. Each has at least one, even where this
    makes more than `n_most`.
    """
    counts = np.bincount(y)
    quota = 1
    while quota < n_most and np.minimum(counts, quota + 1).sum() <= n_most:
        quota += 1
    chosen = []
    for index in np.flatnonzero(counts):
        members = np.flatnonzero(y == index)
        n_chosen = min(quota, len(members))
        steps = np.linspace(0, len(members) - 1, n_chosen).round().astype(int)
        chosen.append(members[steps])
    return np.sort(np.concatenate(chosen))

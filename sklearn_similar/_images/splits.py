"""Which images are trained on and how often, and which are held out.

Copies of an image count as one image, and the order of images is decided by the images
themselves. What is learnt then depends neither on the user's order nor on whether an
image is repeated or has a larger weight, and no copy of a training image is held out.
"""

from hashlib import blake2b

import numpy as np

from .images import Images, to_tensor

_DIGEST_SIZE = 8
# Maximum mean of whole weights up to which weights are numbers of copies.
_MAX_MEAN_COPIES = 10


def distinct_images(
    images: Images, n_channels: int, y: np.ndarray, sample_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct images of positive weight, and the sums of their copies' weights.

    Parameters
    ----------
    images : Images
        Of one size, read batch by batch.
    n_channels : int
        Channels of the images that the network is given.
    y : ndarray of int of shape (n_images,)
        Class index of each image; equal images of two classes are not copies.
    sample_weight : ndarray of shape (n_images,)
        Not negative.

    Returns
    -------
    indices : ndarray of int of shape (n_distinct,)
        Positions of the first copies, ordered by the network's input and by class.
    weights : ndarray of shape (n_images,)
        At these positions the sum of the copies' weights, elsewhere 0.
    """
    weighted = np.flatnonzero(sample_weight)
    digests = _digests(images, n_channels)
    first, copy_of = find_copies(digests[weighted], y[weighted])
    indices, weights = weighted[first], np.zeros(len(y))
    weights[indices] = np.bincount(copy_of, weights=sample_weight[weighted])
    return indices, weights


def find_copies(digests: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the first copies, ordered by hash and class, and which each copies.

    Parameters
    ----------
    digests : ndarray of uint64 of shape (n_images,)
        A hash of each image.
    y : ndarray of int of shape (n_images,)
        Class index of each image.
    """
    keys = np.stack([digests, y.astype(np.uint64)], axis=1)
    _, first, copy_of = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first, copy_of.ravel()


def digest_of(image: np.ndarray) -> int:
    """A hash of an image in memory."""
    return int.from_bytes(blake2b(image.tobytes(), digest_size=_DIGEST_SIZE).digest())


def _digests(images: Images, n_channels: int) -> np.ndarray:
    """A hash of the network's input for each image."""
    digests = np.empty(len(images), dtype=np.uint64)
    current, digest = -1, blake2b(digest_size=_DIGEST_SIZE)
    for start, pixels in images.views():
        values = to_tensor(pixels, n_channels, scaling=images.scaling).numpy()
        for index, part in enumerate(values, start):
            # A large image comes in parts.
            if index != current:
                current, digest = index, blake2b(digest_size=_DIGEST_SIZE)
            digest.update(part)
            digests[index] = int.from_bytes(digest.digest())
    return digests


def sampling_indices(
    indices: np.ndarray, weights: np.ndarray, are_copies: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images of an epoch, repeated by their weights, and the weights of their losses.

    An image of a whole weight is repeated as often as its copies would be. Otherwise
    losses are weighted, and images of several times the mean weight repeated: one large
    step in an epoch teaches less than many small ones, and disturbs what was learnt
    from other images.

    Parameters
    ----------
    indices : ndarray of int
        Positions of distinct images to train on.
    weights : ndarray of shape (n_images,)
        Sums of the weights of their copies.
    are_copies : bool
        Whether weights are numbers of copies, however many.

    Returns
    -------
    samples : ndarray of int
        Positions; if they are not copies, at most twice as many as `indices`.
    loss_weights : ndarray of shape (n_images,), float32, or None
        Their mean over the samples is 1. None: all are equal.
    """
    weight = weights[indices]
    are_whole = (weight == np.rint(weight)).all() and weight.mean() <= _MAX_MEAN_COPIES
    if are_copies or are_whole:
        return np.repeat(indices, weight.astype(int)), None
    times = np.maximum(np.rint(weight / weight.mean()), 1).astype(int)
    samples, loss_weights = np.repeat(indices, times), np.zeros(len(weights))
    loss_weights[indices] = weight / times
    return samples, (loss_weights / loss_weights[samples].mean()).astype(np.float32)


def hold_out(
    y: np.ndarray,
    weights: np.ndarray,
    fraction: float | None,
    random_state: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Split indices into training and validation, the same share of each class.

    At least one image of each class is trained on, so a class with one image is never
    held out. Neither is an image that dominates its class: one whose weight is above
    the class's mean and above the fraction to hold out. If that leaves nothing, all
    images are in both parts.

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
    # Position of each image among those of its class, from 0 to 1; cutting at the
    # fraction in this order rounds the classes' shares so that they add up.
    rank = rank_within(y[order])
    n_of_class = np.repeat(counts, counts)
    position = (rank - 0.5) / n_of_class
    total = np.bincount(y, weights)[y[order]]
    # The mean of equal weights can be rounded down to less than the weights.
    max_weight = (1 + 1e-9) * np.maximum(fraction * total, total / n_of_class)
    is_candidate = (rank > 0) & (weights[order] <= max_weight)
    by_position = np.argsort(position[is_candidate], kind="stable")
    candidates = order[is_candidate][by_position]
    n_validation = min(max(1, round(fraction * len(y))), len(candidates))
    if n_validation == 0:
        return np.arange(len(y)), np.arange(len(y))
    validation = np.sort(candidates[:n_validation])
    return np.setdiff1d(np.arange(len(y)), validation), validation


def spread_over_classes(
    y: np.ndarray, max_images: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Indices of at most `max_images` images, evenly spaced, equally many per class.

    All images of a small class are chosen, and each class has at least one, even if
    their number exceeds `max_images`.

    Parameters
    ----------
    y : ndarray of int of shape (n_images,)
        Class index of each image.
    max_images : int
    weights : ndarray of shape (n_images,), optional
        Positive. The images of a class are then evenly spaced in its total weight; one
        of a large weight takes the place of several, so that fewer are chosen.
    """
    counts = np.bincount(y)
    quota = 1
    while quota < max_images and np.minimum(counts, quota + 1).sum() <= max_images:
        quota += 1
    chosen = []
    for index in np.flatnonzero(counts):
        members = np.flatnonzero(y == index)
        n_chosen = min(quota, len(members))
        if weights is None:
            steps = np.linspace(0, len(members) - 1, n_chosen).round().astype(int)
        else:
            ends = np.cumsum(weights[members])
            middles = (np.arange(n_chosen) + 0.5) / n_chosen * ends[-1]
            steps = np.unique(np.searchsorted(ends, middles))
        chosen.append(members[steps])
    return np.sort(np.concatenate(chosen))


def rank_within(group: np.ndarray, order_key: np.ndarray | None = None) -> np.ndarray:
    """Rank of each row within its group, from 0.

    Parameters
    ----------
    group : ndarray of shape (n,)
        Group of each row.
    order_key : ndarray of shape (n,), optional
        Rows of a group are ranked in ascending order of this key, ties and all rows
        without a key in their given order.

    Returns
    -------
    rank : ndarray of int of shape (n,)
    """
    keys = (group,) if order_key is None else (order_key, group)
    order = np.lexsort(keys)
    ordered = group[order]
    rank = np.empty(len(group), dtype=np.intp)
    rank[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return rank

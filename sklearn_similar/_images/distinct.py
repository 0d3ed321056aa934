"""One image for all its copies, in an order that the images themselves decide.

What is learnt from labelled images then depends neither on their order nor on whether
an image is repeated or weighs as much, and no copy of an image that is trained on is
held out.
"""

from hashlib import blake2b

import numpy as np

from .images import Images, to_tensor

_DIGEST_SIZE = 8
# Mean of whole weights up to which an epoch shows images as often as they weigh.
_MOST_COPIES = 10


def distinct_images(
    images: Images, n_channels: int, y: np.ndarray, sample_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Images of a weight, each once, and what they weigh with their copies.

    Parameters
    ----------
    images : Images
        Of one size, read batch by batch.
    n_channels : int
        Channels of the images that the network is given.
    y : ndarray of int of shape (n_images,)
        Class index of each image; equal images of two classes are no copies.
    sample_weight : ndarray of shape (n_images,)
        None negative.

    Returns
    -------
    indices : ndarray of int of shape (n_distinct,)
        Positions of the first copies, ordered by what the network sees and by class.
    weights : ndarray of shape (n_images,)
        At these positions the sum of the copies' weights, elsewhere 0.
    """
    weighing = np.flatnonzero(sample_weight)
    keys = np.stack([_digests(images, n_channels), y.astype(np.uint64)], axis=1)
    _, first, copy_of = np.unique(
        keys[weighing], axis=0, return_index=True, return_inverse=True
    )
    indices, weights = weighing[first], np.zeros(len(y))
    weights[indices] = np.bincount(copy_of.ravel(), weights=sample_weight[weighing])
    return indices, weights


def draws_of(
    indices: np.ndarray, weights: np.ndarray, are_copies: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """How often an epoch shows each image, and what its loss weighs then.

    Copies are shown as often as they are there, and so are images of a whole weight.
    Otherwise losses are weighted, and images of several times the mean weight shown as
    often: one large step in an epoch teaches less than many small ones, and disturbs
    what was learnt from the others.

    Parameters
    ----------
    indices : ndarray of int
        Positions of distinct images to train on.
    weights : ndarray of shape (n_images,)
        What they weigh with their copies.
    are_copies : bool
        Whether weights are numbers of copies, however many.

    Returns
    -------
    draws : ndarray of int
        Positions, at most twice as many, unless they are shown like copies.
    loss_weights : ndarray of shape (n_images,), float32, or None
        Their mean over the draws is 1. None: all the same.
    """
    own = weights[indices]
    are_few = (own == np.rint(own)).all() and own.mean() <= _MOST_COPIES
    if are_copies or are_few:
        return np.repeat(indices, own.astype(int)), None
    times = np.maximum(np.rint(own / own.mean()), 1).astype(int)
    draws, loss_weights = np.repeat(indices, times), np.zeros(len(weights))
    loss_weights[indices] = own / times
    return draws, (loss_weights / loss_weights[draws].mean()).astype(np.float32)


def _digests(images: Images, n_channels: int) -> np.ndarray:
    """A number for each image, by the values that reach the network."""
    digests = np.empty(len(images), dtype=np.uint64)
    current, digest = -1, blake2b(digest_size=_DIGEST_SIZE)
    for start, pixels in images.views():
        values = to_tensor(pixels, n_channels).numpy()
        for index, part in enumerate(values, start):
            # A large image comes in parts.
            if index != current:
                current, digest = index, blake2b(digest_size=_DIGEST_SIZE)
            digest.update(part)
            digests[index] = int.from_bytes(digest.digest())
    return digests

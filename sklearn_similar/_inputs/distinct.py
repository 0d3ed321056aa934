"""One image for all its copies, in an order that the images themselves decide.

What is learnt from labelled images then depends neither on their order nor on whether
an image is repeated or weighs as much, and no copy of an image that is trained on is
held out.
"""

from hashlib import blake2b

import numpy as np

from .images import Images, to_tensor

_DIGEST_SIZE = 8


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

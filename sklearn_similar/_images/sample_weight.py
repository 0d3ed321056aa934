"""Weights of images, as the user passes them."""

import numpy as np
from sklearn.utils import check_array

from .images import count, to_numpy


def check_sample_weight(sample_weight, n_images: int) -> np.ndarray:
    """Weight of each image; 1 where all that are not 0 are the same, or there are none.

    Raises
    ------
    ValueError
        If there is not one number for each image, finite, none negative and not all 0.
    """
    if sample_weight is None:
        return np.ones(n_images)
    sample_weight = to_numpy(sample_weight)
    if np.ndim(sample_weight) == 0:
        sample_weight = np.full(n_images, sample_weight)
    weights = check_array(
        sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight"
    )
    if weights.shape != (n_images,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, but X holds "
            f"{count(n_images, 'image')}; pass one weight for each image."
        )
    bad = np.flatnonzero(weights < 0)
    if len(bad):
        raise ValueError(
            f"sample_weight holds {weights[bad[0]]:.3g} for image {bad[0]}; weights "
            "are 0 or more."
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if total == 0 or not np.isfinite(total):
        found = "nothing but zeros" if total == 0 else "weights whose sum is infinite"
        raise ValueError(
            f"sample_weight holds {found}; weigh the images that matter by about 1."
        )
    return (
        (weights > 0) * 1.0
        if (weights[weights > 0] == weights.max()).all()
        else weights
    )


def check_weighted_classes(classes: np.ndarray, y: np.ndarray, chosen) -> None:
    """Raise ValueError if weights of 0 leave images of one class, where y has more."""
    left = np.unique(y[chosen])
    if len(left) == 1 < len(np.unique(y)):
        raise ValueError(
            f"sample_weight is 0 for all images but those of the class "
            f"{classes[left].tolist()[0]!r}; a classifier needs images of at least 2 "
            "classes."
        )

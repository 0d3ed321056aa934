"""Hard negatives: what a recogniser takes for instances where there are none."""

from collections.abc import Iterable

import numpy as np

from .._images.images import from_tensor
from .._search.crops import crop_batches, to_unit_tensor
from .._search.proposals import propose
from .._search.recognizer import Recognizer, refine

# Crops that are less probably an instance teach nothing new.
_LEAST_SCORE = 0.02


def mine_hard_negatives(
    recognizer: Recognizer,
    images: Iterable[np.ndarray],
    n_thresholds: int,
    n_most: int,
) -> np.ndarray:
    """Crops of background images, and their negatives, that score as instances.

    Parameters
    ----------
    recognizer : Recognizer
    images : iterable of ndarray of shape (height, width) or (height, width, n_channels)
        Images without instances, uint8.
    n_thresholds : int
        Thresholds of the region proposals.
    n_most : int
        Most crops that are returned.

    Returns
    -------
    ndarray of shape (n, height, width, n_channels), uint8
        Highest scores first.
    """
    specification = recognizer.image_format.specification
    height, width = specification.size
    crops, scores = [], []
    for image in images:
        pixels = to_unit_tensor(image[np.newaxis])[0]
        crops.append(np.empty((0, height, width, len(pixels)), np.uint8))
        proposed = propose(
            pixels, (False, True), "image", n_thresholds, specification.fills_frame
        )
        for view, found in zip((pixels, 1 - pixels), proposed, strict=True):
            boxes = refine(view, found, recognizer)["box"]
            view = view.to(recognizer.crop_device)
            for batch in crop_batches(view, boxes, specification):
                proba = recognizer.predict_proba(batch)
                score = proba[:, recognizer.columns].max(axis=1)
                hard = score >= _LEAST_SCORE
                crops.append(from_tensor(batch, np.dtype(np.uint8), "colour")[hard])
                scores.append(score[hard])
    order = np.argsort(-np.concatenate([np.empty(0), *scores]), kind="stable")
    return np.concatenate(crops)[order[:n_most]]

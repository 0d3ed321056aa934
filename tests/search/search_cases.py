"""Images and detections that several tests of the search use."""

import numpy as np
from scipy import ndimage

from sklearn_similar._search.detections import Detections
from sklearn_similar._search.proposals import Proposals


def smooth_image(seed, shape=(60, 80)):
    noise = np.random.RandomState(seed).standard_normal(shape)
    image = ndimage.gaussian_filter(noise, 4)
    return (image - image.min()) / np.ptp(image)


def square(shape=(50, 60), box=(10, 20, 25, 40), level=1.0, background=0.0):
    image = np.full(shape, background)
    x_min, y_min, x_max, y_max = box
    image[y_min:y_max, x_min:x_max] = level
    return image


def detections(boxes, score, label=None, heat=None):
    """Detections whose labels differ, unless they are given."""
    n = len(boxes)
    score = np.array(score, float)
    return Detections(
        proposals=Proposals.from_boxes(boxes),
        label=np.arange(n) if label is None else np.array(label, int),
        probability=score,
        objectness=score,
        score=score,
        heat=np.full(n, np.nan) if heat is None else np.array(heat),
    )

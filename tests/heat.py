"""Heatmaps for tests of metrics."""

import numpy as np
from scipy import ndimage


def smooth_maps(seed, n, shape=(16, 16), sigma=1.5):
    rng = np.random.default_rng(seed)
    maps = [ndimage.gaussian_filter(rng.random(shape), sigma) for _ in range(n)]
    return [(m - m.min()) / np.ptp(m) for m in maps]

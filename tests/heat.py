"""Heatmaps and feature maps."""

import numpy as np
import torch
from scipy import ndimage

from sklearn_similar._network.activations import FeatureMaps
from sklearn_similar._network.receptive_field import ReceptiveField


def smooth_maps(seed, n, shape=(16, 16), sigma=1.5):
    rng = np.random.default_rng(seed)
    maps = [ndimage.gaussian_filter(rng.random(shape), sigma) for _ in range(n)]
    return [(m - m.min()) / np.ptp(m) for m in maps]


def draw(rng, shape=(3, 5, 12, 9), size=(24, 27), stride=(2, 3), dense=False):
    """Early activations, and heat at every pixel."""
    activations = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    maps = FeatureMaps(activations, ReceptiveField(stride, (0.0, 0.0)), dense)
    heat = torch.from_numpy(rng.random((shape[0], 1, *size)).astype(np.float32))
    return maps, heat

"""Labelled images of noise, for nets of 3 classes."""

import numpy as np
import pytest

from sklearn_similar._images.images import Images


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
    return Images(pixels, "images")


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(1).integers(0, 3, 30)

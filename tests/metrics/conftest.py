"""Images and heatmaps for tests of metrics."""

import numpy as np
import pytest


@pytest.fixture
def images():
    """Seven images of 4x6 with different pixels in [0, 1]."""
    return np.random.default_rng(0).random((7, 4, 6))


@pytest.fixture
def maps():
    return np.random.default_rng(1).normal(size=(7, 4, 6))

"""A function whose memory is measured, in a module that a new process imports fast."""

import numpy as np


def allocate():
    """A function that allocates a mebibyte for each image but the first."""
    return lambda X, _labels: np.ones((len(X) - 1, 2**20), dtype=np.uint8).sum()

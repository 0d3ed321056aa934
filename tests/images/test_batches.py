"""Slices of batches, against scikit-learn's."""

import pytest
from sklearn.utils import gen_batches

from sklearn_similar._images.batches import batch_slices


@pytest.mark.parametrize("n", [1, 6, 7])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 8])
def test_slices_are_those_of_scikit_learn(n, batch_size):
    assert list(batch_slices(n, batch_size)) == list(gen_batches(n, batch_size))


def test_nothing_has_no_slices():
    assert list(batch_slices(0, 5)) == []

"""Ranks within groups, against a naive loop."""

import numpy as np
import pytest

from sklearn_similar._images.grouping import rank_within


@pytest.mark.parametrize("with_key", [True, False])
def test_ranks_are_those_of_a_loop_over_the_groups(with_key):
    rng = np.random.default_rng(0)
    group = rng.integers(5, size=40)
    # Few values, so that there are ties.
    key = rng.integers(3, size=40) if with_key else np.zeros(40)
    expected = np.empty(40, dtype=int)
    for value in set(group):
        members = [row for row in range(40) if group[row] == value]
        for rank, row in enumerate(sorted(members, key=lambda row: key[row])):
            expected[row] = rank
    np.testing.assert_array_equal(
        rank_within(group, key if with_key else None), expected
    )


def test_no_rows_have_no_ranks():
    assert rank_within(np.empty(0, dtype=int)).shape == (0,)

"""The order of names with numbers."""

import pytest

from sklearn_similar.display._tables import natural_key


@pytest.mark.parametrize(
    "expected",
    [
        ["2", "9", "10", "100"],
        ["7", "10", "a", "b2", "b10", "b10c"],
        ["photo 2, part 10", "photo 10, part 9", "photo 10, part 11"],
        ["", "007", "8"],
    ],
)
def test_numbers_in_names_are_sorted_by_their_value(expected):
    assert sorted(reversed(expected), key=natural_key) == expected

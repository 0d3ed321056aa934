"""What a search can be told."""

import numpy as np
import pytest

from sklearn_similar._search.settings import SizeRange

BOXES = np.array([[0, 0, 10, 4], [5, 5, 9, 25], [0, 0, 40, 40]], np.float32)


def test_a_size_is_the_longer_side_of_a_box_and_limits_belong_to_the_range():
    assert SizeRange(10, 20).contains(BOXES).tolist() == [True, True, False]
    assert SizeRange(10.5, 40).contains(BOXES).tolist() == [False, True, True]
    assert SizeRange(11, 19).contains(BOXES).tolist() == [False] * 3
    assert SizeRange(0, 9).contains(BOXES[:0]).tolist() == []


def test_any_size_is_the_default():
    assert SizeRange.checked(None, None) == SizeRange()
    assert SizeRange().contains(BOXES).all()
    assert SizeRange().widened(2) == SizeRange()


def test_a_range_is_widened_at_both_ends():
    assert SizeRange(10, 30).widened(2) == SizeRange(5, 60)


def test_an_empty_range_is_refused():
    assert SizeRange.checked(9, 9).contains(BOXES).tolist() == [False] * 3
    with pytest.raises(ValueError, match=r"min_size=9\.5 is larger than max_size=9"):
        SizeRange.checked(9.5, 9)

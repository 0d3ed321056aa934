"""Numbers and labels are read from any type that may hold them."""

import decimal
import uuid

import numpy as np
import pandas as pd
import pytest
import torch

from sklearn_similar._tables.values import (
    as_labels,
    as_numbers,
    each_array,
    shared_codes,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ([None, 2], [np.nan, 2]),
        ([decimal.Decimal("0.5")], [0.5]),
        (torch.ones(2, requires_grad=True), [1, 1]),
        (pd.Series([1, 2], dtype="category"), [1, 2]),
    ],
)
def test_numbers_of_any_container_are_read(values, expected):
    np.testing.assert_array_equal(as_numbers(values, "v"), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1"], "v has dtype <U1; pass numbers"),
        (np.array(["1"], dtype=object), "v has dtype object; pass numbers"),
        ([[1], [1, 2]], "v is a list that makes no array; pass rows of one length"),
        (None, "v is a NoneType; pass numbers"),
    ],
)
def test_values_that_are_not_numbers_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        as_numbers(values, "v")


def test_each_array_names_the_array_that_is_not_numeric():
    assert [array.tolist() for array in each_array(([1], [2, 3]), "v", "Map")] == [
        [1],
        [2, 3],
    ]
    with pytest.raises(ValueError, match="Map 1 has dtype <U1"):
        each_array([[1], ["a"]], "v", "Map")
    with pytest.raises(ValueError, match="v is a generator; pass an array"):
        each_array((i for i in range(3)), "v", "Map")


def test_labels_keep_their_type_and_lose_their_categories():
    for values in (["a", "b"], [1, 2], [("a", 1), ("b", 1)], [uuid.UUID(int=1)] * 2):
        assert as_labels(values, "y", n=2).tolist() == values
    assert as_labels(pd.Categorical([2, 1]), "y", n=2).dtype == np.int64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("ab", "y is a str; pass one label for each image"),
        ({0: 1}, "y is a dict"),
        (np.zeros((2, 2)), "y has shape 2x2"),
        ([1], "y holds 1 label for 2 images"),
        ([1, "a"], "y holds numbers and strings; convert"),
        ([True, 1], "y holds booleans and numbers; convert"),
        ([1, None], "Row 1 of y has no label"),
        ([1, {}], "Row 1 of y has a dict as label"),
    ],
)
def test_values_that_are_not_labels_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        as_labels(values, "y", n=2)


def test_equal_values_of_two_columns_share_a_code():
    a, b = as_labels(["b", "c"], "a", n=2), as_labels(["a", "b", "b"], "b", n=3)
    codes_a, codes_b, uniques = shared_codes(a, b, "label", names=("a", "b"))
    assert (codes_a.tolist(), codes_b.tolist()) == ([1, 2], [0, 1, 1])
    assert uniques.tolist() == ["a", "b", "c"]


def test_values_without_an_order_are_numbered_by_their_rows():
    a = as_labels([1j, 2j], "a", n=2)
    codes, _, uniques = shared_codes(a, a[:0], "label", names=("a", "b"))
    assert codes.tolist() == [0, 1]
    assert uniques.tolist() == [1j, 2j]

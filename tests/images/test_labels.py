"""Labels in classes, and weights of images."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from sklearn_similar._images.labels import (
    check_classes,
    check_sample_weight,
    comparable_labels,
    encode,
    find_labels,
    unused_label,
    without_class,
)


def test_labels_are_found_in_the_order_asked_for():
    classes = np.array(["a", "b", "c"])
    assert find_labels(classes, ["c", "a"], "target").tolist() == [2, 0]
    assert find_labels(classes, "b", "target").tolist() == [1]


def test_many_classes_are_listed_in_short():
    with pytest.raises(ValueError, match=r"are 0, 1, .*, 9, \.\.\.; pass one") as error:
        find_labels(np.arange(1000), -1, "target")
    assert len(str(error.value)) < 120


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_dates_are_found_by_value_and_text_is_refused(unit):
    classes = np.array(["2020-01-01", "2021-05-03"], f"M8[{unit}]")
    for date in (
        np.datetime64("2021-05-03"),
        pd.Timestamp("2021-05-03"),
        datetime(2021, 5, 3),
        classes[1],
    ):
        assert find_labels(classes, date, "target").tolist() == [1]
    with pytest.raises(ValueError, match="convert str to Timestamp"):
        find_labels(classes, "2021-05-03", "target")


def test_numbers_are_found_by_value():
    assert find_labels(np.array([0, 3]), 3.0, "target").tolist() == [1]


def test_labels_are_encoded_by_value():
    classes = np.array([1, 2, 5])
    assert encode(classes, np.array([5.0, 1.0, 5.0]), "y", "fit").tolist() == [2, 0, 2]
    with pytest.raises(ValueError, match="y holds labels that fit was not given: 3;"):
        encode(classes, np.array([3, 1]), "y", "fit")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([0, 1], -1),
        ([-2, -1], -3),
        (["a", "b"], "background"),
        (["background", "b"], "background_"),
        (np.array(["2020-01-01"], "M8[D]"), np.datetime64("2020-01-02")),
    ],
)
def test_a_new_label_has_the_type_of_the_classes(classes, expected):
    assert unused_label(np.asarray(classes)) == expected


@pytest.mark.parametrize("classes", [[1, 0], [0, 0], ["a"], [0, "a", None]])
def test_classes_of_a_network_are_sorted_and_distinct(classes):
    with pytest.raises(ValueError, match="pass at least 2 labels of one type, sorted"):
        check_classes(np.array(classes, dtype=object))


def test_a_class_is_taken_out_of_the_classes():
    classes, indices = without_class(np.array([1, 3, 7]), np.array([2, 1, 0]), 3)
    assert classes.tolist() == [1, 7]
    assert indices.tolist() == [1, -1, 0]
    with pytest.raises(ValueError, match="y holds the background 3 alone"):
        without_class(np.array([3]), np.array([0, 0]), 3)


def test_labels_of_another_type_than_the_classes_are_refused():
    classes = np.array([1, 2])
    assert comparable_labels([2.0, 9], "y", classes, None) == [2, 9]
    assert comparable_labels(["none"], "y", classes, "none") == ["none"]
    with pytest.raises(ValueError, match=r"y holds '1', but .* convert str to int"):
        comparable_labels(["1"], "y", classes, None)


class TestSampleWeight:
    @pytest.mark.parametrize(
        ("weights", "expected"),
        [
            (None, [1, 1, 1]),
            (7, [1, 1, 1]),
            ([0.5, 0, 0.5], [1, 0, 1]),
            ([1, 2, 0], [1, 2, 0]),
        ],
    )
    def test_equal_weights_are_1(self, weights, expected):
        assert check_sample_weight(weights, 3).tolist() == expected

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            ([1, 2], r"has shape \(2,\), but X holds 3 images"),
            ([1, -2, 3], "holds -2 for image 1; weights are 0 or more"),
            ([0, 0, 0], "holds nothing but zeros"),
            ([1e308, 1e308, 1], "holds weights whose sum is infinite"),
            ([1, np.nan, 1], "NaN"),
        ],
    )
    def test_weights_that_cannot_be_used_are_refused(self, weights, message):
        with pytest.raises(ValueError, match=message):
            check_sample_weight(weights, 3)

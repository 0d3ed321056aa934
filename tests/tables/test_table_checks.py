"""Tables of instances are accepted, or refused with the row and the remedy."""

import numpy as np
import pandas as pd
import pytest
from instances import BOX, make_detections, make_truth

from sklearn_similar._tables.checks import check_instances, image_numbers

good = make_detections(["a", 1, 0.5, 0, 0, 4, 4], ["b", 2, 0.5, 1, 1, 5, 5])


def test_accepts_good_tables():
    check_instances(good, name="t", needs_score=True)
    check_instances(good.drop(columns="score"), name="t")
    check_instances(good[:0], name="t", needs_score=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x_max": [4, 0]},
            "Row 1 of t has a negative extent, x_min=1 and x_max=0",
        ),
        ({"y_min": [np.inf, 0]}, "Row 0 of t has y_min=inf"),
        ({"y_min": [0, None]}, "Row 1 of t has y_min=nan"),
        ({"score": [0.1, np.nan]}, "Row 1 of t has score=nan"),
        ({"label": ["x", None]}, "Row 1 of t has no label"),
        ({"image": [None, "b"]}, "Row 0 of t has no image"),
        ({"x_min": ["left", "right"]}, "Column 'x_min' of t has dtype"),
        ({"x_min": ["0", "1"]}, "Column 'x_min' of t has dtype"),
        (
            {"x_min": pd.to_datetime(["2020", "2021"])},
            "Column 'x_min' of t has dtype datetime64",
        ),
        ({"label": [[1], [2]]}, "Row 0 of t has a list as label; give a number"),
        ({"label": [1, "2"]}, "Column 'label' of t holds numbers and strings"),
    ],
)
def test_names_the_row_and_what_to_do(change, message):
    with pytest.raises(ValueError, match=message) as error:
        check_instances(good.assign(**change), name="t", needs_score=True)
    assert str(error.value).count(". ") == 0


@pytest.mark.parametrize("column", ["image", "label", "score", "x_min"])
def test_names_missing_columns(column):
    with pytest.raises(
        ValueError, match=f"t lacks the column {column}; add it: it needs image"
    ):
        check_instances(good.drop(columns=column), name="t", needs_score=True)


def test_repeated_columns_levels_and_lists_are_refused():
    twice = pd.concat([good, good["image"]], axis=1)
    with pytest.raises(ValueError, match="t has the column image twice; drop one"):
        check_instances(twice, name="t")
    levels = good.set_axis(pd.MultiIndex.from_product([good.columns, ["v"]]), axis=1)
    with pytest.raises(ValueError, match="t has columns of 2 levels; give each"):
        check_instances(levels, name="t")
    with pytest.raises(ValueError, match="t is a list; pass a DataFrame"):
        check_instances([[0, 0, 1, 1]], name="t")


def test_rows_are_named_by_the_index_of_the_table():
    table = good.assign(x_max=[4, 0]).set_axis(["p", "q"])
    with pytest.raises(ValueError, match="Row q of t"):
        check_instances(table, name="t")


@pytest.mark.parametrize("misspelt", ["xmin", "X_min", "x min"])
def test_a_column_under_another_name_is_named(misspelt):
    table = good.rename(columns={"x_min": misspelt})
    with pytest.raises(ValueError, match=f"x_min; rename '{misspelt}' to 'x_min': it"):
        check_instances(table, name="t")


@pytest.mark.parametrize("column", ["label", "score"])
def test_repeated_columns_that_are_not_needed_are_ignored(column):
    twice = pd.concat([good, good[column]], axis=1)
    checked = check_instances(twice, name="t", needs_label=False)
    np.testing.assert_array_equal(checked.boxes, good[BOX])


def test_images_are_numbered_and_boxes_lie_inside():
    instances = check_instances(make_truth([1, "a", 0, 0, 4, 3]), name="t")
    shapes = [(9, 9), (3, 4)]
    assert image_numbers(instances, shapes, name="t").tolist() == [1]
    with pytest.raises(ValueError, match=r"Row 0 of t has the box .* of height 9 and"):
        image_numbers(instances, [(9, 9), (9, 3)], name="t")
    with pytest.raises(ValueError, match="image=1, which is none of the 1 images"):
        image_numbers(instances, shapes[:1], name="t")
    flags = check_instances(make_truth([True, "a", 0, 0, 4, 3]), name="t")
    with pytest.raises(ValueError, match="image=True, which is none"):
        image_numbers(flags, shapes, name="t")


def test_crowds_are_marked_by_1():
    truth = make_truth(*[[0, "a", 0, 0, 1, 1]] * 3)
    for values in ([1, 0, None], [True, False, False], [1, pd.NA, 0], [1.0, np.nan, 0]):
        marked = truth.assign(iscrowd=values)
        assert len(check_instances(marked, name="y").boxes) == 2
        checked = check_instances(marked, name="y", with_crowds=True)
        assert checked.is_crowd.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["x", 0], "Column 'iscrowd' of y has dtype .*; convert it to numbers"),
        ([0, 2], "Row 1 of y has iscrowd=2; give 0 or 1"),
    ],
)
def test_other_marks_of_crowds_are_refused(values, message):
    truth = good.drop(columns="score").assign(iscrowd=values)
    with pytest.raises(ValueError, match=message):
        check_instances(truth, name="y")


def test_detections_are_never_crowds():
    marked = good.assign(iscrowd=1)
    assert len(check_instances(marked, name="y", needs_score=True).boxes) == 2

"""Detections: their selection, concatenation and table."""

import numpy as np
from search_cases import detections

from sklearn_similar._search.detections import (
    Detections,
    best_labels,
    detections_table,
)


def test_the_table_of_no_instances_has_the_columns_and_types_of_a_full_one():
    none = detections([], [], [])
    one = detections([[1, 2, 3, 4]], [0.9], [1], heat=[1.0])
    for classes in (np.array(["a", "b"]), np.array([3, 5])):
        empty = detections_table([none], classes)
        full = detections_table([none, one], classes)
        assert list(empty.columns) == list(full.columns)
        assert (empty.dtypes == full.dtypes).all()
        assert full.loc[0].tolist() == [1, classes[1], 0.9, 1.0, 1, 2, 3, 4]


def test_rows_of_all_attributes_belong_together():
    boxes = np.arange(12).reshape(3, 4)
    some, other = detections(boxes, [0.9, 0.1, 0.5], [4, 5, 6]), detections([], [], [])
    together = Detections.concatenate([other, some, some])
    assert len(together) == 6
    selected = together.select(np.array([5, 0]))
    assert selected.proposals.boxes.tolist() == boxes[[2, 0]].tolist()
    assert selected.label.tolist() == [6, 4]
    assert selected.score.tolist() == [0.5, 0.9]
    by_mask = together.select(together.score > 0.4)
    assert by_mask.label.tolist() == [4, 6, 4, 6]


def test_detections_of_all_images_are_one_table():
    first = detections([[1, 2, 3, 4], [5, 6, 7, 8]], [0.9, 0.8], [0, 1])
    table = detections_table(
        [first, detections([], [], []), first], np.array(["a", "b"])
    )
    assert table["image"].tolist() == [0, 0, 2, 2]
    assert table["label"].tolist() == ["a", "b", "a", "b"]
    assert table["x_max"].tolist() == [3, 7, 3, 7]


def test_the_label_of_an_image_is_that_of_its_first_detection():
    parts = [
        detections([[1, 2, 3, 4], [5, 6, 7, 8]], [0.9, 0.8], [1, 0]),
        detections([], [], []),
    ]
    table = detections_table(parts, np.array(["a", "b"]))
    assert best_labels(table, 3, None) == ["b", None, None]
